//! Explores every state of a supervised process, one process after the other or two at once: every order of what children do, of the
//! requests of a rollout, and of signals between them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::*;
use crate::explore::{Told, World, explore};

const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// As long as restarts are counted.
const PERIOD: Duration = Duration::from_mins(5);

/// A relay, its children, and a model of a rollout with its requests.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are not of one another")]
struct Stage {
    relay: Relay,
    overlaps: bool,
    now: Instant,
    children: BTreeMap<Life, Child>,
    course: Course,
    on_trial: bool,
    /// The numbers of launches, of ends or refusals, and of signals that may still come.
    launches: u8,
    faults: u8,
    signals: u8,
    has_launched: bool,
    has_run: bool,
    /// There is a release that Squire can go back to.
    has_live: bool,
    /// Squire may end: it was asked to, or its process ended by itself.
    may_end: bool,
    /// Squire was asked to end.
    must_end: bool,
    finished: bool,
    /// A planted fault: the launch of the way back is left out.
    is_deaf: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Child {
    Spawning,
    Lives,
    /// It was asked to end, at this time.
    Asked(Instant),
    Killed,
}

/// The state of a rollout of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    None,
    Forward,
    Trying,
    HandingOver,
    Lost,
    Back,
}

impl Stage {
    fn new(overlaps: bool, policy: RestartPolicy) -> Self {
        let restart = RestartConfig { policy, limit: 1, period: PERIOD };
        let settings = Settings { stop_signal: Signal::SIGINT, stop_timeout: STOP_TIMEOUT, restart };
        Self {
            relay: Relay::new(settings, overlaps),
            overlaps,
            now: Instant::now(),
            children: BTreeMap::new(),
            course: Course::None,
            on_trial: false,
            launches: 3,
            faults: 2,
            signals: 2,
            has_launched: false,
            has_run: false,
            has_live: false,
            may_end: false,
            must_end: false,
            finished: false,
            is_deaf: false,
        }
    }

    fn step(&mut self, event: Event) -> Result<(), String> {
        let effects = self.relay.step(event, self.now);
        self.perform(effects)
    }

    fn told(&mut self, life: Life, event: Event) -> Result<(), String> {
        let effects = self.relay.told(life, event, self.now);
        self.perform(effects)
    }

    fn launch(&mut self) -> Result<(), String> {
        self.has_launched = true;
        self.step(Event::LaunchAsked(Launch::new(vec!["app".to_owned()], BTreeMap::new())))
    }

    fn on_trial(&mut self, on_trial: bool) -> Result<(), String> {
        self.on_trial = on_trial;
        self.has_live |= !on_trial;
        self.step(Event::OnTrial(on_trial))
    }

    fn perform(&mut self, effects: Vec<(Life, Effect)>) -> Result<(), String> {
        for (life, effect) in effects {
            check(!self.finished, "something is asked after the end")?;
            let child = self.children.get(&life).copied();
            match effect {
                Effect::Spawn(_) => {
                    check(self.has_launched, "a process is started before the first release")?;
                    check(
                        child.is_none() && (self.overlaps || self.children.is_empty()),
                        "two processes at once",
                    )?;
                    check(self.children.len() < 2, "three processes at once")?;
                    self.children.insert(life, Child::Spawning);
                }
                Effect::Signal(signal) => {
                    check(matches!(child, Some(Child::Lives | Child::Asked(_))), "nobody is signalled")?;
                    if signal == Signal::SIGCONT && child == Some(Child::Lives) {
                        self.children.insert(life, Child::Asked(self.now));
                    }
                }
                Effect::Kill => {
                    check(
                        matches!(child, Some(Child::Lives | Child::Asked(_))),
                        "nobody is killed, or twice",
                    )?;
                    self.children.insert(life, Child::Killed);
                }
                Effect::Settled => self.settled()?,
                Effect::Down { .. } => {
                    check(self.on_trial, "an end is for a rollout that does not ask for it")?;
                    check(child.is_none(), "who lives is said to be down")?;
                    self.course = Course::Lost;
                }
                Effect::Rest(_) => check(child.is_none(), "who lives rests")?,
                Effect::GiveUp => self.may_end = true,
                Effect::Respawn => self.launch()?,
                Effect::Finish(_) => {
                    check(self.children.is_empty(), "Squire ends before its processes")?;
                    check(self.may_end || !self.has_run, "a rotation ended a service that ran")?;
                    self.finished = true;
                }
            }
        }
        Ok(())
    }

