//! Real processes under one [`Host`], since a process can have only one: it runs on a thread that outlives all tests. Tests that need a
//! process of their own run in this same binary, which the host starts once more: the ignored tests.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::Resource;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgid, getpid};
use squire::config::{Limit, RestartConfig, RestartPolicy};
use squire::plan::{EnvRules, Setting};
use squire::secret::Secret;
use squire::supervise::host::{Endowment, Host, HostError, Order, Orders, Report, Streams, Ticket};
use squire::supervise::{Effect, Ending, Event, Launch, Refusal, Settings, Supervisor};

/// The longest wait of a test.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than any stop that is not meant to time out.
const ENOUGH: Duration = Duration::from_mins(1);

#[test]
fn what_a_captured_process_writes_is_told_before_its_end() {
    let (sender, reports) = mpsc::channel();
    // More than a pipe holds: neither side may wait for the other.
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo trouble >&2; exit 3";
    let ticket = shared().spawn(shell(script), Streams::Captured, sender);
    let mut said = None;
    loop {
        match reports.recv_timeout(PATIENCE).unwrap() {
            Report::Said { ticket: of, tail } if of == ticket => said = Some(tail),
            Report::Exited { ending, .. } => {
                assert_eq!(ending, Ending::Code(3));
                break;
            }
            Report::Started { .. } => {}
            other @ (Report::Refused { .. }
            | Report::Left { .. }
            | Report::Said { .. }
            | Report::Ready { .. }
            | Report::Interrupted { .. }
            | Report::Rehearsed { .. }
            | Report::Signalled(_)) => panic!("{other:?}"),
        }
    }
    let said = String::from_utf8(said.expect("told before its end")).unwrap();
    assert!(said.ends_with("line 19999\ntrouble\n"), "{said}");
    assert!(said.len() <= 4096, "{}", said.len());
}

/// The kernel is asked how much it takes, by prlimit(1), which executes a program with the environment that it has.
#[test]
fn room_for_the_environment_is_what_the_kernel_gives_to_the_byte() {
    const STACK: u64 = 512 * 1024;
    let launch = |command: &[&str], limits: &[Limit], size: usize| {
        let env = [("A", "a".repeat(70_000)), ("B", "b".repeat(size))];
        let env = env.map(|(name, value)| (name.to_owned(), Secret::new(value.as_str())));
        let nothing_else = EnvRules { clear: true, ..EnvRules::default() };
        let setting = Setting { limits: limits.to_vec(), env: nothing_else, ..Setting::default() };
        Launch { env: env.into(), ..words(command) }.on(&Arc::new(setting))
    };
    let kernel_takes = |size| {
        let command = ["prlimit", &format!("--stack={STACK}"), "/bin/true"];
        Process::spawn(launch(&command, &[], size), Streams::Aside).ending() == Ending::Code(0)
    };
    let (mut taken, mut refused) = (0, 70_000);
    while refused - taken > 1 {
        let size = usize::midpoint(taken, refused);
        *if kernel_takes(size) { &mut taken } else { &mut refused } = size;
    }
    let limit = Limit { resource: Resource::RLIMIT_STACK, soft: STACK, hard: STACK };
    let launch = |size| launch(&["/bin/true"], &[limit], size);
    assert_eq!(Process::spawn(launch(taken), Streams::Aside).ending(), Ending::Code(0));
    let refusal = Process::spawn(launch(taken + 1), Streams::Aside).refusal();
    assert!(matches!(refusal, Refusal::NoRoom { size: 131_073, room: 131_072 }), "{refusal:?}");
}

#[test]
fn every_exit_code_is_told() {
    for code in 0..=255 {
        assert_eq!(Process::shell(&format!("exit {code}")).ending(), Ending::Code(code));
    }
}

#[test]
fn every_deadly_signal_is_told_with_and_without_a_name() {
    let ignored = signal_set(&fs::read_to_string("/proc/self/status").unwrap(), "SigIgn:") & !bit(13);
    for number in (1..=15).chain([24, 25, 26, 27, 29, 30, 31, 34, 37, 64]) {
        if ignored & bit(number) != 0 {
            continue; // by whoever started the tests, and so by the child
        }
        let process = Process::shell(&format!("ulimit -c 0; kill -{number} $$; sleep 60"));
        assert_eq!(process.ending(), Ending::Signal(number));
    }
}

