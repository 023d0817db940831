//! A page as the JSON that is sealed.
//!
//! *Invariant:* pure. What is written is read back the same; anything else is an error that quotes none of it.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Credential, Entry, Fingerprint, LedgerError, Page, VERSION};
use crate::names::{LeaseId, SecretName};
use crate::secret::{Meta, Packed, Secret};

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
    fields: Cow<'a, Packed>,
    /// Left out where nothing is known, as in pages that are older than it.
    #[serde(default, skip_serializing_if = "is_unknown")]
    meta: Cow<'a, Meta>,
    first_ttl: Duration,
    renewable: bool,
    want: [u8; 32],
    /// Left out where it is not so, as in pages that are older than it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    given_up: bool,
}

#[expect(clippy::ptr_arg, reason = "serde passes the field as it is")]
fn is_unknown(meta: &Cow<'_, Meta>) -> bool {
    meta.is_empty()
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

/// [`Credential`] as it is written. Times are counted from 1970; a file from before is as old as can be.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialLayout<'a> {
    secret: Cow<'a, str>,
    held: Cow<'a, str>,
    written: Duration,
    uses_left: Option<u64>,
    ends: Option<Duration>,
}

/// The plaintext of a credential.
pub(super) fn write_credential(credential: &Credential) -> Secret<[u8]> {
    let since_1970 = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let layout = CredentialLayout {
        secret: Cow::Borrowed(credential.secret.expose()),
        held: Cow::Borrowed(credential.held.expose()),
        written: since_1970(credential.written),
        uses_left: credential.uses_left,
        ends: credential.ends.map(since_1970),
    };
    // Text and numbers can always be written.
    Secret::new(serde_json::to_vec(&layout).unwrap_or_default())
}

/// The credential of a plaintext.
pub(super) fn read_credential(plaintext: &Secret<[u8]>) -> Result<Credential, LedgerError> {
    let unknown = || LedgerError::Layout { version: VERSION };
    let layout: CredentialLayout<'_> = serde_json::from_slice(plaintext.expose()).map_err(|_| unknown())?;
    let time = |since: Duration| SystemTime::UNIX_EPOCH.checked_add(since).ok_or_else(unknown);
    Ok(Credential {
        secret: Secret::new(layout.secret.into_owned()),
        held: Secret::new(layout.held.into_owned()),
        written: time(layout.written)?,
        uses_left: layout.uses_left,
        ends: layout.ends.map(time).transpose()?,
    })
}

impl<'a> EntryLayout<'a> {
    fn of(entry: &'a Entry) -> Self {
        Self {
            secret: Cow::Borrowed(entry.secret.as_str()),
            lease: Cow::Borrowed(entry.lease.as_str()),
            fields: Cow::Borrowed(&entry.fields),
            meta: Cow::Borrowed(&entry.meta),
            first_ttl: entry.first_ttl,
            renewable: entry.renewable,
            want: entry.want.0,
            given_up: entry.given_up,
        }
    }

    fn into_entry(self) -> Entry {
        Entry {
            secret: SecretName::new(self.secret),
            lease: LeaseId::new(self.lease),
            fields: self.fields.into_owned(),
            meta: self.meta.into_owned(),
            first_ttl: self.first_ttl,
            renewable: self.renewable,
            want: Fingerprint(self.want),
            given_up: self.given_up,
        }
    }
}
