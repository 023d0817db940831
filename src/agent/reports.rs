//! What the main thread reports, and what follows from it for the process, the commands and Squire itself.
//!
//! *Invariant:* pure.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use nix::sys::signal::Signal;

use super::commands::{Ended, Purpose, Trouble};
use super::{Agent, Effect, Mode, chain};
use crate::fact::ProcessFact;
use crate::mask;
use crate::ordered::Order as _;
use crate::render::Release;
use crate::rollout;
use crate::secret::Packed;
use crate::snapshot::{self, Gatherer};
use crate::supervise::host::{Order, Report, Ticket};
use crate::supervise::{self, Ending, ONE_SIGNAL, Refusal};
use crate::template::Template;

impl Agent {
    pub(super) fn reported(&mut self, report: Report, now: Instant, effects: &mut Vec<Effect>) {
        match report {
            Report::Signalled(signal) => self.signalled(signal, now, effects),
            Report::Started { ticket, pid } if self.children.contains_key(&ticket) => {
                if self.newest == Some(ticket) {
                    self.newest_pid = Some(pid);
                }
                self.runs.started(ticket, pid, now);
                effects.push(Effect::Report(ProcessFact::Started { pid: pid.as_raw() }.into()));
                self.told(ticket, supervise::Event::Started, now, effects);
            }
            Report::Refused { ticket, refusal } if self.children.contains_key(&ticket) => {
                let error = chain(&refusal);
                self.runs.ended(ticket, format!("not started: {error}"));
                effects.push(Effect::Report(ProcessFact::NotStarted { error }.into()));
                self.ended(ticket, supervise::Event::Refused(refusal), now, effects);
            }
            Report::Left { ticket, ending } => self.leader_ended(ticket, ending, effects),
            Report::Exited { ticket, ending } if self.children.contains_key(&ticket) => {
                self.runs.ended(ticket, ending.to_string());
                effects.push(Effect::Report(ProcessFact::Exited { ending: ending.to_string() }.into()));
                self.ended(ticket, supervise::Event::Exited(ending), now, effects);
            }
            Report::Ready { ticket } if self.newest == Some(ticket) && self.rollout.awaits_ready() => {
                effects.push(Effect::Report(ProcessFact::Ready.into()));
                self.roll(rollout::Event::ProcessReady, now, effects);
            }
            Report::Started { .. } | Report::Ready { .. } => {}
            Report::Interrupted { ticket } => {
                self.told(ticket, supervise::Event::Interrupted, now, effects);
            }
            Report::Rehearsed { ticket, result } => self.rehearsed(ticket, result, now, effects),
            Report::Said { ticket, tail } => self.commands.said(ticket, tail),
            Report::Refused { ticket, refusal } => {
                self.command_ended(ticket, Err(chain(&refusal)), now, effects);
            }
            Report::Exited { ticket, ending: Ending::Code(0) } => {
                self.command_ended(ticket, Ok(()), now, effects);
            }
            Report::Exited { ticket, ending } => {
                self.command_ended(ticket, Err(ending.to_string()), now, effects);
            }
        }
    }

    /// What is asked for because of it is for another process.
    fn ended(&mut self, ticket: Ticket, event: supervise::Event, now: Instant, effects: &mut Vec<Effect>) {
        let (Some(relay), Some(life)) = (&mut self.relay, self.children.remove(&ticket)) else { return };
        let asked = relay.told(life, event, now);
        self.obey(asked, now, effects);
    }

    /// Others of the child's group live on. In a stop they have until its end; otherwise nobody needs them without their leader, and they
    /// have only the time to put away what they hold.
    fn leader_ended(&self, ticket: Ticket, ending: Ending, effects: &mut Vec<Effect>) {
        effects.push(Effect::Report(ProcessFact::Left { ending: ending.to_string() }.into()));
        let (relay, life) = (self.relay.as_ref(), self.children.get(&ticket));
        let is_stopping = relay.zip(life).is_some_and(|(relay, life)| relay.is_stopping(*life));
        if !is_stopping {
            let stop_timeout = self.setup.plan.process.as_ref().map(|process| process.stop_timeout);
            let grace = stop_timeout.unwrap_or_default().min(supervise::LONGEST_DISBANDING);
            effects.push(Effect::Order(Order::Disband { ticket, grace }));
        }
    }

