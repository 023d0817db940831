//! The configuration of an agent or of consul-template, changed so that it renders once into one directory and does nothing else: to compare it with Squire.
//!
//! It is written anew as JSON, from what the agent does for rendering: the server, the login, the templates. A list of what is kept cannot
//! forget to take something away. JSON, because `${` in a quoted text of HCL 1 changes how its quotes are read.
//!
//! *Invariant:* pure. No command, no sink, no listener, no cache and no process is in the result; no credential is removed; every
//! destination is in the given directory.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::agent::METHOD_KEYS;
use super::block::plain_path;
use super::entry::{Fault, Input};
use super::finish::DIRECTORY;
use super::hcl::{Block, Body, Dialect, Fields, Flaw, Is, Item, Value, parse};
use super::{Notes, Place, value};

/// Whose configuration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// Vault Agent or OpenBao Agent.
    Vault,
    /// consul-template, which is told by its command line to end.
    ConsulTemplate,
}

/// What an agent is run with.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The configuration.
    pub json: String,
    /// What it renders, in the order of the configuration.
    pub subjects: Vec<Subject>,
    /// Whether the login is by AppRole, where a secret-id may be for so many logins.
    pub is_app_role: bool,
    /// Whether the secret-id, or the token, is wrapped, so that only one of two can unwrap it.
    pub is_wrapped: bool,
}

/// Something that an agent renders.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A file, by the absolute path that Squire knows it by.
    File(String),
    /// A variable of the process.
    Variable(String),
}

/// Texts of more than one file are one configuration, as with several `-config`. `open` gives the text of a template that is named in them.
/// A template that writes files of its own or starts a program is left out.
///
/// # Errors
///
/// If one cannot be read.
pub fn trial(
    inputs: &[Input],
    agent: Agent,
    directory: &str,
    open: &dyn Fn(&str) -> Option<String>,
) -> Result<Trial, Fault> {
    let bodies = inputs.iter().map(|input| read(input).map(|body| (input.name.as_str(), body)));
    let bodies = bodies.collect::<Result<Vec<_>, _>>()?;
    let (mut root, mut notes) = (Map::new(), Notes::default());
    let mut writer =
        Writer { agent, directory, open, seen: BTreeSet::new(), subjects: Vec::new(), templates: Vec::new() };
    let (mut is_app_role, mut is_wrapped) = (false, false);
    for (name, body) in &bodies {
        let mut fields = Fields::new(name, body);
        for vault in fields.blocks("vault") {
            let mut vault = object(vault.body);
            if agent == Agent::ConsulTemplate {
                let unwraps = &vault["unwrap_token"];
                is_wrapped |= *unwraps == json!(true) || *unwraps == json!("true");
                // Whoever keeps the token goes on doing so.
                vault["renew_token"] = json!(false);
            }
            root.insert("vault".to_owned(), json!([vault]));
        }
        for key in ["default_left_delimiter", "default_right_delimiter"] {
            if let Some(delimiter) = fields.word(key, &mut notes).filter(|_| agent == Agent::ConsulTemplate) {
                root.insert(key.to_owned(), json!(delimiter));
            }
        }
        let methods = fields.blocks("auto_auth").into_iter().flat_map(|auth| {
            let methods = Fields::new(name, auth.body).blocks("method");
            methods.into_iter().flat_map(|method| method.labelled(METHOD_KEYS))
        });
        for block in methods.take(1) {
            let method = self::method(name, &block);
            is_app_role |= method["type"] == "approle";
            is_wrapped |= !method["config"][0]["secret_id_response_wrapping_path"].is_null();
            root.insert("auto_auth".to_owned(), json!([{ "method": [method] }]));
        }
        for block in fields.blocks("template") {
            let mut inner = Fields::new(name, block.body);
            let path = inner.word("destination", &mut notes);
            let path = path.and_then(|path| plain_path(&path, &inner, &mut notes));
            if let Some(path) = path {
                let path = if path.starts_with('/') { path } else { format!("{DIRECTORY}/{path}") };
                writer.add(Subject::File(path), block.body);
            }
        }
        for block in fields.blocks("env_template") {
            if let Some(label) = block.labels.first() {
                writer.add(Subject::Variable(label.name.clone()), block.body);
            }
        }
    }
    if agent == Agent::Vault {
        root.insert("exit_after_auth".to_owned(), json!(true));
        root.insert("template_config".to_owned(), json!([{ "exit_on_retry_failure": true }]));
    }
    root.insert("template".to_owned(), Json::Array(writer.templates));
    let json = Json::Object(root).to_string();
    Ok(Trial { json, subjects: writer.subjects, is_app_role, is_wrapped })
}

