//! `[source.NAME]`: where secrets come from, and how to reach the server.
//!
//! *Invariant:* no secret value is accepted, only the names of files that hold one.

pub(super) mod address;
pub(super) mod aws;
mod proxy;
mod store;
mod token_file;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::reader::{Table, every};
use super::value::{self, Form, POSITIVE_DURATION, SIZE};
use super::{AuthConfig, Authorities, ClientIdentity, SourceConfig, VaultConfig, auth, text};
use crate::names::SourceName;
use crate::size;

pub use address::is_this_machine;
pub use aws::AWS_VARIABLES;

/// How often static secrets are re-read by default.
const REFRESH: Duration = Duration::from_mins(5);

/// How often the token and its leases are looked up by default.
const LOOK_UP_EVERY: Duration = Duration::from_mins(1);

/// The sources of a configuration.
pub(super) struct Sources {
    /// Those without a problem.
    pub(super) configs: BTreeMap<SourceName, SourceConfig>,
    /// The names of all, so that a problem in one does not cause a problem for each of its secrets.
    pub(super) names: Vec<String>,
    /// How large a secret may be, where a source says it.
    max_sizes: BTreeMap<String, usize>,
}

impl Sources {
    /// How often a source's static secrets are re-read.
    pub(super) fn refresh(&self, name: &str) -> Duration {
        self.configs.get(name).map_or(REFRESH, SourceConfig::refresh)
    }

    /// How large a source's secrets may be, in bytes.
    pub(super) fn max_size(&self, name: &str) -> usize {
        self.max_sizes.get(name).copied().unwrap_or(size::USUAL)
    }
}

/// Reads `[source]`.
pub(super) fn sources(table: Option<&Table<'_>>) -> Sources {
    let mut sources = Sources { configs: BTreeMap::new(), names: Vec::new(), max_sizes: BTreeMap::new() };
    for (name, value) in table.into_iter().flat_map(Table::named) {
        sources.names.push(name.to_owned());
        if !is_source_name(name) {
            value.report("is not a name for a source; use letters, digits, `_` and `-`");
        }
        let config = value
            .table("a table: [source.NAME]")
            .and_then(|table| source(name, table, &mut sources.max_sizes));
        sources.configs.extend(config.map(|config| (SourceName::new(name), config)));
    }
    sources
}

fn is_source_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

fn source(name: &str, mut table: Table<'_>, max_sizes: &mut BTreeMap<String, usize>) -> Option<SourceConfig> {
    let kind = if let Some(kind) = table.take("type") {
        kind.read(&TYPE)?
    } else {
        let why = |why| table.report(format!("`type` is missing, and the table's name, {name:?}, {why}"));
        source_type(name).map_err(why).ok()?
    };
    max_sizes.extend(table.read("max_size", &SIZE).map(|size| (name.to_owned(), size)));
    match kind {
        Type::Vault => vault(table).map(SourceConfig::Vault),
        Type::Store => store::store(table).map(SourceConfig::Store),
        Type::Aws => aws::aws(table).map(SourceConfig::Aws),
    }
}

/// What a source is.
enum Type {
    Vault,
    Store,
    Aws,
}

const TYPE: Form<Type> =
    Form { expected: "a type in quotes: \"vault\", \"store\" or \"aws\"", shown: true, read: source_type };

fn source_type(written: &str) -> Result<Type, String> {
    match written {
        "vault" => Ok(Type::Vault),
        "store" => Ok(Type::Store),
        "aws" if cfg!(feature = "aws") => Ok(Type::Aws),
        "aws" => Err("is not in this build; build Squire with its feature `aws`".to_owned()),
        "bao" | "openbao" => Err("is not a type; write type = \"vault\", which is OpenBao's too".to_owned()),
        unknown => Err(match text::nearest(unknown, ["vault", "store", "aws"]) {
            Some(near) => format!("is not a type; did you mean \"{near}\"?"),
            None => "is not a type; write type = \"vault\", \"store\" or \"aws\"".to_owned(),
        }),
    }
}

