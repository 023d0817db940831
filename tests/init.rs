//! Squire as an init: process 1 of a PID namespace, reaper of orphans, job of a shell. The real binary, without secrets.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);
const SQUIRE: &str = env!("CARGO_BIN_EXE_squire");

/// A private directory with a configuration of this process, which uses no secrets.
struct Bench {
    directory: TempDir,
}

impl Bench {
    fn new(process: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("squire.toml"), format!("[process]\n{process}\n")).unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `squire run` with this child, as words of a shell's command line after those of another program.
    fn command(&self, before: &[&str], script: &str) -> Command {
        let config = self.path("squire.toml");
        let words = [SQUIRE, "run", "-c", config.to_str().unwrap(), "--", "sh", "-c", script];
        let words: Vec<_> = before.iter().copied().chain(words).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(self.directory.path()).stdin(Stdio::null());
        command.env("SQUIRE_LOG", "debug").env("SQUIRE_LOG_FORMAT", "json");
        command
    }

    fn run(&self, script: &str) -> Output {
        self.command(&[], script).output().unwrap()
    }

    /// Every process that works in this directory, except Squire and what started it.
    fn marked(&self) -> Vec<String> {
        let pids =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let is_ours = |pid: &String| {
            let is_here =
                fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == self.directory.path());
            is_here
                && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() != "squire")
        };
        pids.filter(is_ours).collect()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

/// Makes a program process 1 of a PID namespace of its own, with its own `/proc`.
const AS_PID_1: [&str; 5] = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];

#[track_caller]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

fn is_alive(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

/// For an init container that brings Squire into another image: nothing but the program, whole, for everybody to execute.
#[test]
fn the_program_installs_itself_where_there_is_no_cp() {
    let bench = Bench::new("");
    let install = |to: &Path| {
        Command::new(SQUIRE)
            .arg("install")
            .arg(to)
            .env_clear()
            .current_dir(bench.directory.path())
            .output()
            .unwrap()
    };
    fs::create_dir(bench.path("bin")).unwrap();
    let installed = bench.path("bin/squire");
    // The second one replaces the first, whatever its mode is.
    for _ in 0..2 {
        let output = install(&bench.path("bin"));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(fs::metadata(&installed).unwrap().permissions().mode() & 0o7777, 0o555);
        assert_eq!(fs::read_dir(bench.path("bin")).unwrap().count(), 1, "nothing else is left");
    }
    assert!(fs::read(&installed).unwrap() == fs::read(SQUIRE).unwrap(), "it is another program");
    let version = Command::new(&installed).arg("--version").output().unwrap();
    assert!(version.status.success(), "{version:?}");
    let output = install(&bench.path("missing/squire"));
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot install this program as"), "{output:?}");
}

#[test]
fn as_process_1_the_childs_exit_code_is_its_own() {
    let bench = Bench::new("");
    for (script, expected) in
        [("exit 0", 0), ("exit 1", 1), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137)]
    {
        let output = bench.command(&AS_PID_1, script).output().unwrap();
        assert_eq!(code(&output), expected, "{script}: {output:?}");
    }
}

#[test]
fn as_process_1_a_hundred_orphans_at_once_are_reaped_and_the_childs_code_is_kept() {
    let bench = Bench::new("");
    // A shell forks each of them and is gone before it ends, so it ends as an orphan.
    let script = r#"
        i=0; while [ $i -lt 100 ]; do sh -c 'sh -c "read go < gate" & :'; i=$((i+1)); done
        orphans() { grep -ls '^PPid:.1$' /proc/[0-9]*/status | wc -l; }
        while [ "$(orphans)" -lt 100 ]; do sleep 0.05; done
        exec 3<>gate; i=0; while [ $i -lt 100 ]; do echo >&3; i=$((i+1)); done
        n=0; while [ "$(orphans)" -gt 1 ] && [ $n -lt 200 ]; do sleep 0.05; n=$((n+1)); done
        grep -ls '^State:.Z' /proc/[0-9]*/status | wc -l > zombies
        exit 42
    "#;
    assert!(Command::new("mkfifo").arg(bench.path("gate")).status().unwrap().success());
    let output = bench.command(&AS_PID_1, script).output().unwrap();
    assert_eq!(code(&output), 42, "{output:?}");
    assert_eq!(bench.read("zombies").trim(), "0");
}

#[test]
fn an_orphan_that_ends_does_not_stand_for_the_child() {
    let bench = Bench::new("");
    let script = "sh -c '(sleep 0.1; exit 9) & :'; sleep 0.5; exit 3";
    assert_eq!(code(&bench.run(script)), 3);
}

