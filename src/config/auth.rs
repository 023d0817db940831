//! `[source.NAME.auth.…]`: how to log in.
//!
//! Without such a table the variables that the server's own tools know are taken.
//!
//! *Invariant:* no secret value is accepted from the configuration, only the names of files that hold one.

mod machine;
mod password;

use std::path::PathBuf;

use super::reader::Table;
use super::value::{SERVER_PATH, WORD};
use super::{AppRoleConfig, AuthConfig, CertConfig, CredentialFrom, JwtConfig, RoleId, SecretIdConfig};
use crate::secret::Secret;

/// Where Kubernetes puts the token of a pod's service account.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How the table of a login method is read.
type Read = fn(Table<'_>) -> Option<AuthConfig>;

/// Every login method by the name of its table.
const METHODS: [(&str, Read); 10] = [
    ("approle", approle),
    ("token", token),
    ("jwt", jwt),
    ("kubernetes", kubernetes),
    ("cert", cert),
    ("userpass", password::userpass),
    ("ldap", password::ldap),
    ("aws", machine::aws),
    ("gcp", machine::gcp),
    ("azure", machine::azure),
];

/// Reads the one login method of a source.
pub(super) fn auth(table: &mut Table<'_>) -> Option<AuthConfig> {
    let no_login = |table: &Table<'_>| {
        let name = table.place().key.split('.').nth(1).unwrap_or("NAME");
        table.report(format!(
            "no login; add [source.{name}.auth.approle] with role_id_file and secret_id_file, \
             or a table of another method: token, jwt, kubernetes, cert, userpass, ldap, aws, gcp, azure; or set VAULT_ROLE_ID and VAULT_SECRET_ID, or VAULT_TOKEN"
        ));
    };
    let Some(auth) = table.take("auth") else {
        let login = of_environment(table);
        if login.is_none() {
            no_login(table);
        }
        return login;
    };
    let mut auth = auth.table("a table of a login method, such as [source.NAME.auth.approle]")?;
    if auth.is_empty() {
        no_login(&auth);
        return None;
    }
    let mut chosen: Option<(&str, Option<AuthConfig>)> = None;
    for (name, read) in METHODS {
        let Some(value) = auth.take(name) else { continue };
        if let Some((other, _)) = &chosen {
            value.report(format!("`{other}` is there too; a source logs in one way, so keep one of them"));
        }
        // Read for the sake of its problems even if there is another one.
        let config = value.table(&format!("a table: [source.NAME.auth.{name}]")).and_then(read);
        chosen.get_or_insert((name, config));
    }
    auth.finish_as("login method");
    chosen?.1
}

/// An AppRole, else a token; each as itself or in a file.
fn of_environment(table: &Table<'_>) -> Option<AuthConfig> {
    let role_id =
        table.variable(["VAULT_ROLE_ID", "BAO_ROLE_ID"]).map(|(_, id)| RoleId::Inline(id.trim().to_owned()));
    let role_id = role_id.or_else(|| {
        table.variable(["VAULT_ROLE_ID_FILE", "BAO_ROLE_ID_FILE"]).map(|(_, file)| RoleId::File(file.into()))
    });
    if let Some(role_id) = role_id {
        let from = credential(
            table,
            ["VAULT_SECRET_ID", "BAO_SECRET_ID"],
            ["VAULT_SECRET_ID_FILE", "BAO_SECRET_ID_FILE"],
        );
        let secret_id = from.map(|from| SecretIdConfig { from, unwrap: false, delete: false, keep: false });
        return Some(AuthConfig::AppRole(AppRoleConfig { mount: "approle".to_owned(), role_id, secret_id }));
    }
    let from = credential(table, ["VAULT_TOKEN", "BAO_TOKEN"], ["VAULT_TOKEN_FILE", "BAO_TOKEN_FILE"])?;
    Some(AuthConfig::Token { from })
}