    /// Every stop ends: by itself, or by its deadline.
    fn stops_end(&self) -> Result<(), String> {
        for child in self.children.values() {
            if let Child::Asked(at) = child {
                let latest = *at + STOP_TIMEOUT;
                check(
                    self.relay.deadline().is_some_and(|deadline| deadline <= latest),
                    "a stop without an end",
                )?;
            }
        }
        Ok(())
    }

    fn settled(&mut self) -> Result<(), String> {
        match self.course {
            Course::Forward => self.course = Course::Trying,
            Course::Back => self.course = Course::None,
            Course::HandingOver => {
                self.course = Course::None;
                return self.on_trial(false);
            }
            Course::None | Course::Trying | Course::Lost => {}
        }
        Ok(())
    }

    /// In the order of the rollout: first the launch, then the end of the trial.
    fn go_back(&mut self) -> Result<(), String> {
        self.course = Course::Back;
        if !self.is_deaf {
            self.launch()?;
        }
        self.on_trial(false)
    }

    fn ends(&mut self, life: Life, code: u8) -> Result<(), String> {
        let child = self.children.remove(&life);
        if matches!(child, Some(Child::Lives)) {
            self.faults -= 1;
            self.may_end = true;
        }
        self.told(life, Event::Exited(Ending::Code(code)))
    }

    fn take_in(&mut self, event: &str) -> Result<(), String> {
        let (word, life) = match event.rsplit_once(' ').map(|(word, number)| (word, number.parse())) {
            Some((word, Ok(number))) => (word, Life(number)),
            Some(_) | None => (event, Life(0)),
        };
        if ["hup", "TERM", "USR1", "Ctrl-C", "Squire fails"].contains(&word) {
            self.signals -= 1;
        }
        match word {
            "starts" => {
                self.has_run = true;
                self.children.insert(life, Child::Lives);
                self.told(life, Event::Started)
            }
            "refused" => {
                self.faults -= 1;
                self.children.remove(&life);
                self.told(life, Event::Refused(Refusal::NotFound { program: "app".to_owned() }))
            }
            "exits" => self.ends(life, 0),
            "fails" => self.ends(life, 3),
            "launch" => {
                self.launches -= 1;
                self.course = Course::Forward;
                self.on_trial(true)?;
                self.launch()
            }
            "hup" => self.step(Event::SignalAsked(Signal::SIGHUP)),
            "well" if self.overlaps => {
                self.course = Course::HandingOver;
                self.step(Event::HandOver)
            }
            "well" => {
                self.course = Course::None;
                self.on_trial(false)
            }
            "back" => self.go_back(),
            "forced" => {
                self.course = Course::None;
                self.on_trial(false)?;
                if self.overlaps { self.step(Event::HandOver) } else { Ok(()) }
            }
            "TERM" | "Squire fails" => {
                (self.may_end, self.must_end) = (true, true);
                self.step(if word == "TERM" { Event::Signalled(Signal::SIGTERM) } else { Event::Failed })
            }
            "USR1" => self.step(Event::Signalled(Signal::SIGUSR1)),
            "Ctrl-C" => {
                let is_ended = matches!(self.children.remove(&life), Some(Child::Lives));
                (self.may_end, self.must_end) = (self.may_end || is_ended, self.must_end || is_ended);
                self.told(life, Event::Interrupted)?;
                self.told(life, Event::Exited(Ending::Signal(2)))
            }
            "wait" => {
                self.now = self.relay.deadline().ok_or("there is nothing to wait for")?.max(self.now);
                self.step(Event::Due)?;
                check(self.relay.deadline().is_none_or(|deadline| deadline > self.now), "it would spin")
            }
            other => Err(format!("what is {other:?}?")),
        }
    }
}

