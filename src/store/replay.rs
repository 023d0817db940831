//! Replays the audit: computes what the store should contain, entry after entry, and finds entries that contradict earlier ones.
//!
//! The key that opens an entry tells its writer. This module checks whether that writer had the right to it at that time: the owner for
//! actions of the owner, a role for what its grants allow between the entry that made it and the one that revoked it.
//!
//! *Invariant:* pure. Its size grows with the secrets and the roles, not with the entries.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::audit::{About, Action, Change, Entry, Epoch, Outcome, Renamed, root};
use super::keys::Id;
use super::proof::policy_digest;
use super::report::Finding;
use super::role::{Allowance, Role};
use super::seal::Digest;
use crate::hex::{as_hex, hex};

/// What the store should contain after the entries so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replay {
    /// The owner's writer id.
    owner: Option<Name>,
    /// The digest of the row in which the root key is sealed.
    #[serde(with = "as_hex")]
    pub(super) root: Digest,
    /// The existing roles, by their writer ids.
    roles: BTreeMap<Name, Member>,
    environments: BTreeMap<Name, Keyed>,
    pub(super) secrets: BTreeMap<String, Change>,
    #[serde(skip)]
    pub(super) findings: Vec<Finding>,
}

/// An id, as the key of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
struct Name(#[serde(with = "as_hex")] Id);

/// A role that may write.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Member {
    #[serde(with = "as_hex")]
    pub(super) id: Id,
    pub(super) role: Role,
    pub(super) log_ins: u64,
    /// Compiled from the role when it is first asked for.
    #[serde(skip)]
    allowance: Option<Allowance>,
}

/// An environment and the digest of its keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keyed {
    name: String,
    #[serde(with = "as_hex")]
    keys: Digest,
}

impl Replay {
    /// The roles that should exist, each with its writer id.
    pub(super) fn roles(&self) -> impl Iterator<Item = (&Id, &Member)> {
        self.roles.iter().map(|(Name(writer), member)| (writer, member))
    }

    /// The fingerprint of the keys that an environment should have.
    pub(super) fn keys_of(&self, environment: &Id) -> Option<&Digest> {
        self.environments.get(&Name(*environment)).map(|keyed| &keyed.keys)
    }

    /// The environments that should exist: their ids and names.
    pub(super) fn environments(&self) -> impl Iterator<Item = (&Id, &str)> {
        self.environments.iter().map(|(Name(id), keyed)| (id, keyed.name.as_str()))
    }

    /// Takes an entry into account.
    pub(super) fn apply(&mut self, number: u64, writer: &Id, entry: &Entry) {
        let by_owner = match self.owner {
            None => entry.action == Action::Init,
            Some(owner) => owner == Name(*writer),
        };
        if !by_owner && !self.roles.contains_key(&Name(*writer)) {
            return self.find(number, "it was written by somebody who might not write then");
        }
        if let About::Secret { path, change: Some(change), .. } = &entry.about {
            return self.change(number, (by_owner, writer), entry.action, (path, change));
        }
        if by_owner {
            self.by_owner(number, writer, entry);
        } else if is_the_owners(entry.action) && entry.outcome == Outcome::Done {
            self.find(number, "a role wrote what only the owner does");
        } else if entry.action == Action::LogIn && entry.outcome == Outcome::Done {
            self.log_in(number, writer);
        }
    }

    fn log_in(&mut self, number: u64, writer: &Id) {
        let Some(member) = self.roles.get_mut(&Name(*writer)) else { return };
        member.log_ins = member.log_ins.saturating_add(1);
        if member.role.uses.is_some_and(|uses| member.log_ins > uses) {
            let why = format!("{} logs in more often than it may", member.role.name);
            self.find(number, why);
        }
    }

