//! The options that say which store to open, and as whom.
//!
//! *Invariant:* there is never a store that nothing opens: a new key is in its file before the store uses it.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::anchor::Anchor;
use super::{Failed, input, output, write_private};
use crate::config::{PASSED_KEY, PASSED_SECRET_ID, passed};
use crate::source::wrapped::{self, Written};
use crate::store::{Credential, OwnerSecret, Past, Rekey, Store, StoreError, Witness};

/// Which store, and as whom.
#[derive(Args, Debug)]
pub(super) struct Place {
    /// The store
    #[arg(long, value_name = "FILE", env = "SQUIRE_STORE", default_value = "squire.store", global = true)]
    pub(super) store: PathBuf,
    /// The owner's key [default: systemd's credential squire-store-key, else the store's name with .key]
    #[arg(long, value_name = "FILE", env = "SQUIRE_STORE_KEY_FILE", global = true)]
    key_file: Option<PathBuf>,
    /// The owner's passphrase, instead of asking for it
    #[arg(long, value_name = "FILE", env = "SQUIRE_STORE_PASSPHRASE_FILE", global = true)]
    passphrase_file: Option<PathBuf>,
    /// A role instead of the owner
    #[arg(long, value_name = "ID", env = "SQUIRE_STORE_ROLE_ID", global = true)]
    role_id: Option<String>,
    /// The role's secret-id [default: systemd's credential squire-secret-id]
    #[arg(long, value_name = "FILE", env = "SQUIRE_STORE_SECRET_ID_FILE", global = true)]
    secret_id_file: Option<PathBuf>,
    /// The file for the last state that was seen of the store [default: the key's name with .anchor]
    #[arg(long, value_name = "FILE", env = "SQUIRE_STORE_ANCHOR", global = true)]
    anchor: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// An open store; the anchor is written when it is closed.
pub(super) struct Opened {
    store: Store,
    anchor: Option<Anchor>,
}

impl Deref for Opened {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl DerefMut for Opened {
    fn deref_mut(&mut self) -> &mut Store {
        &mut self.store
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let (Some(anchor), Some(witness)) = (&self.anchor, self.store.witness()) {
            anchor.keep(&witness);
        }
    }
}

impl Place {
    /// The path of the key.
    pub(super) fn key_file(&self) -> PathBuf {
        let passed = || given_by_systemd(PASSED_KEY).filter(|_| self.key_file.is_none());
        passed().unwrap_or_else(|| self.own_key_file())
    }

    /// The path for a new key: nobody can write where systemd passes credentials.
    fn own_key_file(&self) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| self.store.with_added_extension("key"))
    }

    /// With a key, the anchor is beside the key. A passphrase is in no file, so it has an anchor only if one is named; the same holds for a
    /// role.
    pub(super) fn anchor(&self) -> Option<Anchor> {
        let beside_key = || {
            let has_key = self.role_id.is_none() && self.passphrase_file.is_none();
            (has_key && self.key_file().exists()).then(|| self.own_key_file().with_added_extension("anchor"))
        };
        self.anchor.clone().or_else(beside_key).map(Anchor)
    }

    /// The last witness of the store.
    pub(super) fn seen(&self) -> Result<Option<Witness>, Failed> {
        self.anchor().map_or(Ok(None), |anchor| anchor.read())
    }

    /// Reports the result: as text with names and paths, or as JSON.
    pub(super) fn tell(&self, text: &str, json: &Value) -> Result<(), Failed> {
        if self.json { output::json_line(json) } else { text.lines().try_for_each(output::line) }
    }

    pub(super) fn init(&self, with_passphrase: bool) -> Result<(), Failed> {
        let store = self.store.display();
        if with_passphrase {
            let owner = OwnerSecret::Passphrase(input::new_passphrase(self.passphrase_file.as_deref())?);
            Store::init(&self.store, &owner)?;
            let text =
                format!("made {store}: nothing but the passphrase and the roles that you make open it");
            return self.tell(&text, &json!({ "store": self.store }));
        }
        let key_file = self.own_key_file();
        if key_file.exists() {
            return Err(StoreError::Exists { file: key_file }.into());
        }
        let key = Store::new_key()?;
        write_private(&key_file, key.expose(), "write the owner's key to")?;
        if let Err(error) = Store::init(&self.store, &OwnerSecret::Key(key)) {
            fs::remove_file(&key_file).ok();
            return Err(error.into());
        }
        let text = format!(
            "made {store} and the owner's key {}: keep the key apart from the store, since nothing else opens it",
            key_file.display()
        );
        self.tell(&text, &json!({ "store": self.store, "key_file": key_file }))
    }

    /// Opens the store, which has to continue from the witness.
    pub(super) fn open(&self) -> Result<Opened, Failed> {
        let seen = self.seen()?;
        let store = self.open_after(Past::Seen(seen.as_ref()))?;
        Ok(Opened { store, anchor: self.anchor() })
    }

    /// Opens it without a witness, to look at it.
    pub(super) fn open_whatever(&self) -> Result<Store, Failed> {
        self.open_after(Past::Whatever)
    }

