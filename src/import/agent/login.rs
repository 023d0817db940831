//! `vault` and `auto_auth.method`: the server, and how to log in to it.
//!
//! *Invariant:* no credential is read or written, only the names of files that hold one.

mod cloud;

use super::super::block::Reading;
use super::super::foreign::{Auth, Vault};
use super::super::hcl::{Block, Fields};
use super::super::{Notes, value};
use super::dead;

/// The keys of a `method`, which are no names of methods.
pub(in super::super) const METHOD_KEYS: &[&str] =
    &["type", "config", "mount_path", "namespace", "wrap_ttl", "min_backoff", "max_backoff", "exit_on_err"];

/// Reads `vault { … }`.
pub(super) fn vault(block: &Block<'_>, reading: &mut Reading<'_>) {
    let start = reading.notes.count();
    let notes = &mut *reading.notes;
    let vault = &mut reading.foreign.vault;
    let mut fields = Fields::new(reading.file, block.body);
    vault.address = fields.word("address", notes);
    vault.namespace = fields.word("namespace", notes);
    vault.ca_file = fields.word("ca_cert", notes);
    vault.client_cert_file = fields.word("client_cert", notes);
    vault.client_key_file = fields.word("client_key", notes);
    vault.tls_server_name = fields.word("tls_server_name", notes);
    vault.insecure_tls = fields.boolean("tls_skip_verify", notes).filter(|skips| *skips);
    if vault.insecure_tls.is_some() {
        let advice = "the server's certificate is not verified, so anybody can be the server; Squire warns at each start. \
                      Name the authority with ca_file instead";
        notes.told(fields.place_of("tls_skip_verify"), "tls_skip_verify", advice);
    }
    ca_path(&mut fields, "ca_path", notes);
    if let Some(retry) = fields.block("retry", notes) {
        let mut inner = Fields::new(reading.file, retry.body);
        let tries = inner.text("num_retries", notes);
        let advice = match tries.as_deref() {
            Some("-1") => {
                "the agent does not try again; Squire does, further and further apart, and keeps what is live"
            }
            Some(_) | None => {
                "Squire tries again for as long as it runs, further and further apart; before the first release for `startup_timeout`"
            }
        };
        notes.told(fields.place(retry.at), "retry", advice);
        dead(&inner, "vault.retry", notes);
    }
    dead(&fields, "vault", notes);
    let remarks = start..notes.count();
    reading.foreign.vault.remarks.push(remarks);
}

/// A directory of authorities has no key in Squire's configuration.
pub(in super::super) fn ca_path(fields: &mut Fields<'_>, key: &str, notes: &mut Notes) {
    if fields.word(key, notes).is_some() {
        let advice = "a directory is named by the variable VAULT_CAPATH only, and not beside ca_file; or put its files into one and write ca_file";
        notes.left(fields.place_of(key), key, advice);
    }
}

