//! The life of the child, from the first release to the exit code of Squire.
//!
//! [`Supervisor`] decides what to do after an event; [`host`] forks, signals and reaps.
//!
//! [`Supervisor`] handles one process at a time; [`Relay`] hands over from one to the next while both run.
//!
//! *Invariant:* pure. A supervisor has at most one child; it asks for nothing after [`Effect::Finish`]; every stop ends in the child's exit
//! or, by its deadline, in SIGKILL.

mod cgroup;
mod child;
#[cfg(test)]
mod explored;
pub mod host;
mod image;
mod launch;
mod listen;
mod ready;
mod relay;
mod signals;
mod strays;
mod tail;
mod terminal;
mod watchdog;

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::config::{RestartConfig, RestartPolicy};
use crate::fact::chain;

pub use image::find;
pub use launch::{Launch, Refusal, environment};
pub use listen::{ListenError, Listeners};
pub use relay::{Life, Relay};

/// The same signal again within this time is the same request: `timeout` and shells signal a process, and then its group too. On a machine
/// that is busy they may be interrupted between the two; nobody presses a key twice so quickly.
pub const ONE_SIGNAL: Duration = Duration::from_millis(250);

/// When a process ended by itself, the rest of its group has this long from SIGTERM to SIGKILL, or `process.stop_timeout` if that is less.
pub const LONGEST_DISBANDING: Duration = Duration::from_secs(5);

/// The exit code when Squire itself failed.
pub const FAILED: u8 = 125;

/// The pause before a process that ended by itself is started again; it doubles between these bounds.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// No stop waits longer than this, so that a deadline can always be computed.
const LONGEST_STOP: Duration = Duration::from_hours(365 * 24);

/// How the child is stopped, and started again.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `process.stop_signal`
    pub stop_signal: Signal,
    /// `process.stop_timeout`: from the stop signal to SIGKILL; a year at most.
    pub stop_timeout: Duration,
    /// Whether to start it again when it exits by itself.
    pub restart: RestartConfig,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A release asked for a child with these values: start it, or replace the one that runs.
    LaunchAsked(Launch),
    /// A release asked for a signal to the child.
    SignalAsked(Signal),
    /// The child that was being spawned runs its program.
    Started,
    /// The child could not be spawned.
    Refused(Refusal),
    /// The child ended.
    Exited(Ending),
    /// Squire itself got a signal.
    Signalled(Signal),
    /// Whether a release is on trial. During a trial the child's end is not Squire's end, because Squire may be able to go back.
    OnTrial(bool),
    /// The successor beside the current process, if there is one, has proved that it is well: stop the current process.
    HandOver,
    /// The user ended the child from its terminal: its end, which follows, is a stop that was asked for.
    Interrupted,
    /// Another part of Squire failed and will not recover.
    Failed,
    /// [`Supervisor::deadline`] has come.
    Due,
}

/// What to do about it, in this order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Start a child.
    Spawn(Launch),
    /// Send a signal to the child's process group.
    Signal(Signal),
    /// Send SIGKILL to the child's process group.
    Kill,
    /// All that releases asked for so far is done: the child was started, restarted or signalled.
    Settled,
    /// The child, on trial, is gone. `why` is the reason, and `is_clean` says that it ended by itself with exit code 0. The rollout has to
    /// ask for another launch, or to end the trial.
    #[expect(missing_docs, reason = "said above")]
    Down { why: String, is_clean: bool },
    /// The child ended by itself, or its start was refused, and it will be started after this pause.
    Rest(Duration),
    /// The child ended by itself, or its start was refused, more often than the limit allows.
    GiveUp,
    /// Ask for a launch with the values of the live release.
    Respawn,
    /// End Squire with this exit code.
    Finish(u8),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this code.
    Code(u8),
    /// By the signal of this number; a number, since real-time signals have no name.
    Signal(i32),
}

impl Ending {
    /// Its exit code, as in shells: the code itself, or 128 + n.
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(number) => u8::try_from(number.saturating_add(128)).unwrap_or(u8::MAX),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "killed by {signal}"),
                Err(_) => write!(f, "killed by signal {number}"),
            },
        }
    }
}

/// The child's life as a state machine.
#[derive(Clone, Debug)]
pub struct Supervisor {
    settings: Settings,
    state: State,
    on_trial: bool,
    /// A child ran before: Squire does not end because the next start is refused for a while.
    has_run: bool,
    /// The user ended the child from its terminal.
    interrupted: bool,
    /// The times of automatic restarts, after the child ended by itself or its start was refused.
    restarts: VecDeque<Instant>,
}

#[derive(Clone, Debug)]
enum State {
    /// Waits for the first launch.
    Waiting,
    /// The child is being spawned; a stop that was asked for meanwhile begins when it is there.
    Starting {
        stop: Option<Stop>,
    },
    Running,
    Stopping {
        stop: Stop,
        deadline: Instant,
    },
    /// The child ended by itself, or its start was refused, and it is started again at this time.
    Resting {
        until: Instant,
    },
    /// The child is gone, on trial.
    Down(Loss),
    Done,
}

