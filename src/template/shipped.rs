//! The templates that come with Squire: the files of `templates/`, part of the binary, so that they are there without a checkout.
//!
//! Each begins with a comment: a line that says what reads the file, the fields that it needs, the mode, and the tables of a configuration
//! that belong to it.
//!
//! *Invariant:* the list and the folder have the same templates.

use super::catalogue;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// The name of its file, without `.hbs`.
    pub name: &'static str,
    /// The whole of it, with its comment.
    pub text: &'static str,
}

macro_rules! shipped {
    ($($name:literal)*) => {
        &[$(Shipped { name: $name, text: include_str!(concat!("../../templates/", $name, ".hbs")) }),*]
    };
}

/// All of them, in the order of the documentation.
pub const SHIPPED: &[Shipped] = shipped![
    "compose-env" "bash-env" "systemd-env" "json" "yaml" "toml" "ini" "java-properties"
    "pgpass" "pg-service" "postgres-url" "my-cnf" "redis-acl" "kafka" "rabbitmq-url" "rabbitmq-definitions"
    "nginx-cert" "nginx-key" "haproxy-pem" "java-keystore"
    "aws-credentials" "docker-config" "npmrc" "pip-conf" "netrc" "git-credentials" "kubeconfig"
    "ssh-key" "ssh-known-hosts" "prometheus-web" "htpasswd"
];

impl Shipped {
    /// The one of this name; or why there is none.
    ///
    /// # Errors
    /// A sentence that names a similar one.
    pub fn find(name: &str) -> Result<&'static Self, String> {
        let found = SHIPPED.iter().find(|shipped| shipped.name == name);
        found.ok_or_else(|| {
            let names = || SHIPPED.iter().map(|shipped| shipped.name);
            let longer: Vec<String> =
                names().filter(|known| known.contains(name)).map(|known| format!("`{known}`")).collect();
            let near = match longer.as_slice() {
                [] => catalogue::suggestion(name, names()),
                _ if name.is_empty() => String::new(),
                longer => format!("; did you mean {}?", longer.join(" or ")),
            };
            format!(
                "there is no template `{}`{near}; `squire template list` prints all",
                catalogue::plain(name)
            )
        })
    }

    /// What reads it.
    pub fn purpose(&self) -> &'static str {
        self.comment().lines().next().unwrap_or_default()
    }

    /// The tables of a configuration that belong to it.
    pub fn configuration(&self) -> &'static str {
        let comment = self.comment();
        comment.find("\n[").and_then(|start| comment.get(start + 1..)).unwrap_or_default()
    }

    fn comment(&self) -> &'static str {
        let inside = self.text.strip_prefix("{{!--\n").and_then(|text| text.split_once("--}}"));
        inside.map(|(comment, _)| comment).unwrap_or_default()
    }
}
