//! The embedded store: secrets in one encrypted file, for one machine without any server. Usable without the agent.
//!
//! ```text
//! owner's key file ─▶ root ─┬─▶ an environment: data, write, admin ─▶ heads, names, the key of each value ─▶ the value
//!                           └─▶ who ever wrote into the audit ─▶ their entries
//! secret-id ──Argon2id──▶ a role's key ──HPKE──▶ as much of its environments as its rights need, and what its entries are sealed under
//! ```
//!
//! The file is `SQLite` in WAL mode, which several processes may use at once. What can be read in it without a key: how many environments,
//! secrets, versions, roles and audit entries there are, which secrets are in one folder, how long each sealed thing is, and how often a
//! role logged in. Names of environments, folders, secrets, fields and roles cannot: a row is found by a keyed digest of its path.
//!
//! - Keys separate `dev` and `prod`: a role without keys of an environment cannot open it, whatever the program checks.
//! - Within an environment, keys also separate who reads, who writes and who administers (`proof.rs`); the program separates paths.
//! - Each value is sealed under a key of its own, bound to its path and version, and its digest is in the head. When a role is revoked, its
//!   environments get new keys (`renewal.rs`).
//! - Every access is recorded in a chain (`audit.rs`) in the same transaction; without the record there is no access. The contents of the
//!   store can be computed from the chain (`replay.rs`), and whoever saw a part of it notices when an earlier state is put back
//!   (`witness.rs`).
//!
//! `docs/store.md` says what is protected against whom, each promise with its test.
//!
//! *Invariant:* this file only defines. When a `put` returns, its data is on disk.

mod access;
mod archive;
#[cfg(test)]
mod attacks;
mod audit;
mod chance;
mod charter;
mod cost;
mod envelope;
mod error;
mod file;
#[cfg(test)]
mod fuzz;
mod generator;
mod head;
mod hook;
mod hooks;
mod journal;
mod keys;
mod late;
mod moment;
mod owner;
mod path;
mod policy;
mod power;
mod proof;
mod query;
mod refusals;
mod rekey;
mod renewal;
mod replay;
mod report;
mod restore;
mod role;
mod roles;
mod rotation;
mod rows;
mod seal;
mod sign;
mod standing;
mod values;
mod verify;
mod walk;
mod witness;

pub use access::{Credential, NewRole, Past, RoleKeyPair, Store};
pub use archive::Exported;
pub use audit::{Action, Outcome};
pub use cost::Cost;
pub use error::StoreError;
pub use generator::{Class, Generator};
pub use head::{Head, KEPT, State, Unreadable, Version};
pub use hooks::Hooks;
pub use late::Rotations;
pub use moment::Moment;
pub use owner::OwnerSecret;
pub use path::SecretPath;
pub use policy::{Approval, LONGEST_INTERVAL, LONGEST_TIMEOUT, Policy, Rotation, Step};
pub use query::{Query, Record, Stats};
pub use refusals::Refused;
pub use rekey::Rekey;
pub use report::{Finding, Report};
pub use restore::{Restored, Returned};
pub use role::{Right, Role};
pub use rotation::{Due, Rotated};
pub use standing::{How, Standing};
pub use values::{Value, With};
pub use witness::{NoWitness, Witness};

/// The largest value, all its fields together, in bytes of JSON.
pub const LARGEST_VALUE: usize = 1 << 20;