impl World for Stage {
    fn possible(&self) -> Vec<String> {
        let mut events = Vec::new();
        if self.finished {
            return events;
        }
        for (Life(life), child) in &self.children {
            match child {
                Child::Spawning => events.push(format!("starts {life}")),
                Child::Lives if self.faults > 0 => {
                    events.extend([format!("exits {life}"), format!("fails {life}")]);
                }
                Child::Lives => {}
                Child::Asked(_) | Child::Killed => events.push(format!("exits {life}")),
            }
            if self.signals > 0 && *child != Child::Spawning {
                events.push(format!("Ctrl-C {life}"));
            }
            if *child == Child::Spawning && self.faults > 0 {
                events.push(format!("refused {life}"));
            }
        }
        let mut may = |is: bool, event: &str| {
            if is {
                events.push(event.to_owned());
            }
        };
        may(self.course == Course::None && self.launches > 0, "launch");
        may(self.course == Course::None && self.has_launched && self.signals > 0, "hup");
        may(self.course == Course::Trying, "well");
        may(self.has_live && matches!(self.course, Course::Trying | Course::Lost), "back");
        may(self.course == Course::Trying || self.course == Course::Lost, "forced");
        may(self.signals > 0, "TERM");
        may(self.signals > 0, "USR1");
        may(self.signals > 0, "Squire fails");
        may(self.relay.deadline().is_some(), "wait");
        events
    }

    fn happen(&mut self, event: &str) -> Result<(), String> {
        self.take_in(event)?;
        self.stops_end()
    }

    fn told(&self) -> String {
        Told { what: self, now: self.now, memory: PERIOD }.to_string()
    }
    fn next_if_all_is_well(&self) -> Option<String> {
        if self.finished {
            return None;
        }
        let child = self.children.iter().find_map(|(Life(life), child)| match child {
            Child::Spawning => Some(format!("starts {life}")),
            Child::Asked(_) | Child::Killed => Some(format!("exits {life}")),
            Child::Lives => None,
        });
        let course = match self.course {
            Course::Trying => Some("well"),
            Course::Lost => Some(if self.has_live { "back" } else { "forced" }),
            Course::None | Course::Forward | Course::HandingOver | Course::Back => None,
        };
        let wait = self.relay.deadline().map(|_| "wait");
        child.or_else(|| course.or(wait).map(str::to_owned))
    }

    fn rests(&self) -> Result<(), String> {
        if self.finished {
            return Ok(());
        }
        check(!self.must_end, "Squire was to end, and does not")?;
        check(
            self.course == Course::None && !self.on_trial,
            &format!("a rollout waits for ever: {:?}", self.course),
        )?;
        let living: Vec<_> = self.children.values().collect();
        check(
            !self.has_launched || living == [&Child::Lives],
            &format!("in the end there is not one process, but {living:?}"),
        )
    }
}

fn check(holds: bool, wrong: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong.to_owned()) }
}

fn go_everywhere(overlaps: bool) {
    for policy in [RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always] {
        let name = format!("supervision, overlap: {overlaps}, restart: {policy:?}");
        let seen = explore(&name, Stage::new(overlaps, policy), 4_000);
        let seen = seen.unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        assert!(seen.is_all || seen.worlds >= 4_000, "{seen:?}");
    }
}

#[test]
fn one_process_after_the_other() {
    go_everywhere(false);
}

#[test]
fn two_processes_at_once() {
    go_everywhere(true);
}

#[test]
fn a_planted_fault_is_found_on_a_shortest_way() {
    let stage = Stage { is_deaf: true, ..Stage::new(false, RestartPolicy::Never) };
    let wrong = explore("supervision with a fault", stage, 4_000).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "a rollout waits for ever: Back, after launch, refused 1, forced, launch, starts 1, back"
    );
}
