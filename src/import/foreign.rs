//! What another agent's configuration asks for, in Squire's words: between the readers of the other languages and the writer of ours.
//!
//! *Invariant:* plain data. What is `None` was not said, and Squire's own default stands.

use std::ops::Range;

use super::Place;

/// The notes that were made while a part was read, as positions in [`super::Notes`]: they are written beside it.
pub(super) type Remarks = Range<usize>;

/// The beginning of a variable that Squire is to expand, and Nomad's name for it. In all other texts `${` is two characters. It has Nomad's
/// beginning, so that no text that is imported can name another variable, whatever characters it has.
pub(super) const VARIABLE: &str = "\u{1}${NOMAD_";

/// A text as it is shown to a user.
pub(super) fn shown(text: &str) -> String {
    text.replace(VARIABLE, "${NOMAD_")
}

/// A whole configuration.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    /// How to start Squire, where it is not `squire run`.
    pub(super) is_once: bool,
    /// `[source.vault]`
    pub(super) vault: Vault,
    /// Tokens that are handed to others.
    pub(super) sinks: Vec<Sink>,
    /// `[proxy]`
    pub(super) proxy: Option<Proxy>,
    /// `[agent]`
    pub(super) own: Own,
    /// `[[file]]`
    pub(super) files: Vec<File>,
    /// Whether a file that says no mode is 0644, as the agents have it.
    pub(super) is_open_by_default: bool,
    /// The directory of relative files, if the original has one.
    pub(super) dir: Option<String>,
    /// If it is for a pod, which has a volume for the ledger and the socket.
    pub(super) pod: Option<Pod>,
    /// Whether a changed file moves the process there, whatever else it does.
    pub(super) moves_process: bool,
    /// Directories that are in memory, beside those that are on every machine.
    pub(super) in_memory: Vec<String>,
    /// `[process]`
    pub(super) process: Process,
    /// `rollout.settle`
    pub(super) settle: Option<String>,
    /// `startup_timeout`
    pub(super) startup_timeout: Option<String>,
}

/// What Squire does for itself.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// Where its figures are.
    pub(super) listen: Option<String>,
    /// Whether token and leases outlive a restart.
    pub(super) keeps_ledger: bool,
}

/// What Squire keeps in a pod.
#[derive(Debug, Default)]
pub(super) struct Pod {
    /// Whether token and leases are given back at the end.
    pub(super) gives_back: bool,
}

/// A server and how to log in to it.
#[derive(Debug, Default)]
pub(super) struct Vault {
    pub(super) address: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) ca_file: Option<String>,
    pub(super) client_cert_file: Option<String>,
    pub(super) client_key_file: Option<String>,
    pub(super) tls_server_name: Option<String>,
    pub(super) insecure_tls: Option<bool>,
    pub(super) refresh: Option<String>,
    pub(super) auth: Option<Auth>,
    pub(super) remarks: Vec<Remarks>,
    pub(super) auth_remarks: Vec<Remarks>,
}

/// `[source.vault.auth.…]`
#[derive(Debug)]
pub(super) enum Auth {
    AppRole {
        mount: Option<String>,
        role_id_file: Option<String>,
        secret_id_file: Option<String>,
        unwrap: bool,
        delete_secret_id: Option<bool>,
    },
    Token {
        file: String,
    },
    Jwt {
        mount: Option<String>,
        role: String,
        jwt_file: String,
    },
    Kubernetes {
        mount: Option<String>,
        role: String,
        token_file: Option<String>,
    },
    Cert {
        mount: Option<String>,
        name: Option<String>,
    },
    /// `userpass` and `ldap`.
    Password {
        method: &'static str,
        mount: Option<String>,
        username: String,
        password_file: String,
    },
    Aws {
        mount: Option<String>,
        role: String,
        region: Option<String>,
        server_id: Option<String>,
    },
    Gcp {
        mount: Option<String>,
        role: String,
    },
    Azure {
        mount: Option<String>,
        role: String,
        resource: Option<String>,
        client_id: Option<String>,
    },
}

/// The source's token in a file for others.
#[derive(Debug, Default)]
pub(super) struct Sink {
    pub(super) path: Option<String>,
    pub(super) mode: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) group: Option<String>,
    pub(super) wrap_ttl: Option<String>,
    pub(super) remarks: Remarks,
}

impl Sink {
    /// Whether Squire can write it there.
    pub(super) fn is_writable(&self) -> bool {
        self.path.as_ref().is_some_and(|path| path.starts_with('/'))
    }
}

/// What others ask of the server through the agent.
#[derive(Debug, Default)]
pub(super) struct Proxy {
    pub(super) listen: String,
    /// Who may connect to the socket, if that is said.
    pub(super) users: Vec<String>,
    /// Whether a token of a client's own counts.
    pub(super) lets_own_token: bool,
    pub(super) remarks: Remarks,
}

/// A rendered file.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Where its path stands.
    pub(super) place: Place,
    /// As it was written.
    pub(super) path: String,
    /// In Squire's language. `None` where the original could not be read.
    pub(super) template: Option<String>,
    /// The secret of which every field is a file in the directory `path`; then the template says nothing.
    pub(super) each: Option<String>,
    pub(super) mode: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) group: Option<String>,
    /// Whether the directory is made.
    pub(super) makes_dir: bool,
    pub(super) on_change: Option<Reaction>,
    pub(super) remarks: Remarks,
}

/// What follows a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// `"none"`
    Nothing,
    /// To the process: `SIGHUP`.
    Signal(String),
    /// To another process, found by the number in a file.
    PidFile { signal: String, pid_file: String },
    /// To another process, found by its name.
    Named { signal: String, process: String },
    /// A command, killed after this long.
    Run { command: Vec<String>, timeout: Option<String> },
}

/// The process that is started.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) command: Option<Vec<String>>,
    pub(super) env: Vec<Variable>,
    /// Files of variables that a shell reads before the command begins.
    pub(super) sourced: Vec<String>,
    /// Secrets of which every field is a variable.
    pub(super) env_from: Vec<FieldsAsVariables>,
    pub(super) on_change: Option<Reaction>,
    pub(super) stop_signal: Option<String>,
    pub(super) stop_timeout: Option<String>,
    pub(super) env_clear: bool,
    pub(super) env_pass: Vec<String>,
    pub(super) env_deny: Vec<String>,
    pub(super) remarks: Vec<Remarks>,
}

/// One variable of the process.
#[derive(Debug)]
pub(super) struct Variable {
    pub(super) name: String,
    /// In Squire's language.
    pub(super) template: String,
    /// Its value, if that is no template.
    pub(super) constant: Option<String>,
    pub(super) remarks: Remarks,
}

/// Every field of a secret as a variable.
#[derive(Debug)]
pub(super) struct FieldsAsVariables {
    /// The secret's name in the configuration.
    pub(super) secret: String,
    /// What stands before and behind a field's name.
    pub(super) before: String,
    pub(super) behind: String,
    /// Whether names are written in capitals.
    pub(super) is_upper: bool,
    /// Only this field.
    pub(super) only: Option<String>,
}
