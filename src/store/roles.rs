//! Roles: made, listed and revoked by the owner.
//!
//! *Invariant:* a role is given the keys of the environments that its globs begin with, and no other.

use rusqlite::params;

use super::access::{NewRole, RoleKeyPair, Store};
use super::audit::{About, Action, Outcome};
use super::chance::{key, nonce, random};
use super::cost::{Cost, SALT};
use super::error::{StoreError, damaged, sealed, unfit};
use super::file::Writing;
use super::hex::hex;
use super::journal::{begin_era, record, tip};
use super::keys::{self, ID, Id, RoleKeys, RoleRecord};
use super::path;
use super::power::{AUDIT_KEY, Keys, add_environment_as};
use super::role::{Allowance, Role};
use super::rows::rewrap;
use super::seal::{KEY, Key, place};
use crate::secret::Secret;

impl Store {
    /// Makes a role: what it logs in with, shown once. The environments of its globs are made where they are not there yet.
    pub fn add_role(&mut self, new: &NewRole) -> Result<RoleKeyPair, StoreError> {
        path::environment_name(&new.name).map_err(|why| unfit(format!("the name {:?}", new.name), why))?;
        Allowance::compile(&new.grants).map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(|(glob, why)| format!("{glob:?} {why}")).collect();
            unfit("the pattern".to_owned(), problems.join("; "))
        })?;
        let root = self.root("make roles")?;
        let id = self.id;
        let (role_id, secret_id): (Id, [u8; KEY]) = (random()?, random()?);
        let (salt, cost): ([u8; SALT], _) = (random()?, Cost::SECRET_ID);
        let secret_id = Secret::<str>::new(hex(&secret_id));
        let key = sealed(cost.key(secret_id.expose(), &salt))?;
        self.transact(|writing, keys, now| {
            if records(writing, &id, &root)?.iter().any(|(_, record)| record.role.name == new.name) {
                return Err(unfit(
                    format!("the name {:?}", new.name),
                    "is a role's already; revoke that, or choose another".to_owned(),
                ));
            }
            let role = Role {
                name: new.name.clone(),
                grants: new.grants.clone(),
                created: now,
                expires: new.expires,
                uses: new.uses,
            };
            for name in role.environments() {
                if !keys.environments.iter().any(|environment| environment.name == name) {
                    let made = add_environment_as(writing, &id, &root, name)?;
                    keys.environments.push(made);
                }
            }
            let record_sealed = RoleRecord { role: role.clone(), key: key.clone() };
            let record_sealed =
                sealed(keys::seal(&root, nonce()?, place("role record", &[&id, &role_id]), &record_sealed))?;
            let own = role_keys(keys, &role);
            let own = sealed(keys::seal(&key, nonce()?, place("role", &[&id, &role_id]), &own))?;
            writing.execute(
                "INSERT INTO roles VALUES (?1, ?2, ?3, ?4, ?5, 0)",
                params![role_id, salt, cost.to_string(), own, record_sealed],
            )?;
            record(writing, &id, keys, Action::RoleAdd, Outcome::Done, About::Named(role.name.clone()))?;
            Ok(Ok(()))
        })?;
        Ok(RoleKeyPair { id: hex(&role_id), secret_id })
    }

    /// Every role, with its id and how often it logged in.
    pub fn roles(&mut self) -> Result<Vec<(String, Role, u64)>, StoreError> {
        let (root, id) = (self.root("list roles")?, self.id);
        self.transact(|writing, keys, _| {
            let uses = |row: &[u8]| {
                writing.one("SELECT uses FROM roles WHERE id = ?1", [row], |row| row.get::<_, u64>(0))
            };
            let mut roles = Vec::new();
            for (role_id, RoleRecord { role, .. }) in records(writing, &id, &root)? {
                roles.push((hex(&role_id), role, uses(&role_id)?.unwrap_or_default()));
            }
            record(writing, &id, keys, Action::RoleList, Outcome::Done, About::Named("roles".to_owned()))?;
            Ok(Ok(roles))
        })
    }

    /// Ends a role, and gives its environments new keys.
    pub fn revoke_role(&mut self, name: &str) -> Result<(), StoreError> {
        let (root, id) = (self.root("revoke roles")?, self.id);
        self.transact(|writing, keys, _| {
            let all = records(writing, &id, &root)?;
            let Some((role_id, revoked)) = all.iter().find(|(_, record)| record.role.name == name) else {
                return Err(StoreError::NoRole { name: name.to_owned() });
            };
            writing.execute("DELETE FROM roles WHERE id = ?1", [role_id])?;
            for environment in &mut keys.environments {
                if revoked.role.environments().contains(environment.name.as_str()) {
                    rewrap(writing, &id, &root, environment)?;
                }
            }
            // The revoked role knew the state of the chain too.
            record(writing, &id, keys, Action::RoleRevoke, Outcome::Done, About::Named(name.to_owned()))?;
            let (tip, _) = tip(writing, &id, &keys.audit)?;
            keys.audit = key()?;
            let audit = sealed(root.seal(nonce()?, place(AUDIT_KEY, &[&id]), keys.audit.expose()))?;
            writing.execute("UPDATE meta SET value = ?2 WHERE name = ?1", params![AUDIT_KEY, audit])?;
            begin_era(writing, &id, &root, &keys.audit, (tip.number + 1, tip.link))?;
            for (role_id, RoleRecord { role, key }) in
                all.iter().filter(|(_, record)| record.role.name != name)
            {
                let own = role_keys(keys, role);
                let own = sealed(keys::seal(key, nonce()?, place("role", &[&id, role_id]), &own))?;
                writing.execute("UPDATE roles SET sealed = ?2 WHERE id = ?1", params![role_id, own])?;
            }
            Ok(Ok(()))
        })
    }
}

fn role_keys(keys: &Keys, role: &Role) -> RoleKeys {
    let wanted = role.environments();
    let environments =
        keys.environments.iter().filter(|environment| wanted.contains(environment.name.as_str()));
    RoleKeys { environments: environments.cloned().collect(), role: role.clone(), audit: keys.audit.clone() }
}

fn records(writing: &Writing<'_>, id: &Id, root: &Key) -> Result<Vec<(Id, RoleRecord)>, StoreError> {
    let rows = writing.all("SELECT id, record FROM roles", [], |row| {
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