/// How a child was lost that should have gone on.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// It ended by itself, with this code.
    Ended(u8),
    /// It could not be started; this code stands for the reason.
    Refused(u8),
}

/// A stop that is going on, or that begins as soon as the child is there.
#[derive(Clone, Debug)]
struct Stop {
    means: Means,
    then: Then,
}

/// The strongest signal that was sent so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    Signal(Signal),
    Kill,
}

/// What comes after the child's exit.
#[derive(Clone, Debug)]
enum Then {
    Launch(Launch),
    /// Squire ends: whether a signal asked for it (the next one kills), and whether Squire failed.
    End {
        signalled: bool,
        failed: bool,
    },
}

/// Why the child is to stop.
enum Cause {
    Launch(Launch),
    Signal(Signal),
    Failure,
}

impl Supervisor {
    /// Waits for the first launch.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Waiting,
            on_trial: false,
            has_run: false,
            interrupted: false,
            restarts: VecDeque::new(),
        }
    }

    /// Waits for its first launch after another child ran before: a refused start does not end Squire.
    pub fn successor(settings: Settings) -> Self {
        Self { has_run: true, ..Self::new(settings) }
    }

    /// From now on these hold.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Takes an event and answers with the effects.
    #[must_use]
    pub fn step(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        if let Event::OnTrial(on_trial) = event {
            self.on_trial = on_trial;
        }
        // A child that Squire stops by SIGINT ends by that signal too; then it was not the user who ended it.
        self.interrupted |= matches!(event, Event::Interrupted) && !self.is_stopping();
        let (state, effects) = match mem::replace(&mut self.state, State::Done) {
            State::Waiting => waiting(event),
            State::Starting { stop } => self.starting(stop, event, now),
            State::Running => self.running(event, now),
            State::Stopping { stop, deadline } => self.stopping(stop, deadline, event, now),
            State::Resting { until } => resting(until, event, now),
            State::Down(loss) => self.down(loss, event, now),
            State::Done => (State::Done, vec![]),
        };
        self.state = state;
        effects
    }

    /// When to call [`step`](Self::step) with [`Event::Due`].
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Stopping { stop, deadline } => (stop.means != Means::Kill).then_some(*deadline),
            State::Resting { until } => Some(*until),
            State::Waiting | State::Starting { .. } | State::Running | State::Down(_) | State::Done => None,
        }
    }

    /// Whether there is a child, and it is not being stopped.
    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running)
    }

    /// Whether no child will ever be started again.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether the child was asked to stop, and its timeout is still running.
    pub fn is_stopping(&self) -> bool {
        matches!(self.state, State::Stopping { .. })
    }

    fn starting(&mut self, stop: Option<Stop>, event: Event, now: Instant) -> (State, Vec<Effect>) {
        let stop = match event {
            Event::LaunchAsked(launch) => Some(self.merge(stop, Cause::Launch(launch))),
            Event::Signalled(signal) if ends(signal) => Some(self.merge(stop, Cause::Signal(signal))),
            Event::Failed => Some(self.merge(stop, Cause::Failure)),
            Event::Started => {
                self.has_run = true;
                return match stop {
                    Some(stop) => self.begin(stop, now),
                    None => (State::Running, vec![Effect::Settled]),
                };
            }
            Event::Refused(refusal) => return self.refused(stop, &refusal, now),
            Event::Exited(ending) => return self.gone(stop, ending, now),
            // A child that starts now already has the new values. A signal before its handlers are installed would kill it.
            Event::SignalAsked(_)
            | Event::Signalled(_)
            | Event::OnTrial(_)
            | Event::HandOver
            | Event::Interrupted
            | Event::Due => stop,
        };
        (State::Starting { stop }, vec![])
    }

    fn running(&mut self, event: Event, now: Instant) -> (State, Vec<Effect>) {
        match event {
            Event::LaunchAsked(launch) => self.begin(self.merge(None, Cause::Launch(launch)), now),
            Event::Signalled(signal) if ends(signal) => {
                self.begin(self.merge(None, Cause::Signal(signal)), now)
            }
            Event::Failed => self.begin(self.merge(None, Cause::Failure), now),
            Event::SignalAsked(signal) => (State::Running, vec![Effect::Signal(signal), Effect::Settled]),
            Event::Signalled(signal) => (State::Running, vec![Effect::Signal(signal)]),
            Event::Exited(ending) => self.gone(None, ending, now),
            Event::Started
            | Event::Refused(_)
            | Event::OnTrial(_)
            | Event::HandOver
            | Event::Interrupted
            | Event::Due => (State::Running, vec![]),
        }
    }

    fn stopping(
        &mut self,
        mut stop: Stop,
        deadline: Instant,
        event: Event,
        now: Instant,
    ) -> (State, Vec<Effect>) {
        let means = stop.means;
        match event {
            Event::LaunchAsked(launch) => stop = self.merge(Some(stop), Cause::Launch(launch)),
            Event::Signalled(signal) if ends(signal) => stop = self.merge(Some(stop), Cause::Signal(signal)),
            Event::Failed => stop = self.merge(Some(stop), Cause::Failure),
            Event::Due if now >= deadline => stop.means = Means::Kill,
            Event::Exited(ending) => return self.gone(Some(stop), ending, now),
            Event::Signalled(signal) if means != Means::Kill => {
                return (State::Stopping { stop, deadline }, vec![Effect::Signal(signal)]);
            }
            // The child is being stopped, and its successor starts with the new values: the signal is not needed.
            Event::SignalAsked(_)
            | Event::Signalled(_)
            | Event::Started
            | Event::Refused(_)
            | Event::OnTrial(_)
            | Event::HandOver
            | Event::Interrupted
            | Event::Due => {}
        }
        let effects = if stop.means == means { vec![] } else { stop.means.effects() };
        (State::Stopping { stop, deadline }, effects)
    }

    /// Squire stopped the former child to start this one. So Squire does not end, but goes back or tries again.
    fn refused(&mut self, stop: Option<Stop>, refusal: &Refusal, now: Instant) -> (State, Vec<Effect>) {
        let loss = Loss::Refused(refusal.status());
        match stop {
            Some(_) => after(stop, loss.code()),
            None if self.on_trial => down(loss, chain(refusal)),
            None if self.has_run => self.lost(loss, now),
            None => (State::Done, vec![Effect::Finish(loss.code())]),
        }
    }

    /// The child ended: it was stopped, or ended by itself.
    fn gone(&mut self, stop: Option<Stop>, ending: Ending, now: Instant) -> (State, Vec<Effect>) {
        match stop {
            Some(_) => after(stop, ending.code()),
            None if self.interrupted => (State::Done, vec![Effect::Finish(ending.code())]),
            None if self.on_trial => down(Loss::Ended(ending.code()), format!("the process ended: {ending}")),
            None => self.lost(Loss::Ended(ending.code()), now),
        }
    }

    /// Applies `process.restart`. That is for a process that ended by itself; a process that could not be started is always tried again.
    fn lost(&mut self, loss: Loss, now: Instant) -> (State, Vec<Effect>) {
        let RestartConfig { policy, limit, period } = self.settings.restart;
        let code = loss.code();
        let is_wanted = match (loss, policy) {
            (Loss::Refused(_), _) | (Loss::Ended(_), RestartPolicy::Always) => true,
            (Loss::Ended(_), RestartPolicy::Never) => false,
            (Loss::Ended(code), RestartPolicy::OnFailure) => code != 0,
        };
        if !is_wanted {
            return (State::Done, vec![Effect::Finish(code)]);
        }
        self.restarts.retain(|at| now.saturating_duration_since(*at) < period);
        let restarts = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
        if restarts >= limit {
            return (State::Done, vec![Effect::GiveUp, Effect::Finish(code)]);
        }
        self.restarts.push_back(now);
        let pause = FIRST_REST.saturating_mul(1 << restarts.min(10)).min(LONGEST_REST);
        (State::Resting { until: now + pause }, vec![Effect::Rest(pause)])
    }

    fn down(&mut self, loss: Loss, event: Event, now: Instant) -> (State, Vec<Effect>) {
        if let Event::OnTrial(false) = event {
            return self.lost(loss, now);
        }
        absent(State::Down(loss), event)
    }

    /// The child is there: stop it.
    fn begin(&self, stop: Stop, now: Instant) -> (State, Vec<Effect>) {
        let effects = stop.means.effects();
        (State::Stopping { stop, deadline: now + self.settings.stop_timeout.min(LONGEST_STOP) }, effects)
    }

    /// Merges another cause into a stop. The newest launch wins, and an end wins over every launch.
    fn merge(&self, stop: Option<Stop>, cause: Cause) -> Stop {
        let Some(Stop { means, then }) = stop else { return self.stop(cause) };
        match (then, cause) {
            (Then::Launch(_), Cause::Launch(launch)) => Stop { means, then: Then::Launch(launch) },
            (Then::Launch(_), Cause::Signal(signal)) => {
                Stop { means: means.or(signal), then: Then::End { signalled: true, failed: false } }
            }
            (Then::Launch(_), Cause::Failure) => {
                Stop { means, then: Then::End { signalled: false, failed: true } }
            }
            (end @ Then::End { .. }, Cause::Launch(_)) => Stop { means, then: end },
            (Then::End { signalled: false, failed }, Cause::Signal(signal)) => {
                Stop { means: means.or(signal), then: Then::End { signalled: true, failed } }
            }
            (end @ Then::End { signalled: true, .. }, Cause::Signal(_)) => {
                Stop { means: Means::Kill, then: end }
            }
            (Then::End { signalled, .. }, Cause::Failure) => {
                Stop { means, then: Then::End { signalled, failed: true } }
            }
        }
    }

    fn stop(&self, cause: Cause) -> Stop {
        let means = Means::Signal(self.settings.stop_signal);
        match cause {
            Cause::Launch(launch) => Stop { means, then: Then::Launch(launch) },
            Cause::Signal(signal) => {
                Stop { means: Means::Signal(signal), then: Then::End { signalled: true, failed: false } }
            }
            Cause::Failure => Stop { means, then: Then::End { signalled: false, failed: true } },
        }
    }
}

