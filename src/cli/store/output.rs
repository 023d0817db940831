//! The output of commands: text for people, JSON for programs.
//!
//! *Invariant:* a value is shown on a terminal only when that was asked for.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::Failed;
use crate::plain::{plain, plain_json};
use crate::store::{
    Head, Moment, Record, Refused, Report, Role, RoleKeyPair, Rotation, State, Stats, StoreError, Value,
};

/// Shown in place of a masked value.
const MASK: &str = "********";

/// A line for people.
pub(super) fn line(text: &str) -> Result<(), Failed> {
    raw(&plain(text))
}

/// A line for programs.
pub(super) fn json_line(json: &Json) -> Result<(), Failed> {
    raw(&plain_json(&json.to_string()))
}

/// Output that has to be exact.
pub(super) fn raw(text: &str) -> Result<(), Failed> {
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
        return raw(&shown(value));
    }
    if as_json {
        let fields: serde_json::Map<String, Json> = fields
            .iter()
            .map(|(name, value)| (name.clone(), if is_masked { json!(MASK) } else { value.clone() }))
            .collect();
        return json_line(&json!({ "version": value.version.number, "fields": fields }));
    }
    // A program gets the exact bytes. On a terminal, characters that control it are made harmless.
    let show = if io::stdout().is_terminal() { line } else { raw };
    for (name, value) in fields {
        show(&format!("{name}={}", shown(value)))?;
    }
    if is_masked {
        // Only for a person at a terminal, not in a pipe.
        io::stderr().write_all(b"masked; --show shows the values\n").ok();
    }
    Ok(())
}

pub(super) fn list(heads: &[Head], as_json: bool) -> Result<(), Failed> {
    let live = heads.iter().filter(|head| head.is_live());
    if as_json {
        let heads: Vec<_> = live.map(about).collect();
        return json_line(&Json::Array(heads));
    }
    for head in live {
        line(&format!("{}  version {}", head.path, head.current))?;
    }
    Ok(())
}

pub(super) fn history(head: &Head, as_json: bool) -> Result<(), Failed> {
    if as_json {
        return json_line(&about(head));
    }
    line(&format!("{}  made {} by {}{}", head.path, head.created, head.by, note(head)))?;
    for version in &head.versions {
        let current = match version.number {
            number if number == head.current => ", current",
            number if head.rotation.pending == Some(number) => ", pending",
            _ => "",
        };
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
        return json_line(&json!({ "role_id": pair.id, "secret_id": secret_id }));
    }
    line(&format!("role id    {}", pair.id))?;
    match (secret_id, written_to) {
        (Some(secret_id), _) => {
            line(&format!("secret-id  {secret_id}"))?;
            line("The secret-id is shown only once; it cannot be shown again.")
        }
        (None, Some(file)) => line(&format!("secret-id  in {}", file.display())),
        (None, None) => Ok(()),
    }
}

