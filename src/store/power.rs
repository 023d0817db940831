//! The identity that opened the store, and what its keys allow now.
//!
//! *Invariant:* a role has the keys of its own environments only, and of those only the keys that its rights need. This module checks what
//! the role may do with which path.

use std::cell::Cell;
use std::sync::Arc;
use std::time::SystemTime;

use super::audit::{About, Change};
use super::envelope;
use super::error::{StoreError, damaged};
use super::file::{Reading, Writing};
use super::head::Head;
use super::keys::{self, Environment, ID, Id, OwnerKeys, RoleKeys, Tip};
use super::owner::owner_keys;
use super::path::SecretPath;
use super::role::{Allowance, Ended, Right, Role};
use super::rows::head;
use super::seal::{Key, place};
use super::sign::{Public, public};
use crate::hex::hex;

/// The names of the rows with the store's id, and with the end of its audit.
pub(super) const STORE_ID: &str = "id";
pub(super) const TIP: &str = "audit tip";

/// The owner's name in the audit.
pub(super) const OWNER: &str = "owner";

/// The identity that opened a store.
#[derive(Clone, Debug)]
pub(super) enum Identity {
    Owner {
        root: Key,
    },
    Role {
        id: Id,
        key: Key,
        /// The row that its key opened last: opening it again would cost as much as all the rest of a read.
        opened: Option<Arc<Opened>>,
    },
}

/// The keys and rights of a role, as they were read.
#[derive(Debug)]
pub(super) struct Opened {
    sealed: Vec<u8>,
    keys: RoleKeys,
    allowance: Allowance,
}

/// The present keys, for one transaction.
pub(super) struct Keys {
    pub(super) who: String,
    pub(super) environments: Vec<Environment>,
    /// The writer id of new entries, and the key that seals them.
    pub(super) writer: Id,
    pub(super) writer_key: Key,
    /// The key that seals the end of the audit, and that end.
    pub(super) tip_key: Key,
    pub(super) tip: Cell<Tip>,
    /// The public key of the owner's signatures.
    pub(super) owner: Public,
    power: Power,
}

/// What the keys allow.
enum Power {
    /// Everything.
    Root(Key),
    Allowed(Id, Arc<Opened>),
}

impl Keys {
    /// The keys of the owner.
    pub(super) fn of_owner(environments: Vec<Environment>, own: &OwnerKeys, root: &Key, tip: Tip) -> Self {
        Self {
            who: OWNER.to_owned(),
            environments,
            writer: own.writer,
            writer_key: own.writer_key.clone(),
            tip_key: own.tip.clone(),
            tip: Cell::new(tip),
            owner: public(&own.signing),
            power: Power::Root(root.clone()),
        }
    }

    fn of_role(role_id: Id, opened: Arc<Opened>, tip: Tip) -> Self {
        let RoleKeys { role, environments, writer, writer_key, tip: tip_key, owner } = &opened.keys;
        Self {
            who: role.name.clone(),
            environments: environments.clone(),
            writer: *writer,
            writer_key: writer_key.clone(),
            tip_key: tip_key.clone(),
            tip: Cell::new(tip),
            owner: *owner,
            power: Power::Allowed(role_id, opened),
        }
    }

    pub(super) fn environment(&self, path: &SecretPath) -> Option<&Environment> {
        self.environments.iter().find(|environment| environment.name == path.environment())
    }

    /// The root key, if these are the owner's.
    pub(super) fn root(&self) -> Option<&Key> {
        match &self.power {
            Power::Root(root) => Some(root),
            Power::Allowed(..) => None,
        }
    }

    pub(super) fn allows(&self, right: Right, path: &SecretPath) -> bool {
        match &self.power {
            Power::Root(_) => true,
            Power::Allowed(_, opened) => opened.allowance.allows(right, path),
        }
    }

    /// Whether there can be anything below a folder, whose path ends with a slash, that it has this right to.
    pub(super) fn allows_below(&self, right: Right, folder: &str, deep: bool) -> bool {
        self.role().is_none_or(|role| role.reaches_below(right, folder, deep))
    }

    /// The role, unless these are the owner's.
    pub(super) fn role(&self) -> Option<&Role> {
        match &self.power {
            Power::Root(_) => None,
            Power::Allowed(_, opened) => Some(&opened.keys.role),
        }
    }

    /// A secret that exists.
    pub(super) fn find(
        &self,
        reading: &Reading<'_>,
        id: &Id,
        path: &SecretPath,
    ) -> Result<(&Environment, [u8; 32], Head), StoreError> {
        let missing = || StoreError::Missing { path: path.to_string() };
        let environment = self.environment(path).ok_or_else(missing)?;
        let (row, head) = head(reading, id, environment, path)?;
        Ok((environment, row, head.ok_or_else(missing)?))
    }
}

