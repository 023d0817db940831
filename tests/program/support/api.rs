//! A small client for the HTTP API of OpenBao, to set servers up and to look at their state.
//!
//! *Invariant:* uses no code of Squire, so that both cannot have the same fault.

use std::time::Duration;

use serde_json::Value;

/// One server, with one token.
pub(crate) struct Api {
    agent: ureq::Agent,
    address: String,
    token: String,
    namespace: Option<String>,
}

impl Api {
    /// A client of the server at this address.
    pub(crate) fn new(address: &str, token: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .new_agent();
        Self { agent, address: address.to_owned(), token: token.to_owned(), namespace: None }
    }

    /// The same client, inside a namespace.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..Self::new(&self.address, &self.token) }
    }

    /// The same client with another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self::new(&self.address, token)
    }

    /// The address of the server.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Reads a path: the status and the answer, or `None` if no server answers.
    pub(crate) fn try_get(&self, path: &str) -> Option<(u16, Value)> {
        let mut request = self.agent.get(self.url(path)).header("X-Vault-Token", &self.token);
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        request.call().ok().map(read)
    }

    /// Writes to a path: the status and the answer, or `None` if no server answers.
    pub(crate) fn try_post(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let mut request = self.agent.post(self.url(path)).header("X-Vault-Token", &self.token);
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        request.send(body.to_string()).ok().map(read)
    }

    /// Reads a path that has to exist.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        accepted("GET", path, self.try_get(path))
    }

    /// Writes to a path; that has to succeed.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        accepted("POST", path, self.try_post(path, body))
    }

    /// Writes to a path, which has to succeed, and lets the server wrap the answer: the wrapping token.
    #[track_caller]
    pub(crate) fn wrap(&self, path: &str, body: &Value) -> String {
        let request = self.agent.post(self.url(path)).header("X-Vault-Token", &self.token);
        let answer = request.header("X-Vault-Wrap-TTL", "60s").send(body.to_string());
        let answer = accepted("POST", path, answer.ok().map(read));
        answer["wrap_info"]["token"].as_str().unwrap().to_owned()
    }

    /// Deletes a path.
    #[track_caller]
    pub(crate) fn delete(&self, path: &str) {
        let request = self.agent.delete(self.url(path)).header("X-Vault-Token", &self.token);
        accepted("DELETE", path, request.call().ok().map(read));
    }

    fn url(&self, path: &str) -> String {
        format!("{}/v1/{path}", self.address)
    }
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> (u16, Value) {
    let text = response.body_mut().read_to_string().unwrap_or_default();
    (response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[track_caller]
fn accepted(method: &str, path: &str, answer: Option<(u16, Value)>) -> Value {
    let (status, answer) = answer.unwrap_or_else(|| panic!("{method} {path}: nobody answers"));
    assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
    answer
}
