//! The embedded store as a [`Source`]: no server, no lease; a change by any process is seen at once.
//!
//! *Invariant:* `SQLite` and Argon2 work on threads for blocking work, one question after the other.

mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::{Fault, Fetched, Grant, GrantLife, Life, OWN_PROGRAM, Source};
use crate::config::{RoleId, StoreConfig, StoreLogin, Version};
use crate::ledger::Identity;
use crate::names::SecretName;
use crate::plan::Want;
use crate::secret::{Fields, Secret};
use crate::store::{Credential, OwnerSecret, SecretPath, Store, StoreError};
use faults::{fault, fault_of_log_in};

/// How often it is looked whether somebody changed the store: one number, read from memory that its processes share.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Nothing locks for a wrong secret-id, and the owner may be about to make it right.
const AGAIN_IN: Duration = Duration::from_mins(1);

/// What a log-in gives: the store stays open, and nothing ends it but its owner.
const LIFE: GrantLife = GrantLife { ttl: None, renewable: false };

/// How often it is looked whether something is due to be rotated, where no time is known for it.
const DUE_EVERY: Duration = Duration::from_mins(1);
/// Rotations are begun no more often than this, and neither are those that cannot be.
const ERRANDS_APART: Duration = Duration::from_secs(1);

/// A store and its login.
#[derive(Debug)]
pub struct Embedded {
    config: StoreConfig,
    open: Arc<Mutex<Option<Open>>>,
    /// What the two that look again and again have to keep: they may be asked anew at any time.
    looks: Mutex<Looks>,
    /// What was read last.
    known: Mutex<BTreeMap<SecretName, Read>>,
}

#[derive(Debug)]
struct Looks {
    for_changes: Instant,
    for_rotations: Instant,
    /// How often secrets had been changed when it was last looked for rotations.
    seen: Option<u64>,
    /// Until then it is looked for rotations only if the store was changed.
    until: Instant,
}

#[derive(Debug)]
struct Open {
    store: Store,
    /// How often secrets had been changed when it was last looked.
    seen: u64,
}

/// A version that was read, and what is in it.
type Read = (u64, Secret<Fields>);

impl Open {
    /// Reads it, unless the version is one that is known: who reads again what did not change would fill the audit.
    fn read(
        &mut self,
        path: &SecretPath,
        pinned: Option<u64>,
        known: Option<Read>,
    ) -> Result<Read, StoreError> {
        if let Some(known) = known
            && self.store.peek(path, pinned)? == Some(known.0)
        {
            return Ok(known);
        }
        let value = self.store.get(path, pinned)?;
        Ok((value.version.number, value.fields))
    }
}

impl Embedded {
    /// Nothing is opened yet.
    pub fn new(config: &StoreConfig) -> Self {
        let now = Instant::now();
        let looks = Mutex::new(Looks { for_changes: now, for_rotations: now, seen: None, until: now });
        Self { config: config.clone(), open: Arc::default(), looks, known: Mutex::default() }
    }

    /// Waits until it is time to look, and until then next.
    async fn turn(&self, which: impl Fn(&mut Looks) -> &mut Instant, pause: Duration) {
        let at = *which(&mut self.looks());
        tokio::time::sleep_until(at.into()).await;
        *which(&mut self.looks()) = Instant::now() + pause;
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<SecretName, Read>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something is to be rotated now. Looked for when the store was changed, or the time has come.
    async fn is_due(&self, is_time: bool) -> bool {
        let seen = self.looks().seen.filter(|_| !is_time);
        let due = self.with(move |open| {
            let changes = open.store.changes()?;
            if seen == Some(changes) { Ok(None) } else { open.store.due().map(|due| Some((changes, due))) }
        });
        // Whoever may not look at it has nothing to rotate there.
        let Ok(Some((changes, due))) = due.await else { return false };
        let mut looks = self.looks();
        looks.seen = Some(changes);
        let wait = due.next.map_or(DUE_EVERY, |next| next.since(SystemTime::now().into()).min(DUE_EVERY));
        // What is due is no longer so once its rotation has begun.
        looks.until = Instant::now() + if due.now.is_empty() { wait } else { ERRANDS_APART };
        !due.now.is_empty()
    }

    /// What rotates all that is due: this program, as the same owner or role.
    fn rotate(&self) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let mut command =
            vec![OWN_PROGRAM.to_owned(), "store".to_owned(), "rotate".to_owned(), "--due".to_owned()];
        command.extend(["--store".to_owned(), text(&self.config.file)]);
        let hooks = self.config.hooks.iter();
        command.extend(hooks.flat_map(|hooks| ["--hooks".to_owned(), text(hooks)]));
        match &self.config.login {
            StoreLogin::Owner { key_file } => command.extend(["--key-file".to_owned(), text(key_file)]),
            StoreLogin::Role { id, secret_id_file } => {
                let id = match id {
                    RoleId::Inline(id) => id.clone(),
                    RoleId::File(file) => read(file).unwrap_or_default(),
                };
                let role = ["--role-id".to_owned(), id, "--secret-id-file".to_owned(), text(secret_id_file)];
                command.extend(role);
            }
        }
        command
    }