/// The object in the record of an access.
pub(super) fn about(path: &SecretPath, version: Option<u64>, change: Option<Change>) -> About {
    About::Secret { path: path.to_string(), version, change }
}

/// The present keys.
pub(super) fn keys_of(reading: &Reading<'_>, id: &Id, identity: &mut Identity) -> Result<Keys, StoreError> {
    match identity {
        Identity::Owner { root } => {
            // The root key was replaced since: whoever has the store open has to open it anew.
            let own = owner_keys(reading, id, root).map_err(|_| StoreError::Refused)?;
            let tip = tip(reading, id, &own.tip)?;
            Ok(Keys::of_owner(environments(reading, id, root)?, &own, root, tip))
        }
        Identity::Role { id: role, key, opened } => {
            let own = open_role(reading, id, role, key, opened.as_ref())?;
            *opened = Some(Arc::clone(&own));
            let tip = tip(reading, id, &own.keys.tip)?;
            Ok(Keys::of_role(*role, own, tip))
        }
    }
}

fn open_role(
    reading: &Reading<'_>,
    id: &Id,
    role: &Id,
    key: &Key,
    known: Option<&Arc<Opened>>,
) -> Result<Arc<Opened>, StoreError> {
    let found =
        reading.one("SELECT sealed FROM roles WHERE id = ?1", [role], |row| row.get::<_, Vec<u8>>(0))?;
    let sealed = found.ok_or(StoreError::Refused)?;
    if let Some(known) = known.filter(|known| known.sealed == sealed) {
        return Ok(Arc::clone(known));
    }
    let opened = envelope::open(key, place("role", &[id, role]), &sealed).ok_or(StoreError::Refused)?;
    let keys: RoleKeys =
        serde_json::from_slice(opened.expose()).map_err(|_| damaged("a role", "it cannot be read"))?;
    let allowance = Allowance::compile(&keys.role.grants)
        .map_err(|_| damaged("a role", "its patterns cannot be read"))?;
    Ok(Arc::new(Opened { sealed, keys, allowance }))
}

/// Whether the role of these keys may still do something; with `logs_in`, whether it may log in once more. The owner always may.
pub(super) fn standing(reading: &Reading<'_>, keys: &Keys, logs_in: bool) -> Result<(), StoreError> {
    let Power::Allowed(role, opened) = &keys.power else { return Ok(()) };
    let log_ins = if logs_in { log_ins(reading, role)? } else { 0 };
    opened.keys.role.standing(log_ins, SystemTime::now().into()).map_err(|ended| {
        let why = match ended {
            Ended::Expired(at) => format!("expired at {at}"),
            Ended::UsedUp(uses) => format!("has logged in {uses} times, which is all it may"),
        };
        StoreError::Ended { why }
    })
}

/// How often a role logged in. A number below 0 was edited, and counts as the largest number.
pub(super) fn log_ins(reading: &Reading<'_>, role: &Id) -> Result<u64, StoreError> {
    let uses = reading.one("SELECT uses FROM roles WHERE id = ?1", [role], |row| row.get::<_, i64>(0))?;
    Ok(u64::try_from(uses.unwrap_or_default()).unwrap_or(u64::MAX))
}

/// Counts a log-in of a role.
pub(super) fn count_log_in(writing: &Writing<'_>, keys: &Keys) -> Result<(), StoreError> {
    match &keys.power {
        Power::Root(_) => Ok(()),
        Power::Allowed(role, _) => {
            writing.execute("UPDATE roles SET uses = uses + 1 WHERE id = ?1", [role]).map(drop)
        }
    }
}

/// The end of the audit, as it is written.
fn tip(reading: &Reading<'_>, id: &Id, key: &Key) -> Result<Tip, StoreError> {
    let tip: Option<Tip> = keys::open(key, place(TIP, &[id]), &reading.meta(TIP)?);
    tip.ok_or_else(|| {
        damaged("the end of the audit", "it does not open: it was edited, or an earlier one was put back")
    })
}

pub(super) fn environments(
    reading: &Reading<'_>,
    id: &Id,
    root: &Key,
) -> Result<Vec<Environment>, StoreError> {
    let rows = reading.all("SELECT id, sealed FROM environments", [], |row| {
        Ok((row.get::<_, [u8; ID]>(0)?, row.get::<_, Vec<u8>>(1)?))
    })?;
    let open = |(environment, sealed): (Id, Vec<u8>)| {
        let opened = keys::open(root, place("environment", &[id, &environment]), &sealed);
        opened.ok_or_else(|| damaged(&format!("environment {}", hex(&environment)), "its keys do not open"))
    };
    rows.into_iter().map(open).collect()
}
