//! The configuration of Vault Agent and OpenBao Agent.
//!
//! *Invariant:* every key is taken over, or is a note. The agents pass over a key that they do not know, except in a template, so a note
//! says that it is dead.

mod login;
mod proxy;

pub(super) use login::{METHOD_KEYS, ca_path, method};
pub(super) use proxy::{LENDS_NOTHING, Lends, PATHS};

use super::block::{self, Defaults, Reading, Tool};
use super::foreign::{Reaction, Sink, Variable};
use super::hcl::{Block, Body, Fields};
use super::{Notes, Place, value};

/// Reads a whole configuration.
pub(super) fn read(body: &Body, reading: &mut Reading<'_>) {
    let mut fields = Fields::new(reading.file, body);
    if let Some(vault) = fields.block("vault", reading.notes) {
        login::vault(&vault, reading);
    }
    if let Some(auth) = fields.block("auto_auth", reading.notes) {
        auto_auth(&auth, reading);
    }
    if let Some(config) = fields.block("template_config", reading.notes) {
        template_config(&config, reading);
    }
    for template in fields.blocks("template") {
        block::template(&template, Tool::Agent, &Defaults::default(), reading);
    }
    for template in fields.blocks("env_template") {
        env_template(&template, reading);
    }
    if let Some(exec) = fields.block("exec", reading.notes) {
        self::exec(&exec, reading);
    }
    proxy::read(&mut fields, reading);
    lesser(&mut fields, reading);
}

fn auto_auth(auth: &Block<'_>, reading: &mut Reading<'_>) {
    let mut fields = Fields::new(reading.file, auth.body);
    let start = reading.notes.count();
    let methods = fields.blocks("method").into_iter();
    let mut methods = methods.flat_map(|method| method.labelled(login::METHOD_KEYS));
    if let Some(method) = methods.next() {
        login::method(&method, reading);
    }
    for more in methods {
        let advice = "a second method, which the agent refuses; Squire logs in by one too";
        reading.notes.left(fields.place(more.at), "method", advice);
    }
    if fields.has("enable_reauth_on_new_credentials") {
        fields.take("enable_reauth_on_new_credentials", reading.notes);
        let place = fields.place_of("enable_reauth_on_new_credentials");
        let advice = "Squire always uses a new credential in the file at once";
        reading.notes.told(place, "enable_reauth_on_new_credentials", advice);
    }
    let before_sinks = reading.notes.count();
    reading.foreign.vault.auth_remarks.push(start..before_sinks);
    let grouped: Vec<Block<'_>> = fields.blocks("sinks");
    let inner = grouped.iter().flat_map(|sinks| Fields::new(reading.file, sinks.body).blocks("sink"));
    let sinks: Vec<Block<'_>> = inner.chain(fields.blocks("sink")).collect();
    for sink in sinks.into_iter().flat_map(|sink| sink.labelled(SINK_KEYS)) {
        self::sink(&sink, reading);
    }
    let start = reading.notes.count();
    dead(&fields, "auto_auth", reading.notes);
    reading.foreign.vault.auth_remarks.push(start..reading.notes.count());
}

const SINK_KEYS: &[&str] =
    &["type", "config", "wrap_ttl", "dh_type", "dh_path", "derive_key", "aad", "aad_env_var"];

