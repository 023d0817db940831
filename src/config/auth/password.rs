//! Logins with a name and a password: `userpass` and `ldap`.

use super::mount;
use crate::config::reader::Table;
use crate::config::value::Form;
use crate::config::{AuthConfig, PasswordConfig, PasswordKind};

/// `[source.NAME.auth.userpass]`
pub(super) fn userpass(table: Table<'_>) -> Option<AuthConfig> {
    password(table, PasswordKind::Userpass)
}

/// `[source.NAME.auth.ldap]`
pub(super) fn ldap(table: Table<'_>) -> Option<AuthConfig> {
    password(table, PasswordKind::Ldap)
}

fn password(mut table: Table<'_>, kind: PasswordKind) -> Option<AuthConfig> {
    table.refuse(
        "password",
        "no password is written in the configuration; put it into a file and name that with `password_file`",
    );
    let mount = mount(&mut table, kind.word());
    let username = table.require("username", "username = \"app\"").and_then(|name| name.read(&USERNAME));
    let file = table.require("password_file", "password_file = \"/run/squire-id/password\"");
    let file = file.and_then(|file| file.path());
    table.finish();
    Some(AuthConfig::Password(PasswordConfig { kind, mount: mount?, username: username?, file: file? }))
}

/// A part of the path of the login.
const USERNAME: Form<String> = Form { expected: "a user's name in quotes", shown: true, read: username };

fn username(text: &str) -> Result<String, String> {
    if matches!(text, "" | "." | "..") || text.contains('/') || text.contains(char::is_control) {
        Err("is no name of a user; it may have no slash in it".to_owned())
    } else {
        Ok(text.to_owned())
    }
}
