//! The page of one source in the ledger: what a session holds, there and back.

use std::sync::Arc;

use crate::fact::{Fact, SourceFact, chain};
use crate::ledger::file::Ledger;
use crate::ledger::{Identity, LedgerError, Page};
use crate::names::SourceName;
use crate::secret::DigestKey;
use crate::session::{Holding, Holdings};
use crate::source::{Grant, GrantLife};

/// Where a keeper writes down what it holds.
pub struct Book {
    ledger: Arc<Ledger>,
    source: SourceName,
    identity: Identity,
}

impl Book {
    /// The page of this source, under this login.
    pub fn new(ledger: Arc<Ledger>, source: SourceName, identity: Identity) -> Self {
        Self { ledger, source, identity }
    }

    /// What an earlier run left.
    pub fn holdings(&self, key: &DigestKey) -> Option<Holdings> {
        let page = self.ledger.read(&self.source, &self.identity)?;
        let life = GrantLife { ttl: page.token_ttl, renewable: page.renewable };
        let grant = Grant { token: page.token, life, revocable: page.revocable, uses: page.uses };
        let holding = |entry: crate::ledger::Entry| {
            let digest = key.digest_fields(&entry.fields);
            Holding { entry, digest }
        };
        Some(Holdings { grant, leases: page.leases.into_iter().map(holding).collect() })
    }

    /// Writes down what is held now. A failure costs a later run a login, and this one nothing.
    pub(super) fn record(&self, holdings: Holdings) {
        let Holdings { grant, leases } = holdings;
        let page = Page {
            token: grant.token,
            token_ttl: grant.life.ttl,
            renewable: grant.life.renewable,
            revocable: grant.revocable,
            uses: grant.uses,
            leases: leases.into_iter().map(|holding| holding.entry).collect(),
        };
        self.say(self.ledger.write(&self.source, &page, &self.identity));
    }

    /// All was given back: there is nothing to adopt.
    pub(super) fn close(&self) {
        self.say(self.ledger.remove(&self.source));
    }

    fn say(&self, result: Result<(), LedgerError>) {
        if let Err(error) = result {
            Fact::Source(self.source.clone(), SourceFact::LedgerNotWritten { error: chain(&error) }).tell();
        }
    }
}