impl Loss {
    fn code(self) -> u8 {
        match self {
            Self::Ended(code) | Self::Refused(code) => code,
        }
    }

    fn is_clean(self) -> bool {
        matches!(self, Self::Ended(0))
    }
}

impl Means {
    /// A child that is already killed needs no signal.
    fn or(self, signal: Signal) -> Self {
        match self {
            Self::Signal(_) => Self::Signal(signal),
            Self::Kill => Self::Kill,
        }
    }

    /// A stopped process handles a signal only when it is continued; SIGKILL does not need that.
    fn effects(self) -> Vec<Effect> {
        match self {
            Self::Signal(signal) => vec![Effect::Signal(signal), Effect::Signal(Signal::SIGCONT)],
            Self::Kill => vec![Effect::Kill],
        }
    }
}

fn waiting(event: Event) -> (State, Vec<Effect>) {
    absent(State::Waiting, event)
}

fn resting(until: Instant, event: Event, now: Instant) -> (State, Vec<Effect>) {
    if matches!(event, Event::Due) && until <= now {
        return (State::Waiting, vec![Effect::Respawn]);
    }
    absent(State::Resting { until }, event)
}

/// There is no child in this state.
fn absent(state: State, event: Event) -> (State, Vec<Effect>) {
    match event {
        Event::LaunchAsked(launch) => (State::Starting { stop: None }, vec![Effect::Spawn(launch)]),
        Event::Signalled(signal) if ends(signal) => {
            (State::Done, vec![Effect::Finish(Ending::Signal(signal as i32).code())])
        }
        Event::Failed => (State::Done, vec![Effect::Finish(FAILED)]),
        // There is no child to signal, and the rollout must not wait for ever.
        Event::SignalAsked(_) => (state, vec![Effect::Settled]),
        Event::Signalled(_)
        | Event::Started
        | Event::Refused(_)
        | Event::Exited(_)
        | Event::OnTrial(_)
        | Event::HandOver
        | Event::Interrupted
        | Event::Due => (state, vec![]),
    }
}

