//! Podman with a storage, a process namespace and a mount namespace of its own.
//!
//! *Invariant:* when the test process ends in any way, the kernel ends every container and takes back every mount.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::support::daemon::bound_to_this_process;
use crate::support::{Daemon, Outcome, SOON, on_disk, skipped, wait_until};

/// The image of Squire.
pub(crate) const SQUIRE: &str = concat!("localhost/squire:", env!("CARGO_PKG_VERSION"));

/// The image of the app: `/bin/busybox` and `/bin/shop`.
pub(crate) const SHOP: &str = "localhost/shop:1";

/// What these tests say to Podman. A test machine may not raise limits, has no systemd, and may have both kinds of control groups, which crun
/// refuses.
const SETTINGS: &str = r#"
    [containers]
    default_ulimits = ["nofile=20000:20000", "nproc=1000:1000"]
    log_driver      = "k8s-file"
    [engine]
    cgroup_manager = "cgroupfs"
    events_logger  = "file"
    lock_type      = "file"
    runtime        = "runc"
"#;

/// The app: it says that it is there, and on each SIGHUP what it reads, and what it can see that is Squire's.
const APP: &str = r#"#!/bin/busybox sh
    hear() {
        echo "HUP $(busybox cat /secrets/app/secret)" >> /seen/notes
        for process in /proc/[0-9]*; do
            [ "$(busybox cat $process/comm 2>&1)" = squire ] || continue
            echo "squire is there" >> /seen/notes
            for part in environ maps mem root/etc/squire/secret-id; do
                busybox head -c 1 $process/$part >/dev/null 2>&1 && echo "FORBIDDEN $part" >> /seen/notes
            done
        done
    }
    trap hear HUP
    trap 'exit 0' TERM
    echo $$ > /seen/pid.new && busybox mv /seen/pid.new /seen/pid
    while :; do busybox sleep 0.1; done
"#;

/// Where Podman runs.
pub(crate) struct Machine {
    /// The first process of the namespace, by its number outside.
    inside: u32,
    limits_memory: bool,
    directory: TempDir,
    _daemon: Daemon,
}

impl Machine {
    /// The one of this test process. `None` where Podman cannot run; then the reason is said.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Result<Machine, String>> = OnceLock::new();
        match SHARED.get_or_init(Self::start) {
            Ok(machine) => Some(machine),
            Err(reason) => {
                skipped(&format!("tests of the image: Podman cannot run here: {reason}"));
                None
            }
        }
    }

    fn start() -> Result<Self, String> {
        if !geteuid().is_root() {
            return Err("these tests need root for it".to_owned());
        }
        let directory = on_disk("podman");
        fs::write(directory.path().join("containers.conf"), SETTINGS).unwrap();
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--kill-child=KILL", "--mount", "--mount-proc"]);
        unshare.args(["catatonit", "--", "sh", "-c", "echo ready; exec sleep infinity"]);
        let log = directory.path().join("log");
        let mut daemon = Daemon::start(&unshare, &log, Signal::SIGKILL);
        let said = || fs::read_to_string(&log).unwrap();
        wait_until(SOON, "a namespace", || said().contains("ready") || daemon.ended().is_some());
        if daemon.ended().is_some() {
            return Err(said());
        }
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", daemon.id()))
            .map_err(|e| e.to_string())?;
        let inside = children.trim().parse().unwrap();
        let mut machine = Self { inside, limits_memory: true, directory, _daemon: daemon };
        machine.load_squire();
        machine.load_app();
        machine.try_out()?;
        Ok(machine)
    }

    fn load_squire(&self) {
        let image = built("squire.tar");
        self.must(&["load", "--quiet", "--input", image.to_str().unwrap()]);
    }

    fn load_app(&self) {
        let bin = self.directory.path().join("app/bin");
        fs::create_dir_all(&bin).unwrap();
        let busybox = fs::read("/bin/busybox").unwrap();
        let is_dynamic = busybox.windows(14).any(|window| window == b"/ld-linux-x86-");
        assert!(!is_dynamic, "/bin/busybox needs libraries: install busybox-static");
        fs::write(bin.join("busybox"), busybox).unwrap();
        fs::set_permissions(bin.join("busybox"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(bin.join("shop"), APP).unwrap();
        fs::set_permissions(bin.join("shop"), fs::Permissions::from_mode(0o755)).unwrap();
        let (from, archive) = (self.directory.path().join("app"), self.directory.path().join("app.tar"));
        let made =
            Command::new("tar").arg("-C").arg(from).arg("-cf").arg(&archive).arg(".").status().unwrap();
        assert!(made.success());
        self.must(&["import", "--quiet", archive.to_str().unwrap(), SHOP]);
    }

    /// Whether a container can run at all, and with a limit of memory.
    fn try_out(&mut self) -> Result<(), String> {
        let run = |more: &[&str]| {
            self.podman(&[&["run", "--rm", "--network=none"], more, &[SHOP, "/bin/busybox", "true"]].concat())
        };
        let limited = run(&["--memory=32m"]);
        if limited.code == 0 {
            return Ok(());
        }
        let plain = run(&[]);
        if plain.code != 0 {
            return Err(plain.stderr);
        }
        skipped(&format!("the limit of memory of each container: {}", limited.stderr));
        self.limits_memory = false;
        Ok(())
    }

    /// The option that limits a container to 32 MiB, where there are such limits.
    pub(crate) fn memory(&self) -> &'static [&'static str] {
        if self.limits_memory { &["--memory=32m"] } else { &[] }
    }

    /// Runs Podman to its end.
    pub(crate) fn podman(&self, arguments: &[&str]) -> Outcome {
        let inside = self.inside.to_string();
        let mut command = Command::new("nsenter");
        command.args(["-t", &inside, "-m", "-p", "--", "podman", "--storage-driver=overlay"]);
        for (option, place) in [("--root", "storage"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.directory.path().join(place));
        }
        command.args(arguments).env("HOME", self.directory.path());
        command.env("CONTAINERS_CONF", self.directory.path().join("containers.conf"));
        let output = bound_to_this_process(&command).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// The same, and it has to succeed; what it prints.
    #[track_caller]
    pub(crate) fn must(&self, arguments: &[&str]) -> String {
        let outcome = self.podman(arguments);
        assert_eq!(outcome.code, 0, "podman {arguments:?}: {}{}", outcome.stdout, outcome.stderr);
        outcome.stdout.trim().to_owned()
    }

    /// A path in the mount namespace of the machine.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.inside))
    }
}