fn read(input: &Input) -> Result<Body, Fault> {
    parse(&input.text, Dialect::of(&input.text)).map_err(|Flaw { at, message }| Fault {
        place: Place { file: input.name.clone(), line: at.line, column: at.column },
        message,
    })
}

/// The login, which leaves its files where they are.
fn method(name: &str, block: &Block<'_>) -> Json {
    let mut method = object(block.body);
    if let (Json::Object(fields), Some(label)) = (&mut method, block.labels.first()) {
        fields.entry("type").or_insert_with(|| Json::from(label.name.as_str()));
    }
    let config = Fields::new(name, block.body).blocks("config").first().map(|config| object(config.body));
    let mut config = config.unwrap_or_else(|| json!({}));
    match method["type"].as_str() {
        Some("approle") => config["remove_secret_id_file_after_reading"] = json!(false),
        Some("jwt") => config["remove_jwt_after_reading"] = json!(false),
        Some("ldap" | "userpass") => config["remove_password_after_reading"] = json!(false),
        Some(_) | None => {}
    }
    let kept = ["type", "mount_path", "namespace"].iter();
    let mut kept: Map<String, Json> =
        kept.filter_map(|key| Some(((*key).to_owned(), method.get(*key)?.clone()))).collect();
    kept.insert("config".to_owned(), json!([config]));
    Json::Object(kept)
}

/// Functions that start a program and write a file.
const DENIED: [&str; 2] = ["plugin", "writeToFile"];

/// Functions that ask others than the server, for which consul-template would wait.
const ELSEWHERE: [&str; 16] = [
    "service",
    "services",
    "connect",
    "node",
    "nodes",
    "key",
    "keyOrDefault",
    "keyExists",
    "ls",
    "safeLs",
    "tree",
    "safeTree",
    "nomadService",
    "nomadServices",
    "nomadVar",
    "nomadVarList",
];

/// Whether a function of these stands in an action of the text.
fn asks_elsewhere(text: &str) -> bool {
    let is_of_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '$' | '"');
    text.split("{{").skip(1).any(|action| {
        let action = action.split("}}").next().unwrap_or_default();
        action.split(|c: char| !is_of_word(c)).any(|word| ELSEWHERE.contains(&word))
    })
}

/// Gathers the templates.
struct Writer<'d> {
    agent: Agent,
    directory: &'d str,
    open: &'d dyn Fn(&str) -> Option<String>,
    seen: BTreeSet<Subject>,
    subjects: Vec<Subject>,
    templates: Vec<Json>,
}

