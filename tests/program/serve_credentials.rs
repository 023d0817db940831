//! `squire serve-credentials`, asked by a client that binds as systemd does; `program::unit` has the real one.
//!
//! Who attacks: another user who reaches the socket, a unit of root that wants what another unit has, and whoever binds an address that is none.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{
    Rig, SOON, Squire, Tmpfs, configure_store, free_port, fresh, holds_within, make_role, make_store,
    rig_of_store, skipped, status, store, wait_until,
};

/// systemd takes no more.
const MIB: usize = 1024 * 1024;

/// Connects as systemd does, as this user, and prints what it gets. With another manner it closes at once, or never reads, or becomes root in a user
/// namespace of its own first, as in a container.
const CLIENT: &str = r#"
import ctypes, os, socket, sys, time
path, name, user, manner = sys.argv[1:]
os.setgid(int(user)), os.setuid(int(user))
if manner == "contained":
    libc = ctypes.CDLL(None)
    libc.prctl(4, 1, 0, 0, 0)
    assert libc.unshare(0x10000000) == 0
    open("/proc/self/uid_map", "w").write(f"0 {user} 1")
    assert os.getuid() == 0
s = socket.socket(socket.AF_UNIX)
if name: s.bind(b"\0" + bytes.fromhex(name).replace(b"RANDOM", os.urandom(8).hex().encode()))
s.connect(path)
s.shutdown(socket.SHUT_WR)
if manner == "closes": sys.exit()
if manner == "crowds":
    crowd = []
    for _ in range(250):
        s = socket.socket(socket.AF_UNIX)
        s.bind(b"\0" + bytes.fromhex(name).replace(b"RANDOM", os.urandom(8).hex().encode()))
        s.connect(path)
        crowd.append(s)
    for s in crowd: assert s.recv(7) == b"squire:"
    print("crowds", flush=True); time.sleep(1000)
if manner == "hangs": print("hangs", flush=True); time.sleep(1000)
while got := s.recv(1 << 16): sys.stdout.buffer.write(got)
"#;

/// Control groups as systemd makes them, which go with the test.
struct Groups(PathBuf);

impl Groups {
    /// `None` if this machine lets us make none.
    fn make() -> Option<Self> {
        let base = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup"].into_iter().map(Path::new);
        let base = base.into_iter().find(|base| base.join("cgroup.procs").exists());
        let groups = base.map(|base| base.join(format!("squire-test-{:08x}.slice", fastrand::u32(..))));
        let made = groups.filter(|groups| fs::create_dir(groups).is_ok());
        if made.is_none() {
            skipped("no control group can be made here (it takes root and a writable /sys/fs/cgroup)");
        }
        made.map(Self)
    }

    /// Runs a client in the group of this unit.
    fn start(&self, unit: &str, socket: &Path, name: &[u8], user: u32, manner: &str) -> Child {
        let group = self.0.join(unit);
        fs::create_dir_all(&group).unwrap();
        let hex = name.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        let script = "echo $$ > \"$1/cgroup.procs\" && shift && exec python3 -c \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", group.to_str().unwrap(), CLIENT, socket.to_str().unwrap(), &hex]);
        command.args([&user.to_string(), manner]).stdin(Stdio::null()).stdout(Stdio::piped());
        command.spawn().unwrap()
    }

    /// What systemd gets for this unit.
    fn load(&self, rig: &Rig, unit: &str, credential: &str) -> Vec<u8> {
        let name = format!("RANDOM/unit/{unit}/{credential}");
        answer(self.start(unit, &rig.path("credentials.sock"), name.as_bytes(), 0, "reads"))
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        fn remove(group: &Path) -> bool {
            let below = fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path());
            below.filter(|path| path.is_dir()).for_each(|path| _ = remove(&path));
            fs::remove_dir(group).is_ok() || !group.exists()
        }
        assert!(
            holds_within(SOON, || remove(&self.0)) || std::thread::panicking(),
            "a control group is left"
        );
    }
}

/// All that a client got.
fn answer(client: Child) -> Vec<u8> {
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    output.stdout
}

/// The beginning of an answer, for messages.
fn begins(answer: &[u8]) -> String {
    String::from_utf8_lossy(&answer[..answer.len().min(100)]).into_owned()
}

#[track_caller]
fn is_refused(answer: &[u8], what: &str) {
    assert!(answer.len() > MIB, "{what}: systemd would take these {} bytes", answer.len());
    assert!(answer.starts_with(b"squire: refused"), "{what}");
}

