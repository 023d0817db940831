//! What is shown: text for people, JSON for programs.
//!
//! *Invariant:* a value is shown on a terminal only when that was asked for.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use serde_json::{Value as Json, json};

use super::Failed;
use crate::store::{Head, Report, Role, RoleKeyPair, State, StoreError, Value};

/// What stands for a value.
const MASK: &str = "********";

pub(super) fn line(text: &str) -> Result<(), Failed> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.write_all(b"\n"));
    written.map_err(|source| StoreError::Io { doing: "write to", file: "stdout".into(), source }.into())
}

pub(super) fn value(value: &Value, field: Option<&str>, show: bool, as_json: bool) -> Result<(), Failed> {
    let is_masked = io::stdout().is_terminal() && !show;
    let fields = value.fields.expose();
    let shown = |value: &Json| match value {
        _ if is_masked => MASK.to_owned(),
        Json::String(text) => text.clone(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => value.to_string(),
    };
    if let Some(name) = field {
        let known = || fields.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let value = fields
            .get(name)
            .ok_or_else(|| Failed::Usage(format!("there is no field {name}; there is {}", known())))?;
        return line(&shown(value));
    }
    if as_json {
        let fields: serde_json::Map<String, Json> = fields
            .iter()
            .map(|(name, value)| (name.clone(), if is_masked { json!(MASK) } else { value.clone() }))
            .collect();
        return line(&json!({ "version": value.version.number, "fields": fields }).to_string());
    }
    for (name, value) in fields {
        line(&format!("{name}={}", shown(value)))?;
    }
    if is_masked {
        // For the person at the terminal, and in no pipe.
        io::stderr().write_all(b"masked; --show shows the values\n").ok();
    }
    Ok(())
}

pub(super) fn list(heads: &[Head], as_json: bool) -> Result<(), Failed> {
    let live = heads.iter().filter(|head| head.is_live());
    if as_json {
        let heads: Vec<_> = live.map(about).collect();
        return line(&Json::Array(heads).to_string());
    }
    for head in live {
        line(&format!("{}  version {}", head.path, head.current))?;
    }
    Ok(())
}

pub(super) fn history(head: &Head, as_json: bool) -> Result<(), Failed> {
    if as_json {
        return line(&about(head).to_string());
    }
    line(&format!("{}  made {} by {}{}", head.path, head.created, head.by, note(head)))?;
    for version in &head.versions {
        let current = if version.number == head.current { ", current" } else { "" };
        line(&format!(
            "version {}  {} by {}, {}{current}",
            version.number,
            version.created,
            version.by,
            state(version.state)
        ))?;
    }
    Ok(())
}

pub(super) fn role(pair: &RoleKeyPair, written_to: Option<&Path>, as_json: bool) -> Result<(), Failed> {
    let secret_id = match written_to {
        Some(_) => None,
        None => Some(pair.secret_id.expose()),
    };
    if as_json {
        return line(&json!({ "role_id": pair.id, "secret_id": secret_id }).to_string());
    }
    line(&format!("role id    {}", pair.id))?;
    match (secret_id, written_to) {
        (Some(secret_id), _) => line(&format!(
            "secret-id  {secret_id}\nThe secret-id is shown this once; nobody can show it again."
        )),
        (None, Some(file)) => line(&format!("secret-id  in {}", file.display())),
        (None, None) => Ok(()),
    }
}

pub(super) fn roles(roles: &[(String, Role, u64)], as_json: bool) -> Result<(), Failed> {
    if as_json {
        let roles = roles
            .iter()
            .map(|(id, role, log_ins)| json!({ "role_id": id, "role": role, "log_ins": log_ins }));
        return line(&Json::Array(roles.collect()).to_string());
    }
    for (id, role, log_ins) in roles {
        let grants: Vec<_> =
            role.grants.iter().map(|(right, globs)| format!("{right} {}", globs.join(" "))).collect();
        let expires = role.expires.map(|at| format!(", until {at}")).unwrap_or_default();
        let uses = role.uses.map(|uses| format!(" of {uses}")).unwrap_or_default();
        line(&format!("{}  {id}  {}  {log_ins}{uses} log-ins{expires}", role.name, grants.join("; ")))?;
    }
    Ok(())
}

pub(super) fn report(report: &Report, as_json: bool) -> Result<(), Failed> {
    let Report { environments, secrets, versions, entries, findings } = report;
    if as_json {
        let findings: Vec<_> =
            findings.iter().map(|finding| json!({ "place": finding.place, "why": finding.why })).collect();
        let report = json!({
            "environments": environments, "secrets": secrets, "versions": versions, "audit_entries": entries, "findings": findings,
        });
        return line(&report.to_string());
    }
    for finding in findings {
        line(&format!("{}: {}", finding.place, finding.why))?;
    }
    let found = if findings.is_empty() { "all is as it should be" } else { "something is wrong" };
    line(&format!(
        "{found}: {environments} environments, {secrets} secrets, {versions} versions, {entries} audit entries"
    ))
}

fn about(head: &Head) -> Json {
    let versions = head.versions.iter().map(|version| {
        json!({
            "version": version.number, "created": version.created.to_string(), "by": version.by, "state": state(version.state),
        })
    });
    json!({
        "path": head.path, "version": head.current, "created": head.created.to_string(), "by": head.by, "note": head.note,
        "versions": versions.collect::<Vec<_>>(),
    })
}

fn note(head: &Head) -> String {
    head.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default()
}

fn state(state: State) -> String {
    match state {
        State::Live => "live".to_owned(),
        State::Deleted { at } => format!("deleted {at}"),
        State::Destroyed { at } => format!("destroyed {at}"),
    }
}
