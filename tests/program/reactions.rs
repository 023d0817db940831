//! The reactions of the child to a changed secret: a restart, a signal, a command, or nothing.

use serde_json::json;

use crate::support::{Bao, Rig, SOON, Tenant, fresh, kv_file, stays_true, wait_until};

/// Records each start, each SIGHUP and SIGUSR1 with the password in the file at that moment, and that of the environment.
const CHILD: &str = r#"
    note() { echo "$1 $$ $(cat out/password) ${DB_PASSWORD-}" >> seen/notes; }
    trap 'note HUP' HUP
    trap 'note USR1' USR1
    trap 'note TERM; exit 0' TERM
    trap 'note INT; exit 0' INT
    note start
    while :; do sleep 0.05; done
"#;

/// One record of the child.
#[derive(Debug)]
struct Note {
    what: String,
    process: u32,
    in_file: String,
    in_environment: String,
}

fn notes(rig: &Rig) -> Vec<Note> {
    let text = rig.read("seen/notes");
    let complete = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    complete
        .lines()
        .map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            let mut next = || words.next().unwrap_or_default();
            Note { what: next(), process: next().parse().unwrap(), in_file: next(), in_environment: next() }
        })
        .collect()
}

/// A rig whose child records what happens to it; `file` and `process` are lines of those tables.
fn rig(tenant: &Tenant<'_>, file: &str, process: &str) -> (Rig, String) {
    let first = fresh("first");
    tenant.write("db", &json!({"password": first}));
    let rig = Rig::new(tenant);
    rig.write("child", CHILD);
    rig.config(&format!(
        r#"
        [secret.db]
        path = "secret/@tenant@/db"
        [[file]]
        path   = "password"
        inline = "{{{{db.password}}}}"
        {file}
        [process]
        command = ["sh", "child"]
        {process}
        "#
    ));
    (rig, first)
}

fn rotate(tenant: &Tenant<'_>) -> String {
    let second = fresh("second");
    tenant.write("db", &json!({"password": second}));
    second
}

