//! Turns the errors of a store into the classes of faults.
//!
//! *Invariant:* pure.

use std::path::Path;

use super::{AGAIN_IN, Fault};
use crate::fact::chain;
use crate::source::wrapped::Closed;
use crate::store::StoreError;

/// When the store is being opened, a refusal concerns the credential.
pub(super) fn fault_of_log_in(error: &StoreError) -> Fault {
    if matches!(error, StoreError::Refused | StoreError::Ended { .. }) {
        Fault::Refused { why: chain(error), again_in: Some(AGAIN_IN) }
    } else {
        fault(error)
    }
}

/// The fault of a credential: wait for its file, or ask the server that unwraps it again.
pub(super) fn not_opened(file: &Path, closed: Closed) -> Fault {
    let of_file = |why: &dyn std::fmt::Display| format!("{} cannot be unwrapped: {why}", file.display());
    match closed {
        Closed::File(why) => Fault::Awaiting { file: file.to_owned(), why: format!("it {why}") },
        Closed::Server(waiting @ Fault::Awaiting { .. }) => waiting,
        Closed::Server(Fault::Unreachable { why, retry_after }) => {
            Fault::Unreachable { why: of_file(&why), retry_after }
        }
        // The server may lock the role for everyone, so it says when to try again.
        Closed::Server(Fault::Refused { why, again_in }) => Fault::Refused { why: of_file(&why), again_in },
        Closed::Server(
            fault @ (Fault::Failing { .. }
            | Fault::Denied { .. }
            | Fault::Dead
            | Fault::Gone { .. }
            | Fault::Malformed { .. }),
        ) => Fault::Refused { why: of_file(&fault), again_in: Some(AGAIN_IN) },
        Closed::Way(why) => Fault::Refused { why: of_file(&why), again_in: Some(AGAIN_IN) },
    }
}

pub(super) fn fault(error: &StoreError) -> Fault {
    let why = chain(error);
    match error {
        StoreError::Denied { right, path } => Fault::Denied {
            path: path.clone(),
            capability: match right {
                crate::store::Right::Read => "read",
                crate::store::Right::Write => "write",
                crate::store::Right::Rotate => "rotate",
                crate::store::Right::Admin => "admin",
            },
        },
        StoreError::Refused | StoreError::Ended { .. } => Fault::Dead,
        StoreError::Missing { .. } | StoreError::Unreadable { .. } => Fault::Gone { why },
        StoreError::Full | StoreError::ReadOnly | StoreError::Busy { .. } | StoreError::NotThere { .. } => {
            Fault::Unreachable { why, retry_after: None }
        }
        StoreError::Io { .. }
        | StoreError::Sqlite { .. }
        | StoreError::Random { .. }
        | StoreError::Rotating { .. } => Fault::Failing { why },
        StoreError::Exists { .. }
        | StoreError::NotAStore { .. }
        | StoreError::Newer { .. }
        | StoreError::Older { .. }
        | StoreError::RolledBack { .. }
        | StoreError::Forged { .. }
        | StoreError::Damaged { .. }
        | StoreError::Credential { .. }
        | StoreError::OwnerOnly { .. }
        | StoreError::NoRole { .. }
        | StoreError::Unfit { .. }
        | StoreError::TooLarge { .. }
        | StoreError::TooHeavy { .. } => Fault::Malformed { why },
    }
}
