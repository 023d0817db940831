//! Performs the agent's effects: tasks, time, start and end.
//!
//! One task owns the agent; one task for each source runs its session; one watches credential files. All run on the agent's thread, and the
//! publisher has one of its own.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::inbox::ConfigurationWatch;
use super::keepers::Keepers;
use super::publisher::{Desk, Job, Publisher};
use super::reloading::Keeping;
use super::reloads::{Files, Load, Reloads, Seen};
use super::{Agent, Ask, Effect, Event, Setup, Task, inbox};
use crate::config::{HttpCall, Opening, ProbeKind, ReloadWhen, SignalTarget, SignalTo, Window};
use crate::credential::Shown;
use crate::fact::{CredentialFact, Fact, chain};
use crate::ledger::file::Ledger;
use crate::render::Release;
use crate::rollout::{probe, stranger};
use crate::session::keeper::Notice;
use crate::status::{Clock, Status};
use crate::supervise::host::Orders;

/// How a run reads its configuration again.
pub struct Rereading {
    /// Reads and compiles it; `None` where nothing is ever reloaded.
    pub load: Option<Load>,
    /// What was read at the start.
    pub seen: Seen,
    /// Told when another configuration holds for good.
    pub settled: Settled,
    /// What is over before the sessions give back what they hold.
    pub farewell: Farewell,
    /// Where credentials are shown to units, if they are.
    pub showing: Option<Showing>,
}

/// Where credentials are shown to units, and kept who holds which.
pub struct Showing {
    /// Whoever serves them.
    pub shown: watch::Sender<Option<Arc<Shown>>>,
    /// For a later run; without it only this one knows.
    pub ledger: Option<Arc<Ledger>>,
}

impl Showing {
    fn keep(&self, holders: &[u8]) {
        let kept = self.ledger.as_ref().map_or(Ok(()), |ledger| ledger.keep_holders(holders));
        if let Err(error) = kept {
            Fact::from(CredentialFact::NotKept { error: chain(&error) }).tell();
        }
    }
}

/// What others give back at the end with a session's token.
pub type Farewell = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Hears of a configuration that holds from now on.
pub type Settled = Box<dyn Fn(&Setup) + Send>;

