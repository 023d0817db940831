//! References of bank-vaults in the environment: `DB_PASSWORD=vault:secret/data/db#password`.
//!
//! *Invariant:* a value without a reference is no part of the result; one with a reference is a variable of the process, or a note. No note
//! holds the value.

use std::collections::BTreeMap;

use super::block::Reading;
use super::document::literal;
use super::foreign::{FieldsAsVariables, Variable};
use super::hcl::Spot;
use super::yaml::Node;
use super::{Place, Request, escaped, value};

/// The annotations' beginnings, old and new.
pub(super) const PREFIXES: &[&str] = &["vault.security.banzaicloud.io/", "vault.security.bank-vaults.io/"];

/// Whether a value refers to a secret.
pub(super) fn refers(value: &str) -> bool {
    value.starts_with("vault:")
        || value.starts_with(">>vault:")
        || value.contains("${vault:")
        || value.contains("${>>vault:")
}

/// Whether a text is a list of variables with references, such as an env file.
pub(super) fn is_environment(text: &str) -> bool {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines().all(|line| assignment(line).is_some())
        && lines().any(|line| assignment(line).is_some_and(|(_, value)| refers(value)))
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let unquoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    is_name.then_some((name, unquoted.unwrap_or(value)))
}

/// Reads `NAME=vault:PATH#FIELD` lines.
pub(super) fn read(text: &str, reading: &mut Reading<'_>) {
    for (at, line) in text.lines().enumerate() {
        if let Some((name, value)) = assignment(line.trim()) {
            variable(name, value, Spot { line: at + 1, column: 1 }, reading);
        }
    }
}

/// Reads the environments of a pod's containers, and the annotations beside them. Gives the container whose variables were taken over, if there
/// was a reference.
pub(super) fn read_pod(pod: &Node, reading: &mut Reading<'_>) -> Option<String> {
    let containers = ["initContainers", "containers"]
        .map(|kind| pod.get(&["spec", kind]).map(Node::items).unwrap_or_default());
    let mut found: Vec<(&str, &str, &Node)> = Vec::new();
    for container in containers.into_iter().flatten() {
        let owner = container.get(&["name"]).and_then(Node::as_text).unwrap_or_default();
        for entry in container.get(&["env"]).map(Node::items).unwrap_or_default() {
            let name = entry.get(&["name"]).and_then(Node::as_text);
            let value = entry.get(&["value"]).filter(|value| value.as_text().is_some_and(refers));
            found.extend(name.zip(value).map(|(name, value)| (owner, name, value)));
        }
    }
    let all_of = annotation(pod, FROM_PATH);
    let first = || pod.get(&["spec", "containers"])?.items().first()?.get(&["name"])?.as_text();
    let owner = match found.first() {
        Some((owner, _, _)) => *owner,
        None => all_of.and_then(|_| first())?,
    };
    annotations(pod, reading);
    if let Some(node) = all_of {
        from_paths(node, reading);
        if pod.get(&["spec", "containers"]).is_some_and(|containers| containers.items().len() > 1) {
            let advice = format!(
                "each container has these variables there, and here only {owner}; another needs a configuration of its own"
            );
            reading.notes.left(spot(node.at, reading), FROM_PATH, advice);
        }
    }
    for (container, name, value) in found {
        let place = spot(value.at, reading);
        if container == owner {
            variable(name, value.as_text().unwrap_or_default(), value.at, reading);
        } else {
            let advice = format!(
                "a variable of a second container ({container}), which needs a configuration of its own"
            );
            reading.notes.left(place, format!("env {name}"), advice);
        }
    }
    Some(owner.to_owned())
}

/// The annotation that brings every field of its paths in as a variable.
const FROM_PATH: &str = "vault-env-from-path";

/// The value of an annotation that is not empty.
fn annotation<'n>(pod: &'n Node, name: &str) -> Option<&'n Node> {
    let annotations = pod.get(&["metadata", "annotations"])?;
    let is_it = |key: &str| PREFIXES.iter().any(|prefix| key.strip_prefix(prefix) == Some(name));
    let (_, node) = annotations.pairs().find(|(key, _)| is_it(key))?;
    Some(node).filter(|node| node.as_text().is_some_and(|text| !text.trim().is_empty()))
}