fn serve<'a>(rig: &'a Rig, more: &[&str]) -> Squire<'a> {
    let (config, socket) = (rig.path("squire.toml"), rig.path("credentials.sock"));
    let words = ["serve-credentials", "-c", config.to_str().unwrap(), "--listen", socket.to_str().unwrap()];
    rig.start(&[&words, more].concat())
}

/// `db-password` for two kinds of units, which are not told of a change, and a large one.
const CREDENTIALS: &str = r#"
    [[credential]]
    name = "db-password"
    units = ["shop.service", "shop@*.service"]
    inline = "{{db.password}}"
    on_change = "none"
    [[credential]]
    name = "large"
    units = ["shop.service"]
    inline = "{{db.padding}}{{db.padding}}{{db.padding}}{{db.padding}}"
    on_change = "none"
    [agent]
    ledger = "@dir@/ledger"
"#;

fn secret(password: &str) -> Value {
    json!({ "password": password, "padding": "0".repeat(150_000), "empty": "" })
}

fn metric(port: u16, series: &str) -> f64 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line =
        text.lines().find(|line| line.starts_with(series)).unwrap_or_else(|| panic!("{series} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_unit_gets_what_the_configuration_gives_it_and_nobody_else_gets_anything() {
    let Some(groups) = Groups::make() else { return };
    let (first, port) = (fresh("first"), free_port());
    let audit = "[audit]\nfile = \"@dir@/audit/lines\"\n";
    let rest = format!("{CREDENTIALS}\nlisten = \"127.0.0.1:{port}\"\n{audit}");
    let rig = rig_of_store(&secret(&first), &rest);
    fs::create_dir(rig.path("audit")).unwrap();
    let mut squire = serve(&rig, &[]);
    let socket = rig.path("credentials.sock");
    squire.wait_until("its socket is there", || socket.exists());
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);

    for unit in ["shop.service", "shop@a.service"] {
        assert_eq!(begins(&groups.load(&rig, unit, "db-password")), first, "{unit}");
    }
    assert_eq!(groups.load(&rig, "shop.service", "large").len(), 600_000);
    // Units that may not have it, or not this one.
    for (unit, credential) in [
        ("bill.service", "db-password"),
        ("shop@a.service", "large"),
        ("shop.service", "other"),
        ("shop.socket", "db-password"),
    ] {
        is_refused(&groups.load(&rig, unit, credential), unit);
    }
    // A process of another unit that asks for this one, and one that is of no unit.
    let name = b"RANDOM/unit/shop.service/db-password";
    for of in ["bill.service", "bill.service/shop.service", "."] {
        is_refused(&answer(groups.start(of, &socket, name, 0, "reads")), of);
    }
    for odd in [
        &b""[..],
        b"x",
        b"5f0c/unit/shop.service",
        b"5f0c/unit/shop.service/",
        b"5f0c/unit/shop.service/db-password/",
        b"5f0c/unit/../shop.service/db-password",
        b"5f0c/unit/shop.service/../db-password",
        b"5f0c/unit/shop.service/db\npassword",
        b"5f0c/unit/shop.service\0/db-password",
        b"5f0c/unit/sh\xffp.service/db-password",
        b"/unit/shop.service/db-password",
        b"zz/unit/shop.service/db-password",
        &[b'a'; 107],
    ] {
        is_refused(&answer(groups.start("shop.service", &socket, odd, 0, "reads")), &format!("{odd:?}"));
    }
    // Another user, though the operator opened the socket for everybody, and though it is in the unit's group.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(rig.directory(), fs::Permissions::from_mode(0o755)).unwrap();
    is_refused(&answer(groups.start("shop.service", &socket, name, 65534, "reads")), "another user");
    is_refused(
        &answer(groups.start("shop.service", &socket, name, 65534, "contained")),
        "root of a container",
    );

    let log = || rig.read("stderr.1");
    squire.wait_until("it says so", || {
        log().contains("a credential is refused") && log().contains("somebody who is not systemd")
    });
    assert!(log().contains("its control group is that of bill.service"), "{}", log());
    assert!(metric(port, "squire_unit_credentials_total{outcome=\"done\"}") >= 3.0);
    assert!(metric(port, "squire_unit_credentials_total{outcome=\"failed\"}") >= 20.0);
    let lines = || {
        rig.read("audit/lines")
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect::<Vec<Value>>()
    };
    let about =
        |outcome: &str| lines().into_iter().find(|line| line["what"] == "give" && line["outcome"] == outcome);
    squire.wait_until("the audit has it", || about("done").is_some() && about("denied").is_some());
    let given = about("done").unwrap();
    assert_eq!((&given["unit"], &given["credential"]), (&json!("shop.service"), &json!("db-password")));
    assert_eq!((&given["secrets"], &given["generation"]), (&json!(["db"]), &json!(1)));

    // The next value is for who asks next; who has the one before is in the status.
    let second = fresh("second");
    store(&rig, &["put", "prod/app/db"], &secret(&second).to_string());
    squire.wait_until("it gives the next one", || {
        groups.load(&rig, "shop.service", "db-password") == second.as_bytes()
    });
    let shown = &status(&rig)["credentials"][0];
    assert_eq!(
        *shown,
        json!({
            "name": "db-password",
            "units": ["shop.service", "shop@*.service"],
            "held_by": ["shop.service"],
            "outdated": ["shop@a.service"],
        })
    );
    assert_eq!(squire.stop(), 0);
    assert!(!socket.exists(), "its socket goes with it");
}

