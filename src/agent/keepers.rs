//! The tasks that run the sessions of all sources, and the channels to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Event;
use super::inbox::Credentials;
use crate::audit::Gate;
use crate::ledger::file::Ledger;
use crate::names::{SecretName, SourceName};
use crate::secret::DigestKey;
use crate::session::keeper::book::Book;
use crate::session::keeper::{Delivery, Keeper, Notice};
use crate::session::{Session, Settings};
use crate::source::Source;
use crate::status::{Clock, SessionStatus};

/// The number of deliveries that may wait for the agent before keepers have to wait.
const DELIVERIES: usize = 64;

/// A session that does not say within this time how it stands is busy.
const SAYS_WITHIN: Duration = Duration::from_secs(1);

/// One task for each source.
pub struct Keepers {
    tasks: JoinSet<()>,
    notices: BTreeMap<SourceName, mpsc::UnboundedSender<Notice>>,
    owners: BTreeMap<SecretName, SourceName>,
    credentials: Vec<Credentials>,
    deliveries: mpsc::Sender<Delivery>,
    incoming: mpsc::Receiver<Delivery>,
    gate: Gate,
}

impl Keepers {
    /// Keepers that ask this gate before they fetch anything.
    pub fn new(gate: Gate) -> Self {
        let (deliveries, incoming) = mpsc::channel(DELIVERIES);
        Self {
            tasks: JoinSet::new(),
            notices: BTreeMap::new(),
            owners: BTreeMap::new(),
            credentials: Vec::new(),
            deliveries,
            incoming,
            gate,
        }
    }

    /// Starts the session of one source, and takes over what an earlier run wrote into the ledger. Call it within the runtime.
    pub fn keep<S: Source>(
        &mut self,
        source: S,
        mut settings: Settings,
        key: &DigestKey,
        ledger: Option<Arc<Ledger>>,
    ) {
        let (keeper, notices) = mpsc::unbounded_channel();
        let name = settings.source.clone();
        let book = ledger.map(|ledger| Book::new(ledger, name.clone(), source.identity()));
        settings.adopt = book.as_ref().and_then(|book| book.holdings(key));
        self.credentials.push(Credentials {
            files: source.credential_files(),
            tls_files: source.tls_files(),
            keeper: keeper.clone(),
        });
        self.owners.extend(settings.wants.iter().map(|want| (want.name.clone(), name.clone())));
        let session = Session::new(settings, Instant::now());
        let task = Keeper::new(source, session, key.clone(), self.deliveries.clone(), book);
        self.tasks.spawn(task.with_gate(self.gate.clone()).run(notices));
        self.notices.insert(name, keeper);
    }

    /// The credential files to watch; once.
    pub(super) fn credentials(&mut self) -> Vec<Credentials> {
        std::mem::take(&mut self.credentials)
    }

    /// The next new value, or [`Event::Failed`] if a keeper ended: it ends only when it is told to, so any other end is a bug. Either arm
    /// may be dropped: a delivery stays in its channel, a task in its set.
    pub(super) async fn next_event(&mut self) -> Event {
        tokio::select! {
            Some(delivery) = self.incoming.recv() => match delivery {
                Delivery::Update(update) => Event::Updated(update),
                Delivery::Lack(lack) => Event::Lacking(lack),
                Delivery::Errand(errand) => Event::Errand(errand),
            },
            Some(_) = self.tasks.join_next() => Event::Failed,
            else => std::future::pending().await,
        }
    }

    pub(super) fn tell_all(&self, notice: &Notice) {
        // A keeper that is gone needs no notice.
        self.notices.values().for_each(|keeper| drop(keeper.send(notice.clone())));
    }

    /// How every session stands, as far as it says so in time. The future may be awaited anywhere.
    pub(super) fn statuses(&self, clock: Clock) -> impl Future<Output = Vec<SessionStatus>> + Send + use<> {
        let (sender, mut answers) = mpsc::unbounded_channel();
        self.tell_all(&Notice::Status(clock, sender));
        let mut silent: BTreeSet<_> = self.notices.keys().cloned().collect();
        async move {
            let by = tokio::time::Instant::now() + SAYS_WITHIN;
            let mut statuses = Vec::new();
            while let Ok(Some(status)) = tokio::time::timeout_at(by, answers.recv()).await {
                silent.remove(&status.source.name);
                statuses.push(status);
            }
            statuses.extend(silent.into_iter().map(SessionStatus::busy));
            statuses.sort_by(|one, other| one.source.name.cmp(&other.source.name));
            statuses
        }
    }

    pub(super) fn tell_owner(&self, secret: &SecretName, notice: Notice) {
        if let Some(keeper) = self.owners.get(secret).and_then(|source| self.notices.get(source)) {
            drop(keeper.send(notice));
        }
    }

    /// Lets every keeper give back what it holds, and waits for that. Each bounds its own time. `for_good` is for no later run to go on.
    pub(super) async fn stop(mut self, for_good: bool) {
        self.tell_all(&Notice::Stop { for_good });
        // Nobody takes deliveries any more: a keeper must not wait for that.
        drop(self.incoming);
        while self.tasks.join_next().await.is_some() {}
    }
}