#[test]
fn a_hundred_children_that_end_at_once_are_all_told_once() {
    let processes: Vec<_> = (0..100).map(|number| Process::shell(&format!("exit {number}"))).collect();
    for (number, process) in processes.into_iter().enumerate() {
        assert_eq!(process.ending(), Ending::Code(u8::try_from(number).unwrap()));
        assert!(process.reports.try_recv().is_err(), "a second report about {number}");
    }
}

#[test]
fn what_cannot_run_is_refused_with_the_code_of_shells() {
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str, contents: &[u8], mode| {
        let path = scratch.path().join(name);
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let directory = scratch.path().to_str().unwrap().to_owned();
    for (command, status) in [
        (vec!["no-such-program-anywhere".to_owned()], 127),
        (vec!["/no/such/program".to_owned()], 127),
        (vec![String::new()], 127),
        (vec![], 127),
        (vec![directory], 126),
        (vec![file("plain", b"#!/bin/sh\n", 0o644)], 126),
        (vec![file("garbage", b"\0garbage", 0o755)], 126),
        (vec![file("orphan", b"#!/no/such/interpreter\n", 0o755)], 126),
        (vec!["sh".to_owned(), "\0".to_owned()], 125),
        (vec!["s\0h".to_owned()], 125),
    ] {
        let launch = Launch::new(command, BTreeMap::new());
        let refusal = Process::spawn(launch.clone(), Streams::Inherited).refusal();
        assert_eq!(refusal.status(), status, "{launch:?}: {refusal}");
    }
}

#[test]
fn a_variable_that_no_process_can_be_given_is_refused_by_name_and_not_by_value() {
    for (name, value) in [("KEY", "hunter2\0"), ("A=B", "hunter2"), ("K\0", "hunter2")] {
        let refusal = Process::spawn(with_variable("true", name, value), Streams::Inherited).refusal();
        assert_eq!(refusal.status(), 125);
        let said = format!("{refusal} {refusal:?}");
        assert!(said.contains(name.trim_end_matches('\0')) && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn the_child_gets_squires_environment_without_squires_variables_and_the_rendered_ones() {
    let scratch = Scratch::new();
    let script = format!("env > {}", scratch.file("env"));
    let process = Process::spawn(with_variable(&script, "PASSWORD", "hunter2"), Streams::Inherited);
    assert_eq!(process.ending(), Ending::Code(0));
    let env = scratch.read("env");
    assert!(env.contains("PASSWORD=hunter2\n") && env.contains("KEPT=yes\n"), "{env}");
    assert!(!env.contains("VAULT_TOKEN") && !env.contains("SQUIRE_LOG"), "{env}");
}

#[test]
fn the_child_has_the_standard_streams_and_no_descriptor_of_squires() {
    let process = Process::spawn(words(&["sleep", "1000"]), Streams::Inherited);
    let descriptors = format!("/proc/{}/fd", process.pid());
    // Descriptors that it opens for its own start are closed; one of Squire's would stay.
    wait_until("only the given descriptors are open", || {
        let entries = fs::read_dir(&descriptors).unwrap();
        entries.map(|entry| number(&entry.unwrap().path())).collect::<BTreeSet<_>>() == shared().given
    });
    process.order(|ticket| Order::Kill { ticket });
    assert_eq!(process.ending(), Ending::Signal(9));
}

#[test]
fn killing_takes_the_whole_group() {
    let scratch = Scratch::new();
    let process = Process::shell(&format!("sleep 1000 & echo $! > {}; wait", scratch.file("pid")));
    let grandchild = scratch.wait_for("pid");
    process.order(|ticket| Order::Kill { ticket });
    assert_eq!(process.ending(), Ending::Signal(9));
    wait_until("the grandchild is gone", || !is_running(&grandchild));
}

#[test]
fn a_command_runs_beside_the_child_in_its_own_group_and_away_from_its_streams() {
    let child = Process::spawn(words(&["sleep", "1000"]), Streams::Inherited);
    assert_eq!(Process::spawn(words(&["cat"]), Streams::Aside).ending(), Ending::Code(0));
    let command = Process::spawn(words(&["sleep", "1000"]), Streams::Aside);
    let (child_pid, command_pid) = (child.pid(), command.pid());
    let stream = |pid: &str, number| fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap();
    let command_streams = [0, 1, 2].map(|number| stream(&command_pid.to_string(), number));
    let stderr = stream("self", 2);
    assert_eq!(command_streams, [PathBuf::from("/dev/null"), stderr.clone(), stderr]);
    assert_eq!(getpgid(Some(child_pid)), Ok(child_pid));
    assert_eq!(getpgid(Some(command_pid)), Ok(command_pid));

    command.order(|ticket| Order::Kill { ticket });
    assert_eq!(command.ending(), Ending::Signal(9));
    assert!(is_running(&child_pid.to_string()));
    child.order(|ticket| Order::Signal { ticket, signal: Signal::SIGTERM });
    assert_eq!(child.ending(), Ending::Signal(15));
}

#[test]
fn signals_to_one_who_has_exited_go_nowhere() {
    let process = Process::shell("exit 4");
    assert_eq!(process.ending(), Ending::Code(4));
    process.order(|ticket| Order::Signal { ticket, signal: Signal::SIGTERM });
    process.order(|ticket| Order::Kill { ticket });
    assert_eq!(Process::shell("exit 5").ending(), Ending::Code(5));
}

#[test]
fn a_signal_to_squire_is_told() {
    // Before the first signal: without a host nothing catches it, and it would end this program.
    let shared = shared();
    for signal in [Signal::SIGUSR1, Signal::SIGWINCH, Signal::SIGTERM] {
        kill(getpid(), signal).unwrap();
        let told = shared.signals.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        assert_eq!(told, signal);
    }
}

#[test]
fn a_child_that_exits_by_itself_ends_squire_with_its_code() {
    assert_eq!(Life::begin("exit 7", ENOUGH).finish(), 7);
    assert_eq!(Life::begin("kill -9 $$", ENOUGH).finish(), 137);
}

#[test]
fn a_stop_passes_the_signal_on_and_ends_with_the_childs_own_code() {
    let scratch = Scratch::new();
    let trap = format!("trap 'exit 9' TERM; touch {}; while :; do sleep 0.01; done", scratch.file("ready"));
    let mut life = Life::begin(&trap, ENOUGH);
    scratch.wait_for("ready");
    life.tell(Event::Signalled(Signal::SIGTERM));
    assert_eq!(life.finish(), 9);
}

#[test]
fn a_child_that_ignores_the_stop_is_killed_at_its_deadline() {
    let scratch = Scratch::new();
    let mut life = Life::begin(&deaf(&scratch), Duration::from_millis(200));
    scratch.wait_for("ready");
    let asked = Instant::now();
    life.tell(Event::Signalled(Signal::SIGTERM));
    assert_eq!(life.finish(), 137);
    assert!(asked.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_second_signal_kills_at_once() {
    let scratch = Scratch::new();
    let mut life = Life::begin(&deaf(&scratch), ENOUGH);
    scratch.wait_for("ready");
    life.tell(Event::Signalled(Signal::SIGTERM));
    life.tell(Event::Signalled(Signal::SIGINT));
    assert_eq!(life.finish(), 137);
}

#[test]
fn a_stopped_child_still_acts_on_sigterm() {
    let scratch = Scratch::new();
    let mut life = Life::begin(&format!("echo $$ > {}; kill -STOP $$", scratch.file("pid")), ENOUGH);
    let pid = scratch.wait_for("pid");
    wait_until("the child is stopped", || state(&pid) == Some('T'));
    life.tell(Event::Signalled(Signal::SIGTERM));
    assert_eq!(life.finish(), 143);
}

#[test]
fn a_restart_ends_the_old_child_before_the_new_one_starts() {
    let scratch = Scratch::new();
    let log = scratch.file("log");
    let old = format!(
        "trap 'echo old ends >> {log}; exit 0' TERM; touch {}; while :; do sleep 0.01; done",
        scratch.file("ready")
    );
    let mut life = Life::begin(&old, ENOUGH);
    life.settle();
    scratch.wait_for("ready");
    life.tell(Event::LaunchAsked(shell(&format!("echo new starts >> {log}; exit 3"))));
    life.settle();
    assert_eq!(life.finish(), 3);
    assert_eq!(scratch.read("log"), "old ends\nnew starts\n");
}

#[test]
fn a_signal_ignored_at_start_stays_ignored_and_sigpipe_is_as_programs_expect() {
    let scratch = Scratch::new();
    again("trap '' HUP", "ignored_at_start", &scratch);
    let status = scratch.read("status");
    let ignored = signal_set(&status, "SigIgn:");
    assert_ne!(ignored & bit(Signal::SIGHUP as i32), 0, "{status}");
    assert_eq!(ignored & bit(Signal::SIGPIPE as i32), 0, "{status}");
    assert_eq!((signal_set(&status, "SigBlk:"), signal_set(&status, "SigCgt:")), (0, 0), "{status}");
}

#[test]
#[ignore = "needs its own process: see a_signal_ignored_at_start_stays_ignored_and_sigpipe_is_as_programs_expect"]
fn ignored_at_start() {
    let (reports, orders, host) = own_host();
    kill(getpid(), Signal::SIGHUP).unwrap();
    orders.send(Order::Spawn {
        ticket: Ticket(1),
        // Not a shell: shells set signals of their own.
        launch: words(&["cp", "/proc/self/status", &own_file("status")]),
        streams: Streams::Inherited,
    });
    let loop_thread = thread::spawn(move || host.run());
    assert!(matches!(reports.recv_timeout(PATIENCE).unwrap(), Report::Started { .. }));
    let exited = reports.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(exited, Report::Exited { ending: Ending::Code(0), .. }), "{exited:?}");
    orders.send(Order::End);
    loop_thread.join().unwrap().unwrap();
}

#[test]
fn the_child_is_asked_to_end_when_squire_dies_hard() {
    again(":", "survives_dies_hard", &Scratch::new());
}

#[test]
#[ignore = "needs its own process: see the_child_is_asked_to_end_when_squire_dies_hard"]
fn survives_dies_hard() {
    let ended = apart("dies_hard");
    assert_eq!(ended.signal(), Some(9));
    wait_for(&own_file("asked"));
}

#[test]
#[ignore = "needs its own process: see the_child_is_asked_to_end_when_squire_dies_hard"]
fn dies_hard() {
    let (_reports, orders, host) = own_host();
    orders.send(spawn_recorder());
    thread::spawn(|| {
        wait_for(&own_file("ready"));
        kill(getpid(), Signal::SIGKILL).unwrap();
    });
    host.run().unwrap();
}

#[test]
fn what_still_runs_is_asked_to_end_when_the_agent_vanishes() {
    again(":", "survives_abandoned", &Scratch::new());
}

#[test]
#[ignore = "needs its own process: see what_still_runs_is_asked_to_end_when_the_agent_vanishes"]
fn survives_abandoned() {
    assert!(apart("abandoned").success());
    wait_for(&own_file("asked"));
}

#[test]
#[ignore = "needs its own process: see what_still_runs_is_asked_to_end_when_the_agent_vanishes"]
fn abandoned() {
    let (_reports, orders, host) = own_host();
    orders.send(spawn_recorder());
    thread::spawn(move || {
        wait_for(&own_file("ready"));
        drop(orders);
    });
    assert!(matches!(host.run(), Err(HostError::Abandoned)));
}

/// A child that ends neither by itself nor when it is asked to.
fn deaf(scratch: &Scratch) -> String {
    format!("trap '' TERM INT; touch {}; while :; do sleep 0.01; done", scratch.file("ready"))
}

/// One supervisor over real processes: it does what the agent does, without the agent.
struct Life {
    supervisor: Supervisor,
    reports: Receiver<Report>,
    sender: Sender<Report>,
    ticket: Ticket,
    settled: u32,
    finished: Option<u8>,
}

impl Life {
    fn begin(script: &str, stop_timeout: Duration) -> Self {
        let restart =
            RestartConfig { policy: RestartPolicy::Never, limit: 1, period: Duration::from_mins(1) };
        let settings = Settings { stop_signal: Signal::SIGTERM, stop_timeout, restart };
        let (sender, reports) = mpsc::channel();
        let mut life = Self {
            supervisor: Supervisor::new(settings),
            reports,
            sender,
            ticket: Ticket(0),
            settled: 0,
            finished: None,
        };
        life.tell(Event::LaunchAsked(shell(script)));
        life
    }

    fn tell(&mut self, event: Event) {
        for effect in self.supervisor.step(event, Instant::now()) {
            let ticket = self.ticket;
            match effect {
                Effect::Spawn(launch) => {
                    self.ticket = shared().spawn(launch, Streams::Inherited, self.sender.clone());
                }
                Effect::Signal(signal) => shared().orders.send(Order::Signal { ticket, signal }),
                Effect::Kill => shared().orders.send(Order::Kill { ticket }),
                Effect::Settled => self.settled += 1,
                other @ (Effect::Down { .. } | Effect::Rest(_) | Effect::GiveUp | Effect::Respawn) => {
                    panic!("nothing is on trial, nothing is started again: {other:?}")
                }
                Effect::Finish(code) => self.finished = Some(code),
            }
        }
    }

    fn turn(&mut self) {
        let patience = Instant::now() + PATIENCE;
        let until = self.supervisor.deadline().map_or(patience, |deadline| deadline.min(patience));
        let event = match self.reports.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Report::Started { .. }) => Event::Started,
            Ok(
                Report::Said { .. }
                | Report::Ready { .. }
                | Report::Interrupted { .. }
                | Report::Rehearsed { .. },
            ) => return,
            Ok(Report::Refused { refusal, .. }) => Event::Refused(refusal),
            // As in the agent: in a stop the rest of the group has its time.
            Ok(Report::Left { ticket, .. }) => {
                if !self.supervisor.is_stopping() {
                    shared().orders.send(Order::Disband { ticket, grace: ENOUGH });
                }
                return;
            }
            Ok(Report::Exited { ending, .. }) => Event::Exited(ending),
            Ok(Report::Signalled(signal)) => Event::Signalled(signal),
            Err(_) => {
                assert!(Instant::now() < patience, "nothing happens: {:?}", self.supervisor);
                Event::Due
            }
        };
        self.tell(event);
    }

    fn settle(&mut self) {
        while self.settled == 0 {
            self.turn();
        }
        self.settled -= 1;
    }

    fn finish(&mut self) -> u8 {
        loop {
            if let Some(code) = self.finished {
                return code;
            }
            self.turn();
        }
    }
}

/// One process, named by its ticket.
struct Process {
    ticket: Ticket,
    reports: Receiver<Report>,
}

impl Process {
    fn shell(script: &str) -> Self {
        Self::spawn(shell(script), Streams::Inherited)
    }

    fn spawn(launch: Launch, streams: Streams) -> Self {
        let (sender, reports) = mpsc::channel();
        Self { ticket: shared().spawn(launch, streams, sender), reports }
    }

    fn order(&self, order: impl FnOnce(Ticket) -> Order) {
        shared().orders.send(order(self.ticket));
    }

    fn pid(&self) -> Pid {
        match self.reports.recv_timeout(PATIENCE).unwrap() {
            Report::Started { pid, .. } => pid,
            other @ (Report::Refused { .. }
            | Report::Left { .. }
            | Report::Exited { .. }
            | Report::Said { .. }
            | Report::Ready { .. }
            | Report::Interrupted { .. }
            | Report::Rehearsed { .. }
            | Report::Signalled(_)) => {
                panic!("{other:?}")
            }
        }
    }

    fn ending(&self) -> Ending {
        match self.reports.recv_timeout(PATIENCE).unwrap() {
            Report::Started { .. }
            | Report::Left { .. }
            | Report::Said { .. }
            | Report::Ready { .. }
            | Report::Interrupted { .. } => self.ending(),
            Report::Exited { ending, .. } => ending,
            other @ (Report::Refused { .. } | Report::Rehearsed { .. } | Report::Signalled(_)) => {
                panic!("{other:?}")
            }
        }
    }

    fn refusal(&self) -> Refusal {
        match self.reports.recv_timeout(PATIENCE).unwrap() {
            Report::Refused { refusal, .. } => refusal,
            other @ (Report::Started { .. }
            | Report::Left { .. }
            | Report::Exited { .. }
            | Report::Said { .. }
            | Report::Ready { .. }
            | Report::Interrupted { .. }
            | Report::Rehearsed { .. }
            | Report::Signalled(_)) => {
                panic!("{other:?}")
            }
        }
    }
}

/// The host of this process, and the receivers of its reports by ticket.
struct Shared {
    orders: Orders,
    signals: Mutex<Receiver<Signal>>,
    given: BTreeSet<u32>,
}

static LISTENERS: Mutex<Option<HashMap<Ticket, Sender<Report>>>> = Mutex::new(None);

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let given = inherited_descriptors();
        let (sender, signals) = mpsc::channel();
        let own = [("VAULT_TOKEN", "hunter2"), ("SQUIRE_LOG", "debug"), ("KEPT", "yes")];
        let own = own.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let path = ("PATH".into(), std::env::var_os("PATH").unwrap());
        let report = move |report| match report {
            Report::Signalled(signal) => sender.send(signal).unwrap(),
            Report::Started { ticket, .. }
            | Report::Refused { ticket, .. }
            | Report::Said { ticket, .. }
            | Report::Ready { ticket }
            | Report::Interrupted { ticket }
            | Report::Rehearsed { ticket, .. }
            | Report::Left { ticket, .. }
            | Report::Exited { ticket, .. } => {
                let listeners = LISTENERS.lock().unwrap();
                // The test may have ended, while its process is still there.
                listeners.as_ref().unwrap()[&ticket].send(report).ok();
            }
        };
        let (host, orders) = Host::new(endowment(own.into_iter().chain([path])), Box::new(report)).unwrap();
        thread::spawn(move || host.run().unwrap());
        Shared { orders, signals: Mutex::new(signals), given }
    })
}

