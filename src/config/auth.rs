//! `[source.NAME.auth.…]`: how to log in.
//!
//! *Invariant:* no secret value is accepted, only the names of files that hold one.

use super::reader::Table;
use super::value::{SERVER_PATH, WORD};
use super::{AppRoleConfig, AuthConfig, RoleId};

/// Reads the one login method of a source.
pub(super) fn auth(table: &mut Table<'_>) -> Option<AuthConfig> {
    const BOTH: &str = "add [source.NAME.auth.approle] with role_id_file and secret_id_file, \
                        or [source.NAME.auth.token] with file";
    let no_login = |table: &Table<'_>| {
        let name = table.place().key.split('.').nth(1).unwrap_or("NAME");
        table.report(format!("no login; {}", BOTH.replace("NAME", name)));
    };
    let Some(auth) = table.take("auth") else {
        no_login(table);
        return None;
    };
    let mut auth = auth.table("a table of a login method, such as [source.NAME.auth.approle]")?;
    if auth.is_empty() {
        no_login(&auth);
        return None;
    }
    let (by_role, by_token) = (auth.take("approle"), auth.take("token"));
    if let (Some(_), Some(by_token)) = (&by_role, &by_token) {
        by_token.report("`approle` is there too; a source logs in one way, so keep one of the two");
    }
    let by_role = by_role.and_then(|value| approle(value.table("a table: [source.NAME.auth.approle]")?));
    let by_token = by_token.and_then(|value| token(value.table("a table: [source.NAME.auth.token]")?));
    auth.finish_as("login method");
    by_role.or(by_token)
}

fn approle(mut table: Table<'_>) -> Option<AuthConfig> {
    table.refuse(
        "secret_id",
        "a secret id is a secret, and no secret is written in the configuration; \
         put it into a file and name that with `secret_id_file`",
    );
    let mount = table.take("mount").map_or(Some("approle".to_owned()), |mount| mount.read(&SERVER_PATH));
    let role_id = role_id(&mut table);
    let secret_id_file = table.path("secret_id_file");
    table.finish();
    Some(AuthConfig::AppRole(AppRoleConfig { mount: mount?, role_id: role_id?, secret_id_file }))
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

fn token(mut table: Table<'_>) -> Option<AuthConfig> {
    table.refuse(
        "token",
        "a token is a secret, and no secret is written in the configuration; \
         put it into a file and name that with `file`",
    );
    let file = table.require("file", "file = \"/run/squire-id/token\"").and_then(|file| file.path());
    table.finish();
    Some(AuthConfig::Token { file: file? })
}
