//! Reads a folder of a store as one secret: of what is below it, all that the role may read.
//!
//! *Invariant:* an entry is read again only if it has another version, and the folder is listed for the record only if it has other
//! entries: reading unchanged secrets again would fill the audit.

use std::collections::BTreeMap;

use super::open::{Open, meta};
use super::{Fault, Fetched};
use crate::config::Listing;
use crate::plan::Want;
use crate::source::folder::{Folder, Names, lock};
use crate::store::{SecretPath, StoreError};

/// What was read of a folder last.
#[derive(Debug, Default)]
pub(super) struct KnownFolder {
    path: String,
    /// By the names from the folder on: the version, and its fields.
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
        if !before.entries.keys().eq(present.keys()) {
            self.store.list(&folder)?;
        }
        let (whole, mut entries) = (Folder::new(want), BTreeMap::new());
        for (name, version) in present {
            let known = before.entries.get(&name).filter(|(known, _)| *known == version);
            let Some(entry) =
                known.cloned().map_or_else(|| self.read_entry(want, &name), |known| Ok(Some(known)))?
            else {
                continue;
            };
            if let Err(fault) = lock(&whole).add(name.clone(), entry.1.clone()) {
                return Ok(Err(fault));
            }
            entries.insert(name, entry);
        }
        self.folders.insert(want.name.clone(), KnownFolder { path: want.path.clone(), entries });
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