fn vault(mut table: Table<'_>) -> Option<VaultConfig> {
    let addresses = addresses(&mut table);
    let namespace = setting(&mut table, "namespace", ["VAULT_NAMESPACE", "BAO_NAMESPACE"], &NAMESPACE);
    let authorities = authorities(&mut table);
    let proxy = proxy::of_vault(&mut table);
    let client_identity = client_identity(&mut table);
    let tls_server_name = setting(
        &mut table,
        "tls_server_name",
        ["VAULT_TLS_SERVER_NAME", "BAO_TLS_SERVER_NAME"],
        &SERVER_NAME,
    );
    let insecure_tls = insecure_tls(&mut table);
    let cautions = cautions(&table, addresses.as_deref().unwrap_or_default(), insecure_tls);
    let refresh = table.read("refresh", &POSITIVE_DURATION).unwrap_or(REFRESH);
    let look_up_every = table.read("look_up_every", &POSITIVE_DURATION).unwrap_or(LOOK_UP_EVERY);
    let allow_redirects = table.boolean("allow_redirects").unwrap_or(false);
    let auth = auth::auth(&mut table);
    let token_files = token_file::token_files(&mut table);
    if matches!(auth, Some(AuthConfig::Cert(_))) && !says_identity(&table) {
        table.report("`auth.cert` has no certificate to show; write client_cert_file and client_key_file");
    }
    table.finish();
    Some(VaultConfig {
        addresses: addresses?,
        namespace: namespace.filter(|namespace| !namespace.is_empty()),
        authorities,
        proxy,
        client_identity,
        tls_server_name,
        insecure_tls,
        allow_redirects,
        refresh,
        look_up_every,
        auth: auth?,
        token_files,
        cautions,
    })
}

/// The key, else the variables of the server's own tools, in their order.
fn authorities(table: &mut Table<'_>) -> Authorities {
    if let Some(file) = path_setting(table, "ca_file", ["VAULT_CACERT", "BAO_CACERT"]) {
        return Authorities::File(file);
    }
    if table.has("ca_file") {
        return Authorities::System;
    }
    if let Some((_, text)) = table.variable(["VAULT_CACERT_BYTES", "BAO_CACERT_BYTES"]) {
        return Authorities::Text(text);
    }
    let directory = from_variable(table, ["VAULT_CAPATH", "BAO_CAPATH"], &value::PATH);
    directory.map_or(Authorities::System, Authorities::Directory)
}

/// Variables of the server's own tools that Squire does not use.
const IGNORED: [&str; 18] = [
    "VAULT_AGENT_ADDR",
    "BAO_AGENT_ADDR",
    "VAULT_CLIENT_TIMEOUT",
    "BAO_CLIENT_TIMEOUT",
    "VAULT_DISABLE_REDIRECTS",
    "BAO_DISABLE_REDIRECTS",
    "VAULT_HEADERS",
    "BAO_HEADERS",
    "VAULT_MAX_RETRIES",
    "BAO_MAX_RETRIES",
    "VAULT_MFA",
    "BAO_MFA",
    "VAULT_RATE_LIMIT",
    "BAO_RATE_LIMIT",
    "VAULT_SRV_LOOKUP",
    "BAO_SRV_LOOKUP",
    "VAULT_WRAP_TTL",
    "BAO_WRAP_TTL",
];

fn cautions(table: &Table<'_>, addresses: &[String], insecure_tls: bool) -> Vec<String> {
    let mut cautions: Vec<_> = addresses
        .iter()
        .filter_map(|address| address::in_clear(address))
        .map(|host| said_in_clear(&host))
        .collect();
    if insecure_tls {
        cautions.push("insecure_tls: the server's certificate is not verified".to_owned());
    }
    let ignored = IGNORED.into_iter().filter(|name| table.variable([name; 2]).is_some());
    cautions.extend(
        ignored.map(|name| format!("the environment variable {name} is set, and Squire does not use it")),
    );
    cautions
}

fn said_in_clear(host: &str) -> String {
    format!("http: whoever is between here and {host} can read the login and the secrets; use https")
}

