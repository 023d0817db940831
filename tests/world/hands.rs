//! The hands of the agent: what it asks of disk, processes and commands, and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use squire::agent;
use squire::names::SecretName;
use squire::render::Release;
use squire::session;
use squire::source::OWN_PROGRAM;
use squire::supervise::host::{Order, Report, Streams, Ticket};
use squire::supervise::{Ending, Launch, Refusal};

use crate::process::Process;
use crate::variant::Weather;
use crate::world::{Happening, World};

impl World {
    pub(crate) fn step_agent(&mut self, event: agent::Event) {
        let now = self.now;
        self.tell(&event);
        let Some(squire) = &mut self.squire else { return };
        let was_closed = squire.is_closed;
        for effect in squire.agent.step(event, now) {
            assert!(!was_closed, "{}: an effect after the end", self.name());
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: agent::Effect) {
        self.tell(&effect);
        match effect {
            agent::Effect::Stage(release) => self.stage(release),
            agent::Effect::Discard => self.staged = None,
            agent::Effect::Publish => {
                let release = self.staged.take().expect("something is staged");
                self.publish(&release, true);
            }
            agent::Effect::Restore(release) => {
                self.tally.taken_back += 1;
                self.publish(&release, false);
            }
            agent::Effect::Try { .. } | agent::Effect::SignalTo { .. } | agent::Effect::Call { .. } => {
                unreachable!("only commands are asked")
            }
            agent::Effect::Order(order) => self.order(order),
            agent::Effect::Free(secret, below) => {
                self.tell_owner(&secret, session::Event::Released(secret.clone(), below));
            }
            agent::Effect::Reject(secret, revision) => {
                self.tell_owner(&secret, session::Event::Rejected(secret.clone(), revision));
            }
            agent::Effect::Refresh(_) => {
                for source in self.sources() {
                    self.step_session(&source, session::Event::RefreshAsked(Vec::new()));
                }
            }
            agent::Effect::Retire(_) | agent::Effect::Report(_) | agent::Effect::Sink(_) => {}
            agent::Effect::Show(_) | agent::Effect::KeepHolders(_) => {
                unreachable!("nobody serves credentials")
            }
            agent::Effect::Reload
            | agent::Effect::Examine { .. }
            | agent::Effect::Settle(_)
            | agent::Effect::Keeping(_)
            | agent::Effect::Window(_)
            | agent::Effect::Decided { .. } => unreachable!("nobody asks for a reload"),
            agent::Effect::Close { give_back, sweep, .. } => self.close(give_back, sweep),
        }
    }

    fn close(&mut self, give_back: bool, sweep: bool) {
        self.squire.iter_mut().for_each(|squire| squire.is_closed = true);
        assert!(self.processes.is_empty(), "{}: it ends before its process", self.name());
        if sweep {
            self.disk.sweep();
        }
        self.close_sessions(give_back);
    }

    fn tell_owner(&mut self, secret: &SecretName, event: session::Event) {
        let owner = self.squire.as_ref().and_then(|squire| squire.owners.get(secret).cloned());
        if let Some(source) = owner {
            self.step_session(&source, event);
        }
    }

    fn stage(&mut self, release: Arc<Release>) {
        let after = self.delay(0..20);
        let event = if self.fails(20) {
            agent::Event::NotStaged("by chance".to_owned())
        } else {
            let changes = self.disk.differs(&release);
            self.staged = Some(release);
            agent::Event::Staged { directory: Some("/run/world/staged".into()), changes }
        };
        self.enqueue(after, Happening::Agent(event));
    }

    fn publish(&mut self, release: &Release, is_new: bool) {
        let size = (release.files.len(), release.env.len());
        assert_eq!(size, self.variant.size(), "{}: a release is whole", self.name());
        let after = self.delay(0..20);
        if self.fails(10) {
            let event = agent::Event::NotPublished("by chance".to_owned());
            return self.enqueue(after, Happening::Agent(event));
        }
        if is_new {
            assert!(Some(release.generation) > self.generation, "{}: generations must grow", self.name());
            self.generation = Some(release.generation);
        }
        let changed = self.disk.publish(release);
        self.check_consistency();
        self.tally.rotations += 1;
        self.enqueue(after, Happening::Agent(agent::Event::Published { changed, superseded: None }));
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Spawn { ticket, streams: Streams::Inherited, launch } => self.spawn(ticket, &launch),
            Order::Spawn { ticket, launch, .. } if launch.command[0] == OWN_PROGRAM => {
                self.spawn_errand(ticket);
            }
            Order::Spawn { ticket, .. } => {
                let fails = self.fails(4);
                let after = self.delay(1..if fails { 2000 } else { 20 });
                self.commands.insert(ticket);
                self.exit(ticket, Ending::Code(u8::from(fails)), after);
            }
            Order::Rehearse { ticket, .. } => {
                let result = if self.fails(10) { Err(refusal()) } else { Ok(()) };
                let after = self.delay(1..20);
                self.report(after, Report::Rehearsed { ticket, result });
            }
            Order::Signal { ticket, signal: Signal::SIGTERM } => {
                let slow = if self.weather.is_rough() { 40_000 } else { 200 };
                let after = self.delay(1..slow);
                self.exit(ticket, Ending::Signal(15), after);
            }
            Order::Signal { ticket, signal: Signal::SIGHUP } => {
                let disk = &self.disk;
                let process = self.processes.iter_mut().find(|process| process.ticket == ticket);
                if let Some(process) = process {
                    process.read(disk);
                }
            }
            Order::Kill { ticket } => self.kill(ticket),
            Order::Signal { .. } | Order::Disband { .. } | Order::End => {}
        }
    }

