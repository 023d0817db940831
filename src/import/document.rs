//! The neutral result → the text of `squire.toml`, grouped and commented, with the templates that are too long for it.
//!
//! *Invariant:* the text is TOML that Squire's own reader takes, whatever was in the names: every value goes through [`quoted`] or
//! [`template_text`], every remark through [`Page::comment`].

mod page;

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{Files, TemplateFile};
use super::finish::{DIRECTORY, is_on_disk};
use super::foreign::{
    Auth, FieldsAsVariables, File, Foreign, Process, Reaction, Sink, VARIABLE, Vault, shown,
};
use super::{Notes, Request, Wants};
use page::{Page, as_it_is, bare_or_quoted, quoted, template_text};

pub(super) use page::literal;

/// Longer templates are files of their own, in lines.
const LONGEST_INLINE: usize = 12;

/// The configuration, and its templates.
pub(super) fn document(
    foreign: &Foreign,
    wants: &Wants,
    notes: &Notes,
    names: &[&str],
    files: Files,
) -> (String, Vec<TemplateFile>) {
    let mut page = Page::new(notes);
    let (mut templates, mut names_taken) = (Vec::new(), Names::default());
    if let Some(timeout) = &foreign.startup_timeout {
        page.blank();
        page.pair("startup_timeout", &quoted(timeout));
    }
    let requests: Vec<(&str, &Request)> = wants.all().collect();
    source(&mut page, foreign, !requests.is_empty());
    for (name, request) in requests {
        secret(&mut page, name, request);
    }
    output(&mut page, foreign);
    for file in &foreign.files {
        self::file(&mut page, file, files, &mut names_taken, &mut templates);
    }
    process(&mut page, &foreign.process, foreign.dir.as_deref().unwrap_or(DIRECTORY));
    if let Some(settle) = &foreign.settle {
        page.table("[rollout]");
        page.pair("settle", &quoted(settle));
    }
    proxy(&mut page, foreign, wants);
    agent(&mut page, foreign);
    let start = if foreign.is_once { "squire render -c squire.toml" } else { "squire run -c squire.toml" };
    let head = [
        format!("Made by `squire import` from {}.", names.join(", ")),
        format!("Look at it with `squire check -c squire.toml`, start it with `{start}`."),
    ];
    (page.into_text(&head), templates)
}

fn agent(page: &mut Page<'_>, foreign: &Foreign) {
    if foreign.pod.is_none() && foreign.own.listen.is_none() && !foreign.own.keeps_ledger {
        return;
    }
    page.table("[agent]");
    page.text("listen", foreign.own.listen.as_ref());
    if foreign.pod.is_some() {
        page.comment("A container that was restarted takes over its token and its leases.");
    }
    if foreign.pod.is_some() || foreign.own.keeps_ledger {
        page.pair("ledger", "\"/run/squire/ledger\"");
    }
    if let Some(pod) = &foreign.pod {
        page.pair("reload", "\"watch\"");
        if pod.gives_back {
            page.pair("on_stop", "\"give_back\"");
        }
    }
}

/// What the clients of the agent may ask for is not written anywhere: what the templates read is a beginning.
fn proxy(page: &mut Page<'_>, foreign: &Foreign, wants: &Wants) {
    let Some(proxy) = &foreign.proxy else { return };
    page.table("[proxy]");
    page.remarks(std::slice::from_ref(&proxy.remarks));
    page.pair("listen", &quoted(&proxy.listen));
    if !proxy.users.is_empty() {
        let users: Vec<String> = proxy.users.iter().map(|user| accounted(user)).collect();
        page.pair("users", &format!("[{}]", users.join(", ")));
    }
    if proxy.lets_own_token {
        page.pair("auto_auth", "\"if_missing\"");
    }
    let mut paths: Vec<String> = vec!["auth/token/lookup-self".to_owned()];
    paths.extend(wants.all().flat_map(|(_, request)| asked(request)));
    let mut seen = BTreeSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    let paths: Vec<String> = paths.iter().map(|path| format!("  {},\n", as_it_is(path))).collect();
    page.pair("paths", &format!("[\n{}]", paths.concat()));
}

