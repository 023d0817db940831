//! The configuration of consul-template.
//!
//! *Invariant:* every key is taken over, or is a note. A file whose templates ask only Consul has one note, for the file.

mod line;

pub(super) use line::{is_command_line, read_line};

use super::agent::{common, stop_signal};
use super::block::{self, Defaults, Reading, Tool};
use super::foreign::{Auth, Reaction};
use super::hcl::{Block, Body, Fields, Is};
use super::{Notes, Place, command, value};

/// Reads a whole configuration.
pub(super) fn read(body: &Body, reading: &mut Reading<'_>) {
    let mut fields = Fields::new(reading.file, body);
    if asks_only_consul(body, reading) {
        let place = Place { file: reading.file.to_owned(), line: 1, column: 1 };
        let advice =
            "its templates ask only Consul, which Squire does not; leave consul-template running for them";
        reading.notes.left(place, "consul-template", advice);
        return;
    }
    vault(&mut fields, reading);
    let defaults = Defaults {
        left: fields.word("default_left_delimiter", reading.notes),
        right: fields.word("default_right_delimiter", reading.notes),
    };
    if let Some((least, place)) = block::wait(&mut fields, reading.notes) {
        block::settle(least, reading.foreign);
        let advice = "Squire waits this long for further changes before a rollout, and not for a longest time: `rollout.settle`";
        reading.notes.told(place, "wait", advice);
    }
    for template in fields.blocks("template") {
        block::template(&template, Tool::ConsulTemplate, &defaults, reading);
    }
    if let Some(exec) = fields.block("exec", reading.notes) {
        self::exec(&exec, Some("SIGINT"), reading);
    }
    lesser(&mut fields, reading);
}

/// Whether there is a template, and each asks Consul and no Vault.
fn asks_only_consul(body: &Body, reading: &Reading<'_>) -> bool {
    let mut fields = Fields::new("", body);
    let texts: Vec<Option<String>> = fields
        .blocks("template")
        .iter()
        .map(|block| {
            let mut notes = Notes::default();
            let mut fields = Fields::new("", block.body);
            match fields.take("contents", &mut notes).map(|value| &value.is) {
                Some(Is::Text(text, _)) => Some(text.clone()),
                Some(_) => None,
                None => fields.word("source", &mut notes).and_then(|source| (reading.open)(&source)),
            }
        })
        .collect();
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric() && c != '_').map(ToOwned::to_owned).collect()
    };
    let asks =
        |text: &str, functions: &[&str]| words(text).iter().any(|word| functions.contains(&word.as_str()));
    !texts.is_empty()
        && texts.iter().all(|text| {
            text.as_deref()
                .is_some_and(|text| asks(text, CONSUL) && !asks(text, &["secret", "secrets", "pkiCert"]))
        })
}

/// The functions that ask Consul.
const CONSUL: &[&str] = &[
    "key",
    "keyExists",
    "keyOrDefault",
    "ls",
    "safeLs",
    "tree",
    "safeTree",
    "service",
    "services",
    "node",
    "nodes",
    "connect",
    "caRoots",
    "caLeaf",
    "datacenters",
    "partitions",
    "peerings",
    "exportedServices",
];

/// `vault { … }` of consul-template and envconsul.
pub(super) fn vault(fields: &mut Fields<'_>, reading: &mut Reading<'_>) {
    let Some(block) = fields.block("vault", reading.notes) else { return };
    let start = reading.notes.count();
    let notes = &mut *reading.notes;
    let vault = &mut reading.foreign.vault;
    let mut inner = Fields::new(reading.file, block.body);
    vault.address = inner.word("address", notes);
    vault.namespace = inner.word("namespace", notes);
    if let Some(refresh) = inner.text("default_lease_duration", notes) {
        vault.refresh = value::duration(&refresh).filter(|refresh| refresh != "0s");
    }
    for block in inner.blocks("ssl") {
        ssl(&block, vault, reading.file, notes);
    }
    vault.auth = login(&mut inner, notes);
    if let Some(retry) = inner.block("retry", notes) {
        let advice = "Squire tries again for as long as it runs, further and further apart; a server that is away ends nothing";
        notes.told(inner.place(retry.at), "retry", advice);
    }
    if !inner.blocks("transport").is_empty() {
        notes.told(
            inner.place_of("transport"),
            "transport",
            "Squire bounds and closes its connections itself; left out",
        );
    }
    for (key, advice) in [
        ("grace", "consul-template removed this key years ago, so it does nothing; left out"),
        (
            "lease_renewal_threshold",
            "Squire replaces what cannot be renewed at nine tenths of its life; left out",
        ),
        ("clean_up", "consul-template has no such key; left out"),
    ] {
        if inner.take(key, notes).is_some() {
            notes.told(inner.place_of(key), key, advice);
        }
    }
    if inner.boolean("enabled", notes) == Some(false) {
        notes.told(
            inner.place_of("enabled"),
            "enabled = false",
            "Vault was switched off here; the rest of the block is taken over",
        );
    }
    unknown(&inner, "vault", notes);
    let remarks = start..notes.count();
    reading.foreign.vault.remarks.push(remarks);
}

