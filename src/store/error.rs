//! What can go wrong with a store.
//!
//! *Invariant:* no value, no key and no secret-id is in any of it.

use std::io;
use std::path::PathBuf;

use super::head::Unreadable;
use super::moment::Moment;
use super::role::Right;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such file.
    #[error("there is no store at {}: make one with `squire store init`", file.display())]
    NotThere {
        /// Where.
        file: PathBuf,
    },
    /// `init` where something is.
    #[error("there is something at {} already: choose another place, or remove it", file.display())]
    Exists {
        /// Where.
        file: PathBuf,
    },
    /// Some other file.
    #[error("{} is not a store of Squire's", file.display())]
    NotAStore {
        /// Which.
        file: PathBuf,
    },
    /// Of a later version.
    #[error("{} has format {found}, and this Squire knows up to {known}: use a newer one", file.display())]
    Newer {
        /// Which.
        file: PathBuf,
        /// Its format.
        found: i64,
        /// The latest that is known.
        known: i64,
    },
    /// Of an earlier version, which promised less.
    #[error(
        "{} has format {found}, and this Squire writes {known}: export it with the Squire that made it, and import that into a new store",
        file.display()
    )]
    Older {
        /// Which.
        file: PathBuf,
        /// Its format.
        found: i64,
        /// The one that is written now.
        known: i64,
    },
    /// The store is not a later state of what was seen of it.
    #[error(
        "this is an earlier state of the store, or another one: {why}. Nothing is read from it. If it was put there on purpose, the owner says          so with `squire store accept-restore`; else find out who replaced it"
    )]
    RolledBack {
        /// What was seen, and what is there.
        why: String,
    },
    /// Somebody without the right to wrote it.
    #[error(
        "{what} was written by somebody who may not: it is not used; `squire store audit` says who was at the store, and an earlier version can be put again"
    )]
    Forged {
        /// What.
        what: String,
    },
    /// A rotation is at it.
    #[error(
        "{path}: a rotation is at work with version {pending}, which may be known elsewhere already: wait until {until} at most, or use --force,          which keeps version {pending} as one that is not current"
    )]
    Rotating {
        /// Which path.
        path: String,
        /// The version that is to become current; 0 where there is none yet.
        pending: u64,
        /// When the rotation has ended at the latest.
        until: Moment,
    },
    /// Edited, cut, or broken.
    #[error("the store is damaged: {place}: {why}; `squire store verify` looks at all of it")]
    Damaged {
        /// Where in it.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// The wrong key file, role id or secret-id. It is not said which.
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
        /// What it would need.
        right: Right,
        /// With which secret.
        path: String,
    },
    /// Only the owner may.
    #[error("only the owner may {what}: use the owner's key file")]
    OwnerOnly {
        /// Do what.
        what: &'static str,
    },
    /// The role's time or uses are over.
    #[error("the role {why}: ask the owner for a new one")]
    Ended {
        /// What is over.
        why: String,
    },
    /// No such secret.
    #[error("there is nothing at {path}")]
    Missing {
        /// Which path.
        path: String,
    },
    /// There is, and it cannot be read.
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
    /// It is there already, or cannot be made so.
    #[error("{what} {why}")]
    Unfit {
        /// What was given.
        what: String,
        /// What is wrong with it, as a predicate.
        why: String,
    },
    /// More than there is room for.
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
    /// A file of the store's own.
    #[error("cannot {doing} {}", file.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is full.
    #[error("the disk is full: nothing was changed")]
    Full,
    /// Nothing can be written there.
    #[error("the store cannot be written, and no access goes unrecorded: mount it writable")]
    ReadOnly,
    /// Somebody else writes, for longer than is usual.
    #[error("the store is busy: another process has been writing for more than {seconds} s")]
    Busy {
        /// How long was waited.
        seconds: u64,
    },
    /// The database.
    #[error("cannot {doing}")]
    Sqlite {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        source: rusqlite::Error,
    },
    /// The system has no random bytes.
    #[error("no random bytes: {why}")]
    Random {
        /// What it said.
        why: String,
    },
}

/// What seals only fails for more than a cipher takes, far above every limit.
pub(super) fn sealed<T>(sealed: Option<T>) -> Result<T, StoreError> {
    sealed.ok_or_else(|| damaged("a value", "it cannot be sealed"))
}

pub(super) fn damaged(place: &str, why: &str) -> StoreError {
    StoreError::Damaged { place: place.to_owned(), why: why.to_owned() }
}

pub(super) fn unfit(what: String, why: String) -> StoreError {
    StoreError::Unfit { what, why }
}