/// The value of the table, else the first of these variables that is set. A problem with a variable is reported for the table.
fn setting<T>(
    table: &mut Table<'_>,
    key: &'static str,
    variables: [&'static str; 2],
    form: &Form<T>,
) -> Option<T> {
    match table.take(key) {
        Some(value) => value.read(form),
        None => from_variable(table, variables, form),
    }
}

/// [`setting`] for files. A relative path in a variable is relative to the working directory, as for the server's own tools, and not to the
/// configuration's directory.
fn path_setting(table: &mut Table<'_>, key: &'static str, variables: [&'static str; 2]) -> Option<PathBuf> {
    match table.take(key) {
        Some(value) => value.path(),
        None => from_variable(table, variables, &value::PATH),
    }
}

fn from_variable<T>(table: &Table<'_>, variables: [&'static str; 2], form: &Form<T>) -> Option<T> {
    let (name, text) = table.variable(variables)?;
    (form.read)(&text).map_err(|why| table.report(format!("the environment variable {name} {why}"))).ok()
}

fn addresses(table: &mut Table<'_>) -> Option<Vec<String>> {
    const VARIABLES: [&str; 2] = ["VAULT_ADDR", "BAO_ADDR"];
    match (table.take("address"), table.take("addresses")) {
        (Some(_), Some(several)) => {
            several.report("`address` is there too; keep one of the two");
            None
        }
        (Some(one), None) => one.read(&address::SERVER).map(|address| vec![address]),
        (None, Some(several)) => {
            let items =
                several.list("a list such as [\"https://a.internal:8200\", \"https://b.internal:8200\"]")?;
            if items.is_empty() {
                several.report("is empty; name at least one server");
                return None;
            }
            every(items.iter().map(|item| item.read(&address::SERVER)))
        }
        (None, None) if table.variable(VARIABLES).is_none() => {
            table.report(
                "no address; write address = \"https://vault.internal:8200\" or addresses = [\"…\", \"…\"], \
                 or set the environment variable VAULT_ADDR or BAO_ADDR",
            );
            None
        }
        (None, None) => from_variable(table, VARIABLES, &address::SERVER).map(|address| vec![address]),
    }
}

/// Sent in a header with every request. An empty one in the configuration overrides the variables.
const NAMESPACE: Form<String> = Form { expected: "a namespace in quotes", shown: true, read: namespace };

fn namespace(text: &str) -> Result<String, String> {
    if text.chars().all(|c| c.is_ascii_graphic()) {
        Ok(text.trim_matches('/').to_owned())
    } else {
        Err("is not a namespace; it may have neither spaces nor anything outside ASCII".to_owned())
    }
}

const SERVER_NAME: Form<String> = Form { expected: "a host name in quotes", shown: true, read: server_name };

fn server_name(text: &str) -> Result<String, String> {
    match ServerName::try_from(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => {
            Err("is not a host name; write it without scheme and port, for example \"vault.internal\""
                .to_owned())
        }
    }
}

const CERT_VARIABLES: [&str; 2] = ["VAULT_CLIENT_CERT", "BAO_CLIENT_CERT"];
const KEY_VARIABLES: [&str; 2] = ["VAULT_CLIENT_KEY", "BAO_CLIENT_KEY"];

/// Whether a client certificate is configured, correctly or not.
fn says_identity(table: &Table<'_>) -> bool {
    table.has("client_cert_file")
        || table.has("client_key_file")
        || table.variable(CERT_VARIABLES).is_some()
        || table.variable(KEY_VARIABLES).is_some()
}

/// The two are a pair: both come from the table, or both from the environment.
fn client_identity(table: &mut Table<'_>) -> Option<ClientIdentity> {
    let (cert, key) = (table.take("client_cert_file"), table.take("client_key_file"));
    match (cert, key) {
        (None, None) => identity_of_environment(table),
        (Some(cert), Some(key)) => {
            let (cert_file, key_file) = (cert.path(), key.path());
            Some(ClientIdentity { cert_file: cert_file?, key_file: key_file? })
        }
        (Some(cert), None) => {
            cert.report("needs `client_key_file` beside it");
            None
        }
        (None, Some(key)) => {
            key.report("needs `client_cert_file` beside it");
            None
        }
    }
}

fn identity_of_environment(table: &Table<'_>) -> Option<ClientIdentity> {
    let (cert, key) = (table.variable(CERT_VARIABLES), table.variable(KEY_VARIABLES));
    match (cert, key) {
        (None, None) => None,
        (Some((_, cert)), Some((_, key))) => {
            Some(ClientIdentity { cert_file: PathBuf::from(cert), key_file: PathBuf::from(key) })
        }
        (Some((name, _)), None) => {
            let other = name.replace("CERT", "KEY");
            table.report(format!(
                "the environment variable {name} is set without {other}; set both or neither"
            ));
            None
        }
        (None, Some((name, _))) => {
            let other = name.replace("KEY", "CERT");
            table.report(format!(
                "the environment variable {name} is set without {other}; set both or neither"
            ));
            None
        }
    }
}

fn insecure_tls(table: &mut Table<'_>) -> bool {
    let insecure = match table.take("insecure_tls") {
        Some(value) => value.boolean(),
        None => from_variable(table, ["VAULT_SKIP_VERIFY", "BAO_SKIP_VERIFY"], &SWITCH),
    };
    insecure.unwrap_or(false)
}

/// A boolean in a variable.
const SWITCH: Form<bool> = Form::unshown("true or false", switch);

fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => Ok(true),
        "false" | "f" | "0" => Ok(false),
        _ => Err("is neither \"true\" nor \"false\"".to_owned()),
    }
}