fn sink(block: &Block<'_>, reading: &mut Reading<'_>) {
    let start = reading.notes.count();
    let notes = &mut *reading.notes;
    let mut fields = Fields::new(reading.file, block.body);
    let wrap_ttl = fields.word("wrap_ttl", notes).map(|ttl| value::duration(&ttl).unwrap_or(ttl));
    let mut sink = Sink { wrap_ttl, ..Sink::default() };
    let kind = fields.word("type", notes).or_else(|| block.labels.first().map(|label| label.name.clone()));
    if kind.as_deref().is_some_and(|kind| kind != "file") {
        notes.left(fields.place(block.at), "sink", "the agents have sinks of the type \"file\" only");
    }
    if let Some(config) = fields.block("config", notes) {
        let mut config = Fields::new(reading.file, config.body);
        sink.path = config.word("path", notes);
        sink.mode = block::permissions(&mut config, "mode", notes);
        sink.owner = block::account(&mut config, ["uid", "owner"], notes);
        sink.group = block::account(&mut config, ["gid", "group"], notes);
        dead(&config, "sink.config", notes);
    }
    for key in ["dh_type", "dh_path", "derive_key", "aad", "aad_env_var"] {
        if fields.take(key, notes).is_some() {
            let advice = "Squire does not encrypt a token for a reader; wrap it with `wrap_ttl`, or protect the file by mode and owner";
            notes.left(fields.place_of(key), key, advice);
        }
    }
    dead(&fields, "sink", notes);
    let construct = format!("sink {:?}", sink.path.as_deref().unwrap_or_default());
    if sink.is_writable() {
        let advice = "whoever reads this file can do what the token can: take its table out if nobody does, as is usual beside templates";
        notes.told(fields.place(block.at), construct, advice);
    } else {
        let advice = "the token of an agent's sink: Squire writes one to an absolute path, by [[source.vault.token_file]]";
        notes.left(fields.place(block.at), construct, advice);
    }
    sink.remarks = start..notes.count();
    reading.foreign.sinks.push(sink);
}

fn template_config(block: &Block<'_>, reading: &mut Reading<'_>) {
    let notes = &mut *reading.notes;
    let mut fields = Fields::new(reading.file, block.body);
    if let Some(interval) = fields.text("static_secret_render_interval", notes) {
        match value::duration(&interval).filter(|interval| interval != "0s") {
            Some(interval) => reading.foreign.vault.refresh = Some(interval),
            None => notes.left(
                fields.place_of("static_secret_render_interval"),
                "static_secret_render_interval",
                "is no duration above zero; write one into `refresh` of the source",
            ),
        }
    }
    if fields.boolean("exit_on_retry_failure", notes) == Some(true) {
        reading.foreign.startup_timeout = Some(STARTUP_TIMEOUT.to_owned());
        notes.told(
            fields.place_of("exit_on_retry_failure"),
            "exit_on_retry_failure",
            "before the first release Squire gives up after `startup_timeout`, about as long as the agent's 12 tries; \
             afterwards it keeps what is live and goes on trying",
        );
    }
    if fields.take("max_connections_per_host", notes).is_some() {
        let advice = "Squire bounds its connections itself; left out";
        notes.told(fields.place_of("max_connections_per_host"), "max_connections_per_host", advice);
    }
    if fields.take("lease_renewal_threshold", notes).is_some() {
        let advice = "Squire replaces what cannot be renewed at nine tenths of its life, as the agent does by default; left out";
        notes.told(fields.place_of("lease_renewal_threshold"), "lease_renewal_threshold", advice);
    }
    dead(&fields, "template_config", notes);
}

/// 12 tries with 250 ms between the first two, doubled up to a minute, take about five.
const STARTUP_TIMEOUT: &str = "5m";

/// A variable of the process.
fn env_template(block: &Block<'_>, reading: &mut Reading<'_>) {
    let start = reading.notes.count();
    let mut fields = Fields::new(reading.file, block.body);
    let Some(name) = block.labels.first().map(|label| label.name.clone()) else {
        let advice = "it has no name; write `env_template \"NAME\" { … }`";
        reading.notes.left(fields.place(block.at), "env_template", advice);
        return;
    };
    let is_foreign = |c: char| c == '=' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.contains(is_foreign) {
        reading.notes.left(
            fields.place(block.at),
            format!("env_template {name:?}"),
            "is no name of a variable",
        );
        return;
    }
    let original = block::original(&mut fields, reading);
    let template =
        original.map(|original| block::translate(&original, &mut fields, &Defaults::default(), reading));
    for key in ["destination", "perms", "command"] {
        fields.take(key, reading.notes);
    }
    for (key, place) in fields.rest() {
        reading.notes.left(
            place,
            key,
            "the agent does not know this key in an env_template and refuses the file for it",
        );
    }
    let remarks = start..reading.notes.count();
    match template {
        Some(template) => {
            reading.foreign.process.env.push(Variable { name, template, constant: None, remarks });
        }
        None => reading.foreign.process.remarks.push(remarks),
    }
}