/// `secret/data/db,secret/data/app#2`
fn from_paths(node: &Node, reading: &mut Reading<'_>) {
    let start = reading.notes.count();
    for written in
        node.as_text().unwrap_or_default().split(',').map(str::trim).filter(|path| !path.is_empty())
    {
        let (path, version) = written.split_once('#').unwrap_or((written, ""));
        let path = escaped(path.trim_matches('/'));
        let number = version.parse::<u64>().ok();
        if path.is_empty() || (number.is_none() && !version.is_empty()) {
            let advice = "is neither PATH nor PATH#VERSION; write the secret into process.env_from";
            reading.notes.left(spot(node.at, reading), format!("{FROM_PATH} {written:?}"), advice);
            continue;
        }
        let secret = reading.wants.name(Request { path, version: number, ..Request::default() });
        reading.foreign.process.env_from.push(FieldsAsVariables {
            secret,
            before: String::new(),
            behind: String::new(),
            is_upper: false,
            only: None,
        });
    }
    let advice = "each field is a variable with the field's name; a character that no variable can have becomes `_` here";
    reading.notes.told(spot(node.at, reading), FROM_PATH, advice);
    reading.foreign.process.remarks.push(start..reading.notes.count());
}

fn spot(at: Spot, reading: &Reading<'_>) -> Place {
    Place { file: reading.file.to_owned(), line: at.line, column: at.column }
}

fn annotations(pod: &Node, reading: &mut Reading<'_>) {
    let mut role = None;
    let mut mount = None;
    let Some(annotations) = pod.get(&["metadata", "annotations"]) else { return };
    for (key, node) in annotations.pairs() {
        let Some(name) = PREFIXES.iter().find_map(|prefix| key.strip_prefix(prefix)) else { continue };
        let text = node.as_text().unwrap_or_default().to_owned();
        let place = spot(node.at, reading);
        let vault = &mut reading.foreign.vault;
        match name {
            "vault-addr" => vault.address = Some(text),
            "vault-namespace" => vault.namespace = Some(text),
            "vault-role" => role = Some(text),
            "vault-path" => mount = value::mount(&text, "kubernetes"),
            FROM_PATH => {}
            "vault-skip-verify" if text == "false" => {}
            "vault-auth-method" if matches!(text.as_str(), "jwt" | "kubernetes") => {}
            "vault-skip-verify" if text == "true" => {
                vault.insecure_tls = Some(true);
                let advice = "the server's certificate is not verified, so anybody can be the server; name the authority with ca_file instead";
                reading.notes.told(place, name, advice);
            }
            "vault-tls-secret" => reading.notes.left(
                place,
                name,
                "mount this secret for Squire, and name its ca.crt in ca_file",
            ),
            "vault-env-daemon" => reading.notes.told(
                place,
                name,
                "Squire always keeps leases and restarts the process for new values",
            ),
            _ => match KNOWN.iter().find(|(known, _)| *known == name) {
                Some((_, advice)) => reading.notes.told(place, name, *advice),
                None => reading.notes.left(place, name, UNKNOWN),
            },
        }
    }
    if let Some(role) = role {
        reading.foreign.vault.auth = Some(super::foreign::Auth::Kubernetes { mount, role, token_file: None });
    }
}

const UNKNOWN: &str =
    "the import does not take this annotation over; write what it does into the configuration or the pod";

/// What is about the webhook or its program, and says nothing for Squire.
const KNOWN: &[(&str, &str)] = &[
    ("vault-image", "the image of another program; left out"),
    ("vault-image-pull-policy", "the image of another program; left out"),
    ("vault-env-image", "write your image of Squire where the manifest has registry.example/squire"),
    ("vault-env-image-pull-policy", "write it beside your image of Squire; left out"),
    ("enable-json-log", "the format of Squire's log is in the variable SQUIRE_LOG_FORMAT"),
    ("vault-log-level", "the level of Squire's log is in the variable SQUIRE_LOG"),
    ("vault-client-timeout", "Squire has times of its own; left out"),
    ("registry-skip-verify", "Squire asks no registry: the command stands in the manifest"),
];

