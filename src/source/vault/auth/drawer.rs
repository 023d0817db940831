//! Where a credential that its login used up outlives this run: the ledger.
//!
//! *Invariant:* a ledger that cannot be written or read is said, and costs a later run a wait for a file, and this one nothing.

use std::sync::Arc;

use crate::fact::{Fact, SourceFact, chain};
use crate::ledger::file::Ledger;
use crate::ledger::{Credential, Identity, LedgerError};
use crate::names::SourceName;

/// The place of one source's credential.
#[derive(Clone, Debug)]
pub(in super::super) struct Drawer {
    ledger: Arc<Ledger>,
    source: SourceName,
    identity: Identity,
}

impl Drawer {
    pub(in super::super) fn new(ledger: Arc<Ledger>, source: SourceName, identity: Identity) -> Self {
        Self { ledger, source, identity }
    }

    /// The same for who logs in as this role. When the drawer was made, the role's file may not have been there.
    pub(super) fn of(&self, role: &str) -> Self {
        let mut drawer = self.clone();
        drawer.identity.role = Some(role.to_owned());
        drawer
    }

    /// What is there, for this role.
    pub(super) fn read(&self) -> Option<Credential> {
        self.ledger.credential(&self.source, &self.identity)
    }

    /// Puts it there; whether it is.
    pub(super) fn put(&self, credential: &Credential) -> bool {
        let kept = self.ledger.keep(&self.source, credential, &self.identity);
        self.say(kept, |error| SourceFact::CredentialNotKept { error })
    }

    /// Leaves nothing there.
    pub(super) fn forget(&self) {
        self.say(self.ledger.discard(&self.source), |error| SourceFact::CredentialNotForgotten { error });
    }

    /// Whether it was done; if not, it is said.
    fn say(&self, result: Result<(), LedgerError>, fact: fn(String) -> SourceFact) -> bool {
        let Err(error) = result else { return true };
        Fact::Source(self.source.clone(), fact(chain(&error))).tell();
        false
    }
}