/// The paths of the API by which a request may come. Whether a mount is of KV v2 is not known here.
fn asked(request: &Request) -> Vec<String> {
    let path = request.path.trim_matches('/');
    // A pattern would allow more than this one.
    if path.split('/').any(|part| matches!(part, "" | "." | "..") || part.contains(['*', '+'])) {
        return Vec::new();
    }
    let (mount, rest) = path.split_once('/').unwrap_or((path, ""));
    let end = if request.folder { "/*" } else { "" };
    let is_said = path.split('/').skip(1).any(|part| part == "data");
    if rest.is_empty() || is_said || !request.params.is_empty() || is_of_engine(rest) {
        return vec![format!("{path}{end}")];
    }
    let kinds: &[&str] = if request.folder { &["data/", "metadata/"] } else { &["data/"] };
    let versioned = kinds.iter().map(|kind| format!("{mount}/{kind}{rest}{end}"));
    std::iter::once(format!("{path}{end}")).chain(versioned).collect()
}

/// Whether this path is one of an engine that makes what is asked for: `database/creds/app`.
fn is_of_engine(rest: &str) -> bool {
    let first = rest.split('/').next().unwrap_or_default();
    matches!(
        first,
        "creds"
            | "static-creds"
            | "issue"
            | "sign"
            | "cert"
            | "ca"
            | "ca_chain"
            | "sts"
            | "token"
            | "roleset"
    )
}

fn source(page: &mut Page<'_>, foreign: &Foreign, is_needed: bool) {
    let vault = &foreign.vault;
    let says = |texts: &[&Option<String>]| texts.iter().any(|text| text.is_some());
    let is_said = says(&[&vault.address, &vault.namespace, &vault.ca_file, &vault.refresh])
        || vault.auth.is_some()
        || !foreign.sinks.is_empty()
        || foreign.proxy.is_some()
        || !vault.remarks.is_empty()
        || !vault.auth_remarks.is_empty();
    if !is_said && !is_needed {
        return;
    }
    page.table("[source.vault]");
    page.remarks(&vault.remarks);
    server(page, vault);
    page.remarks(&vault.auth_remarks);
    if let Some(auth) = &vault.auth {
        self::auth(page, auth);
    }
    for sink in &foreign.sinks {
        self::sink(page, sink);
    }
}

/// The token for others. The agents' mode is 0640 if none is said.
fn sink(page: &mut Page<'_>, sink: &Sink) {
    let Some(path) = sink.path.as_ref().filter(|_| sink.is_writable()) else {
        page.remarks(std::slice::from_ref(&sink.remarks));
        return;
    };
    page.table("[[source.vault.token_file]]");
    page.remarks(std::slice::from_ref(&sink.remarks));
    page.pair("path", &quoted(path));
    page.pair("mode", &quoted(sink.mode.as_deref().unwrap_or("0640")));
    account(page, "owner", sink.owner.as_ref());
    account(page, "group", sink.group.as_ref());
    page.text("wrap_ttl", sink.wrap_ttl.as_ref());
    page.pair("make_dir", "true");
}

fn server(page: &mut Page<'_>, vault: &Vault) {
    page.text("address", vault.address.as_ref());
    page.text("namespace", vault.namespace.as_ref());
    page.text("ca_file", vault.ca_file.as_ref());
    // One without the other is refused; the login by certificate needs both.
    if let (Some(cert), Some(key)) = (&vault.client_cert_file, &vault.client_key_file) {
        page.pair("client_cert_file", &quoted(cert));
        page.pair("client_key_file", &quoted(key));
    }
    page.text("tls_server_name", vault.tls_server_name.as_ref());
    if vault.insecure_tls == Some(true) {
        page.pair("insecure_tls", "true");
    }
    page.text("refresh", vault.refresh.as_ref());
}

