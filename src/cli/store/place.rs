//! Which store is meant, and as whom it is opened.
//!
//! *Invariant:* there is never a store that nothing opens: a new key is in its file before the store knows it.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::{Failed, input, output, write_private};
use crate::store::{Credential, OwnerSecret, Store, StoreError};

/// Which store, and as whom.
#[derive(Args, Debug)]
pub(super) struct Place {
    /// The store
    #[arg(long, value_name = "FILE", env = "SQUIRE_STORE", default_value = "squire.store", global = true)]
    pub(super) store: PathBuf,
    /// The owner's key [default: the store's name with .key]
    #[arg(long, value_name = "FILE", env = "SQUIRE_STORE_KEY_FILE", global = true)]
    key_file: Option<PathBuf>,
    /// The owner's passphrase, instead of asking for it
    #[arg(long, value_name = "FILE", env = "SQUIRE_STORE_PASSPHRASE_FILE", global = true)]
    passphrase_file: Option<PathBuf>,
    /// A role instead of the owner
    #[arg(long, value_name = "ID", env = "SQUIRE_STORE_ROLE_ID", global = true)]
    role_id: Option<String>,
    /// The role's secret-id
    #[arg(long, value_name = "FILE", env = "SQUIRE_STORE_SECRET_ID_FILE", global = true)]
    secret_id_file: Option<PathBuf>,
    /// Say it as JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

impl Place {
    fn key_file(&self) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| self.store.with_added_extension("key"))
    }

    /// Says what was done: in words, or as JSON.
    pub(super) fn tell(&self, text: &str, json: &Value) -> Result<(), Failed> {
        if self.json { output::line(&json.to_string()) } else { output::line(text) }
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
        let key_file = self.key_file();
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

    pub(super) fn open(&self) -> Result<Store, Failed> {
        let credential = match (&self.role_id, &self.secret_id_file) {
            (Some(id), Some(file)) => {
                Credential::Role { id: id.trim().to_owned(), secret_id: input::credential(file)? }
            }
            (None, None) => Credential::Owner(self.owner()?),
            (Some(_), None) => return Err(Failed::Usage("a role needs its --secret-id-file too".to_owned())),
            (None, Some(_)) => return Err(Failed::Usage("a secret-id needs its --role-id too".to_owned())),
        };
        Ok(Store::open(&self.store, &credential)?)
    }

    /// A passphrase where the store has one, else the key.
    fn owner(&self) -> Result<OwnerSecret, Failed> {
        let asks = self.key_file.is_none() && Store::takes_passphrase(&self.store)?;
        if let Some(file) = self.passphrase_file.as_ref().filter(|_| self.key_file.is_none()) {
            return input::credential(file).map(OwnerSecret::Passphrase);
        }
        if asks {
            return input::passphrase().map(OwnerSecret::Passphrase);
        }
        input::credential(&self.key_file()).map(OwnerSecret::Key)
    }

    pub(super) fn rekey(&self, to_passphrase: bool) -> Result<(), Failed> {
        let mut store = self.open()?;
        let key_file = self.key_file();
        if to_passphrase {
            let new = OwnerSecret::Passphrase(input::new_passphrase(None)?);
            store.rekey(&new)?;
            let text = "the passphrase opens the store from now on, and nothing that did before";
            return self.tell(text, &json!({ "store": self.store }));
        }
        let key = Store::new_key()?;
        let new = key_file.with_added_extension("new");
        write_private(&new, key.expose(), "write the owner's new key to")?;
        if let Err(error) = store.rekey(&OwnerSecret::Key(key)) {
            fs::remove_file(&new).ok();
            return Err(error.into());
        }
        fs::rename(&new, &key_file).map_err(|source| StoreError::Io {
            doing: "replace",
            file: key_file.clone(),
            source,
        })?;
        let text = format!(
            "the owner's key in {} is new; the one before opens the store no more",
            key_file.display()
        );
        self.tell(&text, &json!({ "store": self.store, "key_file": key_file }))
    }
}
