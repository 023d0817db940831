//! Runs one process after the other, or one while the other still runs: `process.restart_mode`.
//!
//! With `replace` there is one life, and a launch replaces the running process. With `overlap` the successor starts beside the current
//! process, and the current one is stopped only when the successor has proved that it is well. If the successor fails, the current process
//! is not touched.
//!
//! *Invariant:* pure. At most one process is current and at most one its successor; the process before a hand-over is being stopped, and no
//! successor starts before that one is gone, so there are never three. Nothing is asked for after [`Effect::Finish`], which comes when the
//! last of them is gone.

use std::time::Instant;

use super::{Effect, Event, Launch, Settings, Supervisor};

/// The name of one life, and so of its processes, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life(pub(super) u64);

/// The processes of one agent.
#[derive(Clone, Debug)]
pub struct Relay {
    settings: Settings,
    overlaps: bool,
    last: Life,
    current: Runner,
    /// The successor, on trial beside the current one.
    successor: Option<Runner>,
    /// A successor that starts when the processes that are being stopped are gone.
    waiting: Option<Launch>,
    retired: Vec<Retired>,
    /// Whether a release is on trial.
    on_trial: bool,
    end: End,
    /// The current process ended by itself, and would be started again if it had no successor.
    owes_respawn: bool,
    /// The exit code of Squire, once all are gone.
    code: Option<u8>,
}

/// Why Squire is to end once all processes are gone, if it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    None,
    /// A signal asked for it, or Squire failed.
    Asked,
    /// The user ended this process from the terminal.
    FromTerminal(Life),
}

#[derive(Clone, Debug)]
struct Runner {
    life: Life,
    supervisor: Supervisor,
    /// It runs with a release that is on trial, so stopping it loses nothing good.
    is_unproven: bool,
}

/// A process that is being stopped.
#[derive(Clone, Debug)]
struct Retired {
    runner: Runner,
    /// The rollout waits for its end.
    settles: bool,
}

/// The part that a process has in the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Current,
    Successor,
    Retired(usize),
}

impl Relay {
    /// Waits for the first launch.
    pub fn new(settings: Settings, overlaps: bool) -> Self {
        let last = Life(1);
        Self {
            settings,
            overlaps,
            last,
            current: Runner { life: last, supervisor: Supervisor::new(settings), is_unproven: false },
            successor: None,
            waiting: None,
            retired: Vec::new(),
            on_trial: false,
            end: End::None,
            owes_respawn: false,
            code: None,
        }
    }

    /// Handles an event for all of them; returns the effects, each with its process.
    #[must_use]
    pub fn step(&mut self, event: Event, now: Instant) -> Vec<(Life, Effect)> {
        let mut effects = Vec::new();
        match &event {
            Event::LaunchAsked(_) if self.successor.is_some() => {
                self.wait_for_nobody();
                self.recall(now, &mut effects);
            }
            Event::LaunchAsked(launch) => {
                self.wait_for_nobody();
                self.launch(launch.clone(), now, &mut effects);
            }
            // When Squire ends there is no hand-over, and the rollout does not wait for one.
            Event::HandOver if self.is_ending() || self.current.supervisor.is_over() => {}
            Event::HandOver => self.hand_over(now, &mut effects),
            Event::OnTrial(on_trial) => {
                self.on_trial = *on_trial;
                self.current.is_unproven &= *on_trial;
                self.tell_all(&event, now, &mut effects);
            }
            Event::SignalAsked(_) => self.tell(Role::Current, event, now, &mut effects),
            Event::Signalled(signal) => {
                if super::ends(*signal) {
                    self.ask_to_end();
                }
                self.tell_all(&event, now, &mut effects);
            }
            Event::Failed => {
                self.ask_to_end();
                self.tell_all(&event, now, &mut effects);
            }
            Event::Started | Event::Refused(_) | Event::Exited(_) | Event::Interrupted | Event::Due => {
                self.tell_all(&event, now, &mut effects);
            }
        }
        effects
    }

