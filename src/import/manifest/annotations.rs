//! What the injector's annotations say. OpenBao's injector reads the same names under its own prefix.
//!
//! *Invariant:* every annotation with the prefix is taken over, or is a note.

use std::collections::BTreeMap;

use super::super::agent;
use super::super::block::{self, Reading};
use super::super::foreign::{Auth, File, Pod, Proxy, Sink};
use super::super::hcl::{Block, Body, Is, Item, Key, Spot, Value};
use super::super::yaml::{Node, Yaml};
use super::super::{Delimiters, Place, Text, value};
use super::pod::Plan;

pub(super) const PREFIXES: &[&str] = &["vault.hashicorp.com/", "openbao.openbao.org/"];
/// Where the injector puts files.
const DIRECTORY: &str = "/vault/secrets";

/// The annotations of one pod by their names without the prefix.
pub(super) struct Annotations {
    file: String,
    values: BTreeMap<String, (String, Spot)>,
    at: Spot,
}

impl Annotations {
    /// `None` if the injector would not touch the pod.
    pub(super) fn of(template: &Node, reading: &mut Reading<'_>) -> Option<Self> {
        let mut values = BTreeMap::new();
        let mut unquoted = Vec::new();
        for (key, node) in template.get(&["metadata", "annotations"])?.pairs() {
            let Some(name) = PREFIXES.iter().find_map(|prefix| key.strip_prefix(prefix)) else { continue };
            let Yaml::Scalar(text, is_plain) = &node.is else { continue };
            if *is_plain
                && (matches!(text.as_str(), "true" | "false" | "null" | "~" | "")
                    || text.parse::<f64>().is_ok())
            {
                unquoted.push((name.to_owned(), node.at));
            }
            values.insert(name.to_owned(), (text.clone(), node.at));
        }
        let is_asked = values.get("agent-inject").is_some_and(|(value, _)| is_true(value));
        let (at, file) = (values.values().next()?.1, reading.file.to_owned());
        let annotations = Self { file, values, at };
        if !is_asked {
            let advice = "without agent-inject: \"true\" the injector does not touch this pod; neither does the import";
            reading.notes.told(annotations.place(), "agent-inject", advice);
            return None;
        }
        for (name, at) in unquoted {
            let advice = "an annotation has to be text, so Kubernetes refuses this value without quotes";
            reading.notes.told(annotations.spot(at), name, advice);
        }
        Some(annotations)
    }

    /// Of the first one.
    pub(super) fn place(&self) -> Place {
        self.spot(self.at)
    }

    fn spot(&self, at: Spot) -> Place {
        Place { file: self.file.clone(), line: at.line, column: at.column }
    }

    fn take(&mut self, name: &str) -> Option<(String, Place)> {
        let (value, at) = self.values.remove(name)?;
        let place = self.spot(at);
        Some((value, place)).filter(|(value, _)| !value.is_empty())
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.take(name).map(|(value, _)| value)
    }

    fn is_on(&mut self, name: &str) -> bool {
        self.text(name).is_some_and(|value| is_true(&value))
    }

    /// Takes everything over.
    pub(super) fn read(&mut self, template: &Node, reading: &mut Reading<'_>) -> Plan {
        self.take("agent-inject");
        let mut plan = self.plan(template, reading);
        self.server(&plan, reading);
        self.login(&plan, reading);
        self.settings(&plan, reading);
        self.files(&mut plan, reading);
        self.token(reading);
        self.proxy(reading);
        self.rest(reading);
        plan
    }

    /// A user's or a group's number; a name is left.
    fn account(&mut self, name: &str, reading: &mut Reading<'_>) -> Option<String> {
        let (account, place) = self.take(name)?;
        if account.parse::<u32>().is_ok() {
            return Some(account);
        }
        let advice = "is no number, which Kubernetes needs; write it into the securityContext of the sidecar";
        reading.notes.left(place, format!("{name} {account:?}"), advice);
        None
    }