#[test]
fn who_asks_before_there_is_a_value_waits_and_nobody_gets_nothing() {
    let Some(groups) = Groups::make() else { return };
    let rig = Rig::at("http://127.0.0.1:1");
    make_store(&rig);
    make_role(&rig, &["--read", "prod/app/*"]);
    configure_store(&rig, CREDENTIALS);
    let mut squire = serve(&rig, &[]);
    let socket = rig.path("credentials.sock");
    squire.wait_until("its socket is there", || socket.exists());
    let ask = || groups.start("shop.service", &socket, b"RANDOM/unit/shop.service/db-password", 0, "reads");
    // A Squire that is killed meanwhile leaves no empty credential behind: the client has an error.
    let waits = ask();
    squire.wait_until("it waits for the value", || {
        rig.read("stderr.1").contains("still waiting for the first")
    });
    squire.kill();
    let killed = waits.wait_with_output().unwrap();
    assert!(!killed.status.success() && killed.stdout.is_empty(), "{killed:?}");
    drop(squire);

    let mut squire = serve(&rig, &[]);
    squire.wait_until("it waits for the value", || {
        rig.read("stderr.2").contains("still waiting for the first")
    });
    let mut waits = ask();
    let first = fresh("first");
    assert!(waits.try_wait().unwrap().is_none());
    store(&rig, &["put", "prod/app/db"], &secret(&first).to_string());
    assert_eq!(begins(&answer(waits)), first);
    assert_eq!(squire.stop(), 0);
}

#[test]
fn who_never_reads_or_closes_at_once_holds_up_nobody() {
    let Some(groups) = Groups::make() else { return };
    let first = fresh("first");
    let rig = rig_of_store(&secret(&first), CREDENTIALS);
    let mut squire = serve(&rig, &[]);
    let socket = rig.path("credentials.sock");
    squire.wait_until("its socket is there", || socket.exists());
    let large = b"RANDOM/unit/shop.service/large";
    let mut hang: Vec<_> =
        (0..30).map(|_| groups.start("shop.service", &socket, large, 0, "hangs")).collect();
    for client in &mut hang {
        let mut said = [0; 6];
        client.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    }
    for _ in 0..5 {
        assert!(answer(groups.start("shop.service", &socket, large, 0, "closes")).is_empty());
    }
    assert_eq!(begins(&groups.load(&rig, "shop.service", "db-password")), first);
    // The end waits for them, and not for long.
    assert_eq!(squire.stop(), 0);
    for mut client in hang {
        client.kill().unwrap();
        client.wait().unwrap();
    }
}