    /// Handles an event of one of them.
    #[must_use]
    pub fn told(&mut self, life: Life, event: Event, now: Instant) -> Vec<(Life, Effect)> {
        let mut effects = Vec::new();
        if let Some(role) = self.role(life) {
            let is_interrupted = matches!(event, Event::Interrupted) && !self.is_stopping(life);
            self.tell(role, event, now, &mut effects);
            if is_interrupted && matches!(role, Role::Current | Role::Successor) {
                self.end_beside(life, now, &mut effects);
            }
        }
        effects
    }

    /// If the user ends one of two processes from the terminal, both are to end.
    fn end_beside(&mut self, life: Life, now: Instant, effects: &mut Vec<(Life, Effect)>) {
        self.waiting = None;
        self.end = End::FromTerminal(life);
        for other in [Role::Current, Role::Successor] {
            if self.runner(other).is_some_and(|runner| runner.life != life) {
                self.tell(other, Event::Failed, now, effects);
            }
        }
    }

    /// From now on these hold, for processes that run too.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
        let retired = self.retired.iter_mut().map(|retired| &mut retired.runner);
        let all = [&mut self.current].into_iter().chain(&mut self.successor).chain(retired);
        all.for_each(|runner| runner.supervisor.set(settings));
    }

    /// When to call [`step`](Self::step) with [`Event::Due`].
    pub fn deadline(&self) -> Option<Instant> {
        self.all().filter_map(|runner| runner.supervisor.deadline()).min()
    }

    /// Whether this process was asked to stop, and its timeout is still running.
    pub fn is_stopping(&self, life: Life) -> bool {
        self.all().any(|runner| runner.life == life && runner.supervisor.is_stopping())
    }

    fn is_ending(&self) -> bool {
        self.end != End::None
    }

    fn ask_to_end(&mut self) {
        self.waiting = None;
        if !self.is_ending() {
            self.end = End::Asked;
        }
    }

    /// Whoever asks for a launch waits for that launch, and no more for the end of a former process.
    fn wait_for_nobody(&mut self) {
        self.waiting = None;
        self.retired.iter_mut().for_each(|retired| retired.settles = false);
    }

    /// Beside the current process, if that is wanted and it runs well; else in its place.
    fn launch(&mut self, launch: Launch, now: Instant, effects: &mut Vec<(Life, Effect)>) {
        if !(self.overlaps && self.has_good_one()) {
            self.launch_in_place(launch, now, effects);
        } else if self.retired.is_empty() {
            self.send_ahead(launch, now, effects);
        } else {
            // The current process is not on trial, its successor is.
            self.tell(Role::Current, Event::OnTrial(false), now, effects);
            self.waiting = Some(launch);
        }
    }

    /// No current process runs well, so the one on trial is the current one.
    fn launch_in_place(&mut self, launch: Launch, now: Instant, effects: &mut Vec<(Life, Effect)>) {
        self.current.is_unproven = self.on_trial;
        self.tell(Role::Current, Event::OnTrial(self.on_trial), now, effects);
        self.tell(Role::Current, Event::LaunchAsked(launch), now, effects);
    }

    fn has_good_one(&self) -> bool {
        self.current.supervisor.is_running() && !self.current.is_unproven
    }

    fn all(&self) -> impl Iterator<Item = &Runner> {
        let retired = self.retired.iter().map(|retired| &retired.runner);
        [&self.current].into_iter().chain(&self.successor).chain(retired)
    }

    fn role(&self, life: Life) -> Option<Role> {
        let is_it = |runner: &Runner| runner.life == life;
        if is_it(&self.current) {
            Some(Role::Current)
        } else if self.successor.as_ref().is_some_and(is_it) {
            Some(Role::Successor)
        } else {
            self.retired.iter().position(|retired| is_it(&retired.runner)).map(Role::Retired)
        }
    }

    fn runner(&mut self, role: Role) -> Option<&mut Runner> {
        match role {
            Role::Current => Some(&mut self.current),
            Role::Successor => self.successor.as_mut(),
            Role::Retired(index) => self.retired.get_mut(index).map(|retired| &mut retired.runner),
        }
    }

    fn tell_all(&mut self, event: &Event, now: Instant, effects: &mut Vec<(Life, Effect)>) {
        let lives: Vec<_> = self.all().map(|runner| runner.life).collect();
        for life in lives {
            // One process may have ended because of an effect on another.
            if let Some(role) = self.role(life) {
                self.tell(role, event.clone(), now, effects);
            }
        }
    }

    fn tell(&mut self, role: Role, event: Event, now: Instant, effects: &mut Vec<(Life, Effect)>) {
        let Some(runner) = self.runner(role) else { return };
        let life = runner.life;
        for effect in runner.supervisor.step(event, now) {
            match (effect, self.role(life)) {
                (Effect::Finish(code), Some(role)) => self.gone(role, code, now, effects),
                // For a process that is being stopped, only its end matters.
                (Effect::Settled | Effect::Down { .. }, Some(Role::Retired(_))) => {}
                // Its next launch is already running as the successor, on trial.
                (Effect::Respawn, Some(Role::Current)) if self.successor.is_some() => {
                    self.owes_respawn = true;
                }
                // Its next launch waits for processes that are being stopped. It need not wait for them in place of the current one.
                (Effect::Rest(_) | Effect::Respawn, Some(Role::Current)) if self.waiting.is_some() => {
                    self.start_waiting(now, effects);
                }
                (effect, _) => effects.push((life, effect)),
            }
        }
    }

    fn start_waiting(&mut self, now: Instant, effects: &mut Vec<(Life, Effect)>) {
        if let Some(launch) = self.waiting.take() {
            self.launch(launch, now, effects);
        }
    }

    /// One of them is gone and will not be started again.
    fn gone(&mut self, role: Role, code: u8, now: Instant, effects: &mut Vec<(Life, Effect)>) {
        match role {
            Role::Current => match self.successor.take() {
                // It ended by itself, and its successor is already there to go on.
                Some(successor) if !self.is_ending() => self.current = successor,
                // It was to have one: a process of its own takes its place.
                None if self.waiting.is_some() => {
                    self.current = self.new_runner();
                    self.start_waiting(now, effects);
                }
                successor => {
                    self.successor = successor;
                    self.code.get_or_insert(code);
                }
            },
            Role::Successor => {
                let life = self.successor.take().map(|successor| successor.life);
                if life.is_some_and(|life| self.end == End::FromTerminal(life)) {
                    self.code = Some(code);
                }
                self.respawn(effects);
            }
            Role::Retired(index) => {
                let Retired { runner, settles } = self.retired.remove(index);
                // The current process waited for that: now its start settles.
                let respawns = self.respawn(effects);
                if settles && !respawns {
                    effects.push((runner.life, Effect::Settled));
                }
                if self.retired.is_empty() {
                    self.start_waiting(now, effects);
                }
            }
        }
        if self.current.supervisor.is_over()
            && self.successor.is_none()
            && self.retired.is_empty()
            && let Some(code) = self.code.take()
        {
            effects.push((self.current.life, Effect::Finish(code)));
        }
    }

    /// The current process is started again, if it waited for the end of its successor.
    fn respawn(&mut self, effects: &mut Vec<(Life, Effect)>) -> bool {
        let is_owed = self.owes_respawn && !self.is_ending() && self.successor.is_none();
        if is_owed {
            self.owes_respawn = false;
            effects.push((self.current.life, Effect::Respawn));
        }
        is_owed
    }

    /// Starts a successor beside the current process, which goes on: only the successor is on trial.
    fn send_ahead(&mut self, launch: Launch, now: Instant, effects: &mut Vec<(Life, Effect)>) {
        self.last = Life(self.last.0 + 1);
        let supervisor = Supervisor::successor(self.settings);
        self.successor = Some(Runner { life: self.last, supervisor, is_unproven: true });
        self.tell(Role::Current, Event::OnTrial(false), now, effects);
        self.tell(Role::Successor, Event::OnTrial(self.on_trial), now, effects);
        self.tell(Role::Successor, Event::LaunchAsked(launch), now, effects);
    }

    fn new_runner(&mut self) -> Runner {
        self.last = Life(self.last.0 + 1);
        Runner { life: self.last, supervisor: Supervisor::new(self.settings), is_unproven: true }
    }

    /// The way back: the current process already runs with that release, and only the successor has to go.
    fn recall(&mut self, now: Instant, effects: &mut Vec<(Life, Effect)>) {
        if let Some(successor) = self.successor.take() {
            self.retire(successor, true, now, effects);
        }
    }

    /// The successor has proved that it is well: the current process is stopped. Without a successor there is nothing to wait for.
    fn hand_over(&mut self, now: Instant, effects: &mut Vec<(Life, Effect)>) {
        match self.successor.take() {
            Some(successor) => {
                let former = std::mem::replace(&mut self.current, successor);
                self.owes_respawn = false;
                self.retire(former, true, now, effects);
            }
            None => effects.push((self.current.life, Effect::Settled)),
        }
    }

    fn retire(&mut self, runner: Runner, settles: bool, now: Instant, effects: &mut Vec<(Life, Effect)>) {
        self.retired.push(Retired { runner, settles });
        // Nobody uses its exit code, so it is stopped as if Squire had failed: by its stop signal, within its timeout.
        self.tell(Role::Retired(self.retired.len() - 1), Event::Failed, now, effects);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use nix::sys::signal::Signal;

    use super::*;
    use crate::config::{RestartConfig, RestartPolicy};
    use crate::supervise::{Ending, Launch, Refusal};

    /// Events as words: `launch`, `trial`, `untrial`, `over`, `TERM`, `due`, and with the number of a life `started1`, `exited2`.
    fn happen(relay: &mut Relay, word: &str) -> String {
        let mut now = Instant::now();
        let number = word.chars().last().and_then(|last| last.to_digit(10)).map(|digit| Life(digit.into()));
        let launch = Launch::new(vec!["app".to_owned()], BTreeMap::new());
        let effects = match (word.trim_end_matches(char::is_numeric), number) {
            ("launch", _) => relay.step(Event::LaunchAsked(launch), now),
            ("trial", _) => relay.step(Event::OnTrial(true), now),
            ("untrial", _) => relay.step(Event::OnTrial(false), now),
            ("over", _) => relay.step(Event::HandOver, now),
            ("hup", _) => relay.step(Event::SignalAsked(Signal::SIGHUP), now),
            ("TERM", _) => relay.step(Event::Signalled(Signal::SIGTERM), now),
            ("due", _) => {
                now += Duration::from_secs(31);
                relay.step(Event::Due, now)
            }
            ("started", Some(life)) => relay.told(life, Event::Started, now),
            ("refused", Some(life)) => {
                let refusal = Refusal::NotFound { program: "app".to_owned() };
                relay.told(life, Event::Refused(refusal), now)
            }
            ("exited", Some(life)) => relay.told(life, Event::Exited(Ending::Code(3)), now),
            ("Ctrl-C", Some(life)) => {
                let mut effects = relay.told(life, Event::Interrupted, now);
                effects.extend(relay.told(life, Event::Exited(Ending::Signal(2)), now));
                effects
            }
            other => panic!("{other:?}"),
        };
        let words = effects.into_iter().map(|(Life(life), effect)| match effect {
            Effect::Spawn(_) => format!("spawn{life}"),
            Effect::Signal(Signal::SIGCONT) => String::new(),
            Effect::Signal(signal) => format!("{}{life}", signal.as_str()),
            Effect::Kill => format!("kill{life}"),
            Effect::Settled => "settled".to_owned(),
            Effect::Down { .. } => format!("down{life}"),
            Effect::Finish(code) => format!("finish {code}"),
            Effect::Rest(_) => format!("rest{life}"),
            Effect::GiveUp => "give-up".to_owned(),
            Effect::Respawn => format!("respawn{life}"),
        });
        words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }

    fn story(overlaps: bool, policy: RestartPolicy, words: &str) -> String {
        let restart = RestartConfig { policy, limit: 2, period: Duration::from_mins(5) };
        let settings =
            Settings { stop_signal: Signal::SIGINT, stop_timeout: Duration::from_secs(30), restart };
        let mut relay = Relay::new(settings, overlaps);
        words.split(' ').map(|word| happen(&mut relay, word)).last().unwrap()
    }

    #[test]
    fn stories() {
        use RestartPolicy::{Always, Never};
        for (overlaps, policy, words, expected) in [
            // One after the other.
            (false, Never, "launch started1 launch", "SIGINT1"),
            (false, Never, "launch started1 launch exited1", "spawn1"),
            (false, Never, "launch started1 over", "settled"),
            // The successor beside the current process, which is stopped only when the successor has proved that it is well.
            (true, Never, "launch", "spawn1"),
            (true, Never, "launch started1 trial launch", "spawn2"),
            (true, Never, "launch started1 trial launch started2", "settled"),
            (true, Never, "launch started1 trial launch started2 over", "SIGINT1"),
            (true, Never, "launch started1 trial launch started2 over exited1", "settled"),
            (true, Never, "launch started1 trial launch started2 over exited1 untrial exited2", "finish 3"),
            (true, Never, "launch started1 trial launch started2 over due", "kill1"),
            (true, Never, "launch started1 trial launch started2 over exited1 hup", "SIGHUP2 settled"),
            (
                true,
                Never,
                "launch started1 trial launch started2 over exited1 untrial trial launch",
                "spawn3",
            ),
            // The successor fails: it is stopped, and the current process is not touched.
            (true, Never, "launch started1 trial launch started2 launch", "SIGINT2"),
            (true, Never, "launch started1 trial launch started2 launch untrial exited2", "settled"),
            (true, Never, "launch started1 trial launch started2 launch untrial exited2 exited1", "finish 3"),
            (true, Never, "launch started1 trial launch started2 exited2", "down2"),
            (true, Never, "launch started1 trial launch started2 exited2 launch", "settled"),
            (true, Never, "launch started1 trial launch launch", ""),
            (true, Never, "launch started1 trial launch launch started2", "SIGINT2"),
            // The current process ends meanwhile: the successor goes on, still on trial.
            (true, Never, "launch started1 trial launch started2 exited1", ""),
            (true, Never, "launch started1 trial launch started2 exited1 over", "settled"),
            (true, Never, "launch started1 trial launch started2 exited1 exited2", "down2"),
            (true, Never, "launch started1 trial launch started2 exited1 launch", "SIGINT2"),
            (true, Never, "launch started1 trial launch started2 exited1 launch exited2", "spawn2"),
            (true, Always, "launch started1 trial launch started2 exited1", "rest1"),
            // There is no current process to keep: the one that is started in its place is stopped on the way back.
            (true, Always, "launch started1 exited1 trial launch", "spawn1"),
            (true, Always, "launch started1 exited1 trial launch started1 launch", "SIGINT1"),
            (true, Always, "launch started1 exited1 trial launch started1 launch untrial exited1", "spawn1"),
            (
                true,
                Always,
                "launch started1 exited1 trial launch started1 over untrial trial launch",
                "spawn2",
            ),
            // It is started again: not beside its successor, but when the successor has to go.
            (true, Always, "launch started1 trial launch started2 exited1 due", ""),
            (true, Always, "launch started1 trial launch started2 exited1 due launch", "SIGINT2"),
            (
                true,
                Always,
                "launch started1 trial launch started2 exited1 due launch untrial exited2",
                "respawn1",
            ),
            (true, Always, "launch started1 trial launch started2 exited1 due over", "settled"),
            // An end is for both, and complete when the last one is gone.
            (true, Never, "launch started1 trial launch started2 TERM", "SIGTERM1 SIGTERM2"),
            (true, Never, "launch started1 trial launch started2 TERM exited1", ""),
            (true, Never, "launch started1 trial launch started2 TERM exited1 exited2", "finish 3"),
            (true, Never, "launch started1 trial launch started2 TERM exited2 exited1", "finish 3"),
            (true, Never, "launch started1 trial launch started2 over TERM", "SIGTERM2 SIGTERM1"),
            (true, Never, "launch started1 trial launch started2 over exited2 exited1", "settled"),
            (
                true,
                Never,
                "launch started1 trial launch started2 over untrial exited2 exited1",
                "settled finish 3",
            ),
            // A process that cannot be started is tried again, if Squire cannot go back to the previous one.
            (true, Never, "launch started1 trial launch refused2 untrial over exited1 due", "respawn2"),
            (
                true,
                Never,
                "launch started1 trial launch refused2 untrial over exited1 due launch refused2",
                "rest2",
            ),
            (true, Never, "TERM", "finish 143"),
            (true, Always, "launch started1 trial launch started2 Ctrl-C2", "SIGINT1"),
            (true, Always, "launch started1 trial launch started2 Ctrl-C2 exited1", "finish 130"),
            (true, Always, "launch started1 trial launch started2 Ctrl-C1", "SIGINT2"),
            (true, Always, "launch started1 trial launch started2 Ctrl-C1 over exited2", "finish 130"),
            (true, Always, "launch started1 trial launch started2 over Ctrl-C1", "settled"),
            (true, Never, "TERM over", ""),
            (true, Never, "launch started1 trial launch started2 TERM over", ""),
            (true, Never, "launch started1 trial launch started2 TERM exited1 over exited2", "finish 3"),
        ] {
            assert_eq!(story(overlaps, policy, words), expected, "{words}");
        }
    }

    /// The process before the current one may still be ending when the next release comes.
    #[test]
    fn there_are_never_three() {
        use RestartPolicy::{Always, Never};
        for (overlaps, policy, words, expected) in [
            (true, Never, "launch started1 trial launch started2 over untrial trial launch", ""),
            (
                true,
                Never,
                "launch started1 trial launch started2 over untrial trial launch exited1",
                "spawn3",
            ),
            (
                true,
                Never,
                "launch started1 trial launch started2 over untrial trial launch exited2",
                "spawn3",
            ),
            (
                true,
                Always,
                "launch started1 trial launch started2 over untrial trial launch exited2",
                "spawn2",
            ),
            (
                true,
                Never,
                "launch started1 trial launch started2 over untrial trial launch exited2 started3 exited1",
                "",
            ),
            (true, Never, "launch started1 trial launch started2 over untrial trial launch TERM exited1", ""),
            (
                true,
                Never,
                "launch started1 trial launch started2 over untrial trial launch TERM exited1 exited2",
                "finish 3",
            ),
            // The successor ends while the former process does: the rollout waits for the process that is started in its place.
            (true, Never, "launch started1 trial launch started2 over exited2 launch", "spawn2"),
            (true, Never, "launch started1 trial launch started2 over exited2 launch exited1", ""),
            (
                true,
                Never,
                "launch started1 trial launch started2 over exited2 launch exited1 started2",
                "settled",
            ),
        ] {
            assert_eq!(story(overlaps, policy, words), expected, "{words}");
        }
    }
}