    /// `agent-run-as-same-user`: the user and group of the first container, as the injector takes them.
    fn same_user(&mut self, template: &Node, reading: &mut Reading<'_>) -> [Option<String>; 2] {
        const KEY: &str = "agent-run-as-same-user";
        let Some((_, place)) = self.take(KEY).filter(|(value, _)| is_true(value)) else {
            return [None, None];
        };
        let first = template.get(&["spec", "containers"]).and_then(|containers| containers.items().first());
        let said = |key: &str| {
            let own = first.and_then(|container| container.get(&["securityContext", key]));
            let number = own.or_else(|| template.get(&["spec", "securityContext", key]))?.as_text()?;
            number.parse::<u32>().ok().map(|number| number.to_string())
        };
        let user = said("runAsUser");
        if user.is_none() {
            let advice = "the manifest does not say the app's user, which is in its image then; write its runAsUser into the securityContext of the sidecar";
            reading.notes.left(place, KEY, advice);
            return [None, None];
        }
        [user, said("runAsGroup")]
    }

    fn plan(&mut self, template: &Node, reading: &mut Reading<'_>) -> Plan {
        let [same_user, same_group] = self.same_user(template, reading);
        let user = same_user.or(self.account("agent-run-as-user", reading));
        let group = self.account("agent-run-as-group", reading).or(same_group);
        let (volume, volume_place) = self.take("agent-service-account-token-volume-name").unzip();
        let containers = template.get(&["spec", "containers"]).map(Node::items).unwrap_or_default();
        let mounts = containers
            .iter()
            .flat_map(|container| container.get(&["volumeMounts"]).map(Node::items).unwrap_or_default());
        let named = |mount: &&Node| mount.get(&["name"]).and_then(Node::as_text) == volume.as_deref();
        let path = mounts
            .filter(|_| volume.is_some())
            .find(named)
            .and_then(|mount| mount.get(&["mountPath"])?.as_text());
        if let Some(place) = volume_place.filter(|_| path.is_none()) {
            let advice = "no container mounts this volume; mount it for Squire, and name the token in auth.kubernetes.token_file";
            reading.notes.left(place, "agent-service-account-token-volume-name", advice);
        }
        let only = self.text("agent-inject-containers");
        Plan {
            is_once: self.is_on("agent-pre-populate-only"),
            is_first: self.is_on("agent-init-first"),
            shares_processes: self.is_on("agent-share-process-namespace"),
            user,
            group,
            tls_secret: self.text("tls-secret"),
            extra_secret: self.text("agent-extra-secret"),
            token_volume: volume.clone().zip(path.map(ToOwned::to_owned)),
            containers: only.map(|only| only.split(',').map(|name| name.trim().to_owned()).collect()),
            config_map: self.text("agent-configmap"),
            cpu: [self.text("agent-requests-cpu"), self.text("agent-limits-cpu")],
            memory: [self.text("agent-requests-mem"), self.text("agent-limits-mem")],
            directories: vec![DIRECTORY.to_owned()],
        }
    }

    fn server(&mut self, plan: &Plan, reading: &mut Reading<'_>) {
        let start = reading.notes.count();
        let vault = &mut reading.foreign.vault;
        vault.address = self.text("service");
        vault.namespace = self.text("namespace");
        vault.ca_file = self.text("ca-cert");
        vault.client_cert_file = self.text("client-cert");
        vault.client_key_file = self.text("client-key");
        vault.tls_server_name = self.text("tls-server-name");
        if let Some((_, place)) = self.take("tls-skip-verify").filter(|(value, _)| is_true(value)) {
            vault.insecure_tls = Some(true);
            let advice = "the server's certificate is not verified, so anybody can be the server; Squire warns at each start. \
                          Name the authority with ca_file instead";
            reading.notes.told(place, "tls-skip-verify", advice);
        }
        if vault.address.is_none() && !plan.has_configuration() {
            let advice = "the injector has an address of its own where the pod names none; write that of your server into [source.vault]";
            reading.notes.left(self.place(), "service", advice);
        }
        if let Some((interval, place)) = self.take("template-static-secret-render-interval") {
            let refresh = value::duration(&interval);
            if refresh.is_none() {
                let advice = "is no duration; write one into `refresh` of [source.vault]";
                reading.notes.left(place, "template-static-secret-render-interval", advice);
            }
            vault.refresh = refresh.filter(|interval| interval != "0s");
        }
        let remarks = start..reading.notes.count();
        reading.foreign.vault.remarks.push(remarks);
    }