    fn command_ended(
        &mut self,
        ticket: Ticket,
        result: Result<(), String>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Ended { program, purpose, result }) = self.commands.ended(ticket, result) else { return };
        let told = result.map_err(|Trouble { error, tail }| match self.masked(&tail) {
            wrote if wrote.is_empty() => error,
            wrote => format!("{error}; it wrote: {wrote}"),
        });
        match purpose {
            Purpose::Reaction(action) => {
                effects.push(Effect::Report(command_fact(&program, &told).into()));
                let told = told.map_err(|error| format!("{program}: {error}"));
                let Some(told) = self.units_told(action, told, now, effects) else { return };
                self.roll(rollout::Event::Acted(action, told), now, effects);
            }
            Purpose::Errand => effects.push(Effect::Report(command_fact(&program, &told).into())),
            Purpose::Check => {
                let told = told.map_err(|error| format!("{program}: {error}"));
                self.roll(rollout::Event::Checked(told), now, effects);
            }
            Purpose::Try(attempt) => {
                let told = told.map_err(|error| format!("{program}: {error}"));
                self.roll(rollout::Event::Tried(attempt, told), now, effects);
            }
        }
    }

    fn rehearsed(
        &mut self,
        ticket: Ticket,
        result: Result<(), Refusal>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        if self.rehearsal == Some(ticket) {
            self.rehearsal = None;
            let result = result.map_err(|refusal| chain(&refusal));
            self.roll(rollout::Event::Rehearsed(result), now, effects);
        }
    }

    /// What a command wrote, without any value of a secret.
    fn masked(&self, tail: &[u8]) -> String {
        let gatherers = self.reloading.gatherers().chain([&self.gatherer]);
        let secrets: Vec<_> = gatherers.flat_map(Gatherer::plaintexts).map(Packed::expose).collect();
        let rendered = self.rollout.releases().flat_map(|release| self.computed(release));
        mask::masked(tail, &secrets, rendered.chain(self.tokens.plaintexts()))
    }

    /// What was rendered from secrets: of a text the lines; what stands so in a template is no secret. What is no text is one.
    fn computed<'a>(&'a self, release: &'a Release) -> impl Iterator<Item = &'a [u8]> {
        let plan = &self.setup_of(release).plan;
        let templates: BTreeMap<&Path, &Template> = plan
            .files
            .iter()
            .filter_map(|file| Some((file.path.as_path(), file.content.template()?)))
            .ordered();
        let of_units = release.credentials.iter().map(|credential| credential.contents.expose());
        let contents = release.files.iter().map(|file| file.contents.expose()).chain(of_units);
        let bytes = contents.filter(|contents| str::from_utf8(contents).is_err());
        let files = release.files.iter().map(move |file| {
            let text = str::from_utf8(file.contents.expose()).unwrap_or_default();
            (text, templates.get(file.path.as_path()).copied())
        });
        let variables = release.env.iter().map(move |(name, text)| (text.expose(), plan.env.get(name)));
        let credentials = release.credentials.iter().zip(&plan.credentials);
        let of_credentials = credentials.map(|(rendered, planned)| {
            (str::from_utf8(rendered.contents.expose()).unwrap_or_default(), planned.content.template())
        });
        let lines = files.chain(variables).chain(of_credentials).flat_map(|(text, template)| {
            let computed = template.map(|template| template.computed_lines(text));
            // Without a template, as the field of a secret, every line is one.
            let whole = template.is_none().then(|| text.lines());
            computed.into_iter().flatten().chain(whole.into_iter().flatten())
        });
        lines.map(str::as_bytes).chain(bytes)
    }

    /// With a process, its supervisor decides. Without, TERM, INT and QUIT end Squire, USR1 fetches everything anew, and HUP reads the
    /// configuration anew.
    pub(super) fn signalled(&mut self, signal: Signal, now: Instant, effects: &mut Vec<Effect>) {
        let ends = matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT);
        if ends {
            if self.last_end.is_some_and(|(last, at)| last == signal && now < at + ONE_SIGNAL) {
                return;
            }
            self.last_end = Some((signal, now));
            effects.push(Effect::Report(ProcessFact::Stopping { cause: signal.as_str().to_owned() }.into()));
        }
        if self.relay.is_some() {
            self.supervise(supervise::Event::Signalled(signal), now, effects);
        } else if ends {
            let served = self.mode == Mode::Run && self.rollout.live().is_some();
            self.close(if served { 0 } else { Ending::Signal(signal as i32).code() }, effects);
        } else if signal == Signal::SIGUSR1 {
            effects.push(Effect::Refresh(Vec::new()));
            self.gather(snapshot::Event::RetryAsked(Vec::new()), now, effects);
        } else if signal == Signal::SIGHUP && self.mode == Mode::Run {
            effects.push(Effect::Reload);
        }
    }
}

fn command_fact(program: &str, told: &Result<(), String>) -> ProcessFact {
    let program = program.to_owned();
    match told {
        Ok(()) => ProcessFact::CommandDone { program },
        Err(error) => ProcessFact::CommandFailed { program, error: error.clone() },
    }
}