impl Writer<'_> {
    /// Of two for one file the first counts, as in the import.
    fn add(&mut self, subject: Subject, body: &Body) {
        const KEPT: &[&str] = &["left_delimiter", "right_delimiter", "error_on_missing_key"];
        if !self.seen.insert(subject.clone()) {
            return;
        }
        let all = object(body);
        let kept = KEPT.iter().filter_map(|key| Some(((*key).to_owned(), all.get(*key)?.clone())));
        let mut template: Map<String, Json> = kept.collect();
        let source = all.get("source").and_then(Json::as_str);
        let contents = all.get("contents").and_then(Json::as_str).map(str::to_owned);
        match (contents.or_else(|| source.and_then(self.open)), source) {
            (Some(text), _) if DENIED.iter().any(|name| text.contains(name)) => return,
            (Some(text), _) if self.agent == Agent::ConsulTemplate && asks_elsewhere(&text) => return,
            (Some(text), _) => drop(template.insert("contents".to_owned(), Json::from(text))),
            (None, Some(source)) => drop(template.insert("source".to_owned(), Json::from(source))),
            (None, None) => {}
        }
        let destination = destination(self.directory, self.subjects.len());
        template.insert("destination".to_owned(), Json::from(destination));
        template.insert("perms".to_owned(), json!("0600"));
        template.insert("function_denylist".to_owned(), json!(DENIED));
        self.templates.push(Json::Object(template));
        self.subjects.push(subject);
    }
}

/// Where the agent puts what has this number.
fn destination(directory: &str, number: usize) -> String {
    format!("{directory}/{number}")
}

/// A block in JSON. Every block within it is a list: HCL takes an object of nothing but objects for labels.
fn object(body: &Body) -> Json {
    let mut map = Map::new();
    for Item { keys, value } in &body.items {
        let Some((key, labels)) = keys.split_first() else { continue };
        let is_block = matches!(value.is, Is::Object(_));
        let value = labels.iter().rev().fold(json(value), |inner, label| json!([{ &label.name: inner }]));
        match (map.get_mut(&key.name), value) {
            (Some(Json::Array(before)), Json::Array(more)) if is_block => before.extend(more),
            // The last one counts, as for the agents.
            (_, value) => drop(map.insert(key.name.clone(), value)),
        }
    }
    Json::Object(map)
}

