//! Gives the store another owner's key, and another root key below it.
//!
//! *Invariant:* one transaction: if the process is killed, the store is as it was. Roles keep their credentials.

use super::access::Store;
use super::archive::renew_base;
use super::audit::{About, Action, Outcome, Renamed};
use super::chance::{key, random};
use super::error::StoreError;
use super::file::Writing;
use super::journal::{bind_keys, record, sign_anew};
use super::keys::{Id, RoleRecord};
use super::owner::{NewOwner, OwnerSecret, new_owner_keys, owner_keys, write_owner_keys};
use super::power::{Keys, OWNER};
use super::renewal::renew;
use super::roles::{give, records, write_writer, writers};
use super::seal::Key;
use super::sign::public;

/// How many keys are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rekey {
    /// All keys: with the old key and an old copy of the store, nothing that is written from now on can be opened.
    Everything,
    /// Only the owner's key, under which the root key is sealed. With the old key *and* any old copy of the store, all of it can still be
    /// opened.
    WrapOnly,
}

impl Store {
    /// Gives the store another owner's key or passphrase; the former one no longer opens it.
    pub fn rekey(&mut self, new: &OwnerSecret, how: Rekey) -> Result<(), StoreError> {
        let (root, id, new) = (self.root("change the owner's key")?, self.id, NewOwner::new(new)?);
        let new_root = match how {
            Rekey::Everything => key()?,
            Rekey::WrapOnly => root.clone(),
        };
        self.transact(|writing, keys, _| {
            let digest = new.write(writing, &id, &new_root)?;
            match how {
                Rekey::WrapOnly => {
                    let about = About::Owner {
                        root: digest,
                        writer: keys.writer,
                        environments: Vec::new(),
                        writers: Vec::new(),
                    };
                    record(writing, &id, keys, Action::Rekey, Outcome::Done, about)?;
                }
                Rekey::Everything => everything(writing, &id, (&root, &new_root), keys, digest)?,
            }
            bind_keys(writing, &id, keys)?;
            Ok(Ok(()))
        })?;
        self.take_root(new_root);
        Ok(())
    }
}

fn everything(
    writing: &Writing<'_>,
    id: &Id,
    (root, new_root): (&Key, &Key),
    keys: &mut Keys,
    digest: [u8; 32],
) -> Result<(), StoreError> {
    let (old, new) = (owner_keys(writing, id, root)?, new_owner_keys()?);
    let roles = records(writing, id, root)?;
    renew_base(writing, id, (root, new_root))?;
    for (writer, kept) in writers(writing, id, root)? {
        write_writer(writing, id, new_root, &kept.name, (&writer, &kept.key))?;
    }
    let mut environments = Vec::new();
    for environment in &mut keys.environments {
        environments.push(renew(writing, id, new_root, environment)?);
    }
    write_owner_keys(writing, id, new_root, &new)?;
    write_writer(writing, id, new_root, OWNER, (&new.writer, &new.writer_key))?;
    let mut writers = Vec::new();
    for (role, record) in roles {
        let record = RoleRecord { writer: random()?, writer_key: key()?, ..record };
        give(writing, id, new_root, (&new, keys), (&role, &record))?;
        writers.push(Renamed { role, writer: record.writer });
    }
    // The last entry by the owner's old writer id: it says who writes from now on.
    let about = About::Owner { root: digest, writer: new.writer, environments, writers };
    record(writing, id, keys, Action::Rekey, Outcome::Done, about)?;
    sign_anew(writing, id, (&public(&old.signing), keys.tip.get()), &new.signing)?;
    let environments = std::mem::take(&mut keys.environments);
    *keys = Keys::of_owner(environments, &new, new_root, keys.tip.get());
    Ok(())
}