impl Shared {
    fn spawn(&self, launch: Launch, streams: Streams, sender: Sender<Report>) -> Ticket {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let ticket = Ticket(NEXT.fetch_add(1, Ordering::Relaxed));
        LISTENERS.lock().unwrap().get_or_insert_default().insert(ticket, sender);
        self.orders.send(Order::Spawn { ticket, launch, streams });
        ticket
    }
}

/// Runs one of the ignored tests in a process of its own, and expects it to pass.
fn again(before: &str, test: &str, scratch: &Scratch) {
    let (process, log) = start_again(before, test, scratch);
    assert_eq!(process.ending(), Ending::Code(0), "{}", fs::read_to_string(log).unwrap());
}

fn start_again(before: &str, test: &str, scratch: &Scratch) -> (Process, String) {
    let (this, log) = (std::env::current_exe().unwrap(), scratch.file("log"));
    let script = format!("{before}; exec {} --exact {test} --ignored > {log} 2>&1", this.display());
    let scratch = scratch.directory.path().to_str().unwrap();
    (Process::spawn(with_variable(&script, "SCRATCH", scratch), Streams::Aside), log)
}

/// In a process started again: one whose orphans come to itself. To a host they would be strays, and the host would end them.
fn apart(test: &str) -> ExitStatus {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let this = std::env::current_exe().unwrap();
    Command::new(this).args(["--exact", test, "--ignored"]).status().unwrap()
}