    fn spawn(&mut self, ticket: Ticket, launch: &Launch) {
        assert!(self.generation.is_some(), "{}: started before the first release", self.name());
        self.processes.push(Process::new(ticket, launch));
        self.check();
        let after = self.delay(1..10);
        if self.fails(60) {
            return self.report(after, Report::Refused { ticket, refusal: refusal() });
        }
        let pid = Pid::from_raw(1000 + i32::try_from(ticket.0).expect("few are started"));
        self.report(after, Report::Started { ticket, pid });
        if self.fails(50) {
            let lives = self.delay(1_000..120_000);
            self.exit(ticket, Ending::Code(1), lives);
        }
    }

    /// One in five takes longer than its claim, and of the others one in five fails.
    fn spawn_errand(&mut self, ticket: Ticket) {
        let server_now = self.server_now();
        self.errands.insert(ticket);
        self.store.begin(ticket, server_now);
        let hangs = self.weather == Weather::Storm && self.chance.u32(..5) == 0;
        let fails = self.fails(5);
        let after = if hangs { self.delay(1_000..200_000) } else { self.delay(20..3_000) };
        self.exit(ticket, Ending::Code(u8::from(fails)), after);
    }

    fn kill(&mut self, ticket: Ticket) {
        self.exit(ticket, Ending::Signal(9), Duration::from_millis(1));
    }

    fn exit(&mut self, ticket: Ticket, ending: Ending, after: Duration) {
        self.report(after, Report::Exited { ticket, ending });
    }

    fn report(&mut self, after: Duration, report: Report) {
        self.enqueue(after, Happening::Agent(agent::Event::Reported(report)));
    }

    /// What happens to the agent may happen to the process first. One that is gone already does not go again.
    pub(crate) fn happen_to_agent(&mut self, event: agent::Event) {
        let happens = match &event {
            agent::Event::Reported(Report::Started { ticket, .. }) => self.started(*ticket),
            agent::Event::Reported(Report::Refused { ticket, .. }) => self.gone(*ticket),
            agent::Event::Reported(Report::Exited { ticket, ending }) => self.ended(*ticket, *ending),
            _ => true,
        };
        if happens {
            self.step_agent(event);
        }
    }

    fn started(&mut self, ticket: Ticket) -> bool {
        let Some(process) = self.processes.iter_mut().find(|process| process.ticket == ticket) else {
            return false;
        };
        process.started = true;
        process.read(&self.disk);
        true
    }

    fn ended(&mut self, ticket: Ticket, ending: Ending) -> bool {
        if self.errands.remove(&ticket) {
            let server_now = self.server_now();
            let (is_done, is_killed) = (ending == Ending::Code(0), ending == Ending::Signal(9));
            self.store.end(ticket, is_done, is_killed, server_now);
            if is_done {
                self.tell_of_change();
            }
            return true;
        }
        self.commands.remove(&ticket) || self.gone(ticket)
    }

    fn gone(&mut self, ticket: Ticket) -> bool {
        let before = self.processes.len();
        self.processes.retain(|process| process.ticket != ticket);
        self.processes.len() < before
    }
}

fn refusal() -> Refusal {
    Refusal::NotFound { program: "app".to_owned() }
}