fn down(loss: Loss, why: String) -> (State, Vec<Effect>) {
    (State::Down(loss), vec![Effect::Down { why, is_clean: loss.is_clean() }])
}

/// The child is gone; `code` is its exit code.
fn after(stop: Option<Stop>, code: u8) -> (State, Vec<Effect>) {
    match stop.map(|stop| stop.then) {
        Some(Then::Launch(launch)) => (State::Starting { stop: None }, vec![Effect::Spawn(launch)]),
        Some(Then::End { failed: true, .. }) => (State::Done, vec![Effect::Finish(FAILED)]),
        Some(Then::End { failed: false, .. }) | None => (State::Done, vec![Effect::Finish(code)]),
    }
}

/// Whether a signal to Squire asks it to end; all others are forwarded.
fn ends(signal: Signal) -> bool {
    matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nix::sys::signal::Signal::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    use proptest::prelude::*;

    use super::*;

    const NEVER: RestartConfig =
        RestartConfig { policy: RestartPolicy::Never, limit: 2, period: Duration::from_mins(5) };
    const SETTINGS: Settings =
        Settings { stop_signal: SIGINT, stop_timeout: Duration::from_secs(30), restart: NEVER };

    /// The names of events; `due` comes 30 seconds after all the others.
    const EVENTS: [&str; 9] =
        ["launch", "signal", "started", "refused", "exited", "TERM", "USR1", "failed", "due"];

    /// A history that leads to a state, and the effects of each event in that state.
    #[rustfmt::skip]
    const TABLE: [(&str, [&str; 9]); 15] = [
        // history                     launch  signal         started     refused     exited      TERM            USR1    failed      due
        ("",                           ["spawn", "settled",    "",         "",         "",         "finish 143",   "",     "finish 125", ""]),
        ("launch",                     ["",      "",           "settled",  "finish 127", "finish 3", "",           "",     "",         ""]),
        ("launch launch",              ["",      "",           "INT CONT", "spawn",    "spawn",    "",             "",     "",         ""]),
        ("launch TERM",                ["",      "",           "TERM CONT", "finish 127", "finish 3", "",          "",     "",         ""]),
        ("launch launch TERM",         ["",      "",           "TERM CONT", "finish 127", "finish 3", "",          "",     "",         ""]),
        ("launch TERM launch TERM",    ["",      "",           "kill",     "finish 127", "finish 3", "",           "",     "",         ""]),
        ("launch failed",              ["",      "",           "INT CONT", "finish 125", "finish 125", "",         "",     "",         ""]),
        ("launch started",             ["INT CONT", "HUP settled", "",     "",         "finish 3", "TERM CONT",    "USR1", "INT CONT", ""]),
        ("launch started launch",      ["",      "",           "",         "",         "spawn",    "TERM CONT",    "USR1", "",         "kill"]),
        ("launch started launch due",  ["",      "",           "",         "",         "spawn",    "",             "",     "",         ""]),
        ("launch started TERM",        ["",      "",           "",         "",         "finish 3", "kill",         "USR1", "",         "kill"]),
        ("launch started TERM TERM",   ["",      "",           "",         "",         "finish 3", "",             "",     "",         ""]),
        ("launch started failed",      ["",      "",           "",         "",         "finish 125", "TERM CONT",  "USR1", "",         "kill"]),
        ("launch started TERM failed", ["",      "",           "",         "",         "finish 125", "kill",       "USR1", "",         "kill"]),
        ("launch refused",             ["",      "",           "",         "",         "",         "",             "",     "",         ""]),
    ];

    #[test]
    fn every_event_in_every_state_has_its_effects() {
        for (history, row) in TABLE {
            for (event, expected) in EVENTS.into_iter().zip(row) {
                let mut supervisor = after_history(history);
                assert_eq!(happen(&mut supervisor, event), expected, "{event} after {history:?}");
            }
        }
    }

    #[test]
    fn stories_of_more_than_one_event_end_as_they_should() {
        for (history, expected) in [
            ("launch started launch exited started", "settled"),
            ("launch launch started exited started", "settled"),
            ("launch started launch launch exited", "spawn"),
            ("launch started launch TERM exited", "finish 3"),
            ("launch started launch TERM TERM", "kill"),
            ("launch started launch due TERM exited", "finish 3"),
            ("launch started launch due TERM TERM", ""),
            ("launch started launch failed exited", "finish 125"),
            ("launch started launch failed TERM TERM", "kill"),
            ("launch started failed TERM exited", "finish 125"),
            ("launch started TERM launch exited", "finish 3"),
            ("launch launch refused started", "settled"),
            ("launch started launch exited refused", "rest 1s"),
            ("launch started launch exited refused due", "respawn"),
            ("launch started launch exited refused launch", "spawn"),
            ("launch started launch exited refused TERM", "finish 143"),
            (
                "launch started launch exited refused due launch refused due launch refused",
                "give up finish 127",
            ),
        ] {
            let (before, last) = history.rsplit_once(' ').unwrap();
            assert_eq!(happen(&mut after_history(before), last), expected, "{history}");
        }
    }

    #[test]
    fn every_pair_of_signals_stops_kills_or_passes() {
        for first in Signal::iterator() {
            for second in Signal::iterator() {
                let mut supervisor = after_history("launch started");
                let now = Instant::now();
                let mut told = |signal| words(&supervisor.step(Event::Signalled(signal), now));
                let effects = [told(first), told(second)];
                let passed = |signal: Signal| signal.as_str().trim_start_matches("SIG").to_owned();
                let stop = |signal| format!("{} CONT", passed(signal));
                let expected = match (ends(first), ends(second)) {
                    (true, true) => [stop(first), "kill".to_owned()],
                    (true, false) => [stop(first), passed(second)],
                    (false, true) => [passed(first), stop(second)],
                    (false, false) => [passed(first), passed(second)],
                };
                assert_eq!(effects, expected, "{first} {second}");
            }
        }
        assert_eq!(
            Signal::iterator().filter(|signal| ends(*signal)).collect::<Vec<_>>(),
            [SIGINT, SIGQUIT, SIGTERM]
        );
    }

    #[test]
    fn a_newer_launch_takes_the_place_of_one_that_waits_for_the_childs_exit() {
        let now = Instant::now();
        let mut supervisor = after_history("launch started");
        for name in ["older", "newer"] {
            supervisor.step(Event::LaunchAsked(launch(name)), now).clear();
        }
        let effects = supervisor.step(Event::Exited(Ending::Signal(2)), now);
        assert!(
            matches!(&effects[..], [Effect::Spawn(launch)] if launch.command == ["newer"]),
            "{effects:?}"
        );
    }

    #[test]
    fn a_stop_has_a_deadline_until_it_kills_however_long_the_timeout() {
        let now = Instant::now();
        let mut supervisor = after_history("launch started");
        assert_eq!(supervisor.deadline(), None);
        supervisor.step(Event::Failed, now).clear();
        assert_eq!(supervisor.deadline(), Some(now + SETTINGS.stop_timeout));
        let early =
            supervisor.step(Event::Due, now + SETTINGS.stop_timeout.saturating_sub(Duration::from_nanos(1)));
        assert_eq!(words(&early), "");
        supervisor.step(Event::Due, now + SETTINGS.stop_timeout).clear();
        assert_eq!(supervisor.deadline(), None);

        let mut supervisor = Supervisor::new(Settings { stop_timeout: Duration::MAX, ..SETTINGS });
        for event in [Event::LaunchAsked(launch("app")), Event::Started, Event::Failed] {
            supervisor.step(event, now).clear();
        }
        assert_eq!(supervisor.deadline(), Some(now + LONGEST_STOP));
    }

    #[test]
    fn the_exit_code_of_a_signal_is_128_and_its_number() {
        for (ending, code) in [
            (Ending::Code(0), 0),
            (Ending::Code(255), 255),
            (Ending::Signal(9), 137),
            (Ending::Signal(64), 192),
        ] {
            assert_eq!(ending.code(), code);
        }
    }

    proptest! {
        #[test]
        fn there_is_at_most_one_child_every_stop_ends_and_nothing_follows_the_finish(
            choices in prop::collection::vec((0_u8..12, any::<bool>()), 0..60),
        ) {
            let mut world = World::new();
            for (choice, obeys) in choices {
                world.turn(choice, obeys);
            }
            world.end();
        }
    }

    /// Does what the main thread would do, and checks the rules that the supervisor must keep.
    struct World {
        supervisor: Supervisor,
        now: Instant,
        child: Child,
        /// The time at which the present stop has to have killed the child.
        kill_by: Option<Instant>,
        asked: bool,
        finished: bool,
    }

    #[derive(PartialEq, Debug)]
    enum Child {
        None,
        Spawning,
        Lives { stopping: bool, killed: bool },
    }

    impl World {
        fn new() -> Self {
            let supervisor = Supervisor::new(SETTINGS);
            Self {
                supervisor,
                now: Instant::now(),
                child: Child::None,
                kill_by: None,
                asked: false,
                finished: false,
            }
        }

        fn turn(&mut self, choice: u8, obeys: bool) {
            match (choice, &self.child) {
                (0..=2, _) => {
                    self.asked |= !self.finished;
                    self.tell(Event::LaunchAsked(launch("app")));
                }
                (3, _) => self.tell(Event::SignalAsked(SIGHUP)),
                (4, _) => self.tell(Event::Signalled(if obeys { SIGTERM } else { SIGHUP })),
                (5, _) => self.tell(Event::Failed),
                (6, Child::Spawning) if !obeys => {
                    self.child = Child::None;
                    self.tell(Event::Refused(Refusal::NotFound { program: "app".to_owned() }));
                }
                (6..=8, Child::Spawning) => {
                    self.child = Child::Lives { stopping: false, killed: false };
                    self.tell(Event::Started);
                }
                (6..=8, Child::Lives { stopping, killed })
                    if *killed || obeys && (*stopping || choice == 6) =>
                {
                    self.child = Child::None;
                    self.kill_by = None;
                    self.tell(Event::Exited(Ending::Code(0)));
                }
                _ => self.pass(Duration::from_secs(u64::from(choice))),
            }
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
            if self.supervisor.deadline().is_some_and(|deadline| deadline <= self.now) {
                self.tell(Event::Due);
            }
            assert!(self.kill_by.is_none_or(|kill_by| self.now < kill_by), "a stop without an end");
        }

        fn tell(&mut self, event: Event) {
            let effects = self.supervisor.step(event, self.now);
            assert!(!self.finished || effects.is_empty(), "{effects:?} after the finish");
            for effect in effects {
                self.perform(&effect);
            }
            let stopping = matches!(self.child, Child::Lives { stopping: true, killed: false });
            assert_eq!(
                self.supervisor.deadline().is_some(),
                stopping || self.rests(),
                "a deadline without a stop or a pause, or one of these without"
            );
        }

        fn perform(&mut self, effect: &Effect) {
            match (effect, &mut self.child) {
                (Effect::Spawn(_), Child::None) => self.child = Child::Spawning,
                (Effect::Signal(SIGCONT), Child::Lives { stopping, .. }) => {
                    *stopping = true;
                    self.kill_by.get_or_insert(self.now + SETTINGS.stop_timeout + Duration::from_secs(12));
                }
                (Effect::Signal(_), Child::Lives { .. })
                | (Effect::Rest(_) | Effect::GiveUp, Child::None) => {}
                (Effect::Kill, Child::Lives { stopping, killed }) => {
                    assert!(!*killed, "killed twice");
                    (*stopping, *killed, self.kill_by) = (true, true, None);
                }
                (Effect::Settled, Child::Lives { stopping: false, .. }) => self.asked = false,
                (Effect::Settled, Child::None) => {
                    assert!(!self.asked || self.rests(), "settled without a child");
                }
                // As the agent does.
                (Effect::Respawn, Child::None) => self.tell(Event::LaunchAsked(launch("app"))),
                (Effect::Finish(_), Child::None) => self.finished = true,
                (effect, child) => panic!("{effect:?} with the child {child:?}"),
            }
        }

        /// A start was refused, and is tried again after a pause.
        fn rests(&self) -> bool {
            matches!(self.supervisor.state, State::Resting { .. })
        }

        /// Whatever came before: every request is answered, and then a signal ends Squire.
        fn end(&mut self) {
            for _ in 0..3 {
                self.bring_about(6, true);
            }
            assert!(self.finished || !self.asked, "a launch was lost");
            self.tell(Event::Signalled(SIGTERM));
            for _ in 0..2 {
                self.bring_about(7, false);
            }
            assert!(self.finished, "{:?}", self.supervisor);
        }

        /// Lets the child start, also after a pause. If the child is to stop, lets it end, by itself or by force.
        fn bring_about(&mut self, choice: u8, obeys: bool) {
            match self.child {
                Child::Spawning => self.turn(7, true),
                Child::Lives { stopping: true, .. } => {
                    if !obeys {
                        self.pass(SETTINGS.stop_timeout);
                    }
                    self.turn(choice, obeys);
                }
                // A start that was refused is tried again after its pause.
                Child::None if self.rests() => self.pass(LONGEST_REST),
                Child::Lives { stopping: false, .. } | Child::None => {}
            }
        }
    }

    fn after_history(history: &str) -> Supervisor {
        let mut supervisor = Supervisor::new(SETTINGS);
        for event in history.split_whitespace() {
            happen(&mut supervisor, event);
        }
        supervisor
    }

    fn happen(supervisor: &mut Supervisor, event: &str) -> String {
        let now = Instant::now();
        let effects = match event {
            "launch" => supervisor.step(Event::LaunchAsked(launch("app")), now),
            "signal" => supervisor.step(Event::SignalAsked(SIGHUP), now),
            "started" => supervisor.step(Event::Started, now),
            "refused" => {
                supervisor.step(Event::Refused(Refusal::NotFound { program: "app".to_owned() }), now)
            }
            "exited" => supervisor.step(Event::Exited(Ending::Code(3)), now),
            "TERM" => supervisor.step(Event::Signalled(SIGTERM), now),
            "USR1" => supervisor.step(Event::Signalled(Signal::SIGUSR1), now),
            "failed" => supervisor.step(Event::Failed, now),
            "due" => supervisor.step(Event::Due, now + SETTINGS.stop_timeout),
            unknown => panic!("{unknown}"),
        };
        words(&effects)
    }

    fn words(effects: &[Effect]) -> String {
        let word = |effect: &Effect| match effect {
            Effect::Spawn(_) => "spawn".to_owned(),
            Effect::Signal(signal) => signal.as_str().trim_start_matches("SIG").to_owned(),
            Effect::Kill => "kill".to_owned(),
            Effect::Settled => "settled".to_owned(),
            Effect::Down { why, .. } => format!("down: {why}"),
            Effect::Rest(pause) => format!("rest {}s", pause.as_secs()),
            Effect::GiveUp => "give up".to_owned(),
            Effect::Respawn => "respawn".to_owned(),
            Effect::Finish(code) => format!("finish {code}"),
        };
        effects.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    fn supervisor(policy: RestartPolicy) -> Supervisor {
        let restart = RestartConfig { policy, ..NEVER };
        let mut supervisor = Supervisor::new(Settings { restart, ..SETTINGS });
        let now = Instant::now();
        drop(supervisor.step(Event::LaunchAsked(launch("app")), now));
        drop(supervisor.step(Event::Started, now));
        supervisor
    }

    #[test]
    fn a_process_that_ends_by_itself_is_started_again_as_its_policy_says() {
        let table = [
            (RestartPolicy::Never, 0, "finish 0"),
            (RestartPolicy::Never, 3, "finish 3"),
            (RestartPolicy::OnFailure, 0, "finish 0"),
            (RestartPolicy::OnFailure, 3, "rest 1s"),
            (RestartPolicy::Always, 0, "rest 1s"),
            (RestartPolicy::Always, 3, "rest 1s"),
        ];
        for (policy, code, said) in table {
            let mut supervisor = supervisor(policy);
            assert_eq!(
                words(&supervisor.step(Event::Exited(Ending::Code(code)), Instant::now())),
                said,
                "{policy:?}"
            );
        }
    }

    #[test]
    fn restarts_have_pauses_that_double_and_a_limit_in_a_time() {
        let mut supervisor = supervisor(RestartPolicy::Always);
        let mut now = Instant::now();
        let exit = Event::Exited(Ending::Code(7));
        for pause in [1, 2] {
            assert_eq!(words(&supervisor.step(exit.clone(), now)), format!("rest {pause}s"));
            assert_eq!(supervisor.deadline(), Some(now + Duration::from_secs(pause)));
            now += Duration::from_secs(pause);
            assert_eq!(words(&supervisor.step(Event::Due, now)), "respawn");
            assert_eq!(words(&supervisor.step(Event::LaunchAsked(launch("app")), now)), "spawn");
            assert_eq!(words(&supervisor.step(Event::Started, now)), "settled");
        }
        let mut late =
            Supervisor { restarts: supervisor.restarts.clone(), ..self::supervisor(RestartPolicy::Always) };
        assert_eq!(words(&supervisor.step(exit.clone(), now)), "give up finish 7");
        // After a long good run the count begins anew.
        assert_eq!(words(&late.step(exit, now + NEVER.period)), "rest 1s");
    }

    #[test]
    fn in_its_pause_a_process_can_be_launched_and_squire_be_ended() {
        let now = Instant::now();
        let table = [
            (Event::LaunchAsked(launch("new")), "spawn"),
            (Event::SignalAsked(SIGHUP), "settled"),
            (Event::Signalled(SIGTERM), "finish 143"),
            (Event::Signalled(SIGHUP), ""),
            (Event::Failed, "finish 125"),
            (Event::Due, ""),
        ];
        for (event, said) in table {
            let mut supervisor = supervisor(RestartPolicy::Always);
            drop(supervisor.step(Event::Exited(Ending::Code(1)), now));
            assert_eq!(words(&supervisor.step(event.clone(), now)), said, "{event:?}");
        }
    }

    #[test]
    fn a_process_that_the_user_ended_from_the_terminal_is_not_started_again() {
        let mut supervisor = supervisor(RestartPolicy::Always);
        let now = Instant::now();
        assert_eq!(words(&supervisor.step(Event::Interrupted, now)), "");
        assert_eq!(words(&supervisor.step(Event::Exited(Ending::Signal(2)), now)), "finish 130");
        // If a process ends by the same signal because Squire restarts it, the user did not end it.
        let mut supervisor = self::supervisor(RestartPolicy::Always);
        assert_eq!(words(&supervisor.step(Event::LaunchAsked(launch("new")), now)), "INT CONT");
        assert_eq!(words(&supervisor.step(Event::Interrupted, now)), "");
        assert_eq!(words(&supervisor.step(Event::Exited(Ending::Signal(2)), now)), "spawn");
        assert_eq!(words(&supervisor.step(Event::Started, now)), "settled");
        assert_eq!(words(&supervisor.step(Event::Exited(Ending::Code(3)), now)), "rest 1s");
    }

    #[test]
    fn a_process_that_ends_on_trial_is_for_the_rollout() {
        let now = Instant::now();
        for (after, said) in [
            (Event::LaunchAsked(launch("back")), "spawn"),
            (Event::OnTrial(false), "finish 3"),
            (Event::Signalled(SIGTERM), "finish 143"),
        ] {
            let mut supervisor = supervisor(RestartPolicy::Never);
            assert_eq!(words(&supervisor.step(Event::OnTrial(true), now)), "");
            let exited = supervisor.step(Event::Exited(Ending::Code(3)), now);
            assert_eq!(words(&exited), "down: the process ended: exit code 3");
            assert_eq!(words(&supervisor.step(after.clone(), now)), said, "{after:?}");
        }
        // A process that was told to stop ends because of that, on trial or not.
        let mut supervisor = supervisor(RestartPolicy::Never);
        drop(supervisor.step(Event::OnTrial(true), now));
        drop(supervisor.step(Event::Signalled(SIGTERM), now));
        assert_eq!(words(&supervisor.step(Event::Exited(Ending::Code(3)), now)), "finish 3");
    }

    #[test]
    fn a_start_that_is_refused_is_for_the_rollout_or_tried_again_whatever_the_policy() {
        let now = Instant::now();
        let refused = || Event::Refused(Refusal::NotFound { program: "app".to_owned() });
        for policy in [RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always] {
            let mut supervisor = supervisor(policy);
            drop(supervisor.step(Event::OnTrial(true), now));
            drop(supervisor.step(Event::LaunchAsked(launch("new")), now));
            assert_eq!(words(&supervisor.step(Event::Exited(Ending::Signal(2)), now)), "spawn");
            let said = words(&supervisor.step(refused(), now));
            assert!(said.starts_with("down: cannot find"), "{said}");
            // Squire cannot go back: it tries the same release again, and does not end.
            assert_eq!(words(&supervisor.step(Event::OnTrial(false), now)), "rest 1s", "{policy:?}");
            assert_eq!(supervisor.deadline(), Some(now + FIRST_REST));
        }
    }

    fn launch(program: &str) -> Launch {
        Launch::new(vec![program.to_owned()], BTreeMap::new())
    }
}