#[test]
fn a_restart_gives_the_child_the_new_file_and_the_new_environment() {
    let tenant = Bao::shared().tenant();
    let (rig, first) = rig(&tenant, "", r#"env = { DB_PASSWORD = "{{db.password}}" }"#);
    let mut squire = rig.run();
    squire.wait_until("the child has started", || notes(&rig).len() == 1);
    let second = rotate(&tenant);
    squire.wait_until("it was stopped and started", || notes(&rig).len() == 3);
    let notes = notes(&rig);
    let what: Vec<_> = notes.iter().map(|note| note.what.as_str()).collect();
    assert_eq!(what, ["start", "TERM", "start"]);
    assert_eq!((&notes[0].in_file, &notes[0].in_environment), (&first, &first));
    assert_eq!((&notes[2].in_file, &notes[2].in_environment), (&second, &second));
    assert_ne!(notes[0].process, notes[2].process);
    assert!(squire.is_running());
}

#[test]
fn the_stop_signal_of_a_restart_can_be_chosen() {
    let tenant = Bao::shared().tenant();
    let (rig, _) = rig(&tenant, "", r#"stop_signal = "SIGINT""#);
    let mut squire = rig.run();
    squire.wait_until("the child has started", || notes(&rig).len() == 1);
    rotate(&tenant);
    squire.wait_until("it was stopped and started", || notes(&rig).len() == 3);
    assert_eq!(notes(&rig)[1].what, "INT");
}

#[test]
fn a_signal_comes_after_the_new_file() {
    let tenant = Bao::shared().tenant();
    // Configured once for the process, and once for the file, which wins.
    for (file, process, signal) in [
        ("", r#"on_change = "SIGHUP""#, "HUP"),
        (r#"on_change = "SIGUSR1""#, r#"on_change = "restart""#, "USR1"),
    ] {
        let (rig, _) = rig(&tenant, file, process);
        let mut squire = rig.run();
        squire.wait_until("the child has started", || notes(&rig).len() == 1);
        let second = rotate(&tenant);
        squire.wait_until("it was told", || notes(&rig).len() == 2);
        let notes = notes(&rig);
        assert_eq!((notes[1].what.as_str(), &notes[1].in_file), (signal, &second));
        assert_eq!(notes[1].process, notes[0].process);
    }
}

#[test]
fn a_command_runs_after_the_new_file_and_the_child_is_left_alone() {
    let tenant = Bao::shared().tenant();
    let run = r#"on_change = { run = ["sh", "-c", "cat out/password >> seen/ran; echo >> seen/ran"] }"#;
    let (rig, _) = rig(&tenant, run, "");
    let mut squire = rig.run();
    squire.wait_until("the child has started", || notes(&rig).len() == 1);
    assert!(!rig.path("seen/ran").exists(), "the first release is no change");
    let second = rotate(&tenant);
    squire.wait_until("the command has run", || rig.read("seen/ran").ends_with('\n'));
    assert_eq!(rig.read("seen/ran"), format!("{second}\n"));
    assert_eq!(notes(&rig).len(), 1);
}

#[test]
fn a_command_that_hangs_is_killed_and_later_changes_still_react() {
    let tenant = Bao::shared().tenant();
    let run =
        r#"on_change = { run = ["sh", "-c", "echo $$ >> seen/ran; exec sleep 1000"], timeout = "200ms" }"#;
    let (rig, _) = rig(&tenant, run, "");
    let mut squire = rig.run();
    squire.wait_until("the child has started", || notes(&rig).len() == 1);
    for runs in 1..=2 {
        rotate(&tenant);
        squire.wait_until("the command has run", || rig.read("seen/ran").lines().count() == runs);
    }
    let commands: Vec<u32> = rig.read("seen/ran").lines().map(|line| line.parse().unwrap()).collect();
    wait_until(SOON, "the commands are killed", || {
        rig.processes().iter().all(|process| !commands.contains(process))
    });
    assert!(squire.is_running());
}

#[test]
fn nothing_means_a_new_file_and_nothing_else() {
    let tenant = Bao::shared().tenant();
    let (rig, _) = rig(&tenant, r#"on_change = "none""#, "");
    let mut squire = rig.run();
    squire.wait_until("the child has started", || notes(&rig).len() == 1);
    let second = rotate(&tenant);
    squire.wait_until("the file is new", || rig.read("out/password") == second);
    stays_true(std::time::Duration::from_millis(500), "the child was told nothing", || {
        notes(&rig).len() == 1
    });
}

#[test]
fn what_did_not_change_makes_no_reaction() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let (rig, first) = rig(&tenant, "", r#"env = { DB_PASSWORD = "{{db.password}}" }"#);
    let mut squire = rig.run();
    squire.wait_until("the child has started", || notes(&rig).len() == 1);
    // A new version with the same value is no change either.
    tenant.write("db", &json!({"password": first}));
    let reads = bao.count("read secret/data/");
    squire.wait_until("it was read again and again", || bao.count("read secret/data/") >= reads + 3);
    assert_eq!(notes(&rig).len(), 1);
}

/// A neighbour that Squire did not start: records each SIGHUP, and has its process number in a file.
fn neighbour(rig: &Rig, name: &str) -> std::process::Child {
    let program = rig.path(name);
    std::fs::copy("/bin/sh", &program).unwrap();
    let script =
        "trap 'echo HUP >> seen/neighbour' HUP; echo $$ > neighbour.pid; while :; do sleep 0.05; done";
    let mut command = std::process::Command::new(program);
    command.args(["-c", script]).current_dir(rig.directory()).env("RIG_DIRECTORY", rig.directory());
    let child = command.spawn().unwrap();
    wait_until(SOON, "the neighbour is there", || !rig.read("neighbour.pid").trim().is_empty());
    child
}

#[test]
fn a_neighbour_is_signalled_by_its_file_and_by_its_name() {
    let tenant = Bao::shared().tenant();
    for by in ["pid_file", "process"] {
        let (rig, _) = rig(&tenant, "", "");
        let name = format!("neighbour{}", std::process::id() % 100_000);
        let whom = match by {
            "pid_file" => format!("pid_file = \"{}\"", rig.path("neighbour.pid").display()),
            _ => format!("process = \"{name}\""),
        };
        rig.config(&format!(
            r#"
            [secret.db]
            path = "secret/@tenant@/db"
            [[file]]
            path      = "password"
            inline    = "{{{{db.password}}}}"
            on_change = {{ signal = "HUP", {whom} }}
            "#
        ));
        let mut other = neighbour(&rig, &name);
        let mut squire = rig.run();
        squire.wait_until("it was told of the first release", || {
            rig.read("seen/neighbour").lines().count() == 1
        });
        rotate(&tenant);
        squire.wait_until("and of the second", || rig.read("seen/neighbour").lines().count() == 2);
        other.kill().unwrap();
        other.wait().unwrap();
        rotate(&tenant);
        squire.wait_until("one that is gone is said", || squire_said(&rig, "reaction failed"));
        assert!(squire.is_running());
    }
}

fn squire_said(rig: &Rig, message: &str) -> bool {
    rig.read("stderr.1").contains(message)
}

#[test]
fn a_request_is_sent_when_the_file_changes() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let tenant = Bao::shared().tenant();
    let call = format!("on_change = {{ http = \"http://{address}/reload\", timeout = \"5s\" }}");
    let (rig, _) = rig(&tenant, &call, "");
    let mut squire = rig.run();
    squire.wait_until("the child has started", || notes(&rig).len() == 1);
    rotate(&tenant);
    let (mut stream, _) = listener.accept().unwrap();
    let mut line = String::new();
    let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
    std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
    assert_eq!(line, "POST /reload HTTP/1.1\r\n");
    std::io::Write::write_all(&mut stream, b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
    squire.wait_until("it is done", || squire_said(&rig, "reaction done"));
    assert_eq!(notes(&rig).len(), 1, "the child was left alone");
}

#[test]
fn a_process_that_ends_between_two_reactions_holds_up_neither() {
    let tenant = Bao::shared().tenant();
    let first = fresh("first");
    tenant.write("db", &json!({"password": first}));
    let rig = Rig::new(&tenant);
    rig.config(&format!(
        "{}{}",
        kv_file("db").replace("\"none\"", "\"SIGHUP\""),
        r#"
        [[file]]
        path   = "told"
        inline = "{{db.password}}"
        on_change = { run = ["sh", "-c", "echo told >> seen/told"] }
        [process]
        command = ["sh", "-c", "trap 'exit 3' HUP; echo start >> seen/starts; while :; do sleep 0.05; done"]
        restart = "on-failure"
        "#
    ));
    let mut squire = rig.run();
    squire.wait_until("the process runs", || rig.read("seen/starts").lines().count() == 1);
    for round in 2..4 {
        tenant.write("db", &json!({"password": fresh("next")}));
        squire.wait_until("it is started again", || rig.read("seen/starts").lines().count() == round);
        squire.wait_until("the command ran too", || rig.read("seen/told").lines().count() == round - 1);
    }
    squire.wait_until("each is committed", || committed(&rig) == 3);
    assert_eq!(squire.stop(), 143);
}

fn committed(rig: &Rig) -> usize {
    rig.read("stderr.1").matches("generation committed").count()
}
