//! What went wrong in a store, as the class of a fault.
//!
//! *Invariant:* pure.

use super::{AGAIN_IN, Fault};
use crate::fact::chain;
use crate::store::StoreError;

/// While it is opened, what is refused is the credential.
pub(super) fn fault_of_log_in(error: &StoreError) -> Fault {
    if matches!(error, StoreError::Refused | StoreError::Ended { .. }) {
        Fault::Refused { why: chain(error), again_in: Some(AGAIN_IN) }
    } else {
        fault(error)
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
        | StoreError::TooLarge { .. } => Fault::Malformed { why },
    }
}
