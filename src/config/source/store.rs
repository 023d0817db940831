//! `type = "store"`: the embedded store.

use super::{REFRESH, from_variable, path_setting};
use crate::config::reader::Table;
use crate::config::value::{self, POSITIVE_DURATION};
use crate::config::{PASSED_KEY, PASSED_SECRET_ID, RoleId, ServerVariables, StoreConfig, StoreLogin, passed};

pub(super) fn store(mut table: Table<'_>) -> Option<StoreConfig> {
    let file = path_setting(&mut table, "file", ["SQUIRE_STORE"; 2]);
    if file.is_none() && !table.has("file") {
        table.report("no store; write file = \"/var/lib/squire/app.store\", or set the environment variable SQUIRE_STORE");
    }
    let refresh = table.read("refresh", &POSITIVE_DURATION).unwrap_or(REFRESH);
    let hooks = path_setting(&mut table, "hooks", ["SQUIRE_STORE_HOOKS"; 2]);
    let login = store_login(&mut table);
    let server = ServerVariables::of(table.environment());
    table.finish();
    Some(StoreConfig { file: file?, refresh, hooks, login: login?, server })
}

/// A role, if one is named; otherwise the owner.
fn store_login(table: &mut Table<'_>) -> Option<StoreLogin> {
    table.refuse(
        "secret_id",
        "a secret id is a secret, and no secret is written in the configuration; \
         put it into a file and name that with `secret_id_file`",
    );
    let said = ["role_id", "role_id_file", "secret_id_file", "key_file"].map(|key| table.has(key));
    let id = match (table.take("role_id"), table.take("role_id_file")) {
        (Some(id), None) => id.read(&value::WORD).map(RoleId::Inline),
        (None, Some(file)) => file.path().map(RoleId::File),
        (Some(_), Some(file)) => {
            file.report("`role_id` is there too; keep one of the two");
            None
        }
        (None, None) if said.contains(&true) => None,
        (None, None) => from_variable(table, ["SQUIRE_STORE_ROLE_ID"; 2], &value::WORD).map(RoleId::Inline),
    };
    let from_file = |table: &mut Table<'_>, key, variable| match table.take(key) {
        Some(value) => value.path(),
        None if said.contains(&true) => None,
        None => from_variable(table, [variable; 2], &value::PATH),
    };
    let mut secret_id_file = from_file(table, "secret_id_file", "SQUIRE_STORE_SECRET_ID_FILE");
    let mut key_file = from_file(table, "key_file", "SQUIRE_STORE_KEY_FILE");
    match (&id, &secret_id_file, &key_file) {
        (Some(_), None, None) if !table.has("secret_id_file") => {
            secret_id_file = passed(table.environment(), PASSED_SECRET_ID);
        }
        (None, None, None) if !said.contains(&true) => key_file = passed(table.environment(), PASSED_KEY),
        _ => {}
    }
    match (id, secret_id_file, key_file) {
        (Some(id), Some(secret_id_file), None) => Some(StoreLogin::Role { id, secret_id_file }),
        (None, None, Some(key_file)) => Some(StoreLogin::Owner { key_file }),
        (_, _, Some(_)) => {
            table.report("`key_file` is the owner's, and a role is named too; keep one of the two");
            None
        }
        (_, _, None) => {
            table.report(
                "no login; write role_id and secret_id_file of a role (`squire store role add` makes one), or the owner's key_file",
            );
            None
        }
    }
}