fn auth(page: &mut Page<'_>, auth: &Auth) {
    match auth {
        Auth::AppRole { mount, role_id_file, secret_id_file, unwrap, delete_secret_id } => {
            page.table("[source.vault.auth.approle]");
            page.text("mount", mount.as_ref());
            page.text("role_id_file", role_id_file.as_ref());
            page.text("secret_id_file", secret_id_file.as_ref());
            if *unwrap {
                page.pair("unwrap", "true");
            }
            if let Some(delete) = delete_secret_id {
                page.pair("delete_secret_id", if *delete { "true" } else { "false" });
            }
        }
        Auth::Token { file } => {
            page.table("[source.vault.auth.token]");
            page.pair("file", &quoted(file));
        }
        Auth::Jwt { mount, role, jwt_file } => {
            page.table("[source.vault.auth.jwt]");
            page.text("mount", mount.as_ref());
            page.pair("role", &quoted(role));
            page.pair("jwt_file", &quoted(jwt_file));
        }
        Auth::Kubernetes { mount, role, token_file } => {
            page.table("[source.vault.auth.kubernetes]");
            page.text("mount", mount.as_ref());
            page.pair("role", &quoted(role));
            page.text("token_file", token_file.as_ref());
        }
        Auth::Cert { mount, name } => {
            page.table("[source.vault.auth.cert]");
            page.text("mount", mount.as_ref());
            page.text("name", name.as_ref());
        }
        Auth::Password { .. } | Auth::Aws { .. } | Auth::Gcp { .. } | Auth::Azure { .. } => {
            rarer(page, auth);
        }
    }
}

/// The logins that few have.
fn rarer(page: &mut Page<'_>, auth: &Auth) {
    match auth {
        Auth::Password { method, mount, username, password_file } => {
            page.table(&format!("[source.vault.auth.{method}]"));
            page.text("mount", mount.as_ref());
            page.pair("username", &quoted(username));
            page.pair("password_file", &quoted(password_file));
        }
        Auth::Aws { mount, role, region, server_id } => {
            page.table("[source.vault.auth.aws]");
            page.text("mount", mount.as_ref());
            page.pair("role", &quoted(role));
            page.text("region", region.as_ref());
            page.text("server_id", server_id.as_ref());
        }
        Auth::Gcp { mount, role } => {
            page.table("[source.vault.auth.gcp]");
            page.text("mount", mount.as_ref());
            page.pair("role", &quoted(role));
        }
        Auth::Azure { mount, role, resource, client_id } => {
            page.table("[source.vault.auth.azure]");
            page.text("mount", mount.as_ref());
            page.pair("role", &quoted(role));
            page.text("resource", resource.as_ref());
            page.text("client_id", client_id.as_ref());
        }
        Auth::AppRole { .. }
        | Auth::Token { .. }
        | Auth::Jwt { .. }
        | Auth::Kubernetes { .. }
        | Auth::Cert { .. } => {}
    }
}

fn secret(page: &mut Page<'_>, name: &str, request: &Request) {
    page.table(&format!("[secret.{name}]"));
    // Path and parameters are strings of the configuration already: a template may ask for a variable in them.
    page.pair("path", &as_it_is(&request.path));
    if let Some(version) = request.version {
        page.pair("version", &version.to_string());
    }
    if request.folder {
        page.pair("list", "true");
    }
    if !request.params.is_empty() {
        let params: Vec<String> = request
            .params
            .iter()
            .map(|(key, value)| format!("{} = {}", bare_or_quoted(key), as_it_is(value)))
            .collect();
        page.pair("params", &format!("{{ {} }}", params.join(", ")));
    }
}

/// Whether a file is a part of the release. What begins with a variable is a whole path.
fn is_relative(path: &str) -> bool {
    !path.starts_with('/') && !path.starts_with(VARIABLE)
}

fn output(page: &mut Page<'_>, foreign: &Foreign) {
    let files = || foreign.files.iter().filter(|file| file.template.is_some());
    let needs_dir = files().any(|file| is_relative(&file.path));
    let needs_mode = foreign.is_open_by_default && files().any(|file| file.mode.is_none());
    let sinks = foreign.sinks.iter().filter(|sink| sink.is_writable()).filter_map(|sink| sink.path.as_ref());
    let mut paths = files().map(|file| &file.path).chain(sinks);
    let needs_disk = paths.any(|path| is_on_disk(path, foreign));
    if !(needs_dir || needs_mode || needs_disk) {
        return;
    }
    page.table("[output]");
    if needs_dir {
        page.pair("dir", &quoted(foreign.dir.as_deref().unwrap_or(DIRECTORY)));
    }
    if needs_mode {
        page.pair("mode", "\"0644\"");
    }
    if needs_disk {
        page.pair("allow_disk", "true");
    }
}