/// One variable, if its value refers to a secret.
fn variable(name: &str, value: &str, at: Spot, reading: &mut Reading<'_>) {
    if !refers(value) {
        return;
    }
    let start = reading.notes.count();
    let whole = value.starts_with("vault:") || value.starts_with(">>vault:");
    let template = if whole { reference(value, reading) } else { inline(value, reading) };
    if let Some(template) = template {
        let remarks = start..reading.notes.count();
        let variable = Variable { name: name.to_owned(), template, constant: None, remarks };
        reading.foreign.process.env.push(variable);
        return;
    }
    let advice = "its reference is none of vault:PATH#FIELD, vault:PATH#FIELD#VERSION and >>vault:PATH#FIELD#{…}; \
                  write the variable into [process.env]";
    reading.notes.left(spot(at, reading), format!("variable {name}"), advice);
}

/// `postgres://${vault:database/creds/app#username}@db`
fn inline(value: &str, reading: &mut Reading<'_>) -> Option<String> {
    let mut template = String::new();
    let mut rest = value;
    while let Some(at) = rest.find("${") {
        let (before, after) = (rest.get(..at)?, rest.get(at + 2..)?);
        template.push_str(&literal(before));
        let end = closing(after)?;
        let inner = after.get(..end)?;
        if refers(inner) {
            template.push_str(&reference(inner, reading)?);
        } else {
            template.push_str(&literal(&format!("${{{inner}}}")));
        }
        rest = after.get(end + 1..)?;
    }
    Some(template + &literal(rest))
}

/// Where the brace is that closes one which is open.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// `vault:PATH#FIELD#VERSION`, or with `>>` a write, whose last part is JSON.
fn reference(text: &str, reading: &mut Reading<'_>) -> Option<String> {
    let (is_write, rest) = match text.strip_prefix(">>vault:") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("vault:")?),
    };
    let mut parts = rest.splitn(3, '#');
    let path = parts.next()?.trim_matches('/').to_owned();
    let field = parts.next().filter(|field| !field.is_empty())?;
    let last = parts.next().filter(|last| !last.is_empty());
    let mut request = Request { path: escaped(&path), ..Request::default() };
    match (is_write, last) {
        (false, Some(version)) => request.version = Some(version.parse().ok()?),
        (true, Some(json)) => request.params = params(json)?,
        (_, None) => {}
    }
    if request.path.is_empty() {
        return None;
    }
    let parts = fields(field)?;
    let name = reading.wants.name(request);
    Some(parts.into_iter().map(|part| part.written(&name)).collect())
}

fn params(json: &str) -> Option<BTreeMap<String, String>> {
    let object = serde_json::from_str::<BTreeMap<String, serde_json::Value>>(json).ok()?;
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => Some(escaped(&text)),
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => Some(value.to_string()),
        serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => None,
    };
    object.into_iter().map(|(key, value)| Some((key, text(value)?))).collect()
}

/// A part of what stands behind the `#`.
enum Part {
    Text(String),
    Field(String),
}

impl Part {
    fn written(self, secret: &str) -> String {
        match self {
            Self::Text(text) => literal(&text),
            Self::Field(field) => {
                let is_identifier = field.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                    && field.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                if is_identifier {
                    format!("{{{{{secret}.{field}}}}}")
                } else {
                    format!("{{{{lookup {secret} {}}}}}", serde_json::Value::from(field))
                }
            }
        }
    }
}

/// A field, or text with `${.field}` in it. `None` if a field goes through functions.
fn fields(written: &str) -> Option<Vec<Part>> {
    if !written.contains("${") {
        return Some(vec![Part::Field(written.to_owned())]);
    }
    let mut parts = Vec::new();
    let mut rest = written;
    while let Some((before, after)) = rest.split_once("${") {
        let (inner, behind) = after.split_once('}')?;
        let field = inner.trim().strip_prefix('.')?;
        let is_name = !field.is_empty() && field.chars().all(|c| c.is_alphanumeric() || "_-".contains(c));
        if !is_name {
            return None;
        }
        parts.extend([Part::Text(before.to_owned()), Part::Field(field.to_owned())]);
        rest = behind;
    }
    parts.push(Part::Text(rest.to_owned()));
    Some(parts)
}