    /// Kubernetes where nothing is said; the other methods as the agent has them, from `auth-config-…`.
    fn login(&mut self, plan: &Plan, reading: &mut Reading<'_>) {
        let kind = self.text("auth-type").unwrap_or_else(|| "kubernetes".to_owned());
        let at = self.at;
        let item = |name: &str, text: String, at: Spot| Item {
            keys: vec![Key { name: name.to_owned(), at }],
            value: Value { at, is: Is::Text(text, at.line) },
        };
        let mut config = Body { items: Vec::new(), end: at };
        for name in ["role", "auth-config-role"] {
            if let Some((role, place)) = self.take(name) {
                config.items.push(item("role", role, Spot { line: place.line, column: place.column }));
            }
        }
        let others: Vec<String> =
            self.values.keys().filter(|name| name.starts_with("auth-config-")).cloned().collect();
        for name in others {
            let key = name.trim_start_matches("auth-config-").replace('-', "_");
            if let Some((value, at)) = self.values.remove(&name) {
                config.items.push(item(&key, value, at));
            }
        }
        let mut method = Body { items: vec![item("type", kind.clone(), at)], end: at };
        if let Some((path, place)) = self.take("auth-path") {
            method.items.push(item("mount_path", path, Spot { line: place.line, column: place.column }));
        }
        let config = Value { at, is: Is::Object(config) };
        method.items.push(Item { keys: vec![Key { name: "config".to_owned(), at }], value: config });
        let start = reading.notes.count();
        if plan.config_map.is_none() {
            agent::method(&Block { labels: Vec::new(), body: &method, at }, reading);
        }
        let vault = &mut reading.foreign.vault;
        vault.auth_remarks.push(start..reading.notes.count());
        if let (Some(Auth::Kubernetes { token_file, .. }), Some((_, path))) =
            (&mut vault.auth, &plan.token_volume)
        {
            token_file.get_or_insert_with(|| format!("{}/token", path.trim_end_matches('/')));
        }
    }

    fn settings(&mut self, plan: &Plan, reading: &mut Reading<'_>) {
        let notes = &mut *reading.notes;
        reading.foreign.is_once |= plan.is_once;
        reading.foreign.pod = Some(Pod { gives_back: self.is_on("agent-revoke-on-shutdown") });
        if self.is_on("template-config-exit-on-retry-failure") || !plan.is_once {
            self.take("template-config-exit-on-retry-failure");
        }
        if let Some((value, place)) = self.take("agent-pre-populate")
            && !is_true(&value)
        {
            let advice = "the app starts before its secrets are there; with Squire it waits for them, by the start-up probe of the sidecar";
            notes.told(place, "agent-pre-populate", advice);
        }
        if let Some((value, place)) = self.take("agent-image") {
            notes.told(
                place,
                format!("agent-image {value:?}"),
                "write your image of Squire where the manifest has registry.example/squire",
            );
        }
    }