fn file(
    page: &mut Page<'_>,
    file: &File,
    files: Files,
    names: &mut Names,
    templates: &mut Vec<TemplateFile>,
) {
    let Some(template) = &file.template else {
        page.blank();
        page.comment(&format!("[[file]] {}: here is why it is left out:", shown(&file.path)));
        page.remarks(std::slice::from_ref(&file.remarks));
        return;
    };
    page.table("[[file]]");
    page.remarks(std::slice::from_ref(&file.remarks));
    page.pair("path", &quoted(&file.path));
    if let Some(secret) = &file.each {
        page.pair("each", &quoted(secret));
    } else if files == Files::Beside && template.lines().count() > LONGEST_INLINE {
        let name = template_name(&file.path, names);
        page.pair("template", &quoted(&name));
        templates.push(TemplateFile { name, text: template.clone() });
    } else {
        page.pair("inline", &template_text(template));
    }
    page.text("mode", file.mode.as_ref());
    account(page, "owner", file.owner.as_ref());
    account(page, "group", file.group.as_ref());
    if file.makes_dir {
        page.pair("make_dir", "true");
    }
    if let Some(reaction) = &file.on_change {
        page.pair("on_change", &self::reaction(reaction));
    }
}

fn account(page: &mut Page<'_>, key: &str, account: Option<&String>) {
    if let Some(account) = account {
        page.pair(key, &accounted(account));
    }
}

/// A name is in quotes, a number is not.
fn accounted(account: &str) -> String {
    let is_number =
        !account.is_empty() && account.len() < 10 && account.bytes().all(|byte| byte.is_ascii_digit());
    match (is_number, account.trim_start_matches('0')) {
        (true, "") => "0".to_owned(),
        (true, number) => number.to_owned(),
        (false, _) => quoted(account),
    }
}

/// `nginx.conf.hbs`, with a number if that is taken.
fn template_name(path: &str, names: &mut Names) -> String {
    let base = path.rsplit('/').next().unwrap_or_default();
    let plain: String =
        base.chars().map(|c| if c.is_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
    let plain = plain.trim_start_matches('.');
    let plain = if plain.is_empty() { "file" } else { plain };
    let numbered = |count| if count == 1 { format!("{plain}.hbs") } else { format!("{plain}-{count}.hbs") };
    let mut number = names.next.get(plain).copied().unwrap_or(1);
    while names.taken.contains(&numbered(number)) {
        number += 1;
    }
    names.next.insert(plain.to_owned(), number + 1);
    names.taken.insert(numbered(number));
    numbered(number)
}

/// The names of the templates so far.
#[derive(Debug, Default)]
struct Names {
    taken: BTreeSet<String>,
    /// The next number for each.
    next: BTreeMap<String, usize>,
}

fn reaction(reaction: &Reaction) -> String {
    match reaction {
        Reaction::Nothing => quoted("none"),
        Reaction::Signal(signal) => quoted(signal),
        Reaction::PidFile { signal, pid_file } => {
            format!("{{ signal = {}, pid_file = {} }}", quoted(signal), quoted(pid_file))
        }
        Reaction::Named { signal, process } => {
            format!("{{ signal = {}, process = {} }}", quoted(signal), quoted(process))
        }
        Reaction::Run { command, timeout: None } => format!("{{ run = {} }}", list(command)),
        Reaction::Run { command, timeout: Some(timeout) } => {
            format!("{{ run = {}, timeout = {} }}", list(command), quoted(timeout))
        }
    }
}

fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(", "))
}

