//! The tasks that run the sessions of all sources, and the channels to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Event;
use super::inbox::Credentials;
use super::reloading::KeeperId;
use crate::audit::Gate;
use crate::ledger::file::Ledger;
use crate::names::{Edition, SourceName};
use crate::ordered::Order as _;
use crate::secret::DigestKey;
use crate::session::keeper::book::Book;
use crate::session::keeper::tap::Tap;
use crate::session::keeper::{Delivery, Keeper, Notice};
use crate::session::sink::Sink;
use crate::session::{Session, Settings};
use crate::source::Source;
use crate::status::{Clock, SessionStatus};

/// The number of deliveries that may wait for the agent before keepers have to wait.
const DELIVERIES: usize = 64;

/// A session that does not say within this time how it stands is busy.
const SAYS_WITHIN: Duration = Duration::from_secs(1);

/// Makes the tap of a keeper, from the way to tell that keeper something.
pub type Tapped = Box<dyn FnOnce(mpsc::WeakUnboundedSender<Notice>) -> Tap + Send>;

/// One task for each source.
pub struct Keepers {
    tasks: JoinSet<KeeperId>,
    notices: BTreeMap<KeeperId, mpsc::UnboundedSender<Notice>>,
    /// They were told to end.
    dismissed: BTreeSet<KeeperId>,
    credentials: (mpsc::UnboundedSender<Credentials>, Option<mpsc::UnboundedReceiver<Credentials>>),
    deliveries: mpsc::Sender<Delivery>,
    incoming: mpsc::Receiver<Delivery>,
    gate: Gate,
    /// Who is to have the token of a source.
    sinks: BTreeMap<SourceName, Vec<Sink>>,
}

impl Keepers {
    /// Keepers that ask this gate before they fetch anything.
    pub fn new(gate: Gate) -> Self {
        let (deliveries, incoming) = mpsc::channel(DELIVERIES);
        let (credentials, to_watch) = mpsc::unbounded_channel();
        Self {
            tasks: JoinSet::new(),
            notices: BTreeMap::new(),
            dismissed: BTreeSet::new(),
            credentials: (credentials, Some(to_watch)),
            deliveries,
            incoming,
            gate,
            sinks: BTreeMap::new(),
        }
    }

    /// Each keeper shows its token to these.
    #[must_use]
    pub fn with_sinks(self, sinks: BTreeMap<SourceName, Vec<Sink>>) -> Self {
        Self { sinks, ..self }
    }

    /// Starts the session of one source. The first one takes over what an earlier run wrote into the ledger; one of a later edition stands
    /// beside the keeper before it, which holds that, and writes nothing down before it is told to. `tap` hears how its token stands. Call it
    /// within the runtime.
    pub fn keep<S: Source>(
        &mut self,
        source: Arc<S>,
        mut settings: Settings,
        key: &DigestKey,
        ledger: Option<Arc<Ledger>>,
        edition: Edition,
        tap: Option<Tapped>,
    ) {
        let (keeper, notices) = mpsc::unbounded_channel();
        let tap = tap.map(|tapped| tapped(keeper.downgrade()));
        let name = settings.source.clone();
        let is_first = edition == Edition::default();
        let book = ledger.map(|ledger| Book::new(ledger, name.clone(), source.identity()));
        settings.adopt = book.as_ref().filter(|_| is_first).and_then(|book| book.holdings(key));
        let credentials = Credentials {
            files: source.credential_files(),
            tls_files: source.tls_files(),
            keeper: keeper.clone(),
        };
        // Whoever watches is there for as long as the agent is.
        self.credentials.0.send(credentials).ok();
        let session = Session::new(settings, Instant::now()).of_edition(edition);
        let task = Keeper::new(source, session, key.clone(), self.deliveries.clone(), book);
        let sinks = self.sinks.get(&name).cloned().unwrap_or_default();
        let task = task.with_gate(self.gate.clone()).with_sinks(sinks, edition).with_tap(tap);
        let task = if is_first { task } else { task.beside_another() };
        let id = (name, edition);
        self.notices.insert(id.clone(), keeper);
        self.tasks.spawn(async move {
            task.run(notices).await;
            id
        });
    }

    /// The credential files to watch, those of later keepers too; once.
    pub(super) fn credentials(&mut self) -> Option<mpsc::UnboundedReceiver<Credentials>> {
        self.credentials.1.take()
    }

    /// The next new value, or [`Event::Failed`] if a keeper ended: it ends only when it is told to, so any other end is a bug. Either arm
    /// may be dropped: a delivery stays in its channel, a task in its set.
    pub(super) async fn next_event(&mut self) -> Event {
        tokio::select! {
            Some(delivery) = self.incoming.recv() => match delivery {
                Delivery::Update(update) => Event::Updated(update),
                Delivery::Lack(lack) => Event::Lacking(lack),
                Delivery::Errand(errand) => Event::Errand(errand),
                Delivery::Shown(shown) => Event::Shown(shown),
            },
            Some(ended) = self.tasks.join_next() => match ended {
                Ok(id) if self.dismissed.remove(&id) => Event::Due,
                Ok(_) | Err(_) => Event::Failed,
            },
            else => std::future::pending().await,
        }
    }

    pub(super) fn tell_all(&self, notice: &Notice) {
        // A keeper that is gone needs no notice.
        self.notices.values().for_each(|keeper| drop(keeper.send(notice.clone())));
    }

    /// How the sessions of these keepers stand, as far as they say so in time. The future may be awaited anywhere.
    pub(super) fn statuses(
        &self,
        keepers: &[KeeperId],
        clock: Clock,
    ) -> impl Future<Output = Vec<SessionStatus>> + Send + use<> {
        let (sender, mut answers) = mpsc::unbounded_channel();
        for keeper in keepers {
            self.tell(keeper, Notice::Status(clock, sender.clone()));
        }
        drop(sender);
        let mut silent: BTreeSet<_> = keepers.iter().map(|(source, _)| source.clone()).ordered();
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

    pub(super) fn tell(&self, id: &KeeperId, notice: Notice) {
        if let Some(keeper) = self.notices.get(id) {
            drop(keeper.send(notice));
        }
    }

    /// Lets one keeper give back what it holds, and end.
    pub(super) fn dismiss(&mut self, id: KeeperId, for_good: bool) {
        if let Some(keeper) = self.notices.remove(&id) {
            drop(keeper.send(Notice::Stop { for_good }));
            self.dismissed.insert(id);
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