    fn open_after(&self, past: Past<'_>) -> Result<Store, Failed> {
        let credential = self.credential(&self.store)?;
        match Store::open_after(&self.store, &credential, past) {
            Err(StoreError::Refused) if matches!(credential, Credential::Owner(OwnerSecret::Key(_))) => {
                self.finish_rekey(past)
            }
            opened => Ok(opened?),
        }
    }

    /// The credential of a store, which may be a copy of the named one.
    pub(super) fn credential(&self, store: &Path) -> Result<Credential, Failed> {
        let passed = || self.role_id.as_ref().and_then(|_| given_by_systemd(PASSED_SECRET_ID));
        match (&self.role_id, self.secret_id_file.clone().or_else(passed)) {
            (Some(id), Some(file)) => {
                Ok(Credential::Role { id: id.trim().to_owned(), secret_id: input::credential(&file)? })
            }
            (None, None) => self.owner(store).map(Credential::Owner),
            (Some(_), None) => Err(Failed::Usage("a role needs its --secret-id-file too".to_owned())),
            (None, Some(_)) => Err(Failed::Usage("a secret-id needs its --role-id too".to_owned())),
        }
    }

    /// A passphrase if the store has one, else the key.
    fn owner(&self, store: &Path) -> Result<OwnerSecret, Failed> {
        let asks = self.key_file.is_none() && Store::takes_passphrase(store)?;
        if let Some(file) = self.passphrase_file.as_ref().filter(|_| self.key_file.is_none()) {
            return input::credential(file).map(OwnerSecret::Passphrase);
        }
        if asks {
            return input::passphrase().map(OwnerSecret::Passphrase);
        }
        input::credential(&self.key_file()).map(OwnerSecret::Key)
    }

    /// A `rekey` that was killed after the store took the new key left the new key beside the old one.
    fn finish_rekey(&self, past: Past<'_>) -> Result<Store, Failed> {
        let (key_file, new) = (self.own_key_file(), self.pending_key_file());
        if !new.exists() {
            return Err(StoreError::Refused.into());
        }
        let key = OwnerSecret::Key(input::credential(&new)?);
        let store = Store::open_after(&self.store, &Credential::Owner(key), past)?;
        replace(&new, &key_file)?;
        Ok(store)
    }

    /// The path of a new key until the store has taken it.
    fn pending_key_file(&self) -> PathBuf {
        self.own_key_file().with_added_extension("new")
    }

    pub(super) fn rekey(&self, to_passphrase: bool, how: Rekey) -> Result<(), Failed> {
        let mut store = self.open()?;
        let (was_in, key_file) = (self.key_file(), self.own_key_file());
        let worth = match how {
            Rekey::Everything => "every key below it is new too, and roles go on with their secret-ids",
            Rekey::WrapOnly => {
                "the keys below it stay: who has the old key and any old copy of the store still opens all of it"
            }
        };
        if to_passphrase {
            let new = OwnerSecret::Passphrase(input::new_passphrase(None)?);
            store.rekey(&new, how)?;
            self.leave_nothing(&store);
            let text =
                format!("the passphrase opens the store from now on, and nothing that did before; {worth}");
            return self.tell(&text, &json!({ "store": self.store }));
        }
        let is_plain_anew = was_in != key_file || matches!(wrapped::read(&was_in), Ok(Written::Wrapped(_)));
        let key = Store::new_key()?;
        let new = self.pending_key_file();
        if new.exists() {
            return Err(Failed::Usage(format!(
                "{} is of another `rekey`, which is at work or was killed before it did anything: remove it if none is at work",
                new.display()
            )));
        }
        write_private(&new, key.expose(), "write the owner's new key to")?;
        if let Err(error) = store.rekey(&OwnerSecret::Key(key), how) {
            fs::remove_file(&new).ok();
            return Err(error.into());
        }
        replace(&new, &key_file)?;
        self.leave_nothing(&store);
        let text = format!(
            "the owner's key in {} is new; the one before opens the store no more; {worth}{}",
            key_file.display(),
            if is_plain_anew { ". It is plain text: wrap it again, or pass it anew" } else { "" }
        );
        self.tell(&text, &json!({ "store": self.store, "key_file": key_file }))
    }

    /// Empties the `-wal` beside the store, so that revoked keys and destroyed values do not stay there. A failure of this does not undo
    /// the command.
    pub(super) fn leave_nothing(&self, store: &Store) {
        if let Err(error) = store.empty_log() {
            super::complain(&format!(
                "it is done, and the log beside {} may still hold what was there before: {error}; try `squire store compact` later",
                self.store.display()
            ));
        }
    }
}

fn replace(new: &Path, file: &Path) -> Result<(), Failed> {
    fs::rename(new, file)
        .map_err(|source| StoreError::Io { doing: "replace", file: file.to_owned(), source }.into())
}

/// The path of a credential that systemd passed to this unit, if it passed one.
fn given_by_systemd(name: &str) -> Option<PathBuf> {
    passed(&|variable| std::env::var(variable).ok(), name).filter(|file| file.exists())
}