fn credential(
    table: &Table<'_>,
    values: [&'static str; 2],
    files: [&'static str; 2],
) -> Option<CredentialFrom> {
    let value = table.variable(values).map(|(name, text)| (name, text.trim().to_owned()));
    match value.filter(|(_, text)| !text.is_empty()) {
        Some((name, text)) => Some(CredentialFrom::Variable(name, Secret::new(text))),
        None => table.variable(files).map(|(_, file)| CredentialFrom::File(file.into())),
    }
}

/// The variables that hold a credential themselves, to be forgotten once they are read.
pub const CREDENTIAL_VARIABLES: [&str; 6] = [
    "VAULT_SECRET_ID",
    "BAO_SECRET_ID",
    "VAULT_TOKEN",
    "BAO_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

/// The variables that may hold the key of a collector of OpenTelemetry, where Squire sends it something: kept back from processes, and
/// forgotten like credentials.
pub const COLLECTOR_VARIABLES: &[&str] = if cfg!(feature = "otlp") {
    &[
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
        "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
    ]
} else {
    &[]
};

fn approle(mut table: Table<'_>) -> Option<AuthConfig> {
    table.refuse(
        "secret_id",
        "a secret id is a secret, and no secret is written in the configuration; \
         put it into a file and name that with `secret_id_file`",
    );
    let mount = mount(&mut table, "approle");
    let role_id = role_id(&mut table);
    let secret_id = secret_id(&mut table);
    table.finish();
    Some(AuthConfig::AppRole(AppRoleConfig { mount: mount?, role_id: role_id?, secret_id }))
}

fn role_id(table: &mut Table<'_>) -> Option<RoleId> {
    match (table.take("role_id"), table.take("role_id_file")) {
        (Some(inline), None) => inline.read(&WORD).map(RoleId::Inline),
        (None, Some(file)) => file.path().map(RoleId::File),
        (Some(_), Some(file)) => {
            file.report("`role_id` is there too; keep one of the two");
            None
        }
        (None, None) => {
            table.report("no role; write role_id_file = \"/etc/squire/role-id\" or role_id = \"…\"");
            None
        }
    }
}

fn secret_id(table: &mut Table<'_>) -> Option<SecretIdConfig> {
    let is_said = table.has("secret_id_file");
    let file = table.path("secret_id_file");
    let [unwrap, delete, keep] = ["unwrap", "delete_secret_id", "keep_secret_id"].map(|key| {
        let value = table.take(key)?;
        if !is_said {
            value.report("needs `secret_id_file` beside it");
        }
        value.boolean()
    });
    let unwrap = unwrap.unwrap_or(false);
    let delete = delete.unwrap_or(unwrap);
    let keep = keep.unwrap_or(unwrap || delete);
    Some(SecretIdConfig { from: CredentialFrom::File(file?), unwrap, delete, keep })
}

fn token(mut table: Table<'_>) -> Option<AuthConfig> {
    table.refuse(
        "token",
        "a token is a secret, and no secret is written in the configuration; \
         put it into a file and name that with `file`",
    );
    let file = table.require("file", "file = \"/run/squire-id/token\"").and_then(|file| file.path());
    table.finish();
    Some(AuthConfig::Token { from: CredentialFrom::File(file?) })
}

fn jwt(mut table: Table<'_>) -> Option<AuthConfig> {
    table.refuse(
        "jwt",
        "a JWT is a secret, and no secret is written in the configuration; \
         put it into a file and name that with `jwt_file`",
    );
    let (mount, role) = (mount(&mut table, "jwt"), role(&mut table));
    let file = table.require("jwt_file", "jwt_file = \"/run/squire-id/jwt\"").and_then(|file| file.path());
    table.finish();
    Some(AuthConfig::Jwt(JwtConfig { mount: mount?, role: role?, file: file? }))
}

fn kubernetes(mut table: Table<'_>) -> Option<AuthConfig> {
    table.refuse(
        "token",
        "a token is a secret, and no secret is written in the configuration; \
         leave it out, or name a file that holds it with `token_file`",
    );
    let (mount, role) = (mount(&mut table, "kubernetes"), role(&mut table));
    let usual = || Some(PathBuf::from(SERVICE_ACCOUNT_TOKEN));
    let file = table.take("token_file").map_or_else(usual, |file| file.path());
    table.finish();
    Some(AuthConfig::Kubernetes(JwtConfig { mount: mount?, role: role?, file: file? }))
}

fn cert(mut table: Table<'_>) -> Option<AuthConfig> {
    let mount = mount(&mut table, "cert");
    let name = table.read("name", &WORD);
    table.finish();
    Some(AuthConfig::Cert(CertConfig { mount: mount?, name }))
}

fn mount(table: &mut Table<'_>, usual: &str) -> Option<String> {
    table.take("mount").map_or_else(|| Some(usual.to_owned()), |mount| mount.read(&SERVER_PATH))
}

fn role(table: &mut Table<'_>) -> Option<String> {
    table.require("role", "role = \"app\"").and_then(|role| role.read(&WORD))
}
