//! `deploy/systemd`: the unit as systemd reads it, and as a real systemd runs it, in a container of its own.
//!
//! Who attacks: a process of the unit that was taken over. So the unit's sandbox is measured, and a test asks the process what it can still do.

mod machine;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{fresh, skipped};
use machine::Machine;

/// The most exposed that the unit may be, of 10 (`systemd-analyze security`).
const MOST_EXPOSED: f64 = 2.0;

fn unit(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd").join(name)
}

fn analyze(arguments: &[&str]) -> Option<Output> {
    let ran = Command::new("systemd-analyze").args(arguments).env("SYSTEMD_COLORS", "0").output();
    if ran.is_err() {
        skipped("the check of the units: there is no systemd-analyze (Debian: apt-get install systemd)");
    }
    ran.ok()
}

#[test]
fn systemd_knows_every_key_of_the_units() {
    // A directory of its own, where the program of `ExecStart=` is there.
    let directory = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_squire");
    for name in
        ["squire@.service", "squire@.socket", "squire-credentials.service", "squire-credentials.socket"]
    {
        let text = fs::read_to_string(unit(name)).unwrap().replace("/usr/bin/squire", program);
        fs::write(directory.path().join(name), text).unwrap();
    }
    for name in [
        "squire@shop.service",
        "squire@shop.socket",
        "squire-credentials.service",
        "squire-credentials.socket",
    ] {
        let path = directory.path().join(name);
        let Some(output) = analyze(&["verify", "--man=no", path.to_str().unwrap()]) else { return };
        // An unknown key is no failure for it, so what it says counts.
        let said = String::from_utf8(output.stderr).unwrap();
        let about_ours: Vec<_> = said.lines().filter(|line| line.contains("squire")).collect();
        assert!(about_ours.is_empty() && output.status.success(), "{said}");
    }
}

