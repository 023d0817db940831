//! Reads a folder of a store as one secret: of what is below it, all that the role may read.
//!
//! *Invariant:* an entry is read again only if it has another version, and the folder is listed for the record only if it has other
//! entries: reading unchanged secrets again would fill the audit.

use std::collections::{BTreeMap, BTreeSet};

use super::open::{Open, meta};
use super::{Fault, Fetched};
use crate::config::Listing;
use crate::ordered::Order as _;
use crate::plan::Want;
use crate::source::folder::{Folder, Names, lock};
use crate::store::{SecretPath, StoreError};

/// What was read of a folder last, also where the folder as a whole is refused: it is tried again and again.
#[derive(Debug, Default)]
pub(super) struct KnownFolder {
    path: String,
    /// The names from the folder on that were listed.
    listed: BTreeSet<String>,
    /// By these names: the version, and its fields.
    entries: BTreeMap<String, (u64, Fetched)>,
}

impl Open {
    /// The folder, or the fault that belongs to it alone.
    pub(super) fn read_folder(
        &mut self,
        want: &Want,
        list: Listing,
    ) -> Result<Result<Fetched, Fault>, StoreError> {
        let folder = format!("{}/", want.path);
        if let Err(why) = of_folder(&want.path) {
            return Ok(Err(Fault::Gone { why }));
        }
        let present = self.store.peek_below(&folder, list == Listing::Tree)?;
        let mut names = Names::default();
        for name in present.keys() {
            if let Err(fault) = names.take(&want.path, name, list) {
                return Ok(Err(fault));
            }
        }
        let before = self.folders.remove(&want.name).filter(|known| known.path == want.path);
        let before = before.unwrap_or_default();
        let mut known =
            KnownFolder { path: want.path.clone(), listed: before.listed, entries: BTreeMap::new() };
        let whole = self.gather(want, (&folder, present), before.entries, &mut known);
        self.folders.insert(want.name.clone(), known);
        whole
    }

    /// Puts what is present together, and what was read of it into `known`.
    fn gather(
        &mut self,
        want: &Want,
        (folder, present): (&str, BTreeMap<String, u64>),
        mut before: BTreeMap<String, (u64, Fetched)>,
        known: &mut KnownFolder,
    ) -> Result<Result<Fetched, Fault>, StoreError> {
        if !known.listed.iter().eq(present.keys()) {
            self.store.list(folder)?;
            known.listed = present.keys().cloned().ordered();
        }
        let whole = Folder::new(want);
        for (name, version) in present {
            let same = before.remove(&name).filter(|(known, _)| *known == version);
            let Some(entry) = same.map_or_else(|| self.read_entry(want, &name), |known| Ok(Some(known)))?
            else {
                continue;
            };
            let added = lock(&whole).add(name.clone(), entry.1.clone());
            known.entries.insert(name, entry);
            if let Err(fault) = added {
                return Ok(Err(fault));
            }
        }
        Ok(Ok(lock(&whole).whole()))
    }

    /// One of its entries; `None` if it went away meanwhile.
    fn read_entry(&mut self, want: &Want, name: &str) -> Result<Option<(u64, Fetched)>, StoreError> {
        let Ok(path) = SecretPath::parse(&format!("{}/{name}", want.path)) else { return Ok(None) };
        match self.store.get_packed(&path, None, want.max_size) {
            Ok((version, written, fields)) => {
                Ok(Some((version, Fetched::stays(fields, meta(version, written)))))
            }
            Err(StoreError::Missing { .. } | StoreError::Unreadable { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether a store may have secrets below this path: an environment, or a folder in one.
///
/// # Errors
/// Why not, in a sentence.
pub(super) fn of_folder(path: &str) -> Result<(), String> {
    SecretPath::parse(&format!("{path}/x")).map(drop).map_err(|why| format!("the path {path:?} {why}"))
}
