//! Roles: the owner makes, lists and revokes them.
//!
//! *Invariant:* a role gets the keys of the environments that its globs begin with, and no others. Only its recipient knows its credential.

use rusqlite::params;

use super::access::{NewRole, RoleKeyPair, Store};
use super::audit::{About, Action, Epoch, Outcome};
use super::chance::{key, nonce, random};
use super::cost::{Cost, SALT};
use super::envelope::{self, address};
use super::error::{StoreError, damaged, sealed, unfit};
use super::file::{Reading, Writing};
use super::journal::{bind_keys, record};
use super::keys::{self, Environment, ID, Id, OwnerKeys, RoleKeys, RoleRecord, Writer};
use super::owner::{owner_keys, write_owner_keys};
use super::path::{self, SecretPath};
use super::power::{Keys, OWNER, log_ins};
use super::renewal::{fresh, renew, write_environment};
use super::role::{Allowance, Right, Role};
use super::seal::{KEY, Key, place};
use super::sign::public;
use crate::hex::hex;
use crate::secret::Secret;

impl Store {
    /// Makes a role and returns its credential, which nobody else knows. Environments of its globs that do not exist are made.
    ///
    /// The credential is given to `keep` before anything is committed: if `keep` fails, the role is not made.
    pub fn add_role(
        &mut self,
        new: &NewRole,
        keep: impl FnOnce(&RoleKeyPair) -> Result<(), StoreError>,
    ) -> Result<RoleKeyPair, StoreError> {
        is_fit(new)?;
        let root = self.root("make roles")?;
        let id = self.id;
        let (role_id, secret_id): (Id, [u8; KEY]) = (random()?, random()?);
        let (salt, cost): ([u8; SALT], _) = (random()?, Cost::SECRET_ID);
        let pair = RoleKeyPair { id: hex(&role_id), secret_id: Secret::<str>::new(hex(&secret_id)) };
        let own_key = sealed(cost.key(pair.secret_id.expose(), &salt))?;
        self.transact(|writing, keys, now| {
            if records(writing, &id, &root)?.iter().any(|(_, record)| record.role.name == new.name) {
                return Err(unfit(
                    format!("the name {:?}", new.name),
                    "is already the name of a role; revoke that role, or choose another name".to_owned(),
                ));
            }
            let NewRole { name, grants, expires, uses } = new.clone();
            let role = Role { name, grants, created: now, expires, uses };
            for name in role.environments() {
                if !keys.environments.iter().any(|environment| environment.name == name) {
                    add_environment(writing, &id, keys, name)?;
                }
            }
            let made = RoleRecord { role, address: address(&own_key), writer: random()?, writer_key: key()? };
            writing.execute(
                "INSERT INTO roles VALUES (?1, ?2, ?3, x'', x'', 0)",
                params![role_id, salt, cost.to_string()],
            )?;
            give(writing, &id, &root, (&owner_keys(writing, &id, &root)?, keys), (&role_id, &made))?;
            let about = About::Role { id: role_id, writer: made.writer, role: made.role };
            record(writing, &id, keys, Action::RoleAdd, Outcome::Done, about)?;
            bind_keys(writing, &id, keys)?;
            keep(&pair)?;
            Ok(Ok(()))
        })?;
        Ok(pair)
    }

    /// Every role, with its id and how often it logged in.
    pub fn roles(&mut self) -> Result<Vec<(String, Role, u64)>, StoreError> {
        let (root, id) = (self.root("list roles")?, self.id);
        self.transact(|writing, keys, _| {
            let mut roles = Vec::new();
            for (role_id, RoleRecord { role, .. }) in records(writing, &id, &root)? {
                roles.push((hex(&role_id), role, log_ins(writing, &role_id)?));
            }
            record(writing, &id, keys, Action::RoleList, Outcome::Done, About::Named("roles".to_owned()))?;
            Ok(Ok(roles))
        })
    }

    /// As which role it was opened; `None` for the owner. It reveals no value and is not recorded.
    pub fn own_role(&mut self) -> Result<Option<Role>, StoreError> {
        self.look(|_, keys, _| Ok(keys.role().cloned()))
    }

    /// Whether whoever opened it has this right to that secret. It reveals no value and is not recorded.
    pub fn allows(&mut self, right: Right, path: &SecretPath) -> Result<bool, StoreError> {
        self.look(|_, keys, _| Ok(keys.allows(right, path)))
    }

    /// Revokes a role, and gives its environments and the end of the audit new keys.
    pub fn revoke_role(&mut self, name: &str) -> Result<(), StoreError> {
        let (root, id) = (self.root("revoke roles")?, self.id);
        self.transact(|writing, keys, _| {
            let all = records(writing, &id, &root)?;
            let Some((role_id, revoked)) = all.iter().find(|(_, record)| record.role.name == name) else {
                return Err(StoreError::NoRole { name: name.to_owned() });
            };
            writing.execute("DELETE FROM roles WHERE id = ?1", [role_id])?;
            let mut environments = Vec::new();
            for environment in &mut keys.environments {
                if revoked.role.environments().contains(environment.name.as_str()) {
                    environments.push(renew(writing, &id, &root, environment)?);
                }
            }
            let about = About::Revoked { id: *role_id, name: name.to_owned(), environments };
            record(writing, &id, keys, Action::RoleRevoke, Outcome::Done, about)?;
            // The revoked role had the key to write the end of the audit too.
            let own = OwnerKeys { tip: key()?, ..owner_keys(writing, &id, &root)? };
            write_owner_keys(writing, &id, &root, &own)?;
            keys.tip_key = own.tip.clone();
            for (other, record) in all.iter().filter(|(other, _)| other != role_id) {
                give(writing, &id, &root, (&own, keys), (other, record))?;
            }
            bind_keys(writing, &id, keys)?;
            Ok(Ok(()))
        })
    }
}

