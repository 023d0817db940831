//! What whoever opened a store may do, without a read.

use std::collections::BTreeMap;

use super::{Embedded, Fault};
use crate::config::Version;
use crate::plan::Want;
use crate::store::{Right, Role, SecretPath};

/// The rights of whoever opened the store.
#[derive(Clone, Debug)]
pub struct StoreRights {
    /// The role; `None` for the owner.
    pub role: Option<Role>,
    /// For each path whether it may be read, and whether there is something to read.
    pub secrets: BTreeMap<String, (bool, bool)>,
    /// Whether each path may be rotated.
    pub rotations: BTreeMap<String, bool>,
}

impl Embedded {
    /// Asks for the rights to these secrets. No value is read, and the audit gets no entry for it beside that of the log-in.
    ///
    /// # Errors
    /// Those of a store that cannot be looked at, and [`Fault::Gone`] for a path that no store has.
    pub async fn rights(&self, wants: &[Want]) -> Result<StoreRights, Fault> {
        let mut asked = Vec::new();
        for want in wants {
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
            Ok(rights)
        })
        .await
    }
}