/// A file that `tests/run` had `deploy/image/build` make.
#[track_caller]
pub(crate) fn built(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/image").join(name);
    assert!(path.exists(), "there is no {}: start the tests with tests/run", path.display());
    path
}

/// A container in the background.
pub(crate) struct Container {
    machine: &'static Machine,
    name: String,
    /// The pod ends it.
    is_of_pod: bool,
}

impl Container {
    /// Starts it: the arguments are options of `podman run`, the image, and its command.
    #[track_caller]
    pub(crate) fn start(machine: &'static Machine, name: &str, arguments: &[&str]) -> Self {
        let name = format!("{name}-{:08x}", fastrand::u32(..));
        machine.must(&[&["run", "--detach", "--name", &name], arguments].concat());
        Self { machine, name, is_of_pod: false }
    }

    /// One that a pod started, by its whole name.
    pub(crate) fn of_pod(machine: &'static Machine, name: &str) -> Self {
        Self { machine, name: name.to_owned(), is_of_pod: true }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        let outcome = self.machine.podman(&["logs", &self.name]);
        outcome.stdout + &outcome.stderr
    }

    fn inspect(&self, what: &str) -> String {
        self.machine.must(&["inspect", "--format", what, &self.name])
    }

    /// Whether it runs.
    pub(crate) fn runs(&self) -> bool {
        self.inspect("{{.State.Running}}") == "true"
    }

    /// Waits for a condition; the failure shows its log.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let held = crate::support::holds_within(Duration::from_mins(1), || condition() || !self.runs());
        assert!(held && condition(), "waited in vain for: {what}\n{}", self.log());
    }

    /// Waits for its end; its exit code.
    #[track_caller]
    pub(crate) fn wait(&self) -> i32 {
        wait_until(Duration::from_mins(1), "the container ends", || !self.runs());
        self.inspect("{{.State.ExitCode}}").parse().unwrap()
    }

    /// Asks it to end; its exit code.
    #[track_caller]
    pub(crate) fn stop(&self) -> i32 {
        self.machine.must(&["stop", "--time", "20", &self.name]);
        self.wait()
    }

    /// A line of the kernel's status of its first process, in KiB.
    pub(crate) fn kibibytes(&self, line: &str) -> u64 {
        let process = self.inspect("{{.State.Pid}}");
        let status = fs::read_to_string(self.machine.path(&format!("/proc/{process}/status"))).unwrap();
        let line = status.lines().find(|text| text.starts_with(line)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the log of {} ---\n{}\n---", self.name, self.log());
        }
        if !self.is_of_pod {
            self.machine.podman(&["rm", "--force", "--time", "0", &self.name]);
        }
    }
}
