//! A log that nobody reads, or that cannot be written, affects nothing: neither the process, nor a rotation, nor the exit code.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe};

use crate::support::{Rig, SOON, STORE_SOURCE, Tmpfs, fresh, make_role, make_store, store, wait_until};

const AS_PROCESS_1: [&str; 5] = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];

/// Records its start and each signal, and ends with 9 when it is asked to. Its stderr is `/dev/null`, because a shell prints which process
/// a signal ended, and would itself die if its stderr were closed.
const APP: &str = "exec 2> /dev/null; trap 'cat out/password >> seen/told; echo >> seen/told' HUP; trap 'exit 9' TERM; echo > seen/started; \
                   while :; do sleep 0.02; done";

fn rig() -> Rig {
    let rig = Rig::at("http://127.0.0.1:1");
    make_store(&rig);
    put(&rig);
    make_role(&rig, &["--read", "prod/app/*"]);
    rig.whole_config(&format!(
        r#"
        {STORE_SOURCE}
        [secret.db]
        path = "prod/app/db"
        [output]
        dir = "@dir@/out"
        [[file]]
        path = "password"
        inline = "{{{{db.value}}}}"
        on_change = "SIGHUP"
        [process]
        command = ["sh", "-c", "{APP}"]
        "#
    ));
    rig
}

fn put(rig: &Rig) -> String {
    let password = fresh("next");
    store(rig, &["put", "prod/app/db"], &password);
    password
}

/// A run of Squire with its log in a place that the test chooses.
struct Run<'a> {
    rig: &'a Rig,
    child: Child,
}

impl<'a> Run<'a> {
    fn start(rig: &'a Rig, before: &[&str], stderr: impl Into<Stdio>) -> Self {
        let words = [before, &[env!("CARGO_BIN_EXE_squire"), "run", "-c", "squire.toml"]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).envs(rig.environment()).current_dir(rig.directory());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let run = Self { rig, child };
        wait_until(SOON, "the process runs", || rig.path("seen/started").exists());
        run
    }

    /// Squire itself, which may be the child of the program that made its namespace.
    fn squire(&self) -> Pid {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let is_squire = fs::read_to_string(format!("/proc/{}/comm", self.child.id())).unwrap() == "squire\n";
        let squire =
            if is_squire { self.child.id().to_string() } else { fs::read_to_string(children).unwrap() };
        Pid::from_raw(squire.trim().parse().unwrap())
    }

    #[track_caller]
    fn follows_a_new_value(&self) {
        let next = put(self.rig);
        wait_until(SOON, "the process is told of the new value", || {
            self.rig.read("seen/told").contains(&next)
        });
    }