fn ssl(block: &Block<'_>, vault: &mut super::foreign::Vault, file: &str, notes: &mut Notes) {
    let mut inner = Fields::new(file, block.body);
    inner.boolean("enabled", notes);
    if inner.boolean("verify", notes) == Some(false) {
        vault.insecure_tls = Some(true);
        let advice = "the server's certificate is not verified, so anybody can be the server; Squire warns at each start. \
                      Name the authority with ca_file instead";
        notes.told(inner.place_of("verify"), "verify = false", advice);
    }
    vault.ca_file = inner.word("ca_cert", notes);
    vault.client_cert_file = inner.word("cert", notes);
    vault.client_key_file = inner.word("key", notes);
    if vault.client_key_file.is_none() {
        // One file may hold both.
        vault.client_key_file.clone_from(&vault.client_cert_file);
    }
    vault.tls_server_name = inner.word("server_name", notes);
    super::agent::ca_path(&mut inner, "ca_path", notes);
    unknown(&inner, "ssl", notes);
}

/// A token in a file, a pod's service account, or the environment.
fn login(inner: &mut Fields<'_>, notes: &mut Notes) -> Option<Auth> {
    let token = inner.take("token", notes);
    let unwrap = inner.boolean("unwrap_token", notes);
    let renew = inner.boolean("renew_token", notes);
    let file = inner.word("vault_agent_token_file", notes);
    let role = inner.word("k8s_auth_role_name", notes);
    let token_file = inner.word("k8s_service_account_token_path", notes);
    let mount =
        inner.word("k8s_service_mount_path", notes).and_then(|mount| value::mount(&mount, "kubernetes"));
    if token.and_then(super::hcl::text_of).is_some_and(|token| !token.is_empty()) {
        let advice = "a token is in the file itself; put it into a file that only Squire reads and name that in auth.token.file, or set VAULT_TOKEN";
        notes.left(inner.place_of("token"), "token", advice);
    }
    if inner.take("k8s_service_account_token", notes).is_some() {
        let advice = "a token is in the file itself; name its file in auth.kubernetes.token_file";
        notes.left(inner.place_of("k8s_service_account_token"), "k8s_service_account_token", advice);
    }
    if unwrap == Some(true) {
        let advice =
            "Squire takes no wrapped token, only a wrapped secret-id: use an AppRole with unwrap = true";
        notes.left(inner.place_of("unwrap_token"), "unwrap_token", advice);
    }
    if renew == Some(false) {
        let advice = "somebody else renews the token; Squire renews it too if it may, which does no harm";
        notes.told(inner.place_of("renew_token"), "renew_token", advice);
    }
    match (file, role) {
        (Some(file), _) => Some(Auth::Token { file }),
        (None, Some(role)) => Some(Auth::Kubernetes { mount, role, token_file }),
        (None, None) => None,
    }
}

/// `exec { … }` of consul-template and envconsul. `stop` is the signal that ends the process where none is said, if it is not SIGTERM.
pub(super) fn exec(block: &Block<'_>, stop: Option<&str>, reading: &mut Reading<'_>) {
    let start = reading.notes.count();
    let notes = &mut *reading.notes;
    reading.foreign.moves_process = true;
    let process = &mut reading.foreign.process;
    let mut fields = Fields::new(reading.file, block.body);
    let is_enabled = fields.boolean("enabled", notes).unwrap_or(true);
    let written = fields.words("command", notes).filter(|_| is_enabled);
    process.command = written.and_then(|words| program(&words));
    if let Some(signal) = fields.word("kill_signal", notes) {
        stop_signal(&signal, fields.place_of("kill_signal"), &mut process.stop_signal, notes);
    } else if let Some(stop) = stop {
        process.stop_signal = Some(stop.to_owned());
        let advice = format!(
            "without it the process is stopped by {stop}, which is kept; Squire's own default is SIGTERM"
        );
        notes.told(fields.place_of("command"), "kill_signal", advice);
    }
    process.stop_timeout = duration(&mut fields, "kill_timeout", notes).filter(|timeout| timeout != "30s");
    if let Some(signal) = fields.word("reload_signal", notes) {
        match value::signal(&signal) {
            Some(signal) => process.on_change = Some(Reaction::Signal(signal)),
            None => notes.left(
                fields.place_of("reload_signal"),
                "reload_signal",
                "is no signal that a process can handle; Squire restarts",
            ),
        }
    }
    if duration(&mut fields, "splay", notes).is_some_and(|splay| splay != "0s") {
        notes.left(fields.place_of("splay"), "splay", NO_SPLAY);
    }
    if duration(&mut fields, "timeout", notes).is_some_and(|timeout| timeout != "0s") {
        let advice = "it bounds only programs that end by themselves; left out";
        notes.told(fields.place_of("timeout"), "timeout", advice);
    }
    for env in fields.blocks("env") {
        environment(&env, process, reading.file, notes);
    }
    unknown(&fields, "exec", notes);
    let remarks = start..notes.count();
    process.remarks.push(remarks);
}

