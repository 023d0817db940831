//! A page as the JSON that is sealed.
//!
//! *Invariant:* pure. What is written is read back the same; anything else is an error that quotes none of it.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Entry, Fingerprint, LedgerError, Page, VERSION};
use crate::names::{LeaseId, SecretName};
use crate::secret::{Fields, Secret};

/// [`Page`] as it is written: borrowed on the way out, owned on the way in. It lives no longer than either takes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PageLayout<'a> {
    token: Cow<'a, str>,
    token_ttl: Option<Duration>,
    renewable: bool,
    revocable: bool,
    uses: Option<u64>,
    leases: Vec<EntryLayout<'a>>,
}

/// [`Entry`] as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryLayout<'a> {
    secret: Cow<'a, str>,
    lease: Cow<'a, str>,
    fields: Cow<'a, Fields>,
    first_ttl: Duration,
    renewable: bool,
    want: [u8; 32],
}

/// The plaintext of a page.
pub(super) fn write(page: &Page) -> Secret<[u8]> {
    let layout = PageLayout {
        token: Cow::Borrowed(page.token.expose()),
        token_ttl: page.token_ttl,
        renewable: page.renewable,
        revocable: page.revocable,
        uses: page.uses,
        leases: page.leases.iter().map(EntryLayout::of).collect(),
    };
    // Text, numbers and JSON values can always be written.
    Secret::new(serde_json::to_vec(&layout).unwrap_or_default())
}

/// The page of a plaintext. The words of the JSON reader quote what it read, so they are dropped.
pub(super) fn read(plaintext: &Secret<[u8]>) -> Result<Page, LedgerError> {
    let layout: PageLayout<'_> =
        serde_json::from_slice(plaintext.expose()).map_err(|_| LedgerError::Layout { version: VERSION })?;
    Ok(Page {
        token: Secret::new(layout.token.into_owned()),
        token_ttl: layout.token_ttl,
        renewable: layout.renewable,
        revocable: layout.revocable,
        uses: layout.uses,
        leases: layout.leases.into_iter().map(EntryLayout::into_entry).collect(),
    })
}

impl<'a> EntryLayout<'a> {
    fn of(entry: &'a Entry) -> Self {
        Self {
            secret: Cow::Borrowed(entry.secret.as_str()),
            lease: Cow::Borrowed(entry.lease.as_str()),
            fields: Cow::Borrowed(entry.fields.expose()),
            first_ttl: entry.first_ttl,
            renewable: entry.renewable,
            want: entry.want.0,
        }
    }

    fn into_entry(self) -> Entry {
        Entry {
            secret: SecretName::new(self.secret),
            lease: LeaseId::new(self.lease),
            fields: Secret::new(self.fields.into_owned()),
            first_ttl: self.first_ttl,
            renewable: self.renewable,
            want: Fingerprint(self.want),
        }
    }
}