    #[track_caller]
    fn ends(mut self, signal: Signal, within: Duration) -> i32 {
        kill(self.squire(), signal).unwrap();
        let mut status = None;
        wait_until(within, "squire ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code().unwrap()
    }
}

/// A pipe that is full, and its two ends.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (read, write) = pipe().unwrap();
    fcntl(&write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while nix::unistd::write(write.as_fd(), &[b'x'; 4096]).is_ok() {}
    fcntl(&write, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (read, write)
}

#[test]
fn whatever_becomes_of_the_log_the_process_starts_follows_and_ends_with_its_own_code() {
    for before in [&[][..], &AS_PROCESS_1] {
        // A full disk from the start.
        let rig_full = rig();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let run = Run::start(&rig_full, before, full);
        run.follows_a_new_value();
        assert_eq!(run.ends(Signal::SIGTERM, SOON), 9);
        // A reader that is gone from the start.
        let rig_gone = rig();
        let (read, write) = pipe().unwrap();
        drop(read);
        let run = Run::start(&rig_gone, before, write);
        run.follows_a_new_value();
        assert_eq!(run.ends(Signal::SIGTERM, SOON), 9);
        // A reader that goes later, and many rotations after it.
        let rig_goes = rig();
        let (read, write) = pipe().unwrap();
        let run = Run::start(&rig_goes, before, write);
        drop(read);
        for _ in 0..50 {
            run.follows_a_new_value();
        }
        assert_eq!(run.ends(Signal::SIGTERM, SOON), 9);
        // A pipe that is full and that nobody reads.
        let rig_stalled = rig();
        let (_read, write) = full_pipe();
        let run = Run::start(&rig_stalled, before, write);
        for _ in 0..20 {
            run.follows_a_new_value();
        }
        let asked = Instant::now();
        assert_eq!(run.ends(Signal::SIGTERM, SOON), 9);
        assert!(asked.elapsed() < Duration::from_secs(5), "the log held up the end: {:?}", asked.elapsed());
    }
}

#[test]
fn a_process_that_is_killed_ends_squire_though_nobody_reads_its_log() {
    let rig = rig();
    let (_read, write) = full_pipe();
    let run = Run::start(&rig, &[], write);
    let process = fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.squire())).unwrap();
    kill(Pid::from_raw(process.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
    assert_eq!(run.ends(Signal::SIGCONT, SOON), 137);
}

#[test]
fn a_disk_that_fills_up_and_is_emptied_says_how_much_is_missing() {
    let rig = rig();
    let disk = Tmpfs::mount(&rig.path("disk"));
    let log = || OpenOptions::new().create(true).append(true).open(rig.path("disk/log")).unwrap();
    let run = Run::start(&rig, &[], log());
    disk.fill();
    for _ in 0..3 {
        run.follows_a_new_value();
    }
    // Somebody rotates the log away.
    fs::write(rig.path("disk/log"), "").unwrap();
    disk.make_room();
    let says = |words: &str| rig.read("disk/log").contains(words);
    wait_until(SOON, "it says what is missing", || {
        put(&rig);
        says("lines of the log are missing")
    });
    assert_eq!(run.ends(Signal::SIGTERM, SOON), 9);
    wait_until(SOON, "what was said before the end is written", || says("process exited"));
}

#[test]
fn what_was_said_before_the_end_is_written_where_somebody_reads() {
    let rig = rig();
    let run = Run::start(&rig, &[], File::create(rig.path("log")).unwrap());
    assert_eq!(run.ends(Signal::SIGTERM, SOON), 9);
    assert!(rig.read("log").contains("process exited"));
}

#[test]
fn a_command_into_a_pipe_that_is_closed_ends_quietly() {
    let rig = rig();
    for number in 0..50 {
        store(&rig, &["put", &format!("prod/app/{number}")], "x");
    }
    let store = ["--store", "app.store"];
    let config = ["-c", "squire.toml"];
    let commands: [(&[&str], &[&str]); 7] = [
        (&["store", "list"], &store),
        (&["store", "audit"], &store),
        (&["store", "get", "prod/app/1"], &store),
        (&["store", "verify"], &store),
        (&["check"], &config),
        (&["--help"], &[]),
        (&["store", "--help"], &[]),
    ];
    for (command, place) in commands {
        let (read, write) = pipe().unwrap();
        drop(read);
        let mut squire = Command::new(env!("CARGO_BIN_EXE_squire"));
        squire.args(command).args(place).current_dir(rig.directory());
        let output = squire.stdout(write).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked") && output.status.code() != Some(101), "{command:?}: {said}");
        assert!(!said.contains("Broken pipe"), "{command:?}: {said}");
    }
}

/// A terminal of a session of its own, which Squire leads.
fn in_a_terminal(rig: &Rig) -> (Child, PtyMaster) {
    // No process that another test starts meanwhile may hold its other end.
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits());
    let slave = options.open(ptsname_r(&master).unwrap()).unwrap();
    let mut command = Command::new("setsid");
    command.args(["--ctty", env!("CARGO_BIN_EXE_squire"), "run", "-c", "squire.toml"]);
    command.envs(rig.environment()).current_dir(rig.directory());
    let [stdin, stdout] = [(); 2].map(|()| slave.try_clone().unwrap());
    let child = command.stdin(stdin).stdout(stdout).stderr(slave).spawn().unwrap();
    wait_until(SOON, "the process runs", || rig.path("seen/started").exists());
    (child, master)
}

/// The same as for an ssh session whose connection breaks: the kernel sends SIGHUP, and from then on the terminal cannot be written.
#[test]
fn a_terminal_that_is_closed_ends_the_process_as_it_will_and_squire_as_the_process() {
    // The process gets the signal and goes on, until it is asked to end; or it dies of the signal, as most programs do.
    for (app, code) in [(APP.to_owned(), 9), (APP.replace("HUP", "USR2"), 129)] {
        let rig = rig();
        rig.write("squire.toml", &rig.read("squire.toml").replace(APP, &app));
        let (mut child, master) = in_a_terminal(&rig);
        drop(master);
        if code == 9 {
            wait_until(SOON, "the process is told of it", || !rig.read("seen/told").is_empty());
            // Each of these writes a log line, to a terminal that is gone.
            for _ in 0..3 {
                let next = put(&rig);
                wait_until(SOON, "it is followed", || rig.read("seen/told").contains(&next));
            }
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
        }
        let mut status = None;
        wait_until(SOON, "squire ends", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(code));
    }
}

#[test]
fn a_reader_of_one_byte_a_second_holds_nobody_up() {
    for before in [&[][..], &AS_PROCESS_1] {
        let rig = rig();
        let (read, write) = pipe().unwrap();
        let (done, end) = mpsc::channel::<()>();
        let reader = thread::spawn(move || {
            let mut pipe = File::from(read);
            while end
                .recv_timeout(Duration::from_secs(1))
                .is_err_and(|error| error == RecvTimeoutError::Timeout)
            {
                pipe.read_exact(&mut [0]).unwrap();
            }
        });
        let run = Run::start(&rig, before, write);
        // Fewer bytes than the pipe and the queue hold are enough at trace level: the pipe alone is full after two rotations.
        for _ in 0..20 {
            run.follows_a_new_value();
        }
        let asked = Instant::now();
        assert_eq!(run.ends(Signal::SIGTERM, SOON), 9);
        assert!(asked.elapsed() < Duration::from_secs(5), "the log held up the end: {:?}", asked.elapsed());
        drop(done);
        reader.join().unwrap();
    }
}
