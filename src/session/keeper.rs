//! The task that drives one session: puts its questions to the source, hands its updates to the agent, keeps its time.

mod arrival;
pub mod book;
mod clock;
mod put;
mod show;
pub mod tap;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::sink::Sink;
use super::{Answer, Ask, Effect, Event, Lack, Serial, Session, Update, View};
use crate::audit::{self, Gate};
use crate::names::{Edition, Revision, SecretName};
use crate::plan::Want;
use crate::secret::DigestKey;
use crate::source::{Errand, Fault, Source};
use crate::status::{Clock, SessionStatus};
use book::Book;
use clock::Suspensions;
use put::{Asker, put};
pub use show::Shown;
use show::Shows;
use tap::Tap;

/// How long giving back may take before a stop goes on without it.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(5);

/// The same while nothing is held: a question that is still out may bring something, or may never be answered.
const HEAR_WITHIN: Duration = Duration::from_secs(1);

/// What the agent tells a keeper.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A credential file appeared or changed.
    CredentialChanged,
    /// A file by which the source is trusted, or we are known to it, changed.
    TlsChanged,
    /// Something was denied to whoever else uses this grant.
    Doubted(Serial),
    /// Fetch these now; all if empty.
    Refresh(Vec<SecretName>),
    /// Nothing uses the revisions of this secret below this one any more.
    Released(SecretName, Revision),
    /// Nothing uses this revision of this secret, and nothing will.
    Rejected(SecretName, Revision),
    /// Say how it stands.
    Status(Clock, mpsc::UnboundedSender<SessionStatus>),
    /// From now on these are wanted, and no others.
    Wanted(Vec<Want>, Edition),
    /// Whether what is held is written down: two keepers of one source have one page.
    Enrolled(bool),
    /// Give back what is held, then end.
    Stop {
        /// No later run is to go on from here: what is kept for its logins is forgotten, too.
        for_good: bool,
    },
}

/// What a keeper hands to the agent.
#[derive(Debug)]
pub enum Delivery {
    /// A new value.
    Update(Update),
    /// Why there is no value yet.
    Lack(Lack),
    /// A command that its source wants to be run.
    Errand(Errand),
    /// The token, as one of those gets it who are to have it.
    Shown(Shown),
}

/// Drives a session until it ended: after a [`Notice::Stop`], or when the agent is gone.
pub struct Keeper<S> {
    source: Arc<S>,
    session: Session,
    key: DigestKey,
    questions: JoinSet<(Instant, Answer)>,
    deliveries: mpsc::Sender<Delivery>,
    give_back_by: Option<Instant>,
    for_good: bool,
    suspensions: Suspensions,
    book: Option<Book>,
    asker: Asker,
    gate: Gate,
    /// The page of the source is this keeper's.
    is_enrolled: bool,
    tap: Option<Tap>,
    shows: Shows,
}

impl<S: Source> Keeper<S> {
    /// A keeper that hands what it has to `deliveries`, and writes down in `book` what has to outlive it.
    pub fn new(
        source: Arc<S>,
        session: Session,
        key: DigestKey,
        deliveries: mpsc::Sender<Delivery>,
        book: Option<Book>,
    ) -> Self {
        let asker = Asker::new(session.source(), &source.identity());
        Self {
            source,
            session,
            key,
            questions: JoinSet::new(),
            deliveries,
            give_back_by: None,
            for_good: false,
            suspensions: Suspensions::new(),
            book,
            asker,
            gate: Gate::default(),
            is_enrolled: true,
            tap: None,
            shows: Shows::default(),
        }
    }

    /// Shows its token to these.
    #[must_use]
    pub fn with_sinks(self, sinks: Vec<Sink>, edition: Edition) -> Self {
        Self { shows: Shows::new(sinks, edition), ..self }
    }

    /// Asks this gate before it fetches anything.
    #[must_use]
    pub fn with_gate(self, gate: Gate) -> Self {
        Self { gate, ..self }
    }

    /// Tells this tap how its token stands.
    #[must_use]
    pub fn with_tap(self, tap: Option<Tap>) -> Self {
        Self { tap, ..self }
    }

    /// The same, beside another keeper of its source: it writes nothing down until it is told to.
    #[must_use]
    pub fn beside_another(mut self) -> Self {
        self.is_enrolled = false;
        self
    }

    /// Keeps until the session ended.
    pub async fn run(mut self, notices: mpsc::UnboundedReceiver<Notice>) {
        self.keep(notices).await;
        // Whether or not the server could be told of the end.
        if self.for_good {
            self.source.forget();
        }
    }

    async fn keep(&mut self, mut notices: mpsc::UnboundedReceiver<Notice>) {
        let mut event = Event::Due;
        loop {
            let slept = self.suspensions.since().map(Event::Slept);
            for event in slept.into_iter().chain([event]) {
                for effect in self.session.step(event, Instant::now()) {
                    if self.perform(effect).await.is_ended() {
                        self.tell_tap();
                        return;
                    }
                }
            }
            self.tell_tap();
            self.show(Instant::now()).await;
            event = self.next_event(&mut notices).await;
            if self.give_back_by.is_some_and(|by| by <= Instant::now()) {
                tracing::warn!("source did not answer in time, stopping without giving back");
                return;
            }
        }
    }

