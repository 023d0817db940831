//! The errors of a store.
//!
//! *Invariant:* no error contains a value, a key or a secret-id.

use std::io;
use std::path::PathBuf;

use super::head::Unreadable;
use super::moment::Moment;
use super::role::Right;
use crate::size::too_large;

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such file.
    #[error("there is no store at {}: make one with `squire store init`", file.display())]
    NotThere {
        /// Where.
        file: PathBuf,
    },
    /// `init` found a file.
    #[error("there is something at {} already: choose another place, or remove it", file.display())]
    Exists {
        /// Where.
        file: PathBuf,
    },
    /// The file is no store.
    #[error("{} is not a store of Squire's", file.display())]
    NotAStore {
        /// Which.
        file: PathBuf,
    },
    /// The store has a later format.
    #[error("{} has format {found}, and this Squire knows up to {known}: use a newer one", file.display())]
    Newer {
        /// Which.
        file: PathBuf,
        /// Its format.
        found: i64,
        /// The latest format that this code knows.
        known: i64,
    },
    /// The store has an earlier format, which promised less.
    #[error(
        "{} has format {found}, and this Squire writes {known}: export it with the Squire that made it, and import that into a new store",
        file.display()
    )]
    Older {
        /// Which.
        file: PathBuf,
        /// Its format.
        found: i64,
        /// The format that this code writes.
        known: i64,
    },
    /// The store does not continue from the entry that was seen.
    #[error(
        "this is an earlier state of the store, or another one: {why}. Nothing is read from it. If it was put there on purpose, the owner says          so with `squire store accept-restore`; else find out who replaced it"
    )]
    RolledBack {
        /// The entry that was seen, and the last one that is there.
        why: String,
    },
    /// A role without the right to it wrote this.
    #[error(
        "{what} was written by somebody who may not: it is not used; `squire store audit` says who was at the store, and an earlier version can be put again"
    )]
    Forged {
        /// What.
        what: String,
    },
    /// A rotation is under way.
    #[error(
        "{path}: a rotation is at work with version {pending}, which may be known elsewhere already: wait until {until} at most, or use --force,          which keeps version {pending} as one that is not current"
    )]
    Rotating {
        /// Which path.
        path: String,
        /// The version that is to become current; 0 if there is none yet.
        pending: u64,
        /// The latest time at which the rotation ends.
        until: Moment,
    },
    /// The store was edited, cut, or damaged.
    #[error("the store is damaged: {place}: {why}; `squire store verify` looks at all of it")]
    Damaged {
        /// Where in it.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// The key file, role id or secret-id is wrong. The error does not say which.
    #[error(
        "the store does not open with this: wrong key file, role id or secret-id, or the role was revoked"
    )]
    Refused,
    /// The credential itself cannot be used.
    #[error("{what} {why}")]
    Credential {
        /// Which file or variable.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The role may not do this.
    #[error("the role may not {right} {path}")]
    Denied {
        /// The right that it would need.
        right: Right,
        /// The secret that it asked for.
        path: String,
    },
    /// Only the owner may do this.
    #[error("only the owner may {what}: use the owner's key file")]
    OwnerOnly {
        /// The action.
        what: &'static str,
    },
    /// The role has expired, or used up its log-ins.
    #[error("the role {why}: ask the owner for a new one")]
    Ended {
        /// Which of the two.
        why: String,
    },
    /// No such secret.
    #[error("there is nothing at {path}")]
    Missing {
        /// Which path.
        path: String,
    },
    /// It exists, and cannot be read.
    #[error("{path}: {why}")]
    Unreadable {
        /// Which path.
        path: String,
        /// Why.
        why: Unreadable,
    },
    /// No such role.
    #[error("there is no role {name}; `squire store role list` shows those there are")]
    NoRole {
        /// Which.
        name: String,
    },
    /// It exists already, or is not a valid name.
    #[error("{what} {why}")]
    Unfit {
        /// The name that was given.
        what: String,
        /// What is wrong with it, as a predicate.
        why: String,
    },
    /// More than the store can hold.
    #[error(
        "{path} would have {size} bytes, and a value may have {limit}: keep large things elsewhere, and their key here"
    )]
    TooLarge {
        /// Which path.
        path: String,
        /// How many it would be.
        size: usize,
        /// How many may be.
        limit: usize,
    },
    /// A value that an agent does not take.
    #[error("{path} {}", too_large(*limit))]
    TooHeavy {
        /// Which path.
        path: String,
        /// How much it may weigh.
        limit: usize,
    },
    /// A file operation of the store failed.
    #[error("cannot {doing} {}", file.display())]
    Io {
        /// The operation.
        doing: &'static str,
        /// The file.
        file: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The disk is full.
    #[error("the disk is full: nothing was changed")]
    Full,
    /// The file system is read-only.
    #[error("the store cannot be written, and no access goes unrecorded: mount it writable")]
    ReadOnly,
    /// Another process writes for longer than is usual.
    #[error("the store is busy: another process has been writing for more than {seconds} s")]
    Busy {
        /// How long this one waited.
        seconds: u64,
    },
    /// The database failed.
    #[error("cannot {doing}")]
    Sqlite {
        /// The operation.
        doing: &'static str,
        /// The database's error.
        source: rusqlite::Error,
    },
    /// The system has no random bytes.
    #[error("no random bytes: {why}")]
    Random {
        /// The system's error.
        why: String,
    },
}

/// Sealing fails only for data that is larger than a cipher takes, far above every limit.
pub(super) fn sealed<T>(sealed: Option<T>) -> Result<T, StoreError> {
    sealed.ok_or_else(|| damaged("a value", "it cannot be sealed"))
}

pub(super) fn damaged(place: &str, why: &str) -> StoreError {
    StoreError::Damaged { place: place.to_owned(), why: why.to_owned() }
}

pub(super) fn unfit(what: String, why: String) -> StoreError {
    StoreError::Unfit { what, why }
}
