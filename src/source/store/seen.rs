//! The last entry that this agent saw of its store: an earlier state that is put back does not match it.
//!
//! *Invariant:* it only moves forward, except for a store that the owner restored. If there is a ledger, the entry is in it before a value
//! is used; a failure to write it is logged, and stops nothing.

use std::sync::{Arc, Mutex, PoisonError};

use crate::fact::{Fact, SourceFact, chain};
use crate::ledger::file::Ledger;
use crate::ledger::{Identity, Page};
use crate::names::SourceName;
use crate::secret::Secret;
use crate::store::Witness;

/// The latest entry of the store's audit that was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    latest: Mutex<Option<Witness>>,
    ledger: Option<Kept>,
}

/// The page of this source in the ledger, which outlives this run; its token is the witness. A store has no other token.
#[derive(Debug)]
struct Kept {
    ledger: Arc<Ledger>,
    source: SourceName,
    identity: Identity,
}

impl Seen {
    /// Reads the entry that an earlier run left in the ledger, and writes later ones there.
    pub(super) fn kept_in(ledger: Arc<Ledger>, source: SourceName, identity: Identity) -> Self {
        let page = ledger.read(&source, &identity);
        let latest = page.and_then(|page| page.token.expose().parse().ok());
        Self { latest: Mutex::new(latest), ledger: Some(Kept { ledger, source, identity }) }
    }

    pub(super) fn latest(&self) -> Option<Witness> {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the latest entry. The store compared it with the one before, when it was opened and at every operation since.
    pub(super) fn note(&self, witness: Option<Witness>) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(witness) = witness.filter(|witness| *latest != Some(*witness)) else { return };
        *latest = Some(witness);
        if let Some(kept) = &self.ledger {
            kept.write(&witness);
        }
    }
}

impl Kept {
    fn write(&self, witness: &Witness) {
        let page = Page {
            token: Secret::new(witness.to_string()),
            token_ttl: None,
            renewable: false,
            revocable: false,
            uses: None,
            leases: Vec::new(),
        };
        if let Err(error) = self.ledger.write(&self.source, &page, &self.identity) {
            Fact::Source(self.source.clone(), SourceFact::LedgerNotWritten { error: chain(&error) }).tell();
        }
    }
}
