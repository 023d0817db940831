//! Who opened the store, and what their keys are good for as they are now.
//!
//! *Invariant:* a role has the keys of its own environments and no other; what it may do within them is checked here.

use std::time::SystemTime;

use rusqlite::params;

use super::audit::{About, Subject};
use super::chance::{key, nonce, random};
use super::cost::{Cost, SALT};
use super::error::{StoreError, damaged, sealed};
use super::file::Writing;
use super::head::Head;
use super::hex::{hex, unhex};
use super::keys::{self, Environment, ID, Id, RoleKeys};
use super::path::SecretPath;
use super::role::{Allowance, Ended, Right};
use super::rows::head;
use super::seal::{Key, place};
use crate::secret::Secret;

/// The parts of the store's own row names.
pub(super) const STORE_ID: &str = "id";
pub(super) const AUDIT_KEY: &str = "audit key";

/// As whom a store was opened.
#[derive(Clone, Debug)]
pub(super) enum Identity {
    Owner { root: Key },
    Role { id: Id, key: Key },
}

/// The keys of one transaction, as they are now.
pub(super) struct Keys {
    pub(super) who: String,
    pub(super) environments: Vec<Environment>,
    pub(super) audit: Key,
    power: Power,
}

/// What the keys are good for.
enum Power {
    /// Everything.
    Root(Key),
    Allowed(Allowance),
}

impl Keys {
    /// The owner's.
    pub(super) fn of_owner(environments: Vec<Environment>, audit: Key, root: &Key) -> Self {
        Self { who: OWNER.to_owned(), environments, audit, power: Power::Root(root.clone()) }
    }

    pub(super) fn environment(&self, path: &SecretPath) -> Option<&Environment> {
        self.environments.iter().find(|environment| environment.name == path.environment())
    }

    pub(super) fn allows(&self, right: Right, path: &SecretPath) -> bool {
        match &self.power {
            Power::Root(_) => true,
            Power::Allowed(allowance) => allowance.allows(right, path),
        }
    }

    /// Whether there is anything that it allows this with.
    pub(super) fn has(&self, right: Right) -> bool {
        match &self.power {
            Power::Root(_) => true,
            Power::Allowed(allowance) => allowance.has(right),
        }
    }

    /// A secret that is there.
    pub(super) fn find(
        &self,
        writing: &Writing<'_>,
        id: &Id,
        path: &SecretPath,
    ) -> Result<(&Environment, [u8; 32], Head), StoreError> {
        let missing = || StoreError::Missing { path: path.to_string() };
        let environment = self.environment(path).ok_or_else(missing)?;
        let (row, head) = head(writing, id, environment, path)?;
        Ok((environment, row, head.ok_or_else(missing)?))
    }

    /// What the record of an access says it was about. Who has no key for an environment names it openly.
    pub(super) fn about(
        &self,
        id: &Id,
        path: &SecretPath,
        version: Option<u64>,
        serial: Option<u64>,
    ) -> Result<About, StoreError> {
        let Some(environment) = self.environment(path) else { return Ok(About::Named(path.to_string())) };
        let subject = Subject { path: path.to_string(), version, serial };
        let parts: [&[u8]; 2] = [id, &environment.id];
        let subject = sealed(keys::seal(&environment.journal, nonce()?, place("subject", &parts), &subject))?;
        Ok(About::Secret { environment: environment.id, sealed: subject })
    }
}

/// What the audit calls whoever has the owner's key.
const OWNER: &str = "owner";

/// Whoever does not know the role id pays as much as who does not know the secret-id, and hears the same.
pub(super) fn role_of(
    writing: &Writing<'_>,
    role: &str,
    secret_id: &Secret<str>,
) -> Result<Identity, StoreError> {
    let id: Id = unhex(role).unwrap_or_default();
    let found = writing.one("SELECT salt, cost FROM roles WHERE id = ?1", [id], |row| {
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?))
    })?;
    let is_known = found.is_some();
    let (salt, cost) = match found {
        Some((salt, cost)) => (salt, cost.parse().map_err(|why: String| damaged("a role", &why))?),
        None => (vec![0; SALT], Cost::SECRET_ID),
    };
    let key = sealed(cost.key(secret_id.expose().trim(), &salt))?;
    if is_known { Ok(Identity::Role { id, key }) } else { Err(StoreError::Refused) }
}