    /// One file for each `agent-inject-secret-NAME`.
    fn files(&mut self, plan: &mut Plan, reading: &mut Reading<'_>) {
        const SECRET: &str = "agent-inject-secret-";
        let keeps_case = self.is_on("preserve-secret-case");
        let volume = self.text("secret-volume-path").unwrap_or_else(|| DIRECTORY.to_owned());
        let by_default = self.text("agent-inject-default-template").unwrap_or_else(|| "map".to_owned());
        plan.directories = vec![volume.trim_end_matches('/').to_owned()];
        let names: Vec<String> =
            self.values.keys().filter_map(|key| key.strip_prefix(SECRET)).map(ToOwned::to_owned).collect();
        for name in names {
            let Some((path, place)) = self.take(&format!("{SECRET}{name}")) else { continue };
            let start = reading.notes.count();
            let keeps_case = self.is_on(&format!("preserve-secret-case-{name}")) || keeps_case;
            let cased = if keeps_case { name.clone() } else { name.to_lowercase() };
            if cased != name {
                let advice =
                    "without preserve-secret-case the injector writes the name in small letters; kept so";
                reading.notes.told(place.clone(), format!("agent-inject-secret-{name}"), advice);
            }
            let file_name = self.text(&format!("agent-inject-file-{name}")).unwrap_or(cased);
            let directory = self.text(&format!("secret-volume-path-{name}"));
            let directory =
                directory.map_or_else(|| volume.clone(), |path| path.trim_end_matches('/').to_owned());
            let mut file = File {
                place: place.clone(),
                path: format!("{}/{file_name}", directory.trim_end_matches('/')),
                ..File::default()
            };
            if !plan.directories.contains(&directory) {
                plan.directories.push(directory.trim_end_matches('/').to_owned());
            }
            file.template = self.template(&name, &path, &by_default, &place, reading);
            file.mode = self.mode(&format!("agent-inject-perms-{name}"), reading);
            if let Some((command, place)) = self.take(&format!("agent-inject-command-{name}")) {
                command_of(&command, place, &mut file, plan, reading);
            }
            file.remarks = start..reading.notes.count();
            reading.foreign.files.push(file);
        }
        reading.foreign.in_memory.clone_from(&plan.directories);
        reading.foreign.dir = Some(volume.trim_end_matches('/').to_owned());
    }

    fn mode(&mut self, key: &str, reading: &mut Reading<'_>) -> Option<String> {
        let (perms, place) = self.take(key)?;
        let mode = value::quoted_mode(&perms).and_then(|mode| value::mode(mode.bits));
        if mode.is_none() {
            let advice = "is no mode that Squire sets; write one such as \"0640\"";
            reading.notes.left(place, format!("{key} {perms:?}"), advice);
        }
        mode
    }

    /// The template of an annotation, of a file, or the injector's own.
    fn template(
        &mut self,
        name: &str,
        path: &str,
        by_default: &str,
        place: &Place,
        reading: &mut Reading<'_>,
    ) -> Option<String> {
        let strict = self.is_on(&format!("error-on-missing-key-{name}"));
        let own = self.values.remove(&format!("agent-inject-template-{name}"));
        let named = self.take(&format!("agent-inject-template-file-{name}"));
        let (text, first_line) = match (own, named) {
            (Some((text, at)), _) if !text.is_empty() => (text, at.line),
            (_, Some((file, place))) => {
                let text = (reading.open)(&file);
                if text.is_none() {
                    let advice = "this file is in the container and cannot be read here; import it by itself and name the result in `template`";
                    reading.notes.left(
                        place.clone(),
                        format!("agent-inject-template-file-{name} = {file:?}"),
                        advice,
                    );
                }
                (text?, place.line)
            }
            (_, None) => {
                let construct = format!("agent-inject-secret-{name}");
                if is_versioned(path) {
                    let advice = "without a template the injector prints `data: map[…]` and `metadata: map[…]`, as Go prints a map; here the fields stand \
                                  by themselves, a line each. Change the program that reads it, or write a template for it";
                    reading.notes.left(place.clone(), construct, advice);
                } else {
                    let advice = "without a template the injector prints the fields, a line each; of a KV v2 secret it would print Go's form of a map";
                    reading.notes.told(place.clone(), construct, advice);
                }
                (default_template(path, by_default), place.line)
            }
        };
        let text = Text {
            origin: &format!("{}: agent-inject-template-{name}", self.file),
            text: &text,
            first_line,
            delimiters: Delimiters::default(),
            error_on_missing_key: strict,
        };
        Some(block::translated(&text, reading))
    }

    fn token(&mut self, reading: &mut Reading<'_>) {
        if let Some((_, place)) = self.take("agent-inject-token").filter(|(value, _)| is_true(value)) {
            let start = reading.notes.count();
            let advice = "a token is no part of a release: write it beside the secrets by [[source.vault.token_file]], on a volume of its own";
            reading.notes.left(place, "agent-inject-token", advice);
            let remarks = start..reading.notes.count();
            reading.foreign.sinks.push(Sink { remarks, ..Sink::default() });
        }
    }