fn json(value: &Value) -> Json {
    match &value.is {
        Is::Text(text, _) => Json::from(text.as_str()),
        Is::Number(written) => {
            value::number(written).map_or_else(|| Json::from(written.as_str()), Json::from)
        }
        Is::Bool(boolean) => Json::from(*boolean),
        Is::List(values) => Json::Array(values.iter().map(json).collect()),
        Is::Object(body) => json!([object(body)]),
        Is::Other(_) => Json::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Json, Trial) {
        let inputs = [Input { name: "agent.hcl".to_owned(), text: text.to_owned() }];
        let open = |name: &str| (name == "known.ctmpl").then(|| "known".to_owned());
        let trial = trial(&inputs, Agent::Vault, "/private", &open).unwrap();
        (serde_json::from_str(&trial.json).unwrap(), trial)
    }

    #[test]
    fn what_changes_anything_is_not_in_it() {
        let (json, trial) = of(r#"
            pid_file = "/run/pid"
            vault { address = "http://v" retry { num_retries = 3 } }
            auto_auth {
              method "approle" {
                mount_path = "auth/apps"
                wrap_ttl = "5m"
                config = { role_id_file_path = "/r" secret_id_file_path = "/s" }
              }
              sink "file" { config { path = "/sink" } }
            }
            cache {}
            listener "tcp" { address = "127.0.0.1:8100" }
            exec { command = ["sh", "-c", "touch /x"] }
            env_template "A" { contents = "{{ 1 }}" }
            template { contents = "say \"${x}\"" destination = "/etc/x" command = "touch /y" perms = 0644 }
            template { source = "in.ctmpl" destination = "rel" exec { command = ["touch"] } left_delimiter = "<<" }
            template { contents = "again" destination = "/etc//x" }
            template { contents = "nowhere" }
            template { source = "known.ctmpl" destination = "/y" }
            template { contents = "{{ \"a\" | writeToFile \"/etc/z\" \"\" \"\" \"0600\" }}" destination = "/z" }
        "#);
        let template = |from: Json, number: u32| {
            let mut all = json!({"perms": "0600", "function_denylist": ["plugin", "writeToFile"]});
            all["destination"] = json!(format!("/private/{number}"));
            from.as_object().unwrap().iter().for_each(|(key, value)| all[key] = value.clone());
            all
        };
        let expected = json!({
            "vault": [{"address": "http://v", "retry": [{"num_retries": 3}]}],
            "auto_auth": [{"method": [{
                "type": "approle",
                "mount_path": "auth/apps",
                "config": [{
                    "role_id_file_path": "/r",
                    "secret_id_file_path": "/s",
                    "remove_secret_id_file_after_reading": false,
                }],
            }]}],
            "exit_after_auth": true,
            "template_config": [{"exit_on_retry_failure": true}],
            "template": [
                template(json!({"contents": "say \"${x}\""}), 0),
                template(json!({"source": "in.ctmpl", "left_delimiter": "<<"}), 1),
                template(json!({"contents": "known"}), 2),
                template(json!({"contents": "{{ 1 }}"}), 3),
            ],
        });
        assert_eq!(json, expected);
        let file = |path: &str| Subject::File(path.to_owned());
        let subjects =
            [file("/etc/x"), file("/run/squire/rel"), file("/y"), Subject::Variable("A".to_owned())];
        assert_eq!(trial.subjects, subjects);
        assert!(trial.is_app_role && !trial.is_wrapped);
    }

    #[test]
    fn a_configuration_of_consul_template_renders_and_does_nothing_else() {
        let text = r#"
            vault { address = "http://v" vault_agent_token_file = "/t" renew_token = true ssl { verify = false } }
            consul { address = "127.0.0.1:8500" }
            default_left_delimiter = "<<"
            reload_signal = "SIGHUP"
            pid_file = "/run/pid"
            exec { command = "touch /x" }
            template { contents = "<< 1 >>" destination = "/etc/x" command = "touch /y" backup = true }
            template { contents = "{{ range service \"db\" }}{{ end }}" destination = "/etc/y" }
            template { contents = "service {{ .Data.key }}" destination = "/etc/z" }
        "#;
        let inputs = [Input { name: "ct.hcl".to_owned(), text: text.to_owned() }];
        let trial = trial(&inputs, Agent::ConsulTemplate, "/private", &|_| None).unwrap();
        let template = |text: &str, number: u32| {
            let denied = ["plugin", "writeToFile"];
            json!({"contents": text, "destination": format!("/private/{number}"), "perms": "0600", "function_denylist": denied})
        };
        let expected = json!({
            "vault": [{"address": "http://v", "vault_agent_token_file": "/t", "renew_token": false, "ssl": [{"verify": false}]}],
            "default_left_delimiter": "<<",
            "template": [template("<< 1 >>", 0), template("service {{ .Data.key }}", 1)],
        });
        assert_eq!(serde_json::from_str::<Json>(&trial.json).unwrap(), expected);
        assert!(!trial.is_wrapped && !trial.is_app_role);
    }

    #[test]
    fn every_spelling_of_a_login_is_read() {
        for text in [
            "auto_auth { method { type = \"jwt\" config { path = \"/j\" role = \"r\" } } }",
            "auto_auth { method \"jwt\" { config = { path = \"/j\" role = \"r\" } } }",
            "{\"auto_auth\": {\"method\": {\"jwt\": {\"config\": {\"path\": \"/j\", \"role\": \"r\"}}}}}",
            "{\"auto_auth\": [{\"method\": [{\"type\": \"jwt\", \"config\": {\"path\": \"/j\", \"role\": \"r\"}}]}]}",
        ] {
            let (json, _) = of(text);
            let config = json!([{"path": "/j", "role": "r", "remove_jwt_after_reading": false}]);
            assert_eq!(json["auto_auth"], json!([{"method": [{"type": "jwt", "config": config}]}]), "{text}");
        }
        let wrapped =
            "auto_auth { method \"approle\" { config { secret_id_response_wrapping_path = \"a/b\" } } }";
        assert!(of(wrapped).1.is_wrapped);
    }
}