fn is_fit(new: &NewRole) -> Result<(), StoreError> {
    let name = || format!("the name {:?}", new.name);
    path::environment_name(&new.name).map_err(|why| unfit(name(), why))?;
    if new.name.eq_ignore_ascii_case(OWNER) {
        return Err(unfit(name(), "is what the audit calls the owner: choose another".to_owned()));
    }
    Allowance::compile(&new.grants).map(drop).map_err(|problems| {
        let problems: Vec<_> = problems.iter().map(|(glob, why)| format!("{glob:?} {why}")).collect();
        unfit("the pattern".to_owned(), problems.join("; "))
    })
}

/// Gives a role the present keys, and keeps a record of it for the owner.
pub(super) fn give(
    writing: &Writing<'_>,
    id: &Id,
    root: &Key,
    (own, keys): (&OwnerKeys, &Keys),
    (role_id, record): (&Id, &RoleRecord),
) -> Result<(), StoreError> {
    let RoleRecord { role, address, writer, writer_key } = record;
    let wanted = role.environments();
    let environments =
        keys.environments.iter().filter(|environment| wanted.contains(environment.name.as_str()));
    let given = RoleKeys {
        environments: environments.map(|environment| environment.for_role(role)).collect(),
        role: role.clone(),
        writer: *writer,
        writer_key: writer_key.clone(),
        tip: own.tip.clone(),
        owner: public(&own.signing),
    };
    let parts: [&[u8]; 2] = [id, role_id];
    let text = Secret::<Vec<u8>>::new(sealed(serde_json::to_vec(&given).ok())?);
    let given = sealed(envelope::seal(address, place("role", &parts), text.expose()))?;
    let kept = sealed(keys::seal(root, nonce()?, place("role record", &parts), record))?;
    write_writer(writing, id, root, &role.name, (writer, writer_key))?;
    let sql = "UPDATE roles SET sealed = ?2, record = ?3 WHERE id = ?1";
    writing.execute(sql, params![role_id, given, kept]).map(drop)
}

/// The key with which the owner reads a writer's entries.
pub(super) fn write_writer(
    writing: &Writing<'_>,
    id: &Id,
    root: &Key,
    name: &str,
    (writer, key): (&Id, &Key),
) -> Result<(), StoreError> {
    let kept = Writer { name: name.to_owned(), key: key.clone() };
    let kept = sealed(keys::seal(root, nonce()?, place("writer", &[id, writer]), &kept))?;
    writing.execute("INSERT OR REPLACE INTO writers VALUES (?1, ?2)", params![writer, kept]).map(drop)
}

/// Everybody who ever wrote into the audit.
pub(super) fn writers(reading: &Reading<'_>, id: &Id, root: &Key) -> Result<Vec<(Id, Writer)>, StoreError> {
    let rows = reading.all("SELECT id, sealed FROM writers", [], |row| {
        Ok((row.get::<_, [u8; ID]>(0)?, row.get::<_, Vec<u8>>(1)?))
    })?;
    // A record that does not open is left out: `verify` reports its entries.
    let open = |(writer, text): (Id, Vec<u8>)| {
        Some((writer, keys::open(root, place("writer", &[id, &writer]), &text)?))
    };
    Ok(rows.into_iter().filter_map(open).collect())
}

pub(super) fn records(
    reading: &Reading<'_>,
    id: &Id,
    root: &Key,
) -> Result<Vec<(Id, RoleRecord)>, StoreError> {
    let rows = reading.all("SELECT id, record FROM roles ORDER BY id", [], |row| {
        Ok((row.get::<_, [u8; ID]>(0)?, row.get::<_, Vec<u8>>(1)?))
    })?;
    let open = |(role, sealed): (Id, Vec<u8>)| {
        let opened = keys::open(root, place("role record", &[id, &role]), &sealed);
        opened
            .map(|record| (role, record))
            .ok_or_else(|| damaged(&format!("role {}", hex(&role)), "it does not open"))
    };
    rows.into_iter().map(open).collect()
}

/// Only the owner can do this: others do not have the root key, and so cannot give keys to roles.
pub(super) fn add_environment(
    writing: &Writing<'_>,
    id: &Id,
    keys: &mut Keys,
    name: &str,
) -> Result<Environment, StoreError> {
    let Some(root) = keys.root() else {
        return Err(StoreError::OwnerOnly { what: "make an environment" });
    };
    let made = Environment::new(random()?, name, fresh()?);
    write_environment(writing, id, root, &made)?;
    let about = About::Environment(Epoch {
        environment: made.id,
        name: made.name.clone(),
        keys: made.fingerprint(),
        heads: super::audit::root(std::iter::empty()),
    });
    record(writing, id, keys, Action::EnvironmentAdd, Outcome::Done, about)?;
    bind_keys(writing, id, keys)?;
    keys.environments.push(made.clone());
    Ok(made)
}