    /// The injector's cache is an agent that others in the pod ask at 127.0.0.1.
    fn proxy(&mut self, reading: &mut Reading<'_>) {
        const KEY: &str = "agent-cache-enable";
        let start = reading.notes.count();
        let on = self.take(KEY).filter(|(value, _)| is_true(value));
        let lends = self
            .text("agent-cache-use-auto-auth-token")
            .map_or("false".to_owned(), |said| if is_true(&said) { "true".to_owned() } else { said });
        let port = self.take("agent-cache-listener-port");
        let Some((_, place)) = on else { return };
        let port = port.and_then(|(port, place)| {
            let number = port.parse::<u16>().ok();
            if number.is_none() {
                let advice = "is no port; 8200 stands in proxy.listen";
                reading.notes.left(place, "agent-cache-listener-port", advice);
            }
            number
        });
        match agent::Lends::of(&lends) {
            Some(lends @ (agent::Lends::Always | agent::Lends::IfMissing)) => {
                reading.notes.left(place, KEY, agent::PATHS);
                reading.foreign.proxy = Some(Proxy {
                    listen: format!("127.0.0.1:{}", port.unwrap_or(8200)),
                    lets_own_token: lends == agent::Lends::IfMissing,
                    remarks: start..reading.notes.count(),
                    ..Proxy::default()
                });
            }
            Some(agent::Lends::Nothing) | None => reading.notes.left(place, KEY, agent::LENDS_NOTHING),
        }
    }

    /// What has no meaning for Squire, and what nobody knows.
    fn rest(&mut self, reading: &mut Reading<'_>) {
        for (name, (_, at)) in std::mem::take(&mut self.values) {
            let place = self.spot(at);
            if let Some(of) = name.strip_prefix("agent-inject-template-") {
                let advice = format!(
                    "without agent-inject-secret-{of} the injector passes over it; add that annotation, or remove this one"
                );
                reading.notes.left(place, name, advice);
            } else if let Some(prefix) = OF_A_SECRET.iter().find(|prefix| name.starts_with(**prefix)) {
                let of = name.trim_start_matches(prefix);
                let advice = format!(
                    "there is no agent-inject-secret-{of}, letter by letter, so the injector passes over it; correct the name, or remove it"
                );
                reading.notes.left(place, name, advice);
            } else if let Some((_, advice)) = TO_DO.iter().find(|(known, _)| name.starts_with(known)) {
                reading.notes.left(place, name, *advice);
            } else if let Some((_, advice)) = KNOWN.iter().find(|(known, _)| name.starts_with(known)) {
                reading.notes.told(place, name, *advice);
            } else {
                reading.notes.left(place, name, "is no annotation that the import knows; it is left out");
            }
        }
    }
}

/// The beginnings of names that go on with the name of a secret.
const OF_A_SECRET: &[&str] = &[
    "agent-inject-file-",
    "agent-inject-perms-",
    "agent-inject-command-",
    "agent-inject-template-file-",
    "secret-volume-path-",
    "preserve-secret-case-",
    "error-on-missing-key-",
];

/// The beginnings of names whose meaning the user has to write by hand.
const TO_DO: &[(&str, &str)] = &[
    ("agent-telemetry", "Squire has metrics for Prometheus: write [agent] listen = \"0.0.0.0:9790\""),
    ("agent-copy-volume-mounts", "add the mounts that Squire needs to its container"),
    ("agent-json-patch", "change Squire's container in the manifest by hand"),
    ("agent-init-json-patch", "change Squire's container in the manifest by hand"),
    ("proxy-address", "write `proxy` into [source.vault]"),
];

