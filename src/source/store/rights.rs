//! What whoever opened a store may do, without a read.

use std::collections::BTreeMap;

use super::folder::of_folder;
use super::{Embedded, Fault};
use crate::config::{Listing, Version};
use crate::plan::Want;
use crate::store::{Right, Role, SecretPath};

/// The rights of whoever opened the store.
#[derive(Clone, Debug)]
pub struct StoreRights {
    /// The role; `None` for the owner.
    pub role: Option<Role>,
    /// For each path whether it may be read, and whether there is something to read: a folder, which may be empty, is there. Folders
    /// stand here as the pattern of a role.
    pub secrets: BTreeMap<String, (bool, bool)>,
    /// Whether each path may be rotated.
    pub rotations: BTreeMap<String, bool>,
}

/// What a role has to have a right to: the path of a secret, or the pattern of what is in a folder.
pub fn place(want: &Want) -> String {
    match want.list {
        None => want.path.clone(),
        Some(Listing::Level) => format!("{}/*", want.path),
        Some(Listing::Tree) => format!("{}/**", want.path),
    }
}

impl Embedded {
    /// Asks for the rights to these secrets. No value is read, and the audit gets no entry for it beside that of the log-in.
    ///
    /// # Errors
    /// Those of a store that cannot be looked at, and [`Fault::Gone`] for a path that no store has.
    pub async fn rights(&self, wants: &[Want]) -> Result<StoreRights, Fault> {
        let (mut asked, mut folders) = (Vec::new(), Vec::new());
        for want in wants {
            if let Some(list) = want.list {
                of_folder(&want.path).map_err(|why| Fault::Gone { why })?;
                folders.push((format!("{}/", want.path), list == Listing::Tree, place(want)));
                continue;
            }
            let path = SecretPath::parse(&want.path)
                .map_err(|why| Fault::Gone { why: format!("the path {:?} {why}", want.path) })?;
            asked.push((path, want.version.as_ref().and_then(Version::number)));
        }
        self.with(move |open| {
            let mut rights = StoreRights {
                role: open.store.own_role()?,
                secrets: BTreeMap::new(),
                rotations: BTreeMap::new(),
            };
            for (path, pinned) in asked {
                let may_read = open.store.allows(Right::Read, &path)?;
                let is_there = may_read && open.store.peek(&path, pinned)?.is_some();
                rights.secrets.insert(path.to_string(), (may_read, is_there));
                rights.rotations.insert(path.to_string(), open.store.allows(Right::Rotate, &path)?);
            }
            for (folder, deep, place) in folders {
                let may_read = open.store.allows_below(Right::Read, &folder, deep)?;
                rights.secrets.insert(place.clone(), (may_read, true));
                rights.rotations.insert(place, open.store.allows_below(Right::Rotate, &folder, deep)?);
            }
            Ok(rights)
        })
        .await
    }
}
