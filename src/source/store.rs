//! The embedded store as a [`Source`]: no server, no lease; a change by any process is seen at once.
//!
//! *Invariant:* `SQLite` and Argon2 work on threads for blocking work, one operation after the other.

mod faults;
mod folder;
mod looks;
mod open;
mod rights;
mod seen;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::wrapped::{self, Wrapped, Written};
use super::{Errand, Fault, Fetched, Grant, GrantLife, Life, OWN_PROGRAM, Source};
use crate::config::{RoleId, StoreConfig, StoreLogin, Version};
use crate::ledger::Identity;
use crate::ledger::file::Ledger;
use crate::names::SourceName;
use crate::plan::Want;
use crate::secret::Secret;
use crate::status::{Clock, Moment, Rotations};
use crate::store::{Credential, OwnerSecret, SecretPath, StoreError};
use faults::{fault, not_opened};
use looks::{Asker, Looks};
use open::Open;
pub use rights::{StoreRights, place};
use seen::Seen;
use watch::Watch;

/// A wrong secret-id locks nothing, and the owner may soon correct it.
const AGAIN_IN: Duration = Duration::from_mins(1);

/// Together with the timers' own wake-ups this makes three wake-ups a minute.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// The life of a grant: the store stays open until its owner revokes the role or changes the key.
const LIFE: GrantLife = GrantLife { ttl: None, renewable: false };

/// A store and its login.
#[derive(Debug)]
pub struct Embedded {
    config: StoreConfig,
    open: Arc<Mutex<Option<Open>>>,
    watch: Arc<Watch>,
    looks: Mutex<Looks>,
    seen: Arc<Seen>,
}

impl Embedded {
    /// Opens nothing yet.
    pub fn new(config: &StoreConfig) -> Self {
        let watch = Arc::new(Watch::new(&config.file));
        Self {
            config: config.clone(),
            open: Arc::default(),
            watch,
            looks: Mutex::default(),
            seen: Arc::default(),
        }
    }