/// Runs an agent until its end; returns the exit code of Squire, and the last committed release. The main thread reports through `events`.
///
/// # Errors
/// When the publisher's thread cannot be started.
pub async fn run(
    task: Task,
    mut keepers: Keepers,
    publisher: Publisher,
    orders: Orders,
    (sender, events): (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
    asks: mpsc::Receiver<Ask>,
    Rereading { load, seen, settled, farewell, showing }: Rereading,
) -> io::Result<(u8, Option<Release>)> {
    let (read, files) = mpsc::unbounded_channel();
    let included = task.setup.plan.included();
    read.send(Files { configuration: seen, included }).ok();
    let config = &task.setup.config;
    let is_on = load.is_some() && config.agent.reload == ReloadWhen::Watch;
    let reloads = Reloads::new(load, read);
    let configuration = ConfigurationWatch { files, asker: reloads.asker(), is_on, changes: sender.clone() };
    let watching = keepers
        .credentials()
        .map(|credentials| tokio::spawn(inbox::watch(credentials, configuration, task.key.clone())));
    let desk = publisher.start(sender.clone())?;
    let clock = WallClock { window: config.rollout.window.clone(), is_open: true };
    let agent = Agent::new(task, Instant::now());
    let ended = Lifecycle {
        agent,
        keepers,
        desk,
        orders,
        events,
        asks,
        answers: sender,
        clock,
        reloads,
        settled,
        farewell,
        showing,
    };
    let ended = Box::pin(ended.run()).await;
    watching.iter().for_each(JoinHandle::abort);
    Ok(ended)
}

struct Lifecycle {
    agent: Agent,
    keepers: Keepers,
    desk: Desk,
    orders: Orders,
    events: mpsc::UnboundedReceiver<Event>,
    asks: mpsc::Receiver<Ask>,
    answers: mpsc::UnboundedSender<Event>,
    clock: WallClock,
    reloads: Reloads,
    settled: Settled,
    farewell: Farewell,
    showing: Option<Showing>,
}

/// Reports when the window for rollouts opens or closes.
struct WallClock {
    window: Option<Window>,
    /// The last report.
    is_open: bool,
}

/// If the wall clock is set, that is noticed within this time.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(30);

impl WallClock {
    /// The future may be dropped: the last report is noted only when it was returned.
    async fn turn(&mut self) -> Event {
        let Some(window) = &self.window else {
            if self.is_open {
                return std::future::pending().await;
            }
            // A reload took the window away.
            self.is_open = true;
            return Event::Window(true);
        };
        loop {
            let Opening { is_open, lasts } = window.at(SystemTime::now());
            if is_open != self.is_open {
                self.is_open = is_open;
                return Event::Window(is_open);
            }
            tokio::time::sleep(lasts.unwrap_or(LOOK_AT_CLOCK).min(LOOK_AT_CLOCK)).await;
        }
    }
}

/// What the agent has to do with next.
enum Turn {
    Event(Event),
    Ask(Ask),
}

/// How the agent ends.
struct End {
    code: u8,
    give_back: bool,
    sweep: bool,
    last_word: Option<Fact>,
}

impl Lifecycle {
    async fn run(mut self) -> (u8, Option<Release>) {
        let mut turn = Turn::Event(Event::Due);
        let end = loop {
            let effects = match turn {
                Turn::Event(event) => self.agent.step(event, Instant::now()),
                Turn::Ask(ask) => self.answer(ask),
            };
            if let Some(end) = effects.into_iter().filter_map(|effect| self.perform(effect)).last() {
                break end;
            }
            turn = self.next_turn().await;
        };
        let live = self.agent.live().cloned();
        self.close(&end).await;
        (end.code, live)
    }

    /// Any arm may be dropped: an event stays in its channel, and the deadline is computed anew.
    async fn next_turn(&mut self) -> Turn {
        let deadline = self.agent.deadline();
        let event = tokio::select! {
            event = self.keepers.next_event() => event,
            Some(event) = self.events.recv() => event,
            Some(ask) = self.asks.recv() => return Turn::Ask(ask),
            event = self.clock.turn() => event,
            event = self.reloads.next_event() => event,
            () = sleep_until(deadline) => Event::Due,
        };
        Turn::Event(event)
    }

    /// Whoever asked may have gone meanwhile.
    fn answer(&mut self, ask: Ask) -> Vec<Effect> {
        match ask {
            Ask::Alive(answer) => {
                // Whoever asked may have gone.
                answer.send(()).unwrap_or_default();
                Vec::new()
            }
            Ask::Status(answer) => {
                let clock = Clock { now: Instant::now(), wall: SystemTime::now() };
                let agent = self.agent.status(&clock);
                let statuses = self.keepers.statuses(&self.agent.keepers(), clock);
                drop(tokio::spawn(async move {
                    let status = Status::new(agent, statuses.await, std::process::id(), clock.moment());
                    drop(answer.send(status));
                }));
                Vec::new()
            }
            Ask::Reload(answer) => {
                self.reloads.ask(Some(answer));
                Vec::new()
            }
            Ask::Instruct(instruction, answer) => {
                let (effects, result) = match self.agent.instruct(instruction, Instant::now()) {
                    Ok(effects) => (effects, Ok(())),
                    Err(refused) => (Vec::new(), Err(refused)),
                };
                drop(answer.send(result));
                effects
            }
            Ask::Knock(from, answer) => {
                drop(answer.send(self.agent.knock(from)));
                Vec::new()
            }
            Ask::Webhook(from, delivery, answer) => {
                let (effects, result) =
                    self.agent.deliver(&delivery, from, Instant::now(), SystemTime::now());
                drop(answer.send(result));
                effects
            }
        }
    }

    fn perform(&mut self, effect: Effect) -> Option<End> {
        match effect {
            Effect::Stage(release) => self.desk.hand(Job::Stage(release)),
            Effect::Sink(file) => self.desk.hand(Job::Sink(file)),
            Effect::Show(shown) => {
                self.showing
                    .iter()
                    .for_each(|showing| drop(showing.shown.send_replace(Some(Arc::clone(&shown)))));
            }
            Effect::KeepHolders(holders) => self.showing.iter().for_each(|showing| showing.keep(&holders)),
            Effect::Discard => self.desk.hand(Job::Discard),
            Effect::Publish => self.desk.hand(Job::Publish),
            Effect::Restore(release) => self.desk.hand(Job::Restore(release)),
            Effect::SignalTo { action, to } => self.signal_to(action, &to),
            Effect::Call { action, call } => self.call(action, call),
            Effect::Try { attempt, kind, timeout } => self.try_process(attempt, kind, timeout),
            Effect::Retire(generation) => self.desk.hand(Job::Retire(generation)),
            Effect::Order(order) => self.orders.send(order),
            // A secret may have had several sources: each knows its own values by their numbers.
            Effect::Free(secret, below) => self.keepers.tell_all(&Notice::Released(secret, below)),
            Effect::Reject(secret, revision) => self.keepers.tell_all(&Notice::Rejected(secret, revision)),
            Effect::Refresh(secrets) => self.keepers.tell_all(&Notice::Refresh(secrets)),
            Effect::Report(fact) => fact.tell(),
            Effect::Reload => self.reloads.ask(None),
            Effect::Examine { number, setup } => self.desk.hand(Job::Examine(number, setup)),
            Effect::Settle(setup) => {
                (self.settled)(&setup);
                self.desk.hand(Job::Settle(setup));
            }
            Effect::Keeping(keeping) => self.keeping(keeping),
            Effect::Window(window) => self.clock.window = window,
            Effect::Decided { number, outcome } => self.reloads.decided(number, &outcome),
            Effect::Close { code, give_back, sweep, last_word } => {
                return Some(End { code, give_back, sweep, last_word });
            }
        }
        None
    }

    fn keeping(&mut self, keeping: Keeping) {
        match keeping {
            Keeping::Start(number, (source, edition), wants) => {
                if let Some(prepared) = self.reloads.take(number, &source) {
                    prepared(&mut self.keepers, wants, edition);
                }
            }
            Keeping::Want(id, wants, edition) => self.keepers.tell(&id, Notice::Wanted(wants, edition)),
            Keeping::Enrol(id, is_enrolled) => self.keepers.tell(&id, Notice::Enrolled(is_enrolled)),
            Keeping::Dismiss(id, for_good) => self.keepers.dismiss(id, for_good),
        }
    }

    fn signal_to(&self, action: u64, to: &SignalTo) {
        let what = match &to.target {
            SignalTarget::PidFile(file) => format!("{} to {}", to.signal, file.display()),
            SignalTarget::Process(name) => format!("{} to {name}", to.signal),
        };
        let result = stranger::signal(to).map(drop).map_err(|error| chain(&error));
        drop(self.answers.send(Event::Acted { action, what, result }));
    }

    fn call(&self, action: u64, call: HttpCall) {
        let answers = self.answers.clone();
        drop(tokio::spawn(async move {
            let (what, result) = (format!("{} {}", call.method, call.url), probe::call(&call).await);
            drop(answers.send(Event::Acted { action, what, result }));
        }));
    }

    fn try_process(&self, attempt: u64, kind: ProbeKind, timeout: Duration) {
        let answers = self.answers.clone();
        drop(tokio::spawn(async move {
            let result = probe::attempt(&kind, timeout).await;
            // If the agent is gone, nobody needs the answer.
            drop(answers.send(Event::Tried(attempt, result)));
        }));
    }

    /// Files are removed first, since that is quick: a reader that finds them missing knows that the process is gone.
    async fn close(self, end: &End) {
        self.desk.hand(if end.sweep { Job::Sweep } else { Job::Discard });
        self.farewell.await;
        if end.give_back {
            // A sweep has removed them.
            if !end.sweep {
                self.desk.hand(Job::ForgetTokens);
            }
            // What gives back only because nothing was published yet is tried again, and needs its credential then.
            self.keepers.stop(end.sweep).await;
        }
        self.desk.close();
        if let Some(fact) = end.last_word.clone() {
            fact.tell();
        }
    }
}

/// Sleeps until the deadline; for ever if there is none.
async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