fn process(page: &mut Page<'_>, process: &Process, directory: &str) {
    let is_there = process.command.is_some()
        || !process.env.is_empty()
        || !process.env_from.is_empty()
        || process.env_clear
        || !process.env_deny.is_empty();
    if !is_there {
        return;
    }
    page.table("[process]");
    page.remarks(&process.remarks);
    if let Some(command) = &process.command {
        page.pair("command", &list(&started(command, &read_before(process, directory))));
    } else {
        page.comment("The command follows `--`: squire run -c squire.toml -- PROGRAM");
    }
    if let Some(reaction) = &process.on_change {
        page.pair("on_change", &self::reaction(reaction));
    }
    page.text("stop_signal", process.stop_signal.as_ref());
    page.text("stop_timeout", process.stop_timeout.as_ref().filter(|timeout| *timeout != "0s"));
    if process.env_clear {
        page.pair("env_clear", "true");
    }
    if !process.env_pass.is_empty() {
        page.pair("env_pass", &list(&process.env_pass));
    }
    if !process.env_deny.is_empty() {
        page.pair("env_deny", &list(&process.env_deny));
    }
    let env_from = env_from(&process.env_from);
    if !env_from.is_empty() {
        page.pair("env_from", &env_from);
    }
    variables(page, process);
}

/// `[process.env]`. Of two with one name the last one counts, as for the agents.
fn variables(page: &mut Page<'_>, process: &Process) {
    let fields: BTreeMap<_, _> = process.env_from.iter().filter_map(one_field).collect();
    if process.env.is_empty() && fields.is_empty() {
        return;
    }
    page.table("[process.env]");
    let last: BTreeMap<&str, usize> =
        process.env.iter().enumerate().map(|(at, variable)| (variable.name.as_str(), at)).collect();
    for (name, template) in fields.iter().filter(|(name, _)| !last.contains_key(name.as_str())) {
        page.pair(&bare_or_quoted(name), &template_text(template));
    }
    for (at, variable) in process.env.iter().enumerate() {
        let is_last = last.get(variable.name.as_str()) == Some(&at);
        page.remarks(std::slice::from_ref(&variable.remarks));
        if is_last {
            page.pair(&bare_or_quoted(&variable.name), &template_text(&variable.template));
        }
    }
}

/// The files of variables.
fn read_before(process: &Process, directory: &str) -> Vec<String> {
    process
        .sourced
        .iter()
        .map(|path| if is_relative(path) { format!("{directory}/{path}") } else { path.to_owned() })
        .collect()
}

/// A shell that reads the variables becomes the program.
fn started(command: &[String], variables: &[String]) -> Vec<String> {
    if variables.is_empty() {
        return command.to_vec();
    }
    // Each file is an argument of the shell's, so its name is no part of the script.
    let read: String = (1..=variables.len()).map(|_| ". \"$1\"; shift; ").collect();
    let shell =
        ["sh".to_owned(), "-c".to_owned(), format!("set -a; {read}set +a; exec \"$@\""), "sh".to_owned()];
    shell.into_iter().chain(variables.iter().cloned()).chain(command.iter().cloned()).collect()
}

/// Every field of a secret as a variable. Names as envconsul makes them: what a shell could not name is `_`.
fn env_from(secrets: &[FieldsAsVariables]) -> String {
    let entry = |of: &FieldsAsVariables| {
        let text = |key: &str, text: &str| format!("{key} = {}", quoted(text));
        let mut parts = vec![text("secret", &of.secret)];
        parts.extend((!of.before.is_empty()).then(|| text("prefix", &of.before)));
        parts.extend((!of.behind.is_empty()).then(|| text("suffix", &of.behind)));
        parts.extend(of.is_upper.then(|| "upper = true".to_owned()));
        parts.push("sanitize = true".to_owned());
        format!("{{ {} }}", parts.join(", "))
    };
    let entries: Vec<String> = secrets.iter().filter(|of| of.only.is_none()).map(entry).collect();
    if entries.is_empty() { String::new() } else { format!("[{}]", entries.join(", ")) }
}

/// One field as a variable, and its name.
fn one_field(of: &FieldsAsVariables) -> Option<(String, String)> {
    let FieldsAsVariables { secret, before, behind, is_upper, only } = of;
    let only = only.as_ref()?;
    let plain: String = only.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let name = format!("{before}{plain}{behind}");
    let field = serde_json::Value::from(only.as_str());
    let name = if *is_upper { name.to_uppercase() } else { name };
    Some((name, format!("{{{{lookup {secret} {field}}}}}")))
}