#[test]
fn what_forked_away_from_the_child_ends_with_it() {
    for (stubborn, policy) in [("", ""), ("trap '' TERM;", "")] {
        let bench = Bench::new(policy);
        let script = format!(
            "setsid sh -c '{stubborn} (setsid sh -c \"{stubborn} echo \\$\\$ > daemon.tmp; mv daemon.tmp daemon; while :; do sleep 0.05; done\" &) ' ; \
             while [ ! -e daemon ]; do sleep 0.05; done; exit 5"
        );
        let output = bench.run(&script);
        assert_eq!(code(&output), 5, "{output:?}");
        let daemon = bench.read("daemon");
        assert!(!daemon.trim().is_empty() && !is_alive(&daemon), "{stubborn}: {daemon} lives");
    }
}

#[test]
fn what_forked_away_is_gone_before_the_process_is_started_again() {
    let bench = Bench::new("restart = \"on-failure\"\nrestart_limit = 1");
    let script = r#"
        if [ -e daemon ]; then
            kill -0 "$(cat daemon)" 2>/dev/null && echo lives > verdict || echo gone > verdict
            exit 0
        fi
        setsid sh -c 'echo $$ > daemon.tmp; mv daemon.tmp daemon; while :; do sleep 0.05; done' &
        while [ ! -e daemon ]; do sleep 0.05; done; exit 1
    "#;
    let output = bench.run(script);
    assert_eq!((code(&output), bench.read("verdict").trim()), (0, "gone"), "{output:?}");
}

#[test]
fn a_tree_that_ignores_the_stop_is_killed_whole() {
    for before in [&AS_PID_1[..], &[]] {
        let bench = Bench::new("stop_timeout = \"300ms\"");
        // Each leaves the group, ignores everything, and has a child of the same kind.
        fs::write(
            bench.path("chain"),
            "trap '' TERM INT HUP; echo $$ >> chain.log; \
             [ $1 -gt 0 ] && setsid sh chain $(($1 - 1)) & while :; do sleep 0.05; done",
        )
        .unwrap();
        let mut command = bench.command(before, "trap '' TERM; sh chain 30");
        let mut squire = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until("the chain is there", || bench.read("chain.log").lines().count() == 31);
        let inside = bench.marked();
        assert!(inside.len() > 31, "{inside:?}");
        let id = squire.id().to_string();
        let target = if before.is_empty() { id } else { child_of(&id) };
        assert!(Command::new("kill").args(["-TERM", target.trim()]).status().unwrap().success());
        let status = squire.wait().unwrap();
        assert_eq!(status.code(), Some(137), "{before:?}");
        assert_eq!(bench.marked(), [""; 0], "{before:?}");
    }
}

fn child_of(pid: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap()
}

#[test]
fn whoever_was_there_before_squire_is_left_alone() {
    let bench = Bench::new("");
    let config = bench.path("squire.toml");
    let script = format!("sleep 1000 & echo $! > other; exec {SQUIRE} run -c {} -- true", config.display());
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(bench.directory.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().unwrap().success());
    let other = bench.read("other");
    assert!(is_alive(&other), "{other} was not Squire's to end");
    assert!(Command::new("kill").arg(other.trim()).status().unwrap().success());
}

/// A program on a terminal of its own, below a shell without job control that prints how the program ended.
struct Terminal {
    script: Child,
    said: PathBuf,
}

impl Terminal {
    /// The shell is the session leader; `program` is Squire's child.
    fn start(bench: &Bench, program: &str) -> Self {
        let (config, child) = (bench.path("squire.toml"), bench.path("child"));
        fs::write(&child, program).unwrap();
        let line = format!(
            "{SQUIRE} run -c {} -- sh {}; echo \"code $?\"; cut -d' ' -f5,8 /proc/$$/stat > after",
            config.display(),
            child.display()
        );
        let said = bench.path("said");
        let mut command = Command::new("script");
        command.args(["-qfc", &line, said.to_str().unwrap()]).current_dir(bench.directory.path());
        command.env("SHELL", "/bin/sh").env("SQUIRE_LOG", "off");
        let script = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        Self { script, said }
    }