    fn credential(&self) -> Result<Credential, Fault> {
        match &self.config.login {
            StoreLogin::Owner { key_file } => {
                read(key_file).map(|key| Credential::Owner(OwnerSecret::Key(Secret::new(key))))
            }
            StoreLogin::Role { id, secret_id_file } => {
                let id = match id {
                    RoleId::Inline(id) => id.clone(),
                    RoleId::File(file) => read(file)?,
                };
                Ok(Credential::Role { id, secret_id: Secret::new(read(secret_id_file)?) })
            }
        }
    }

    /// Works with the open store, where that may block.
    async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Open) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Fault> {
        let open = Arc::clone(&self.open);
        let done = tokio::task::spawn_blocking(move || {
            // Whoever panicked with it left it as it was: a transaction is whole or not at all.
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            open.as_mut().map(act)
        });
        match done.await {
            Ok(Some(result)) => result.map_err(|error| fault(&error)),
            Ok(None) => Err(Fault::Dead),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Source for Embedded {
    async fn log_in(&self) -> Result<Grant, Fault> {
        let (file, credential) = (self.config.file.clone(), self.credential()?);
        let opened = tokio::task::spawn_blocking(move || {
            let store = Store::open(&file, &credential)?;
            let seen = store.changes()?;
            Ok(Open { store, seen })
        });
        let opened: Result<Open, StoreError> = match opened.await {
            Ok(opened) => opened,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let opened = opened.map_err(|error| fault_of_log_in(&error))?;
        // It may be another file by now, with other values of the same numbers.
        self.known().clear();
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened);
        Ok(Grant { token: Secret::new(""), life: LIFE, revocable: false, uses: None })
    }

    async fn renew_grant(&self, _: &Grant) -> Result<GrantLife, Fault> {
        Ok(LIFE)
    }

    async fn look_up_grant(&self, _: &Grant) -> Result<GrantLife, Fault> {
        self.with(|_| Ok(LIFE)).await
    }

    async fn revoke_grant(&self, _: &Grant) -> Result<(), Fault> {
        Ok(())
    }

    async fn fetch(&self, _: &Grant, want: &Want) -> Result<Fetched, Fault> {
        if want.params.is_some() {
            return Err(Fault::Malformed {
                why: format!("{}: a store takes no `params`; leave them out", want.path),
            });
        }
        let path = SecretPath::parse(&want.path)
            .map_err(|why| Fault::Gone { why: format!("the path {:?} {why}", want.path) })?;
        let pinned = want.version.as_ref().and_then(Version::number);
        let known = self.known().get(&want.name).cloned();
        let fresh = self.with(move |open| open.read(&path, pinned, known)).await?;
        self.known().insert(want.name.clone(), fresh.clone());
        Ok(Fetched { fields: fresh.1, life: Life::Versioned { within: None } })
    }

    async fn changed(&self) {
        loop {
            self.turn(|looks| &mut looks.for_changes, LOOK_EVERY).await;
            // Whoever works with it now may be at it for long, and is looked after next time.
            let Ok(mut open) = self.open.try_lock() else { continue };
            let Some(open) = open.as_mut() else { continue };
            match open.store.changes() {
                Ok(changes) if changes != open.seen => {
                    open.seen = changes;
                    return;
                }
                // What cannot be asked now is asked again; a read of a secret says what is wrong.
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Its commands run what others wrote, for as long as they may: nothing for a thread of the agent's.
    async fn errand(&self) -> Vec<String> {
        loop {
            self.turn(|looks| &mut looks.for_rotations, ERRANDS_APART).await;
            let is_time = self.looks().until <= Instant::now();
            if self.open.try_lock().is_ok_and(|open| open.is_some()) && self.is_due(is_time).await {
                return self.rotate();
            }
        }
    }

    fn identity(&self) -> Identity {
        let role = match &self.config.login {
            StoreLogin::Owner { .. } => "owner".to_owned(),
            StoreLogin::Role { id: RoleId::Inline(id), .. } => id.clone(),
            StoreLogin::Role { id: RoleId::File(file), .. } => file.display().to_string(),
        };
        Identity {
            addresses: BTreeSet::from([self.config.file.display().to_string()]),
            namespace: None,
            method: "store".to_owned(),
            mount: None,
            role: Some(role),
        }
    }

    /// Not the store itself: to close a descriptor of it takes off every lock that `SQLite` has there.
    fn credential_files(&self) -> Vec<PathBuf> {
        match &self.config.login {
            StoreLogin::Owner { key_file } => vec![key_file.clone()],
            StoreLogin::Role { id, secret_id_file } => {
                let id = match id {
                    RoleId::Inline(_) => None,
                    RoleId::File(file) => Some(file.clone()),
                };
                [secret_id_file.clone()].into_iter().chain(id).collect()
            }
        }
    }
}

fn read(file: &Path) -> Result<String, Fault> {
    let awaiting = |why: String| Fault::Awaiting { file: file.to_owned(), why };
    let text = fs::read_to_string(file).map_err(|error| awaiting(error.to_string()))?;
    match text.trim() {
        "" => Err(awaiting("it is empty".to_owned())),
        text => Ok(text.to_owned()),
    }
}