fn exec(block: &Block<'_>, reading: &mut Reading<'_>) {
    let start = reading.notes.count();
    let notes = &mut *reading.notes;
    let process = &mut reading.foreign.process;
    let mut fields = Fields::new(reading.file, block.body);
    process.command =
        fields.words("command", notes).filter(|words| words.first().is_some_and(|word| !word.is_empty()));
    if let Some(when) = fields.word("restart_on_secret_changes", notes) {
        match when.as_str() {
            "always" => {}
            "never" => process.on_change = Some(Reaction::Nothing),
            _ => notes.left(
                fields.place_of("restart_on_secret_changes"),
                "restart_on_secret_changes",
                "is neither \"always\" nor \"never\"; Squire restarts",
            ),
        }
    }
    if let Some(signal) = fields.word("restart_stop_signal", notes) {
        stop_signal(&signal, fields.place_of("restart_stop_signal"), &mut process.stop_signal, notes);
    }
    for key in ["child_process_stdout", "child_process_stderr"] {
        if fields.word(key, notes).is_some() {
            let advice = "Squire passes the output of its process on and writes no file; let the service manager write it";
            notes.left(fields.place_of(key), key, advice);
        }
    }
    dead(&fields, "exec", notes);
    let remarks = start..notes.count();
    process.remarks.push(remarks);
}

/// A signal that ends a process; SIGTERM is the default on both sides.
pub(super) fn stop_signal(written: &str, place: Place, stop: &mut Option<String>, notes: &mut Notes) {
    match value::signal(written) {
        Some(signal) if signal == "SIGTERM" => {}
        Some(signal) => *stop = Some(signal),
        None => notes.left(
            place,
            format!("signal {written:?}"),
            "is no signal that asks a process to end; Squire sends SIGTERM, and SIGKILL after `stop_timeout`",
        ),
    }
}

/// The keys at the top that Squire does otherwise, or has no need of.
fn lesser(fields: &mut Fields<'_>, reading: &mut Reading<'_>) {
    let notes = &mut *reading.notes;
    if fields.boolean("exit_after_auth", notes) == Some(true) {
        reading.foreign.is_once = true;
        let advice = "start `squire render` in place of `squire run`: it writes the files once and ends";
        notes.told(fields.place_of("exit_after_auth"), "exit_after_auth", advice);
    }
    common(fields, notes);
    dead(fields, "the configuration", notes);
}

/// Keys at the top that the agents and consul-template share.
pub(super) fn common(fields: &mut Fields<'_>, notes: &mut Notes) {
    const KNOWN: &[(&str, &str)] = &[
        (
            "pid_file",
            "Squire writes no such file: orders go to its socket (`squire status`, `squire reload`), and the service manager knows its number",
        ),
        ("log_level", "the level of Squire's log is in the variable SQUIRE_LOG"),
        ("log_format", "the format of Squire's log is in the variable SQUIRE_LOG_FORMAT"),
        ("log_file", "Squire logs to stderr; let the service manager write the file"),
        ("log_rotate_bytes", "Squire logs to stderr; let the service manager write the file"),
        ("log_rotate_duration", "Squire logs to stderr; let the service manager write the file"),
        ("log_rotate_max_files", "Squire logs to stderr; let the service manager write the file"),
        ("disable_mlock", "Squire locks its memory only with `agent.mlock = true`"),
        ("disable_idle_connections", "Squire keeps and closes its connections itself"),
        ("disable_keep_alives", "Squire keeps and closes its connections itself"),
    ];
    for (key, advice) in KNOWN {
        if fields.take(key, notes).is_some() {
            notes.told(fields.place_of(key), *key, *advice);
        }
    }
    if !fields.blocks("telemetry").is_empty() {
        let advice = "Squire has metrics for Prometheus: add [agent] with listen = \"127.0.0.1:9790\"";
        notes.told(fields.place_of("telemetry"), "telemetry", advice);
    }
}

/// Notes for the keys that nobody asked for.
pub(super) fn dead(fields: &Fields<'_>, whose: &str, notes: &mut Notes) {
    for (key, place) in fields.rest() {
        notes.told(
            place,
            key,
            format!("the agent has no such key in {whose} and passes over it, so it does nothing; left out"),
        );
    }
}