/// The beginnings of names that say nothing for Squire.
const KNOWN: &[(&str, &str)] = &[
    ("agent-inject-status", "the injector's own note; left out"),
    ("log-level", "the level of Squire's log is in the variable SQUIRE_LOG"),
    ("log-format", "the format of Squire's log is in the variable SQUIRE_LOG_FORMAT"),
    ("agent-revoke-grace", "Squire gives its token back in a time of its own; left out"),
    ("auth-", "Squire's pauses between two logins are its own; left out"),
    ("agent-auto-auth-exit-on-err", "Squire goes on trying; `startup_timeout` bounds the first release"),
    ("template-max-connections-per-host", "Squire bounds its connections itself; left out"),
    ("template-", "says nothing for Squire; left out"),
    ("agent-limits-ephemeral", "Squire writes to memory only; left out"),
    ("agent-requests-ephemeral", "Squire writes to memory only; left out"),
    ("agent-set-security-context", "the sidecar of the manifest has a strict one; left out"),
    ("agent-enable-quit", "an order comes through Squire's socket; left out"),
    ("agent-cache", "Squire asks for each secret once; left out"),
    ("cache-", "Squire asks for each secret once; left out"),
    ("agent-disable", "Squire keeps its connections itself; left out"),
    ("disable-", "Squire keeps its connections itself; left out"),
    ("client-", "Squire has times of its own; left out"),
    ("go-max-procs", "Squire is no program of Go; left out"),
    ("ca-key", "the key of an authority is not needed by a client; left out"),
];

/// A line, or `{"command": ["sh", "-c"], "args": ["…"]}`.
fn command_of(command: &str, place: Place, file: &mut File, plan: &mut Plan, reading: &mut Reading<'_>) {
    let list = serde_json::from_str::<serde_json::Value>(command)
        .ok()
        .filter(serde_json::Value::is_object)
        .map(|json| {
            let words = |key: &str| match json.get(key) {
                Some(serde_json::Value::Array(words)) => {
                    words.iter().filter_map(|word| word.as_str().map(ToOwned::to_owned)).collect()
                }
                Some(serde_json::Value::String(word)) => vec![word.clone()],
                Some(_) | None => Vec::new(),
            };
            [words("command"), words("args")].concat()
        });
    let at = Spot { line: place.line, column: place.column };
    let text = |text: &str| Value { at, is: Is::Text(text.to_owned(), at.line) };
    let value = match list {
        Some(words) => Value { at, is: Is::List(words.iter().map(|word| text(word)).collect()) },
        None => text(command),
    };
    block::react(&value, place.clone(), None, file, reading.notes);
    if matches!(file.on_change, Some(super::super::foreign::Reaction::Named { .. })) && !plan.shares_processes
    {
        plan.shares_processes = true;
        let advice = "a process of another container is seen only in a shared namespace, so the pod has shareProcessNamespace now; \
                      and Squire has to run as the user of that process";
        reading.notes.told(place, "agent-inject-command", advice);
    } else if matches!(file.on_change, Some(super::super::foreign::Reaction::Run { .. })) {
        let advice = "the command runs in Squire's container, whose image has no shell and no other program; put Squire into an image that has them";
        reading.notes.left(place, "agent-inject-command", advice);
    }
}

/// The injector's own templates.
fn default_template(path: &str, kind: &str) -> String {
    let path = path.replace(['"', '\\'], "");
    // All of KV v2, with its metadata, is nothing that Squire has in one.
    let data = if is_versioned(&path) { ".Data.data" } else { ".Data" };
    match kind {
        "json" => format!("{{{{ with secret \"{path}\" }}}}{{{{ {data} | toJSON }}}}\n{{{{ end }}}}"),
        _ => format!(
            "{{{{ with secret \"{path}\" }}}}{{{{ range $k, $v := {data} }}}}{{{{ $k }}}}: {{{{ $v }}}}\n{{{{ end }}}}{{{{ end }}}}"
        ),
    }
}

/// Whether a path is one of the API of KV v2.
fn is_versioned(path: &str) -> bool {
    path.trim_start_matches('/').split('/').skip(1).any(|part| part == "data")
}

fn is_true(value: &str) -> bool {
    matches!(value, "true" | "True" | "TRUE" | "1" | "t" | "T")
}