/// The keys as they are now. Inside: those of a role that may do nothing any more, to record its refusal with.
pub(super) fn keys_of(
    writing: &Writing<'_>,
    id: &Id,
    identity: &Identity,
    logs_in: bool,
) -> Result<Result<Keys, (Keys, StoreError)>, StoreError> {
    match identity {
        Identity::Owner { root } => {
            let audit = root.open(place(AUDIT_KEY, &[id]), &meta(writing, AUDIT_KEY)?);
            let audit = audit.as_ref().and_then(Key::from_opened);
            let audit = audit.ok_or_else(|| damaged("the audit's key", "it does not open"))?;
            let environments = environments(writing, id, root)?;
            Ok(Ok(Keys::of_owner(environments, audit, root)))
        }
        Identity::Role { id: role_id, key } => {
            let found = writing.one("SELECT sealed, uses FROM roles WHERE id = ?1", [role_id], |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, u64>(1)?))
            })?;
            let (own, log_ins) = found.ok_or(StoreError::Refused)?;
            let own: RoleKeys =
                keys::open(key, place("role", &[id, role_id]), &own).ok_or(StoreError::Refused)?;
            let RoleKeys { role, environments, audit } = own;
            let allowance = Allowance::compile(&role.grants)
                .map_err(|_| damaged("a role", "its patterns cannot be read"))?;
            let standing = role.standing(if logs_in { log_ins } else { 0 }, SystemTime::now().into());
            let keys = Keys { who: role.name, environments, audit, power: Power::Allowed(allowance) };
            if let Err(ended) = standing {
                let why = match ended {
                    Ended::Expired(at) => format!("expired at {at}"),
                    Ended::UsedUp(uses) => format!("has logged in {uses} times, which is all it may"),
                };
                return Ok(Err((keys, StoreError::Ended { why })));
            }
            if logs_in {
                writing.execute("UPDATE roles SET uses = uses + 1 WHERE id = ?1", [role_id])?;
            }
            Ok(Ok(keys))
        }
    }
}

pub(super) fn environments(
    writing: &Writing<'_>,
    id: &Id,
    root: &Key,
) -> Result<Vec<Environment>, StoreError> {
    let rows = writing.all("SELECT id, sealed FROM environments", [], |row| {
        Ok((row.get::<_, [u8; ID]>(0)?, row.get::<_, Vec<u8>>(1)?))
    })?;
    let open = |(environment, sealed): (Id, Vec<u8>)| {
        let opened = keys::open(root, place("environment", &[id, &environment]), &sealed);
        opened.ok_or_else(|| damaged(&format!("environment {}", hex(&environment)), "its keys do not open"))
    };
    rows.into_iter().map(open).collect()
}

/// Only the owner can: who has not the root key cannot give it to roles.
pub(super) fn add_environment(
    writing: &Writing<'_>,
    id: &Id,
    keys: &mut Keys,
    name: &str,
) -> Result<Environment, StoreError> {
    let Power::Root(root) = &keys.power else {
        return Err(StoreError::OwnerOnly { what: "make an environment" });
    };
    let made = add_environment_as(writing, id, root, name)?;
    keys.environments.push(made.clone());
    Ok(made)
}

pub(super) fn add_environment_as(
    writing: &Writing<'_>,
    id: &Id,
    root: &Key,
    name: &str,
) -> Result<Environment, StoreError> {
    let made = Environment { id: random()?, name: name.to_owned(), data: key()?, journal: key()? };
    let keys = sealed(keys::seal(root, nonce()?, place("environment", &[id, &made.id]), &made))?;
    writing.execute("INSERT INTO environments VALUES (?1, ?2)", params![made.id, keys])?;
    Ok(made)
}

pub(super) fn meta(writing: &Writing<'_>, name: &str) -> Result<Vec<u8>, StoreError> {
    let found = writing.one("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))?;
    found.ok_or_else(|| damaged(name, "it is not there"))
}