#[test]
fn the_units_are_hardly_exposed() {
    for name in ["squire@.service", "squire-credentials.service"] {
        let service = unit(name);
        let offline = ["security", "--offline=true", "--no-pager", service.to_str().unwrap()];
        let Some(output) = analyze(&offline) else { return };
        let table = String::from_utf8(output.stdout).unwrap();
        let overall = table
            .lines()
            .find(|line| line.contains("Overall exposure level"))
            .unwrap_or_else(|| panic!("{table}"));
        let level: f64 = overall.split(": ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        assert!(level < MOST_EXPOSED, "{level}:\n{table}");
    }
}

/// It answers each connection to its socket with its password; before, it says what it was given and what it may still do.
const APP: &str = r#"
[process]
command = ["/usr/bin/perl", "-e", '''
    use Socket; $| = 1;
    my $for_us = $ENV{LISTEN_PID} == $$ ? "for us" : "for another";
    print "sockets $ENV{LISTEN_FDS} $ENV{LISTEN_FDNAMES} $for_us\n";
    print "wrote $_\n" for grep { open(my $file, ">", "$_/probe") } "/etc", "/usr", "/var", "/home", "/root";
    print "sees $_\n" for grep { -r $_ } "/etc/squire/shop.secret-id", "/proc/1/environ", "/dev/kmsg";
    print "raw socket\n" if socket(my $raw, 17, 3, 0);
    open(my $http, "+<&=", 3) or die;
    while (accept(my $client, $http)) { print $client $ENV{PASSWORD}; close $client }
''']
env = { PASSWORD = "{{db.password}}" }
"#;

#[test]
fn a_real_systemd_starts_reloads_rotates_and_stops_it() {
    let Some(machine) = Machine::boot() else { return };
    machine.store("shop", APP);
    machine.run(&["systemctl", "start", "squire@shop.socket"]);
    machine.run(&["systemctl", "start", "--no-block", "squire@shop"]);
    // The secret is not there yet, so neither is a release.
    machine.until("it waits", || machine.journal("shop").contains("there is nothing at prod/app/db"));
    assert_eq!(machine.property("shop", "ActiveState"), "activating");
    // A connection that comes now waits, and is answered with the first secret.
    let first = fresh("first");
    let waits = machine.connect();
    machine.put(&first);
    machine.until("it is active", || machine.property("shop", "ActiveState") == "active");
    assert_eq!(waits.answer(), first);
    assert!(machine.property("shop", "StatusText").contains("generation 1 is live"));

    let second = fresh("second");
    machine.put(&second);
    machine.until("the rotation is picked up", || machine.connect().answer() == second);

    machine.replace(
        "/etc/squire/shop.toml",
        "[process]",
        "[[file]]\npath = \"new\"\ninline = \"{{db.password}}\"\n[process]",
    );
    machine.run(&["systemctl", "reload", "squire@shop"]);
    assert_eq!(machine.read("/run/squire/shop/secrets/new"), second);
    // What is wrong with a configuration is said, and the one before holds.
    machine.replace("/etc/squire/shop.toml", "[process]", "[[[process]");
    assert!(!machine.try_run(&["systemctl", "reload", "squire@shop"]), "it reloads nonsense");
    machine.until("it says why", || {
        machine.journal("shop").contains("configuration not reloaded, the one before holds")
    });
    machine.until("the one before holds", || machine.property("shop", "ActiveState") == "active");
    assert_eq!(machine.connect().answer(), second);

    // Root asks as the unit's user, in the unit's view of the files: `docs/deployment.md` has this line.
    let (process, user) = (machine.property("shop", "MainPID"), machine.property("shop", "UID"));
    let view = [
        "nsenter",
        "-t",
        &process,
        "-m",
        "-S",
        &user,
        "squire",
        "status",
        "--socket",
        "/run/squire/shop/admin",
    ];
    assert!(machine.run(&view).starts_with("ready: generation "), "it is asked");

    machine.run(&["systemctl", "stop", "squire@shop.socket", "squire@shop"]);
    let ended = ["ActiveState", "Result"].map(|name| machine.property("shop", name));
    assert_eq!(ended, ["inactive", "success"], "{}", machine.journal("shop"));
    assert!(!machine.try_run(&["test", "-e", "/run/squire/shop/secrets"]), "the secrets are left");
    let journal = machine.journal("shop");
    assert!(journal.contains("sockets 1 http for us"), "{journal}");
    for forbidden in ["wrote ", "sees ", "raw socket", "not confined", "WARN"] {
        let first =
            journal.lines().find(|line| line.contains(forbidden) && !line.contains("secret not fetched"));
        assert!(first.is_none(), "{forbidden}: {first:?}");
    }
}

/// Two configurations without a secret-id: each has a user and directories of its own, and sees nothing of the other's.
#[test]
fn units_beside_each_other_are_strangers() {
    let Some(machine) = Machine::boot() else { return };
    for (name, other) in [("one", "two"), ("two", "one")] {
        let script = format!(
            "id -u; cat $CREDENTIALS_DIRECTORY/squire-secret-id; echo; touch /var/lib/squire/{name}/kept || echo FORBIDDEN: it keeps nothing; \
             for of in run var/lib; do ls /$of/squire/{other}/ /$of/private/squire/{other}/ 2>/dev/null && echo FORBIDDEN: it sees /$of; done; \
             echo looked; exec sleep 1000"
        );
        let config = format!("[process]\ncommand = [\"/bin/sh\", \"-c\", '{script}']\n");
        machine.write(&format!("/etc/squire/{name}.toml"), &config);
    }
    // Once more, since the first one looked before there was a second.
    for name in ["one", "two", "one"] {
        machine.run(&["systemctl", "restart", &format!("squire@{name}")]);
        machine.until("its process has looked", || machine.journal(name).contains("looked"));
    }
    machine.until("the first one looked twice", || machine.journal("one").matches("looked").count() == 2);
    let uids = ["one", "two"].map(|name| machine.property(name, "UID"));
    assert!(uids[0] != uids[1] && !uids.contains(&"0".to_owned()), "{uids:?}");
    for (name, uid) in ["one", "two"].iter().zip(&uids) {
        let said = machine.journal(name);
        assert!(said.lines().any(|line| line == uid) && said.lines().any(|line| line == "none"), "{said}");
        assert!(!said.contains("FORBIDDEN"), "{said}");
    }
    let stolen = stolen(&machine, "squire@one");
    assert_eq!(stolen, "open denied denied ", "a unit of root reads the memory of Squire or of its process");
}

/// The drop-in of a page, with its title as a comment.
fn drop_in(title: &str) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deployment.md")).unwrap();
    let blocks: Vec<_> =
        page.split("```ini\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect();
    let found = blocks.iter().find(|block| block.starts_with(&format!("# {title}\n")));
    found.unwrap_or_else(|| panic!("no {title} among {blocks:?}")).clone()
}

#[test]
fn the_drop_ins_of_the_page_do_what_they_say() {
    let Some(machine) = Machine::boot() else { return };
    machine.run(&["useradd", "--system", "--user-group", "shop"]);
    let user = machine.run(&["id", "-u", "shop"]).trim().to_owned();
    let first = fresh("first");
    let process = |more: &str| {
        format!(
            "[process]\ncommand = [\"/bin/sh\", \"-c\", \"echo runs as $(id -u); exec sleep 1000\"]\n{more}"
        )
    };
    machine.store("shop", &process(""));
    machine.put(&first);
    let directory = "/etc/systemd/system/squire@shop.service.d";
    machine.run(&["systemctl", "start", "squire@shop"]);
    machine.run(&["systemctl", "stop", "squire@shop"]);

    // As it is at first, and then, after the step that the page names, with a user that is there: others of its group read the files.
    machine.write(&format!("{directory}/page.conf"), &drop_in("files for others"));
    machine.run(&["rm", "/run/squire/shop"]);
    machine.replace("/etc/squire/shop.toml", "[output]", "[output]\nmode = \"0440\"");
    machine.run(&["systemctl", "restart", "squire@shop"]);
    let reads = [
        "setpriv",
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--groups",
        "shop",
        "cat",
        "/run/squire/shop/secrets/password",
    ];
    assert_eq!(machine.run(&reads), first);
    let status = [
        "setpriv",
        "--reuid",
        "shop",
        "--regid",
        "shop",
        "--clear-groups",
        "squire",
        "status",
        "--socket",
        "/run/squire/shop/admin",
    ];
    assert!(machine.run(&status).starts_with("ready"));
    machine.run(&["systemctl", "stop", "squire@shop"]);

    // Squire as root, and its process as another user.
    machine.write(&format!("{directory}/page.conf"), &drop_in("another user for the process"));
    machine.replace("/etc/squire/shop.toml", "[process]", "[process]\nuser = \"shop\"");
    machine.run(&["systemctl", "restart", "squire@shop"]);
    machine
        .until("its process is that user", || machine.journal("shop").contains(&format!("runs as {user}")));
    assert_eq!(machine.run(&["stat", "-L", "-c", "%U", "/run/squire/shop/secrets/password"]).trim(), "shop");
    machine.run(&["systemctl", "stop", "squire@shop"]);
    assert_eq!(machine.property("shop", "Result"), "success", "{}", machine.journal("shop"));
}

#[test]
fn a_real_systemd_restarts_a_squire_that_hangs_and_it_keeps_what_it_held() {
    let Some(machine) = Machine::boot() else { return };
    machine.store("shop", APP);
    machine.write("/etc/systemd/system/squire@shop.service.d/watchdog.conf", "[Service]\nWatchdogSec=2\n");
    let first = fresh("first");
    machine.put(&first);
    machine.run(&["systemctl", "start", "squire@shop.socket", "squire@shop"]);
    let process = machine.property("shop", "MainPID");
    let said = machine.property("shop", "WatchdogTimestampMonotonic");
    machine.until("it says twice that it lives", || {
        machine.property("shop", "WatchdogTimestampMonotonic") != said
    });
    assert_eq!(machine.property("shop", "NRestarts"), "0");

    machine.run(&["kill", "-STOP", &process]);
    machine.until("it is restarted", || machine.property("shop", "NRestarts") == "1");
    machine.until("it is active again", || machine.property("shop", "ActiveState") == "active");
    assert_ne!(machine.property("shop", "MainPID"), process);
    assert_eq!(machine.connect().answer(), first);
}

/// Two entries: a change restarts the one unit, and reloads the other.
const CREDENTIALS: &str = r#"
[[credential]]
name = "db-password"
units = ["shop.service"]
inline = "{{db.password}}"
[[credential]]
name = "cert"
units = ["web@*.service", "gone.service"]
inline = "{{db.password}}"
on_change = "reload"
"#;

/// Asks for the credential of another unit, bound as systemd binds, and keeps what it gets.
const FORGER: &str = r#"
import socket
s = socket.socket(socket.AF_UNIX)
s.bind(b"\0" + b"5f0c/unit/shop.service/db-password")
s.connect("/run/squire/credentials.sock")
got = b""
while more := s.recv(1 << 16): got += more
open("/run/forged", "wb").write(got)
"#;

/// Root without any capability that wants to see the memory of a unit's main process and of its children; what it may do with its own says that
/// it could.
const THIEF: &str = r#"
import pathlib, subprocess, sys
pid = subprocess.check_output(["systemctl", "show", "--value", "-p", "MainPID", sys.argv[1]], text=True).strip()
children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
said = open("/run/thief", "w")
for process in ["self", pid, *children]:
    try: open(f"/proc/{process}/mem", "rb"); said.write("open ")
    except PermissionError: said.write("denied ")
"#;

/// What such a thief in a unit of its own sees of this unit.
fn stolen(machine: &Machine, unit: &str) -> String {
    machine.write("/root/thief.py", THIEF);
    let text = format!(
        "[Service]\nType=oneshot\nCapabilityBoundingSet=\nExecStart=/usr/bin/python3 /root/thief.py {unit}\n"
    );
    machine.write("/etc/systemd/system/thief.service", &text);
    machine.run(&["systemctl", "daemon-reload"]);
    machine.run(&["systemctl", "start", "thief"]);
    machine.read("/run/thief")
}

/// A unit that keeps what it was given in `/run/NAME.seen`, and notes each start and each reload.
fn with_credential(name: &str, credential: &str) -> String {
    format!(
        "[Service]\nType=exec\nLoadCredential={credential}:/run/squire/credentials.sock\n\
         ExecStart=/bin/sh -c 'echo start >> /run/{name}.notes; cp $CREDENTIALS_DIRECTORY/{credential} /run/{name}.seen; exec sleep 1000'\n\
         ExecReload=/bin/sh -c 'echo reload >> /run/{name}.notes'\n"
    )
}

#[test]
fn a_real_systemd_loads_credentials_and_restarts_who_holds_one_that_changes() {
    let Some(machine) = Machine::boot() else { return };
    machine.store_of_credentials(CREDENTIALS);
    let write_unit = |name: &str, text: &str| machine.write(&format!("/etc/systemd/system/{name}"), text);
    write_unit("shop.service", &with_credential("shop", "db-password"));
    write_unit("web@.service", &with_credential("web", "cert"));
    write_unit("bill.service", &with_credential("bill", "db-password"));
    machine.write("/root/forger.py", FORGER);
    write_unit("forger.service", "[Service]\nType=oneshot\nExecStart=/usr/bin/python3 /root/forger.py\n");
    write_unit("gone.service", &with_credential("gone", "cert"));
    let notes = |name: &str| machine.run(&["sh", "-c", &format!("cat /run/{name}.notes || true")]);
    let seen = |name: &str| machine.run(&["sh", "-c", &format!("cat /run/{name}.seen || true")]);
    let squire = || machine.journal_of("squire-credentials");

    // The unit asks before there is a value, which starts Squire, and waits.
    machine.run(&["systemctl", "start", "squire-credentials.socket"]);
    machine.run(&["systemctl", "start", "--no-block", "shop"]);
    machine.until("squire waits", || squire().contains("there is nothing at prod/app/db"));
    assert_eq!(notes("shop"), "", "it was started with nothing");
    let first = fresh("first");
    machine.put_for_credentials(&first);
    machine.until("the unit has it", || seen("shop") == first);
    machine.run(&["systemctl", "start", "web@a"]);
    machine.until("the other has it", || seen("web") == first);
    machine
        .until("squire is active", || machine.property_of("squire-credentials", "ActiveState") == "active");

    // Who may not have it does not start, and a unit that asks in the name of another one gets nothing that it could use.
    assert!(!machine.try_run(&["systemctl", "start", "bill"]), "it was started without its credential");
    machine.until("it failed", || machine.property_of("bill", "ActiveState") == "failed");
    assert_eq!(machine.property_of("bill", "ExecMainStatus"), "243", "systemd.exec(5): EXIT_CREDENTIALS");
    assert_eq!(notes("bill"), "");
    machine.run(&["systemctl", "start", "forger"]);
    assert!(machine.read("/run/forged").starts_with("squire: refused"));
    assert!(machine.run(&["stat", "-c", "%s", "/run/forged"]).trim().parse::<u64>().unwrap() > 1 << 20);
    machine.until("it is said", || squire().contains("its control group is that of forger.service"));
    let stolen = stolen(&machine, "squire-credentials");
    assert_eq!(stolen, "open denied ", "another unit of root reads Squire's memory");

    // A new value: the one is restarted with it, once, and the other reloads with what it has.
    let second = fresh("second");
    machine.put_for_credentials(&second);
    machine.until("the unit has the new one", || seen("shop") == second);
    machine.until("the other was reloaded", || notes("web") == "start\nreload\n");
    assert_eq!(notes("shop"), "start\nstart\n");
    assert_eq!(seen("web"), first, "systemd reads a credential at a start only");

    // What changes while Squire does not run is found by its next start, from the ledger; a unit that does not run is not started for it.
    machine.run(&["systemctl", "stop", "squire-credentials.socket", "squire-credentials.service"]);
    let third = fresh("third");
    machine.put_for_credentials(&third);
    machine.run(&["systemctl", "start", "squire-credentials.socket", "squire-credentials.service"]);
    machine.until("the unit has the third", || seen("shop") == third);
    machine.until("the other was reloaded again", || notes("web") == "start\nreload\nreload\n");
    machine.run(&["systemctl", "stop", "shop"]);
    machine.put_for_credentials(&fresh("fourth"));
    machine.until("the other was reloaded once more", || notes("web").matches("reload").count() == 3);
    assert_eq!(machine.property_of("shop", "ActiveState"), "inactive");
    assert_eq!(notes("shop"), "start\nstart\nstart\n");

    let journal = squire();
    for forbidden in ["not confined", "command failed", "not in the ledger"] {
        let first = journal.lines().find(|line| line.contains(forbidden));
        assert!(first.is_none(), "{forbidden}: {first:?}");
    }

    // A unit that is no longer on the machine takes the news from no other one, however often it fails, and is forgotten.
    machine.run(&["systemctl", "start", "gone"]);
    machine.until("it has its own", || notes("gone") == "start\n");
    machine.run(&["systemctl", "stop", "gone"]);
    machine.run(&["rm", "/etc/systemd/system/gone.service"]);
    machine.run(&["systemctl", "daemon-reload"]);
    for _ in 0..5 {
        let before = notes("web").matches("reload").count();
        machine.put_for_credentials(&fresh("next"));
        machine.until("the other is reloaded", || notes("web").matches("reload").count() > before);
    }
    let failed = || squire().matches("command failed").count();
    machine.until("it was tried", || failed() >= 3);
}
