//! Reads a folder of KV: lists it, and reads each entry.
//!
//! *Invariant:* only KV is read so, since elsewhere each read may make something.

use std::mem::take;
use std::sync::{Mutex, PoisonError};

use super::mounts::{Mount, Mounted, lists};
use super::{Fault, Fetched, Grant, Vault, Want, suitable};
use crate::config::Listing;
use crate::source::folder::{AT_ONCE, DEEPEST, Folder, Names, WHOLE_WITHIN, each, in_time, lock, too_deep};

impl Vault {
    /// The entries as one secret. A folder that is empty and one that is not there are the same to KV: neither has any entry.
    pub(super) async fn read_folder(
        &self,
        grant: &Grant,
        want: &Want,
        list: Listing,
    ) -> Result<Fetched, Fault> {
        if grant.uses.is_some() {
            let path = &want.path;
            let why = format!(
                "{path}: a folder takes a request for each entry, and the uses of the token are counted: its role needs token_num_uses=0"
            );
            return Err(Fault::Malformed { why });
        }
        let mount = self.mount(grant, want).await.map_err(lists)?;
        let reading = self.read_entries(grant, &mount, want, list);
        let outcome = in_time(want, WHOLE_WITHIN, reading).await;
        // Another engine may be mounted there by now.
        if matches!(outcome, Err(Fault::Malformed { .. })) {
            self.mounts.forget(&mount);
        }
        outcome
    }

    async fn read_entries(
        &self,
        grant: &Grant,
        mount: &Mount,
        want: &Want,
        list: Listing,
    ) -> Result<Fetched, Fault> {
        suitable(mount, want)?;
        let denied = || Fault::Denied { path: want.path.clone(), capability: "list" };
        let mounted = mount.mounted().ok_or_else(denied)?;
        let names = self.names_in(grant, &mounted, want, list).await?;
        let (folder, (_, below)) = (Folder::new(want), mounted.folder(&want.path));
        let (folder_here, below) = (&folder, below.as_str());
        let read = |name: String| async move {
            match self.read_entry(grant, mount, want, (below, &name)).await {
                Ok(entry) => lock(folder_here).add(name, entry),
                // It was deleted, now or long ago: KV v2 lists it all the same.
                Err(Fault::Gone { .. }) => Ok(()),
                Err(fault) => Err(fault),
            }
        };
        each(names, AT_ONCE, read).await?;
        Ok(lock(&folder).whole())
    }

    async fn read_entry(
        &self,
        grant: &Grant,
        mount: &Mount,
        want: &Want,
        (below, name): (&str, &str),
    ) -> Result<Fetched, Fault> {
        let path = format!("{below}{name}");
        let entry = Want { path: path.clone(), list: None, ..want.clone() };
        if mount.is_versioned() {
            self.read_versioned(grant, &path, &entry).await
        } else {
            self.read_plain(grant, mount.engine, &entry).await
        }
    }

    /// The names of all secrets in the folder, in order.
    async fn names_in(
        &self,
        grant: &Grant,
        mounted: &Mounted,
        want: &Want,
        list: Listing,
    ) -> Result<Vec<String>, Fault> {
        let (root, _) = mounted.folder(&want.path);
        let root = root.as_str();
        let mut found = Names::default();
        // The folder itself is the first.
        found.folders.push(String::new());
        let found = Mutex::new(found);
        let taken = || found.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..DEEPEST {
            // Each list is taken as it comes: all of them together may be larger than the memory.
            let names_below = |folder: String| async move {
                let names = self.names(grant, &format!("{root}{folder}")).await?;
                let mut found = taken();
                names.iter().try_for_each(|name| found.take(&want.path, &format!("{folder}{name}"), list))
            };
            let folders = take(&mut taken().folders);
            each(folders, AT_ONCE, names_below).await?;
            if taken().folders.is_empty() {
                return Ok(take(&mut taken().secrets).into_iter().collect());
            }
        }
        Err(too_deep(&want.path))
    }
}