    /// Losing any arm is safe: a question that is out stays in the set, a notice stays in its channel, and the deadline is
    /// computed anew.
    async fn next_event(&mut self, notices: &mut mpsc::UnboundedReceiver<Notice>) -> Event {
        // So that what fell due during a suspension is done soon after it.
        let look = Instant::now() + self.source.look_every();
        let deadline = [self.session.deadline(), self.shows.deadline(), self.give_back_by]
            .into_iter()
            .flatten()
            .fold(look, Instant::min);
        tokio::select! {
            Some(done) = self.questions.join_next() => match done {
                Ok((sent, answer)) => {
                    self.note_look(&answer);
                    Event::Answered { sent, answer }
                }
                // A question is never cancelled, so it was lost by a panic: a bug, which ends the keeper too.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            Some((place, wrapped)) = self.shows.next() => {
                self.wrapped(place, wrapped).await;
                Event::Due
            }
            notice = notices.recv(), if self.give_back_by.is_none() => self.noticed(notice.unwrap_or(Notice::Stop { for_good: false })),
            () = self.source.changed(), if self.give_back_by.is_none() => Event::RefreshAsked(Vec::new()),
            errand = self.source.errand(), if self.give_back_by.is_none() => {
                drop(self.deliveries.send(Delivery::Errand(errand)).await);
                Event::Due
            }
            () = tokio::time::sleep_until(deadline.into()) => Event::Due,
        }
    }

    fn noticed(&mut self, notice: Notice) -> Event {
        match notice {
            Notice::CredentialChanged if self.source.credential_is_grant() => Event::GrantChanged,
            Notice::CredentialChanged => Event::CredentialChanged,
            Notice::TlsChanged => {
                self.source.look_at_tls();
                Event::Due
            }
            Notice::Doubted(serial) => Event::Doubted(serial),
            Notice::Refresh(names) => Event::RefreshAsked(names),
            Notice::Released(secret, below) => Event::Released(secret, below),
            Notice::Status(clock, answer) => {
                let mut status = self.session.status(S::KIND, self.source.credential(), &clock);
                status.source.rotations = self.source.rotations(&clock);
                status.source.client_leases = self.tap.as_ref().map(Tap::leases);
                // Whoever asked may have gone.
                drop(answer.send(status));
                Event::Due
            }
            Notice::Rejected(secret, revision) => Event::Rejected(secret, revision),
            Notice::Wanted(wants, edition) => Event::Wanted { wants, edition },
            Notice::Enrolled(is_enrolled) => {
                self.enrol(is_enrolled);
                Event::Due
            }
            Notice::Stop { for_good } => {
                self.for_good = for_good;
                let within = if self.session.holds_anything() { GIVE_BACK_WITHIN } else { HEAR_WITHIN };
                self.give_back_by = Some(Instant::now() + within);
                Event::StopAsked
            }
        }
    }

    /// What is held is written down when the page becomes this keeper's.
    fn enrol(&mut self, is_enrolled: bool) {
        self.is_enrolled = is_enrolled;
        self.tap.iter_mut().for_each(Tap::forget);
        if let Some(holdings) = self.session.holdings() {
            self.book().for_each(|book| book.record(holdings.clone()));
        }
    }

    fn note_look(&mut self, answer: &Answer) {
        if let (Answer::LookUpGrant(..), Some(tap)) = (answer, &mut self.tap) {
            tap.looked();
        }
    }

    /// The keeper that has the page has the word; at the end there is no token any more.
    fn tell_tap(&mut self) {
        if let Some(tap) = self.tap.as_mut().filter(|_| self.is_enrolled) {
            let is_ending = self.give_back_by.is_some();
            tap.tell(if is_ending { View::default() } else { self.session.view() });
        }
    }

    fn book(&self) -> impl Iterator<Item = &Book> {
        self.book.iter().filter(|_| self.is_enrolled)
    }

    async fn perform(&mut self, effect: Effect) -> Progress {
        match effect {
            // It counts as a failure of its path: what is there stays, leases go on, and it is tried again soon.
            Effect::Ask(Ask::Fetch(_, want)) if self.gate.is_closed() => {
                let refused = Err(Fault::Failing { why: format!("{}: {}", want.path, audit::CLOSED) });
                self.questions.spawn(async move { (Instant::now(), Answer::Fetch(want.name, refused)) });
            }
            Effect::Ask(ask) => {
                let (source, key, asker) = (Arc::clone(&self.source), self.key.clone(), self.asker.clone());
                self.questions.spawn(async move { put(&*source, ask, &key, &asker).await });
            }
            // The agent takes updates for as long as it lives; one that is gone needs none.
            Effect::Lack(lack) => drop(self.deliveries.send(Delivery::Lack(lack)).await),
            Effect::Deliver(update) => drop(self.deliveries.send(Delivery::Update(update)).await),
            Effect::Record(holdings) => self.book().for_each(|book| book.record(holdings.clone())),
            Effect::Report(fact) => fact.tell(),
            Effect::Ended => {
                self.book().for_each(Book::close);
                return Progress::Ended;
            }
        }
        Progress::Going
    }
}

#[derive(PartialEq)]
enum Progress {
    Going,
    Ended,
}

impl Progress {
    fn is_ended(&self) -> bool {
        *self == Self::Ended
    }
}