    fn type_in(&mut self, keys: &str) {
        let stdin = self.script.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    fn wait_for(&self, text: &str) {
        let mut said = String::new();
        let deadline = Instant::now() + PATIENCE;
        while !said.contains(text) {
            assert!(Instant::now() < deadline, "waited in vain for {text:?} in {said:?}");
            std::thread::sleep(Duration::from_millis(10));
            said.clear();
            drop(fs::File::open(&self.said).and_then(|mut file| file.read_to_string(&mut said)));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        drop(self.script.kill());
        drop(self.script.wait());
    }
}

#[test]
fn the_child_has_the_terminal_and_gives_it_back() {
    let bench = Bench::new("");
    let program = r#"
        read -r _ _ _ _ group _ _ front _ < /proc/self/stat
        [ "$group" = "$front" ] && echo in front
        read -r line; echo "read $line"
    "#;
    let mut terminal = Terminal::start(&bench, program);
    terminal.wait_for("in front");
    terminal.type_in("words\n");
    terminal.wait_for("read words");
    terminal.wait_for("code 0");
    wait_until("the shell has the terminal again", || {
        let after = bench.read("after");
        let mut groups = after.split_ascii_whitespace();
        matches!((groups.next(), groups.next()), (Some(group), Some(front)) if group == front)
    });
}

#[test]
fn control_c_is_for_the_child_which_may_go_on() {
    let bench = Bench::new("");
    let program = "trap 'echo heard' INT; echo ready; while :; do sleep 0.05; done";
    let mut terminal = Terminal::start(&bench, program);
    terminal.wait_for("ready");
    terminal.type_in("\u{3}");
    terminal.wait_for("heard");
    terminal.type_in("\u{1c}");
    terminal.wait_for("code 131");
}

#[test]
fn a_child_that_dies_of_control_c_is_not_started_again() {
    let bench = Bench::new("restart = \"always\"");
    let mut terminal = Terminal::start(&bench, "echo ready; exec sleep 1000");
    terminal.wait_for("ready");
    terminal.type_in("\u{3}");
    terminal.wait_for("code 130");
}

/// Waits without starting a process: if one is stopped between `vfork` and `exec`, its parent is neither running nor stopped, and no event
/// reports it.
const WAITS: &str = "sleep 1000 & echo ready; while :; do wait; done";

#[test]
fn control_z_that_nobody_could_undo_is_undone() {
    let bench = Bench::new("");
    // The shell that waits for Squire has no job control, so Squire's group is orphaned: no shell would continue it.
    let program = format!("trap 'echo went on' CONT; {WAITS}");
    let program = program.as_str();
    let mut terminal = Terminal::start(&bench, program);
    terminal.wait_for("ready");
    terminal.type_in("\u{1a}");
    terminal.wait_for("went on");
    terminal.type_in("\u{3}");
    terminal.wait_for("code 130");
    assert_eq!(
        fs::read_to_string(&terminal.said).unwrap().matches("went on").count(),
        1,
        "continued more than once"
    );
}

#[test]
fn control_z_stops_squire_with_its_child_and_the_shell_continues_both() {
    let bench = Bench::new("");
    let (config, child) = (bench.path("squire.toml"), bench.path("child"));
    fs::write(&child, format!("trap 'echo went on' CONT; {WAITS}")).unwrap();
    let line = format!(
        "set -m; {SQUIRE} run -c {} -- sh {}; echo stopped $?; fg >/dev/null; echo code $?",
        config.display(),
        child.display()
    );
    let mut words = String::new();
    write!(words, "exec bash --norc -c {}", shell_quoted(&line)).unwrap();
    let said = bench.path("said");
    let mut command = Command::new("script");
    command.args(["-qfc", &words, said.to_str().unwrap()]).env("SHELL", "/bin/sh").env("SQUIRE_LOG", "off");
    let script = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut terminal = Terminal { script, said };
    terminal.wait_for("ready");
    terminal.type_in("\u{1a}");
    terminal.wait_for("stopped 147");
    terminal.wait_for("went on");
    terminal.type_in("\u{3}");
    terminal.wait_for("code 130");
    assert_eq!(
        fs::read_to_string(&terminal.said).unwrap().matches("went on").count(),
        1,
        "continued more than once"
    );
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[test]
fn a_configuration_without_any_secret_runs_its_process() {
    let bench = Bench::new("");
    let output = bench.run("echo here; exit 4");
    assert_eq!((code(&output), output.stdout.as_slice()), (4, &b"here\n"[..]), "{output:?}");
}

/// The lines that the child wrote.
fn lines(output: &Output) -> Vec<&str> {
    std::str::from_utf8(&output.stdout).unwrap().lines().collect()
}

#[test]
fn the_process_stands_as_the_configuration_says() {
    let bench = Bench::new(
        r#"
        user = "nobody"
        working_dir = "/usr/lib"
        umask = "0027"
        env_clear = true
        env_pass = ["PATH", "SQUIRE_LOG"]
        limits = { nofile = { soft = 100, hard = 200 }, core = 0 }
        no_new_privs = true
        "#,
    );
    let script = "id -un; id -gn; id -Gn; pwd; umask; ulimit -Sn; ulimit -Hn; ulimit -c; \
                  grep -E '^(NoNewPrivs|CapEff)' /proc/self/status; env | grep -vE '^(PWD|_|SHLVL|OLDPWD)='";
    let output = bench.run(script);
    let words = lines(&output).join(" ").replace('\t', "");
    assert!(
        words.starts_with(
            "nobody nogroup nogroup /usr/lib 0027 100 200 0 CapEff:0000000000000000 NoNewPrivs:1 "
        ),
        "{words} {output:?}"
    );
    let mut names: Vec<_> = lines(&output)[10..].iter().map(|line| line.split('=').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LOGNAME", "PATH", "SQUIRE_LOG", "USER"]);
}

/// Nothing that Squire starts has the capability that Squire needs for `output.mount`. It runs without root's rights, so that no other
/// capability is there.
#[test]
fn ambient_capabilities_stay_with_squire() {
    let bench = Bench::new("");
    let given =
        ["setpriv", "--inh-caps", "+sys_admin", "--ambient-caps", "+sys_admin", "--securebits", "+noroot"];
    let script = "grep -E '^Cap(Prm|Eff|Amb)' /proc/self/status; grep CapAmb /proc/$PPID/status";
    for before in [given.to_vec(), AS_PID_1.into_iter().chain(given).collect()] {
        let output = bench.command(&before, script).output().unwrap();
        let words = lines(&output).join(" ").replace('\t', "");
        let (nothing, all) = ("0000000000000000", "0000000000200000");
        let expected = format!("CapPrm:{nothing} CapEff:{nothing} CapAmb:{nothing} CapAmb:{all}");
        assert_eq!(words, expected, "{before:?} {output:?}");
    }
}

#[test]
fn ambient_capabilities_are_for_no_check_and_no_reaction_either() {
    let bench = Bench::new("");
    let look = |name: &str| format!(r#"["sh", "-c", "grep CapAmb /proc/self/status > {name}"]"#);
    let (check, reaction) = (look("check"), look("reaction"));
    let more = format!("on_change = {{ run = {reaction} }}\n[rollout]\ncheck = [{check}]\n");
    let given = ["setpriv", "--inh-caps", "+sys_admin", "--ambient-caps", "+sys_admin"];
    let mut squire = sidecar(&bench, &given, &more);
    assert_eq!([bench.read("check"), bench.read("reaction")], ["CapAmb:\t0000000000000000\n"; 2]);
    kill("TERM", &squire.id().to_string());
    assert_eq!(squire.wait().unwrap().code(), Some(0));
}

/// Squire without a process, which publishes a file; `more` is added to the file's table. Returns when the release is committed.
fn sidecar(bench: &Bench, before: &[&str], more: &str) -> Child {
    let config = bench.path("squire.toml");
    let output = format!("[output]\ndir = \"{}\"\nallow_disk = true\n", bench.path("out").display());
    let file = "[[file]]\npath = \"greeting\"\ninline = \"hello\"\n";
    fs::write(&config, format!("{output}{file}{more}")).unwrap();
    let words = before.iter().copied().chain([SQUIRE, "run", "-c", config.to_str().unwrap()]);
    let words: Vec<_> = words.collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(bench.directory.path()).stdin(Stdio::null());
    command.env("SQUIRE_LOG", "debug").stderr(fs::File::create(bench.path("log")).unwrap());
    let squire = command.spawn().unwrap();
    wait_until("the release is committed", || bench.read("log").contains("generation committed"));
    squire
}

#[test]
fn groups_can_be_chosen_without_a_user() {
    let bench = Bench::new("group = 12345\ngroups = [23456, \"daemon\"]");
    let output = bench.run("id -u; id -g; id -G");
    assert_eq!(lines(&output), ["0", "12345", "12345 1 23456"], "{output:?}");
}

#[test]
fn a_place_that_cannot_be_taken_is_said_and_squire_is_to_blame() {
    for (process, word) in [
        ("working_dir = \"/does/not/exist\"", "entering process.working_dir"),
        ("limits = { nofile = { soft = 1, hard = 99999999999 } }", "setting process.limits"),
    ] {
        let bench = Bench::new(process);
        let output = bench.run("exit 0");
        assert_eq!(code(&output), 125, "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(word), "{said}");
    }
}

/// Answers each connection with its process number, after it checked that the socket was meant for it; ends after a few.
const SERVER: &str = r#"
import os, socket
assert os.environ["LISTEN_PID"] == str(os.getpid()), os.environ["LISTEN_PID"]
assert os.environ["LISTEN_FDS"] == "2", os.environ["LISTEN_FDS"]
tcp, unix = (socket.socket(fileno=number) for number in (3, 4))
assert tcp.family == socket.AF_INET and unix.family == socket.AF_UNIX
for _ in range(20):
    connection, _ = tcp.accept()
    connection.sendall(str(os.getpid()).encode())
    connection.close()
"#;

#[test]
fn connections_wait_while_the_process_is_restarted() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let bench = Bench::new("");
    let socket = bench.path("app.sock");
    let config = format!(
        "[process]\nlisten = [\"tcp://127.0.0.1:{port}\", \"unix:{}\"]\nrestart = \"always\"",
        socket.display()
    );
    fs::write(bench.path("squire.toml"), config).unwrap();
    fs::write(bench.path("server.py"), SERVER).unwrap();
    let mut command = bench.command(&[], "exec python3 server.py");
    let mut squire = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let connect = || std::net::TcpStream::connect(("127.0.0.1", port));
    wait_until("squire listens", || socket.exists() && connect().is_ok());
    let mut answered = std::collections::BTreeSet::new();
    for number in 0..60 {
        let mut connection = connect().unwrap_or_else(|error| panic!("connection {number}: {error}"));
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut process = String::new();
        connection.read_to_string(&mut process).unwrap_or_else(|error| panic!("answer {number}: {error}"));
        assert!(!process.is_empty(), "connection {number} was dropped");
        answered.insert(process);
    }
    assert!(answered.len() >= 3, "{answered:?}");
    assert!(Command::new("kill").args(["-TERM", &squire.id().to_string()]).status().unwrap().success());
    squire.wait().unwrap();
    assert!(!socket.exists(), "the socket's file is left");
    assert!(connect().is_err(), "somebody still listens");
}

/// Squire as a service manager starts it: with this in `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`, and with two sockets, or what passes for
/// them, as its descriptors 3 and 4.
fn started_with_sockets(bench: &Bench, [pid, fds, names]: [&str; 3], script: &str) -> Output {
    fs::write(bench.path("three"), "three").unwrap();
    fs::write(bench.path("four"), "four").unwrap();
    let export = format!("export LISTEN_PID={pid} LISTEN_FDS={fds} LISTEN_FDNAMES={names}");
    let start = format!("{export}; exec \"$@\" 3<three 4<four");
    bench.command(&["sh", "-c", &start, "sh"], script).output().unwrap()
}

const SOCKETS: &str = "echo $LISTEN_FDS $LISTEN_FDNAMES; [ \"$LISTEN_PID\" = $$ ]; echo $?; cat <&3; cat <&4";

#[test]
fn sockets_of_the_service_manager_reach_the_process_before_its_own() {
    let bench = Bench::new("");
    let output = started_with_sockets(&bench, ["$$", "2", "http:admin"], SOCKETS);
    assert_eq!(lines(&output), ["2 http:admin", "0", "threefour"], "{output:?}");

    let socket = bench.path("app.sock");
    fs::write(bench.path("squire.toml"), format!("[process]\nlisten = [\"unix:{}\"]", socket.display()))
        .unwrap();
    let output = started_with_sockets(&bench, ["$$", "2", "http:admin"], SOCKETS);
    assert_eq!(lines(&output), ["3 http:admin:unknown", "0", "threefour"], "{output:?}");
}

/// The variables may come from somewhere else: from a service whose child started Squire, or from whoever makes Squire's environment.
#[test]
fn sockets_that_are_not_for_squire_are_not_passed_on() {
    let bench = Bench::new("");
    let output = started_with_sockets(
        &bench,
        ["1", "2", "http:admin"],
        "echo \"$LISTEN_FDS$LISTEN_PID$LISTEN_FDNAMES\"",
    );
    assert_eq!(lines(&output), [""], "{output:?}");
    for wrong in
        [["$$", "99", "http"], ["$$", "many", ""], ["$$", "-1", ""], ["me", "2", ""], ["$$", "2", "http"]]
    {
        let output = started_with_sockets(&bench, wrong, "echo started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(code(&output) == 125 && output.stdout.is_empty(), "{wrong:?}: {output:?}");
        assert!(said.contains("cannot take over the sockets of the service manager"), "{wrong:?}: {said}");
    }
}

#[test]
fn what_cannot_be_listened_on_is_said_before_anything_starts() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let bench = Bench::new(&format!("listen = [\"tcp://{address}\"]"));
    let output = bench.run("echo started");
    assert_eq!((code(&output), output.stdout.as_slice()), (125, &b""[..]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
}

/// The states of the processes that work in the directory, as their first letters.
fn states(bench: &Bench, squire: &Child) -> Vec<char> {
    let pids = bench.marked().into_iter().chain([squire.id().to_string()]);
    let state = |pid: String| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    };
    // A stopped parent does not reap a process that ended meanwhile.
    pids.filter_map(state).filter(|state| *state != 'Z').collect()
}

#[test]
fn a_stop_from_outside_stops_squire_and_its_child_as_one_job_and_both_go_on() {
    for signal in ["TSTP", "TTIN", "TTOU"] {
        let bench = Bench::new("");
        // No process is started after that: a shell that waits for its child's exec could not be stopped if the child was stopped before.
        let script = "sleep 1000 & : > started; wait";
        let mut squire = bench.command(&["setsid"], script).spawn().unwrap();
        wait_until("the child runs", || bench.path("started").exists());
        let send = |signal: &str| {
            let kill = Command::new("kill").args(["-s", signal, &squire.id().to_string()]).status();
            assert!(kill.unwrap().success());
        };
        send(signal);
        wait_until("all are stopped", || states(&bench, &squire).iter().all(|state| *state == 'T'));
        send("CONT");
        wait_until("all go on", || states(&bench, &squire).iter().all(|state| *state != 'T'));
        send("TERM");
        assert_eq!(squire.wait().unwrap().code(), Some(143), "{signal}");
    }
}

/// Answers each signal that it can catch, or those that it is given, with a line, and ends when the file `done` exists.
const RECORDER: &str = r#"
import os, signal, sys, time
def heard(number, frame):
    with open("heard", "a") as log:
        log.write(f"{number}\n")
skipped = {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}
every = set(range(1, 32)) - skipped | {signal.SIGRTMIN, signal.SIGRTMIN + 3, signal.SIGRTMAX}
for number in [int(word) for word in sys.argv[1:]] or every:
    signal.signal(number, heard)
with open("ready", "w") as ready:
    ready.write(f"{os.getpid()}\n")
while not os.path.exists("done"):
    time.sleep(0.02)
sys.exit(7)
"#;

/// Squire with the recorder, and its number for signals: plain or as process 1.
fn recorded(bench: &Bench, before: &[&str]) -> (Child, String) {
    recorded_only(bench, before, "")
}

fn recorded_only(bench: &Bench, before: &[&str], signals: &str) -> (Child, String) {
    fs::write(bench.path("recorder.py"), RECORDER).unwrap();
    let mut squire = bench.command(before, &format!("exec python3 recorder.py {signals}")).spawn().unwrap();
    wait_until("the recorder is ready", || bench.read("ready").ends_with('\n'));
    let id = squire.id().to_string();
    let pid = if before.is_empty() { id } else { child_of(&id).trim().to_owned() };
    assert!(squire.try_wait().unwrap().is_none());
    (squire, pid)
}

fn kill(signal: &str, pid: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status();
    assert!(sent.unwrap().success());
}

/// All signals that can be caught, except the three that stop, those of job control, SIGCHLD, and those of a fault.
const FORWARDED: [i32; 15] = [1, 10, 12, 13, 14, 16, 18, 23, 24, 25, 26, 27, 28, 29, 30];

#[test]
fn every_signal_that_is_forwarded_reaches_the_child_once() {
    for before in [&[][..], &AS_PID_1] {
        let bench = Bench::new("");
        let (mut squire, pid) = recorded(&bench, before);
        for (count, signal) in (1..).zip(FORWARDED) {
            kill(&signal.to_string(), &pid);
            wait_until(&format!("{signal} is heard"), || bench.read("heard").lines().count() >= count);
        }
        // A signal that came twice would be recorded before this one.
        kill("HUP", &pid);
        let expected =
            FORWARDED.iter().chain(&[1]).map(ToString::to_string).collect::<Vec<_>>().join("\n") + "\n";
        wait_until("the last one is heard", || bench.read("heard").len() >= expected.len());
        assert_eq!(bench.read("heard"), expected, "{before:?}");
        fs::write(bench.path("done"), "").unwrap();
        assert_eq!(squire.wait().unwrap().code(), Some(7), "{before:?}");
    }
}

#[test]
fn real_time_signals_neither_end_squire_nor_reach_the_child_which_finds_them_as_they_were() {
    for before in [&[][..], &AS_PID_1] {
        let bench = Bench::new("");
        let (mut squire, pid) = recorded(&bench, before);
        for signal in [34, 37, 64] {
            kill(&signal.to_string(), &pid);
        }
        kill("HUP", &pid);
        wait_until("what came last is heard", || bench.read("heard") == "1\n");
        fs::write(bench.path("done"), "").unwrap();
        assert_eq!(squire.wait().unwrap().code(), Some(7), "{before:?}");
        let output = bench.command(before, "kill -34 $$; sleep 60").output().unwrap();
        assert_eq!(code(&output), 128 + 34, "{before:?}: {output:?}");
    }
}

/// Without a process these signals have no receiver, and a neighbour needs the files all the same.
#[test]
fn a_sidecar_without_a_process_lives_through_what_does_not_ask_for_its_end() {
    for before in [&[][..], &AS_PID_1] {
        let bench = Bench::new("");
        let mut squire = sidecar(&bench, before, "");
        let id = squire.id().to_string();
        let pid = if before.is_empty() { id } else { child_of(&id).trim().to_owned() };
        for signal in FORWARDED.into_iter().chain([34, 37, 64]) {
            kill(&signal.to_string(), &pid);
            // If Squire had ended by it, it could not be asked.
            wait_until(&format!("{signal} is delivered"), || is_idle(&pid));
            assert!(is_alive(&pid), "{before:?}: {signal} ended it");
        }
        kill("TERM", &pid);
        assert_eq!(squire.wait().unwrap().code(), Some(0), "{before:?}");
    }
}

/// Whether no signal is pending for any of its threads.
fn is_idle(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pending = status.lines().filter(|line| line.starts_with("ShdPnd") || line.starts_with("SigPnd"));
    pending.filter(|line| !line.ends_with("\t0000000000000000")).count() == 0
}

/// A signal of a fault is not forwarded: the kernel shields process 1; elsewhere Squire ends by it and its child gets the stop signal.
#[test]
fn what_stands_for_a_fault_is_not_forwarded() {
    for signal in [4, 5, 6, 7, 8, 11, 31] {
        let bench = Bench::new("");
        let (mut squire, pid) = recorded(&bench, &AS_PID_1);
        kill(&signal.to_string(), &pid);
        kill("HUP", &pid);
        wait_until("what came last is heard", || bench.read("heard") == "1\n");
        fs::write(bench.path("done"), "").unwrap();
        assert_eq!(squire.wait().unwrap().code(), Some(7), "{signal}");
    }
    let bench = Bench::new("");
    let (mut squire, pid) = recorded(&bench, &[]);
    kill("ABRT", &pid);
    assert_eq!(squire.wait().unwrap().signal(), Some(6));
    // The kernel may look once for each thread of Squire's.
    wait_until("the child is asked to end", || bench.read("heard").starts_with("15\n"));
    fs::write(bench.path("done"), "").unwrap();
    wait_until("the child is gone", || bench.marked().is_empty());
}

#[test]
fn a_stop_lasts_until_sigcont_which_reaches_the_child_once() {
    for before in [&[][..], &AS_PID_1] {
        for signal in ["TSTP", "TTIN", "TTOU"] {
            let bench = Bench::new("");
            let (mut squire, pid) = recorded_only(&bench, before, "1 10 18");
            let child = child_of(&pid).trim().to_owned();
            let state = || fs::read_to_string(format!("/proc/{child}/stat")).unwrap().contains(") T ");
            kill(signal, &pid);
            wait_until("the child is stopped", state);
            if !before.is_empty() {
                // Process 1 itself goes on: the signals that it forwards afterwards wait for the child, which is still stopped.
                kill("HUP", &pid);
                wait_until("the child has a signal that it cannot hear", || !is_idle(&child));
                assert!(state(), "{signal}: continued by nobody's wish");
                assert_eq!(bench.read("heard"), "", "{signal}");
            }
            kill("CONT", &pid);
            wait_until("the child goes on", || bench.read("heard").contains("18\n"));
            kill("USR1", &pid);
            wait_until("what came last is heard", || bench.read("heard").ends_with("10\n"));
            assert_eq!(bench.read("heard").matches("18\n").count(), 1, "{before:?} {signal}");
            fs::write(bench.path("done"), "").unwrap();
            assert_eq!(squire.wait().unwrap().code(), Some(7), "{before:?} {signal}");
        }
    }
}

#[test]
fn those_whom_the_process_leaves_in_its_group_are_asked_to_end_before_they_are_killed() {
    for before in [&[][..], &AS_PID_1] {
        // Squire waits for a process that saves its data, but no longer than that takes.
        let bench = Bench::new("");
        let script = r#"
            sh -c 'trap "echo flushed > flushed; exit" TERM; : > ready; while :; do sleep 0.02; done' &
            while [ ! -e ready ]; do sleep 0.02; done; exit 5
        "#;
        let began = Instant::now();
        assert_eq!(code(&bench.command(before, script).output().unwrap()), 5, "{before:?}");
        assert_eq!(bench.read("flushed"), "flushed\n", "{before:?}");
        assert!(began.elapsed() < DISBANDED_WITHIN, "{before:?}: waited for nobody");
        assert_eq!(bench.marked(), [""; 0], "{before:?}");

        // A process that ignores SIGTERM is killed: after `stop_timeout`, or sooner.
        for (process, at_least) in
            [("stop_timeout = \"300ms\"", Duration::from_millis(300)), ("", DISBANDED_WITHIN)]
        {
            let bench = Bench::new(process);
            let script = script.replace("echo flushed > flushed; exit", ":");
            let began = Instant::now();
            assert_eq!(code(&bench.command(before, &script).output().unwrap()), 5, "{before:?}");
            let took = began.elapsed();
            assert!(at_least <= took && took < at_least + DISBANDED_WITHIN, "{before:?} {process}: {took:?}");
            assert_eq!(bench.marked(), [""; 0], "{before:?}");
        }
    }
}

#[test]
fn a_second_stop_does_not_wait_for_whom_the_process_left_in_its_group() {
    let bench = Bench::new("");
    let script = r#"
        sh -c 'trap ": > asked" TERM; : > ready; while :; do sleep 0.02; done' &
        while [ ! -e ready ]; do sleep 0.02; done; exit 5
    "#;
    let mut squire = bench.command(&[], script).spawn().unwrap();
    wait_until("the helper is asked to end", || bench.path("asked").exists());
    let began = Instant::now();
    // Two signals that come at once are one, so a poll sends several.
    wait_until("Squire ends", || {
        kill("TERM", &squire.id().to_string());
        std::thread::sleep(Duration::from_millis(70)); // the poll
        squire.try_wait().unwrap().is_some()
    });
    assert_eq!(squire.wait().unwrap().code(), Some(5));
    assert!(began.elapsed() < DISBANDED_WITHIN.mul_f32(0.8), "waited for {:?}", began.elapsed());
    assert_eq!(bench.marked(), [""; 0]);
}

/// The longest time that a group has after its leader.
const DISBANDED_WITHIN: Duration = Duration::from_secs(5);

/// The kernel sends SIGPIPE to a writer of a pipe that nobody reads, and SIGXFSZ to a writer of a file that is too long. Neither is
/// forwarded.
#[test]
fn what_the_kernel_sends_about_squires_own_log_is_not_for_the_child() {
    const LONGEST: usize = 4096;
    for is_closed in [true, false] {
        let bench = Bench::new("");
        fs::write(bench.path("recorder.py"), RECORDER).unwrap();
        let limit = format!("--fsize={LONGEST}");
        let before = if is_closed { vec![] } else { vec!["prlimit", &limit] };
        let mut command = bench.command(&before, "exec python3 recorder.py 2>/dev/null");
        let mut squire = if is_closed {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            command.stderr(writer).spawn().unwrap()
        } else {
            fs::write(bench.path("log"), [b'\n'; LONGEST]).unwrap();
            let log = fs::OpenOptions::new().append(true).open(bench.path("log")).unwrap();
            command.stderr(log).spawn().unwrap()
        };
        // By then the log has lines about its start that nobody read.
        wait_until("the child runs", || bench.path("ready").exists());
        kill("HUP", &squire.id().to_string());
        wait_until("what was sent is heard", || bench.read("heard").ends_with("1\n"));
        fs::write(bench.path("done"), "").unwrap();
        assert_eq!(squire.wait().unwrap().code(), Some(7), "closed: {is_closed}");
        assert_eq!(bench.read("heard"), "1\n", "closed: {is_closed}");
    }
}

#[test]
fn an_ignored_sigpipe_stays_ignored_in_the_child_and_a_default_one_default() {
    let bench = Bench::new("");
    let script = "grep SigIgn /proc/self/status > ignored";
    for (before, expected) in
        [(&["env", "--ignore-signal=PIPE"][..], true), (&["env", "--default-signal=PIPE"], false)]
    {
        assert_eq!(code(&bench.command(before, script).output().unwrap()), 0);
        let set = u64::from_str_radix(bench.read("ignored").split_whitespace().last().unwrap(), 16).unwrap();
        assert_eq!(set & (1 << 12) != 0, expected, "{before:?}");
    }
}

/// Each process of the tree starts the next one in a session of its own and ignores the stop; Squire could not find any of them by walking
/// the tree.
#[test]
fn a_control_group_of_its_own_is_killed_whole_and_removed() {
    let bench = Bench::new("stop_timeout = \"300ms\"");
    let script = r#"
        grep '^0::' /proc/self/cgroup > group
        for n in 1 2 3 4 5; do setsid sh -c 'trap "" TERM; while :; do sleep 0.2; done' & done
        trap '' TERM
        touch started
        while :; do sleep 0.05; done
    "#;
    let mut squire = bench.command(&[], script).spawn().unwrap();
    wait_until("the child runs", || bench.path("started").exists());
    let pid = squire.id();
    // The machine decides whether there can be a control group; if there is one, it is gone afterwards.
    let group = bench.read("group").trim().trim_start_matches("0::").to_owned();
    eprintln!("control group: {group}");
    assert!(Command::new("kill").arg(pid.to_string()).status().unwrap().success());
    assert_eq!(squire.wait().unwrap().code(), Some(137));
    wait_until("nobody is left", || bench.marked().is_empty());
    for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        let own = format!("{root}{group}");
        assert!(!own.contains(&format!("squire-{pid}-")) || !PathBuf::from(&own).exists(), "{own} is left");
    }
}

#[test]
fn if_squire_is_killed_the_child_gets_its_stop_signal() {
    let bench = Bench::new("stop_signal = \"SIGINT\"");
    let script = "trap 'touch asked; exit' INT; touch started; while :; do sleep 0.05; done";
    let mut squire = bench.command(&[], script).spawn().unwrap();
    wait_until("the child runs", || bench.path("started").exists());
    squire.kill().unwrap();
    squire.wait().unwrap();
    wait_until("it is asked to stop", || bench.path("asked").exists());
    wait_until("and gone", || bench.marked().is_empty());
}