/// Reads the method of `auto_auth`.
pub(in super::super) fn method(block: &Block<'_>, reading: &mut Reading<'_>) {
    let notes = &mut *reading.notes;
    let mut fields = Fields::new(reading.file, block.body);
    let kind = fields.word("type", notes).or_else(|| block.labels.first().map(|label| label.name.clone()));
    let mount = fields.word("mount_path", notes);
    namespace(&mut fields, &mut reading.foreign.vault, notes);
    if fields.text("wrap_ttl", notes).is_some() {
        let advice = "a token that is wrapped for another program is not renewed by the agent; Squire keeps its token for itself";
        notes.left(fields.place_of("wrap_ttl"), "wrap_ttl", advice);
    }
    for key in ["min_backoff", "max_backoff"] {
        if fields.take(key, notes).is_some() {
            notes.told(fields.place_of(key), key, "Squire's pauses between two logins are its own; left out");
        }
    }
    if fields.boolean("exit_on_err", notes) == Some(true) {
        let advice = "before the first release Squire gives up when a login is refused, if `startup_timeout` is set; later it goes on trying";
        notes.told(fields.place_of("exit_on_err"), "exit_on_err", advice);
    }
    let empty = super::super::hcl::Body::default();
    let config = fields.block("config", notes);
    let body = config.as_ref().map_or(&empty, |config| config.body);
    let mut config = Fields::new(reading.file, body);
    let mount = |method| mount.as_deref().and_then(|mount| value::mount(mount, method));
    let kind = kind.unwrap_or_default();
    let auth = match kind.as_str() {
        "approle" => Some(approle(&mut config, mount("approle"), notes)),
        "kubernetes" => kubernetes(&mut config, mount("kubernetes"), notes),
        "jwt" => jwt(&mut config, mount("jwt"), notes),
        "cert" => Some(cert(&mut config, mount("cert"), &mut reading.foreign.vault, notes)),
        "token_file" => token_file(&mut config, notes),
        "ldap" => password(&mut config, "ldap", mount("ldap"), notes),
        "userpass" => password(&mut config, "userpass", mount("userpass"), notes),
        "aws" => cloud::aws(&mut config, mount("aws"), fields.place(block.at), notes),
        "gcp" => cloud::gcp(&mut config, mount("gcp"), notes),
        "azure" => cloud::azure(&mut config, mount("azure"), notes),
        _ => {
            let advice = "Squire has no such login: it has approle, token, kubernetes, jwt, cert, userpass, ldap, aws, gcp and azure. Give the role \
                          one of these, or let the agent log in, and name its token's file in auth.token.file";
            notes.left(fields.place(block.at), format!("method {kind:?}"), advice);
            None
        }
    };
    if auth.is_some() {
        dead(&config, &format!("the method {kind}"), notes);
    }
    dead(&fields, "method", notes);
    reading.foreign.vault.auth = auth;
}

/// The method's namespace is the one that logs in, and where `vault` has none, that of the secrets too.
fn namespace(fields: &mut Fields<'_>, vault: &mut Vault, notes: &mut Notes) {
    let Some(namespace) = fields.word("namespace", notes) else { return };
    match vault.namespace.as_deref() {
        None => vault.namespace = Some(namespace),
        Some(other) if other.trim_matches('/') == namespace.trim_matches('/') => {}
        // In the login's there may be other secrets at the same paths.
        Some(_) => {
            let advice = "the login's namespace is another than the secrets'; Squire uses one for both, and that of the secrets stands here: give the \
                          role to it, or take the login's, and write what is missing before the paths of the secrets";
            notes.left(fields.place_of("namespace"), "namespace", advice);
        }
    }
}

fn approle(config: &mut Fields<'_>, mount: Option<String>, notes: &mut Notes) -> Auth {
    let role_id_file = config.word("role_id_file_path", notes);
    let secret_id_file = config.word("secret_id_file_path", notes);
    let wrapped = config.word("secret_id_response_wrapping_path", notes);
    let removes = config.boolean("remove_secret_id_file_after_reading", notes);
    if role_id_file.is_none() {
        let advice = "the agent needs `role_id_file_path`; add role_id or role_id_file";
        notes.left(config.place_of("role_id_file_path"), "approle", advice);
    }
    for (key, advice) in [
        (
            "role_id",
            "the agent reads a role only from `role_id_file_path` and passes over this key; write role_id yourself if it is meant",
        ),
        (
            "secret_id",
            "the agent reads a secret-id only from a file and passes over this key; put it into a file and name that in secret_id_file",
        ),
    ] {
        if config.take(key, notes).is_some() {
            notes.left(config.place_of(key), key, advice);
        }
    }
    if wrapped.is_some() {
        let advice = "Squire compares the path that made the wrapping token with that of its own role, and needs no path here";
        notes.told(
            config.place_of("secret_id_response_wrapping_path"),
            "secret_id_response_wrapping_path",
            advice,
        );
    }
    let unwrap = wrapped.is_some();
    let delete_secret_id = match (removes, &secret_id_file) {
        (_, None) => None,
        (Some(false), Some(_)) => unwrap.then_some(false),
        (Some(true), Some(_)) => (!unwrap).then_some(true),
        (None, Some(_)) => {
            let advice = "the agent removes the file when it has read it, unless told not to; Squire would keep it, and is told here to remove it";
            notes.told(config.place_of("secret_id_file_path"), "remove_secret_id_file_after_reading", advice);
            (!unwrap).then_some(true)
        }
    };
    Auth::AppRole { mount, role_id_file, secret_id_file, unwrap, delete_secret_id }
}