    fn change(
        &mut self,
        number: u64,
        (by_owner, writer): (bool, &Id),
        action: Action,
        (path, change): (&str, &Change),
    ) {
        if !by_owner && !self.may(writer, action, path) {
            self.find(number, format!("a role changed {path}, which it may not"));
        }
        let none = || Change { serial: 0, head: [0; 32], policy: policy_digest(None) };
        let before = self.secrets.get(path).copied().unwrap_or_else(none);
        if change.serial != before.serial.saturating_add(1) {
            let why = format!(
                "it takes {path} from state {} to {}: the changes between them are not recorded",
                before.serial, change.serial
            );
            self.find(number, why);
        }
        if change.policy != before.policy && action != Action::Policy {
            self.find(
                number,
                format!("{path} has another policy since, which nobody with the right to gave it"),
            );
        }
        self.secrets.insert(path.to_owned(), *change);
    }

    fn may(&mut self, writer: &Id, action: Action, path: &str) -> bool {
        let Some(member) = self.roles.get_mut(&Name(*writer)) else { return false };
        if member.allowance.is_none() {
            member.allowance = Allowance::compile(&member.role.grants).ok();
        }
        let allowance = member.allowance.as_ref();
        action.changes_with().iter().any(|right| allowance.is_some_and(|held| held.allows_text(*right, path)))
    }

    fn by_owner(&mut self, number: u64, writer: &Id, entry: &Entry) {
        if entry.outcome != Outcome::Done {
            return;
        }
        match &entry.about {
            About::Owner { root, writer: next, environments, writers } => {
                self.root = *root;
                self.owner = Some(Name(if entry.action == Action::Init { *writer } else { *next }));
                self.renew(number, environments);
                self.rename(writers);
            }
            About::Environment(epoch) => self.set_keys(epoch),
            About::Role { id, writer, role } => {
                let member = Member { id: *id, role: role.clone(), log_ins: 0, allowance: None };
                self.roles.insert(Name(*writer), member);
            }
            About::Revoked { id, environments, .. } => {
                self.roles.retain(|_, member| member.id != *id);
                self.renew(number, environments);
            }
            About::Named(_) | About::Secret { .. } | About::Era(_) => {}
        }
    }

    /// Environments get other keys: their contents at that time have to be those that the earlier entries gave.
    fn renew(&mut self, number: u64, environments: &[Epoch]) {
        for epoch in environments {
            let below = format!("{}/", epoch.name);
            let known = self.secrets.range(below.clone()..).take_while(|(path, _)| path.starts_with(&below));
            if root(known.map(|(path, known)| (path.as_str(), known.serial, &known.head))) != epoch.heads {
                let why = format!(
                    "it gave {} new keys, but its contents then differ from the earlier entries",
                    epoch.name
                );
                self.find(number, why);
            }
            self.set_keys(epoch);
        }
    }

    fn set_keys(&mut self, epoch: &Epoch) {
        let keyed = Keyed { name: epoch.name.clone(), keys: epoch.keys };
        self.environments.insert(Name(epoch.environment), keyed);
    }

    fn rename(&mut self, writers: &[Renamed]) {
        for Renamed { role, writer } in writers {
            let before = self.roles.iter().find(|(_, member)| member.id == *role).map(|(name, _)| *name);
            if let Some(member) = before.and_then(|before| self.roles.remove(&before)) {
                self.roles.insert(Name(*writer), member);
            }
        }
    }

    fn find(&mut self, number: u64, why: impl Into<String>) {
        self.findings.push(Finding { place: format!("audit entry {number}"), why: why.into() });
    }
}

/// Applies an action that only the owner may do.
fn is_the_owners(action: Action) -> bool {
    match action {
        Action::Init
        | Action::Verify
        | Action::EnvironmentAdd
        | Action::RoleAdd
        | Action::RoleRevoke
        | Action::RoleList
        | Action::Rekey
        | Action::Audit
        | Action::AuditExport
        | Action::AuditPrune
        | Action::Stats
        | Action::AcceptRestore => true,
        Action::LogIn
        | Action::Read
        | Action::List
        | Action::History
        | Action::Put
        | Action::Delete
        | Action::Undelete
        | Action::Destroy
        | Action::Policy
        | Action::Approve
        | Action::RotateBegin
        | Action::RotatePending
        | Action::Rotate => false,
    }
}

/// A role, as findings name it.
pub(super) fn named(id: &Id, role: &Role) -> String {
    format!("role {} ({})", role.name, hex(id))
}