    /// The same, with a ledger: it continues from what an earlier run saw of the store, and records what it sees.
    #[must_use]
    pub fn with_ledger(self, ledger: Arc<Ledger>, name: SourceName) -> Self {
        let seen = Arc::new(Seen::kept_in(ledger, name, self.identity()));
        Self { seen, ..self }
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until this asker has to ask; returns how many events were heard by then. The future may be dropped: it only notes who asked.
    ///
    /// The keeper calls this anew each minute ([`LOOK_EVERY`]). So a wall clock that was set, by a user or by a suspension, is noticed
    /// within that time.
    async fn turn(&self, asker: Asker) -> u64 {
        let plan = self.looks().plan(asker, self.watch.is_deaf(), Instant::now(), SystemTime::now().into());
        tokio::select! {
            () = self.watch.more_than(plan.heard) => {}
            () = until(plan.by), if plan.by.is_some() => {}
        }
        until(plan.not_before).await;
        self.looks().asks(asker, Instant::now());
        self.watch.heard()
    }

    /// Whether a rotation is due now. The store is asked only if it was changed, or if the time for a rotation has come.
    async fn is_due(&self, heard: u64) -> bool {
        let looked_at = self.looks().looked_at(SystemTime::now().into());
        let act = move |open: &mut Open| {
            let changes = open.store.changes()?;
            if looked_at == Some(changes) {
                return Ok(None);
            }
            open.store.due().map(|due| Some((changes, due)))
        };
        let due = self.with(act).await;
        self.looks().found_due(heard, due, SystemTime::now().into())
    }

    /// The command that rotates everything that is due: this program, as the same owner or role.
    fn rotate(&self) -> Errand {
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
                    RoleId::File(file) => role_id(file).unwrap_or_default(),
                };
                let role = ["--role-id".to_owned(), id, "--secret-id-file".to_owned(), text(secret_id_file)];
                command.extend(role);
            }
        }
        // The errand has to unwrap the credential itself, as this process did.
        let env = match wrapped::read(self.credential_file()) {
            Ok(Written::Wrapped(Wrapped::Transit(_))) => self.config.server.all().clone(),
            Ok(Written::Plain(_) | Written::Wrapped(Wrapped::Tpm(_))) | Err(_) => BTreeMap::new(),
        };
        Errand { command, env }
    }

    /// The file of the owner's key, or of the role's secret-id.
    fn credential_file(&self) -> &Path {
        match &self.config.login {
            StoreLogin::Owner { key_file: file } | StoreLogin::Role { secret_id_file: file, .. } => file,
        }
    }

    async fn credential(&self) -> Result<Credential, Fault> {
        let file = self.credential_file();
        let written = wrapped::read(file).map_err(|closed| not_opened(file, closed))?;
        let opened = wrapped::open(written, &self.config.server).await;
        let secret = opened.map_err(|closed| not_opened(file, closed))?;
        match &self.config.login {
            StoreLogin::Owner { .. } => Ok(Credential::Owner(OwnerSecret::Key(secret))),
            StoreLogin::Role { id: RoleId::Inline(id), .. } => {
                Ok(Credential::Role { id: id.clone(), secret_id: secret })
            }
            StoreLogin::Role { id: RoleId::File(file), .. } => {
                Ok(Credential::Role { id: role_id(file)?, secret_id: secret })
            }
        }
    }

    /// Runs a closure with the open store, on a thread that may block.
    async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Open) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Fault> {
        let (open, seen) = (Arc::clone(&self.open), Arc::clone(&self.seen));
        let done = tokio::task::spawn_blocking(move || {
            let mut open = lock(&open);
            let Some(open) = open.as_mut() else { return Err(Fault::Dead) };
            open.is_there()?;
            let done = act(open).map_err(|error| fault(&error))?;
            // Recorded before the result is used, so that a later run does not accept an earlier state.
            seen.note(open.store.witness());
            Ok(done)
        });
        match done.await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Source for Embedded {
    const KIND: &'static str = "store";

    async fn log_in(&self) -> Result<Grant, Fault> {
        let (file, credential) = (self.config.file.clone(), self.credential().await?);
        let (open, watch, seen) = (Arc::clone(&self.open), Arc::clone(&self.watch), Arc::clone(&self.seen));
        let opened = tokio::task::spawn_blocking(move || {
            // Listens before the store is opened, so that no change after that is missed.
            watch.listen();
            leave_replaced(&mut lock(&open))?;
            let opened = Open::at(&file, &credential, seen.latest().as_ref())?;
            seen.note(opened.store.witness());
            let changes = opened.store.changes().map_err(|error| fault(&error))?;
            *lock(&open) = Some(opened);
            Ok(changes)
        });
        let changes = match opened.await {
            Ok(opened) => opened?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        self.looks().opened(changes);
        self.watch.stir();
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
        if let Some(list) = want.list {
            let want = want.clone();
            return self.with(move |open| open.read_folder(&want, list)).await?;
        }
        let path = SecretPath::parse(&want.path)
            .map_err(|why| Fault::Gone { why: format!("the path {:?} {why}", want.path) })?;
        let pinned = want.version.as_ref().and_then(Version::number);
        let (name, max_size) = (want.name.clone(), want.max_size);
        let read = self.with(move |open| open.read(name, &path, (pinned, max_size))).await?;
        let (fields, version, written) = read;
        let (life, meta) = (Life::Versioned { within: None }, open::meta(version, written));
        Ok(Fetched { fields, life, written: Some(written.time()), meta })
    }

    async fn changed(&self) {
        loop {
            let heard = self.turn(Asker::Changes).await;
            let found = self.with(|open| open.store.witness_changes()).await;
            if found.is_ok() && self.looks().is_in_trouble() {
                // The file is back, perhaps in another directory of the same name.
                self.watch.listen();
            }
            if self.looks().found(heard, found) {
                return;
            }
        }
    }

    /// The commands of a rotation may run for long and are written by others, so no thread of the agent runs them.
    async fn errand(&self) -> Errand {
        loop {
            let heard = self.turn(Asker::Rotations).await;
            if self.is_due(heard).await {
                return self.rotate();
            }
        }
    }

    /// Nothing in a store ends by itself; only planned rotations are late by this time. A machine at rest should not be woken more often.
    fn look_every(&self) -> Duration {
        LOOK_EVERY
    }

    fn rotations(&self, clock: &Clock) -> Option<Rotations> {
        let (looks, now) = (self.looks(), clock.wall.into());
        let known = looks.standing();
        let next = known.next(now).map(|next| Moment::new(next.time()));
        Some(Rotations { overdue: known.overdue(now), failing: known.failing, next })
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

    /// Without the store's own file: closing a descriptor of it releases every lock that `SQLite` has there.
    fn credential_files(&self) -> Vec<PathBuf> {
        let id = match &self.config.login {
            StoreLogin::Role { id: RoleId::File(file), .. } => Some(file.clone()),
            StoreLogin::Role { id: RoleId::Inline(_), .. } | StoreLogin::Owner { .. } => None,
        };
        [self.credential_file().to_owned()].into_iter().chain(id).chain(self.config.server.files()).collect()
    }
}

/// A thread that panicked left the store as it was: a transaction is written whole or not at all.
fn lock(open: &Mutex<Option<Open>>) -> MutexGuard<'_, Option<Open>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes a store whose file was replaced, before the other one is opened: otherwise both would use the same `-wal`.
fn leave_replaced(open: &mut Option<Open>) -> Result<(), Fault> {
    if let Some(former) = open.as_ref().filter(|former| former.is_replaced()) {
        former.set_log_aside()?;
        *open = None;
    }
    Ok(())
}

/// Waits for that time; without a time it does not wait.
async fn until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at.into()).await;
    }
}

/// A role id is not secret, and never wrapped.
fn role_id(file: &Path) -> Result<String, Fault> {
    match wrapped::read(file) {
        Ok(Written::Plain(id)) => Ok(id.expose().to_owned()),
        Ok(Written::Wrapped(_)) => Err(Fault::Awaiting {
            file: file.to_owned(),
            why: "it is wrapped, and a role id never is".to_owned(),
        }),
        Err(closed) => Err(not_opened(file, closed)),
    }
}