pub(super) fn roles(roles: &[(String, Role, u64)], as_json: bool) -> Result<(), Failed> {
    if as_json {
        let roles = roles
            .iter()
            .map(|(id, role, log_ins)| json!({ "role_id": id, "role": role, "log_ins": log_ins }));
        return json_line(&Json::Array(roles.collect()));
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
    let Report { environments, secrets, versions, entries, end, findings } = report;
    let end = end.map(|end| end.to_string());
    if as_json {
        let findings: Vec<_> =
            findings.iter().map(|finding| json!({ "place": finding.place, "why": finding.why })).collect();
        let report = json!({
            "environments": environments, "secrets": secrets, "versions": versions, "audit_entries": entries, "tip": end, "findings": findings,
        });
        return json_line(&report);
    }
    for finding in findings {
        line(&format!("{}: {}", finding.place, finding.why))?;
    }
    let found = if findings.is_empty() { "all is as it should be" } else { "something is wrong" };
    line(&format!(
        "{found}: {environments} environments, {secrets} secrets, {versions} versions, {entries} audit entries"
    ))?;
    end.map_or(Ok(()), |end| line(&format!("the audit ends with {end}")))
}

/// The refused log-ins since that time: a line for each minute and role.
pub(super) fn refused(refused: &[Refused], since: Option<Moment>, as_json: bool) -> Result<(), Failed> {
    for Refused { at, who, count } in
        refused.iter().filter(|refused| since.is_none_or(|since| since <= refused.at))
    {
        if as_json {
            let refused = json!({ "at": at.to_string(), "who": who, "action": "log-in", "outcome": "refused", "count": count });
            json_line(&refused)?;
        } else {
            let who = who.as_deref().unwrap_or("nobody that is known");
            line(&format!("        {at}  {who}  log-in  refused {count} times"))?;
        }
    }
    Ok(())
}

/// One entry in each line, also as JSON.
pub(super) fn audit(records: &[Record], as_json: bool) -> Result<(), Failed> {
    for Record { number, at, who, action, outcome, about, version } in records {
        let (action, outcome) = (action.word(), outcome.word());
        if as_json {
            let record = json!({
                "number": number, "at": at.to_string(), "who": who, "action": action, "outcome": outcome, "about": about, "version": version,
            });
            json_line(&record)?;
        } else {
            let version = version.map(|version| format!(" version {version}")).unwrap_or_default();
            line(&format!("{number:>6}  {at}  {who}  {action}  {about}{version}  {outcome}"))?;
        }
    }
    Ok(())
}

pub(super) fn stats(stats: &Stats, as_json: bool) -> Result<(), Failed> {
    let Stats {
        environments,
        secrets,
        deleted,
        versions,
        roles,
        audit_entries,
        with_policy,
        overdue,
        failing,
        bytes,
    } = stats;
    if as_json {
        let overdue: Vec<_> =
            overdue.iter().map(|(path, since)| json!({ "path": path, "since": since.to_string() })).collect();
        let failing: Vec<_> = failing.iter().map(|(path, why)| json!({ "path": path, "why": why })).collect();
        let stats = json!({
            "environments": environments, "secrets": secrets, "deleted": deleted, "versions": versions, "roles": roles,
            "audit_entries": audit_entries, "with_policy": with_policy, "overdue": overdue, "failing": failing, "bytes": bytes,
        });
        return json_line(&stats);
    }
    line(&format!(
        "{environments} environments, {secrets} secrets ({deleted} deleted) in {versions} versions, {roles} roles, \
         {audit_entries} audit entries, {bytes} bytes"
    ))?;
    line(&format!(
        "{with_policy} secrets with a policy, {} overdue, {} failing",
        overdue.len(),
        failing.len()
    ))?;
    overdue.iter().try_for_each(|(path, since)| line(&format!("{path}: to be rotated since {since}")))?;
    failing.iter().try_for_each(|(path, why)| line(&format!("{path}: its last rotation failed: {why}")))
}

pub(super) fn policy(head: &Head, as_json: bool) -> Result<(), Failed> {
    let Head { path, rotation, .. } = head;
    let Some(policy) = &head.policy else {
        return if as_json {
            line("null")
        } else {
            line(&format!("{path}: no policy; it is rotated by hand"))
        };
    };
    let time = |duration: &Duration| humantime::format_duration(*duration).to_string();
    let due = policy.due(head).map(|due| due.to_string());
    if as_json {
        let shown = json!({
            "path": path, "every": policy.every.as_ref().map(time), "generate": policy.generator.to_string(), "field": policy.field,
            "windows": policy.windows, "grace": policy.grace.as_ref().map(time), "approval": policy.needs_approval, "hook": policy.hook,
            "timeout": time(&policy.timeout), "due": due, "pending": rotation.pending, "approved_by": head.is_approved().then(|| by(rotation)),
            "failures": rotation.failures, "trouble": rotation.trouble,
        });
        return json_line(&shown);
    }
    let every = policy
        .every
        .as_ref()
        .map_or_else(|| "when asked".to_owned(), |every| format!("every {}", time(every)));
    line(&format!(
        "{path}: {}, {every}{}",
        policy.generator,
        due.map(|due| format!(", due {due}")).unwrap_or_default()
    ))?;
    for window in &policy.windows {
        line(&format!("  window    {window}"))?;
    }
    if let Some(grace) = &policy.grace {
        line(&format!("  grace     {}", time(grace)))?;
    }
    if policy.needs_approval {
        let approved = if head.is_approved() {
            format!("approved by {}", by(rotation))
        } else {
            "not approved".to_owned()
        };
        line(&format!("  approval  {approved}"))?;
    }
    if let Some(hook) = &policy.hook {
        line(&format!("  hook      {hook}"))?;
    }
    if let Some(trouble) = &rotation.trouble {
        line(&format!("  failed    {} times in a row, the last time at {trouble}", rotation.failures))?;
    }
    Ok(())
}

/// The name of who approved the next rotation.
fn by(rotation: &Rotation) -> &str {
    rotation.approval.as_ref().map(|approval| approval.by.as_str()).unwrap_or_default()
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
        State::Unused { at } => format!("of a rotation that did not end, unused since {at}"),
        State::Deleted { at } => format!("deleted {at}"),
        State::Destroyed { at } => format!("destroyed {at}"),
    }
}