/// In a process started again: its own host.
fn own_host() -> (Receiver<Report>, Orders, Host) {
    assert!(std::env::var_os("SCRATCH").is_some(), "this is a part of another test");
    let (sender, reports) = mpsc::channel();
    let report = Box::new(move |report| sender.send(report).unwrap());
    let (host, orders) = Host::new(endowment(std::env::vars_os()), report).unwrap();
    (reports, orders, host)
}

fn endowment(environment: impl Iterator<Item = (OsString, OsString)>) -> Endowment {
    Endowment { environment: environment.collect(), stop_timeout: PATIENCE, ..Endowment::default() }
}

/// In a process started again: a file that the outer test can see.
fn own_file(name: &str) -> String {
    format!("{}/{name}", std::env::var("SCRATCH").unwrap())
}

/// A child that records when it is asked to end.
fn spawn_recorder() -> Order {
    let script = format!(
        "trap 'touch {}; exit' TERM; touch {}; while :; do sleep 0.01; done",
        own_file("asked"),
        own_file("ready")
    );
    Order::Spawn { ticket: Ticket(1), launch: shell(&script), streams: Streams::Inherited }
}

struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn wait_for(&self, name: &str) -> String {
        wait_for(&self.file(name))
    }
}

/// Waits for a file, and for its whole first line if it is to have one.
fn wait_for(file: &str) -> String {
    let is_there =
        || fs::read_to_string(file).is_ok_and(|text| text.ends_with('\n') || !file.ends_with("pid"));
    wait_until(file, is_there);
    fs::read_to_string(file).unwrap().trim().to_owned()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < patience, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn is_running(pid: &str) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// The state of a process, as the kernel reports it; `None` if there is no such process.
fn state(pid: &str) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The signals in one field of `/proc/PID/status`, one bit each.
fn signal_set(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap()
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// The descriptors that this process inherited from its own parent: 0, 1 and 2, and any others.
fn inherited_descriptors() -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc/self/fdinfo").unwrap().map(|entry| entry.unwrap().path());
    let is_inherited = |path: &PathBuf| {
        let info = fs::read_to_string(path).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        flags.is_some_and(|flags| i64::from_str_radix(flags.trim(), 8).unwrap() & 0o2_000_000 == 0)
    };
    entries.filter(is_inherited).map(|path| number(&path)).collect()
}

fn number(path: &Path) -> u32 {
    path.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

fn words(command: &[&str]) -> Launch {
    Launch::new(command.iter().map(|&word| word.to_owned()).collect(), BTreeMap::new())
}

fn shell(script: &str) -> Launch {
    with_variable(script, "TEST", "1")
}

fn with_variable(script: &str, name: &str, value: &str) -> Launch {
    let command = ["sh", "-c", script].map(str::to_owned).into();
    Launch::new(command, [(name.to_owned(), Secret::new(value))].into())
}