fn kubernetes(config: &mut Fields<'_>, mount: Option<String>, notes: &mut Notes) -> Option<Auth> {
    const USUAL: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    let role = role(config, "kubernetes", notes);
    let token_file = config.word("token_path", notes).filter(|path| path != USUAL);
    Some(Auth::Kubernetes { mount, role: role?, token_file })
}

fn jwt(config: &mut Fields<'_>, mount: Option<String>, notes: &mut Notes) -> Option<Auth> {
    let role = role(config, "jwt", notes);
    let jwt_file = config.word("path", notes);
    if jwt_file.is_none() {
        notes.left(config.place_of("path"), "jwt", "it names no file with a token; add jwt_file");
    }
    if config.boolean("remove_jwt_after_reading", notes) != Some(false) {
        let advice = "the agent removes the token when it has read it; Squire reads it at each login, and leaves it there";
        notes.left(config.place_of("remove_jwt_after_reading"), "remove_jwt_after_reading", advice);
    }
    for key in ["remove_jwt_follows_symlinks", "jwt_read_period", "skip_browser"] {
        config.take(key, notes);
    }
    Some(Auth::Jwt { mount, role: role?, jwt_file: jwt_file? })
}

/// `userpass` and `ldap`.
fn password(
    config: &mut Fields<'_>,
    method: &'static str,
    mount: Option<String>,
    notes: &mut Notes,
) -> Option<Auth> {
    let username = config.word("username", notes);
    let password_file = config.word("password_file_path", notes);
    for (key, is_there) in [("username", username.is_some()), ("password_file_path", password_file.is_some())]
    {
        if !is_there {
            notes.left(config.place_of(key), key, "it is missing, and the agent needs it too; add it");
        }
    }
    if config.boolean("remove_password_after_reading", notes) != Some(false) && password_file.is_some() {
        let advice = "the agent removes the password when it has read it; Squire reads it at each login, and leaves it there";
        notes.left(config.place_of("remove_password_after_reading"), "remove_password_after_reading", advice);
    }
    config.take("remove_password_follows_symlinks", notes);
    if config.take("password", notes).is_some() {
        let advice = "the agent reads a password only from a file and passes over this key; put it into a file and name that in password_file";
        notes.left(config.place_of("password"), "password", advice);
    }
    Some(Auth::Password { method, mount, username: username?, password_file: password_file? })
}

fn role(config: &mut Fields<'_>, method: &str, notes: &mut Notes) -> Option<String> {
    let role = config.word("role", notes);
    if role.is_none() {
        notes.left(config.place_of("role"), method, "it names no role, which the agent needs too; add role");
    }
    role
}

fn cert(config: &mut Fields<'_>, mount: Option<String>, vault: &mut Vault, notes: &mut Notes) -> Auth {
    let name = config.word("name", notes);
    for (key, place) in [
        ("client_cert", &mut vault.client_cert_file),
        ("client_key", &mut vault.client_key_file),
        ("ca_cert", &mut vault.ca_file),
    ] {
        if let Some(file) = config.word(key, notes) {
            *place = Some(file);
        }
    }
    if config.take("reload", notes).is_some() {
        notes.told(config.place_of("reload"), "reload", "Squire has no such switch; left out");
    }
    Auth::Cert { mount, name }
}

fn token_file(config: &mut Fields<'_>, notes: &mut Notes) -> Option<Auth> {
    let file = config.word("token_file_path", notes);
    if file.is_none() {
        notes.left(config.place_of("token_file_path"), "token_file", "it names no file; add auth.token.file");
    }
    file.map(|file| Auth::Token { file })
}