/// A program with its words; a line that is more than words goes through a shell, as it does there.
pub(super) fn program(written: &[String]) -> Option<Vec<String>> {
    match written {
        [] => None,
        [line] if line.trim().is_empty() => None,
        [line] => {
            let words = command::program(line);
            Some(words.unwrap_or_else(|| vec!["sh".to_owned(), "-c".to_owned(), line.trim().to_owned()]))
        }
        [..] => Some(written.to_vec()),
    }
}

/// `env { pristine, custom, allowlist, denylist }`
fn environment(block: &Block<'_>, process: &mut super::foreign::Process, file: &str, notes: &mut Notes) {
    let mut fields = Fields::new(file, block.body);
    let mut words = |keys: &[&str], notes: &mut Notes| -> Vec<String> {
        keys.iter().filter_map(|key| fields.words(key, notes)).flatten().collect()
    };
    let custom = words(&["custom"], notes);
    let allowed = words(&["allowlist", "whitelist"], notes);
    let denied = words(&["denylist", "blacklist"], notes);
    let is_pristine = fields.boolean("pristine", notes) == Some(true);
    process.env_clear = is_pristine || !allowed.is_empty();
    if !is_pristine {
        process.env_pass = allowed;
    }
    process.env_deny = denied;
    for variable in custom {
        let Some((name, value)) = variable.split_once('=') else { continue };
        process.env.push(super::foreign::Variable {
            name: name.to_owned(),
            template: super::document::literal(value),
            constant: Some(value.to_owned()),
            remarks: notes.count()..notes.count(),
        });
    }
    unknown(&fields, "env", notes);
}

/// What is said of a pause before restarts.
pub(super) const NO_SPLAY: &str =
    "Squire makes no random pause before a restart; give the machines different `rollout.window`s";

/// A duration; one that cannot be read is a note.
pub(super) fn duration(fields: &mut Fields<'_>, key: &str, notes: &mut Notes) -> Option<String> {
    let written = fields.text(key, notes)?;
    let duration = value::duration(&written);
    if duration.is_none() {
        notes.left(fields.place_of(key), key, "is no duration; write one such as \"30s\"");
    }
    duration
}

/// Signals that consul-template and envconsul take themselves.
pub(super) fn own_signals(fields: &mut Fields<'_>, notes: &mut Notes) {
    for (key, advice) in [
        (
            "reload_signal",
            "Squire reads its configuration anew at `squire reload`, and at SIGHUP if it has no process; left out",
        ),
        ("kill_signal", "Squire ends at SIGTERM and SIGINT; left out"),
        ("dump_signal", "`squire status` says how everything stands; left out"),
    ] {
        if fields.take(key, notes).is_some() {
            notes.told(fields.place_of(key), key, advice);
        }
    }
}

fn lesser(fields: &mut Fields<'_>, reading: &mut Reading<'_>) {
    let notes = &mut *reading.notes;
    own_signals(fields, notes);
    others(fields, notes);
    if fields.boolean("once", notes) == Some(true) {
        reading.foreign.is_once = true;
        let advice = "start `squire render` in place of `squire run`: it writes the files once and ends";
        notes.told(fields.place_of("once"), "once", advice);
    }
    for key in ["template_error_fatal", "err_on_failed_lookup", "parse_only", "block_query_wait"] {
        if fields.take(key, notes).is_some() {
            notes.told(fields.place_of(key), key, "says nothing for Squire; left out");
        }
    }
    common(fields, notes);
    unknown(fields, "the configuration", notes);
}

/// What consul-template and envconsul share beside Vault.
pub(super) fn others(fields: &mut Fields<'_>, notes: &mut Notes) {
    let has_consul = !fields.blocks("consul").is_empty() | fields.take("consul", notes).is_some();
    if has_consul {
        notes.told(
            fields.place_of("consul"),
            "consul",
            "Squire does not ask Consul; what a template asks of it is named there",
        );
    }
    if !fields.blocks("nomad").is_empty() {
        notes.told(
            fields.place_of("nomad"),
            "nomad",
            "Squire does not ask Nomad; what a template asks of it is named there",
        );
    }
    for (key, advice) in [
        ("token", "a token of Consul; Squire does not ask Consul"),
        ("max_stale", "it is about Consul; left out"),
        ("retry", "Squire tries again for as long as it runs; left out"),
    ] {
        let is_there = fields.take(key, notes).is_some() | !fields.blocks(key).is_empty();
        if is_there {
            notes.told(fields.place_of(key), key, advice);
        }
    }
    if !fields.blocks("deduplicate").is_empty() {
        notes.told(fields.place_of("deduplicate"), "deduplicate", "it is about queries of Consul; left out");
    }
    for key in ["syslog", "log_file"] {
        if !fields.blocks(key).is_empty() {
            notes.told(
                fields.place_of(key),
                key,
                "Squire logs to stderr, which the service manager takes; left out",
            );
        }
    }
}

/// Notes for what neither program knows.
pub(super) fn unknown(fields: &Fields<'_>, whose: &str, notes: &mut Notes) {
    for (key, place) in fields.rest() {
        notes.left(place, key, format!("is no key of {whose} that the import knows; it is left out"));
    }
}