/// As when the first minute of an outage ends, and all units of a machine are refused at once.
#[test]
fn a_crowd_that_is_refused_costs_no_memory() {
    let Some(groups) = Groups::make() else { return };
    let rig = rig_of_store(&secret(&fresh("first")), CREDENTIALS);
    let mut squire = serve(&rig, &[]);
    let socket = rig.path("credentials.sock");
    squire.wait_until("its socket is there", || socket.exists());
    let peak = || {
        let status = fs::read_to_string(format!("/proc/{}/status", squire.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    is_refused(&groups.load(&rig, "bill.service", "db-password"), "one");
    let before = peak();
    let mut crowd =
        groups.start("bill.service", &socket, b"RANDOM/unit/bill.service/db-password", 0, "crowds");
    let mut said = [0; 6];
    crowd.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    let after = peak();
    crowd.kill().unwrap();
    crowd.wait().unwrap();
    assert!(after < before + 40_000, "squire held {} kB for 250 refusals", after - before);
    assert_eq!(squire.stop(), 0);
}

/// With `on_failure = "refuse"`, the default, nobody gets what cannot be written down.
#[test]
fn while_the_audit_cannot_be_written_no_unit_gets_anything() {
    let Some(groups) = Groups::make() else { return };
    let first = fresh("first");
    let rig = rig_of_store(&secret(&first), &format!("{CREDENTIALS}\n[audit]\nfile = \"@dir@/log/audit\"\n"));
    let disk = Tmpfs::mount(&rig.path("log"));
    let mut squire = serve(&rig, &[]);
    let load = || groups.load(&rig, "shop.service", "db-password");
    squire.wait_until("its socket is there", || rig.path("credentials.sock").exists());
    assert_eq!(begins(&load()), first);
    disk.fill();
    // What is given at that moment is the line that cannot be written.
    squire.wait_until("it is refused", || load().len() > MIB);
    assert!(rig.read("stderr.1").contains("the audit cannot be written"));
    disk.make_room();
    squire.wait_until("it is given again", || load() == first.as_bytes());
    assert_eq!(squire.stop(), 0);
}

/// The user's own systemd asks as the user; root is a stranger there.
#[test]
fn with_user_the_units_are_those_of_the_user() {
    let Some(groups) = Groups::make() else { return };
    let first = fresh("first");
    let rig = rig_of_store(&secret(&first), CREDENTIALS);
    rig.become_person(["65534", "65534", "65534"]);
    let mut squire = serve(&rig, &["--user"]);
    let socket = rig.path("credentials.sock");
    squire.wait_until("its socket is there", || socket.exists());
    let name = b"RANDOM/unit/shop.service/db-password";
    let own = "user@65534.service/app.slice/shop.service";
    assert_eq!(begins(&answer(groups.start(own, &socket, name, 65534, "reads"))), first);
    is_refused(&answer(groups.start(own, &socket, name, 0, "reads")), "root");
    let other = "user@1000.service/app.slice/shop.service";
    is_refused(&answer(groups.start(other, &socket, name, 65534, "reads")), "another user's unit");
    let machines = answer(groups.start("shop.service", &socket, name, 65534, "reads"));
    is_refused(&machines, "a unit of the machine that runs as the user, under the same name");
    assert_eq!(squire.stop(), 0);
}

#[test]
fn a_configuration_that_nobody_serves_is_refused() {
    let entry = "[[credential]]\nname = \"a\"\nunits = [\"b.service\"]\ninline = \"{{db.password}}\"\n";
    let rig = rig_of_store(&secret(&fresh("first")), entry);
    for words in [&["run"][..], &["render"]] {
        let config = rig.path("squire.toml");
        let outcome = rig.start(&[words, &["-c", config.to_str().unwrap()]].concat()).outcome(SOON);
        assert_eq!(outcome.code, 2);
        assert!(outcome.stderr.contains("start that with this configuration"), "{}", outcome.stderr);
    }
    let config = rig.path("squire.toml");
    let without = rig.start(&["serve-credentials", "-c", config.to_str().unwrap()]).outcome(SOON);
    assert!(
        without.code == 125 && without.stderr.contains("systemd handed over no socket"),
        "{}",
        without.stderr
    );
    configure_store(&rig, &format!("{entry}[process]\ncommand = [\"true\"]\n"));
    let process = serve(&rig, &[]).outcome(SOON);
    assert!(process.code == 2 && process.stderr.contains("runs no process"), "{}", process.stderr);
    configure_store(&rig, "");
    let nothing = serve(&rig, &[]).outcome(SOON);
    assert!(nothing.code == 2 && nothing.stderr.contains("no credential to serve"), "{}", nothing.stderr);
    // An empty one would be what a unit starts with.
    configure_store(&rig, &entry.replace("{{db.password}}", "{{db.empty}}"));
    let mut squire = serve(&rig, &[]);
    wait_until(SOON, "it says so", || {
        (1..=6).any(|run| rig.read(&format!("stderr.{run}")).contains("start with an empty credential"))
    });
    squire.stop();
}
