//! Policies, and rotations by them: the four steps, their failures, and the rights to them.

use std::fmt::Write as _;
use std::fs;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bench::{Bench, as_role, code, stderr, stdout};

/// Records its input, and does what the file `orders` says for its step.
const HOOK: &str = r#"
read -r told
printf '%s\n' "$told" >> told
printf '%s %s %s %s\n' "$SQUIRE_STEP" "$SQUIRE_PATH" "$SQUIRE_VERSION" "$(env | grep -c sesame)" >> steps
orders=$(cat orders 2>/dev/null)
case "$orders" in
    "$SQUIRE_STEP fails") printf 'will not do: %s\n' "$told" >&2; exit 3;;
    "$SQUIRE_STEP hangs") sleep 600 & sleep 600;;
    "$SQUIRE_STEP waits") while [ -e orders ]; do sleep 0.05; done;;
esac
"#;

const STEPS: [&str; 4] = ["create", "set", "test", "finish"];

fn bench() -> Bench {
    let bench = Bench::new();
    fs::write(bench.path("hook"), HOOK).unwrap();
    bench.put("prod/app/db", r#"{"username": "alice", "password": "sesame-zero"}"#);
    bench
}

fn policy(bench: &Bench, arguments: &[&str]) {
    let output = bench.store(&[&["policy", "prod/app/db"], arguments].concat());
    assert_eq!(code(&output), 0, "{output:?}");
}

/// The hook `it` of the user who rotates, with these commands.
fn hook(bench: &Bench, steps: &[(&str, &str)]) {
    let mut text = "[hook.it]\npaths = [\"prod/app/*\"]\n".to_owned();
    for (step, command) in steps {
        let words: Vec<&str> = command.split(' ').collect();
        writeln!(text, "{step} = {words:?}").unwrap();
    }
    fs::write(bench.path("hooks.toml"), text).unwrap();
}

fn with_hooks(bench: &Bench, timeout: &str) {
    hook(bench, &STEPS.map(|step| (step, "sh hook")));
    policy(bench, &["--generate", "password", "--timeout", timeout, "--hook", "it"]);
}

const ROTATE: [&str; 4] = ["rotate", "prod/app/db", "--hooks", "hooks.toml"];

fn rotate(bench: &Bench) -> Output {
    if bench.path("hooks.toml").exists() { bench.store(&ROTATE) } else { bench.store(&ROTATE[..2]) }
}

fn password(bench: &Bench) -> String {
    stdout(&bench.store(&["get", "prod/app/db", "--field", "password"])).trim_end().to_owned()
}

fn lines(bench: &Bench, name: &str) -> Vec<String> {
    fs::read_to_string(bench.path(name)).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn shown(bench: &Bench) -> Value {
    serde_json::from_str(&stdout(&bench.store(&["policy", "prod/app/db", "--json"]))).unwrap()
}

#[test]
fn what_is_due_is_rotated_and_the_version_before_has_its_grace() {
    let bench = bench();
    policy(&bench, &["--generate", "hex:bytes=16", "--every", "30d", "--grace", "1h"]);
    assert_eq!(stdout(&bench.store(&["rotate", "--due"])), "");
    assert_eq!(password(&bench), "sesame-zero");
    policy(&bench, &["--generate", "hex:bytes=16", "--every", "1ms", "--grace", "1h"]);
    assert_eq!(stdout(&bench.store(&["rotate", "--due"])), "prod/app/db: rotated, version 2\n");
    let rotated = password(&bench);
    assert!(rotated.len() == 32 && rotated.chars().all(|c| c.is_ascii_hexdigit()), "{rotated}");
    assert_eq!(stdout(&bench.store(&["get", "prod/app/db", "--field", "username"])), "alice\n");
    let before = bench.store(&["get", "prod/app/db", "--version", "1", "--field", "password"]);
    assert_eq!(stdout(&before), "sesame-zero\n");
    policy(&bench, &["--generate", "uuid", "--grace", "1ms"]);
    assert_eq!(code(&rotate(&bench)), 0);
    let over = bench.store(&["get", "prod/app/db", "--version", "2"]);
    assert_eq!(code(&over), 1);
    assert!(stderr(&over).contains("version 2 was replaced, and could be read until"), "{over:?}");
    assert_eq!(bench.verified().0, 0);
}

#[test]
fn the_four_steps_are_told_what_they_need_on_stdin_and_nowhere_else() {
    let bench = bench();
    with_hooks(&bench, "20s");
    let output = rotate(&bench);
    assert_eq!(
        (code(&output), stdout(&output).as_str()),
        (0, "prod/app/db: rotated, version 2\n"),
        "{output:?}"
    );
    let new = password(&bench);
    let told: Vec<Value> =
        lines(&bench, "told").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let current = json!({"username": "alice", "password": "sesame-zero"});
    for (told, step) in told.iter().zip(STEPS) {
        assert_eq!(
            (&told["step"], &told["path"], &told["current"]),
            (&json!(step), &json!("prod/app/db"), &current)
        );
        assert_eq!(told["fields"]["password"], json!(new), "{step}");
    }
    assert_eq!(told[3]["fields"], json!({"username": "alice", "password": new}));
    let steps =
        ["create prod/app/db  0", "set prod/app/db 2 0", "test prod/app/db 2 0", "finish prod/app/db 2 0"];
    assert_eq!(lines(&bench, "steps"), steps);
}

#[test]
fn whichever_step_fails_the_current_version_stays_and_no_value_is_said() {
    let bench = bench();
    with_hooks(&bench, "20s");
    for (failures, step) in (1..).zip(STEPS) {
        fs::write(bench.path("orders"), format!("{step} fails")).unwrap();
        let output = rotate(&bench);
        assert_eq!(code(&output), 1);
        let said = stderr(&output);
        assert!(said.contains(&format!("the step {step} failed with exit status: 3: will not do")), "{said}");
        assert!(said.contains("***") && !said.contains("sesame"), "{said}");
        assert_eq!(password(&bench), "sesame-zero");
        let shown = shown(&bench);
        assert_eq!(shown["failures"], failures);
        assert!(
            shown["trouble"].as_str().unwrap().starts_with(step) && !shown.to_string().contains("sesame")
        );
    }
    let stats = stdout(&bench.store(&["stats"]));
    assert!(
        stats.contains("1 secrets with a policy, 0 overdue, 1 failing") && stats.contains("finish"),
        "{stats}"
    );
    // A system that got the new value in an earlier try gets no other one.
    fs::remove_file(bench.path("orders")).unwrap();
    assert_eq!(code(&rotate(&bench)), 0);
    let told: Vec<Value> =
        lines(&bench, "told").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let set: Vec<_> =
        told.iter().filter(|told| told["step"] == "set").map(|told| &told["fields"]["password"]).collect();
    assert_eq!(set, vec![&json!(password(&bench)); 4]);
    assert_eq!(shown(&bench)["failures"], 0);
    assert_eq!(bench.verified().0, 0);
}

#[test]
fn a_failure_rests_before_it_is_tried_again_by_itself() {
    let bench = bench();
    hook(&bench, &[("test", "false")]);
    policy(&bench, &["--generate", "uuid", "--every", "1h", "--hook", "it"]);
    assert_eq!(code(&rotate(&bench)), 1);
    // Due at once, and after a failure with a pause of a quarter of the interval.
    policy(&bench, &["--generate", "uuid", "--every", "1ms", "--hook", "it"]);
    let output = bench.store(&["rotate", "--due", "--hooks", "hooks.toml"]);
    assert_eq!(code(&output), 1, "{output:?}");
    let shown = shown(&bench);
    assert!(shown["pending"].is_number() && shown["failures"] == 1, "{shown}");
}

#[test]
fn a_step_that_hangs_is_killed_with_all_that_it_started() {
    let bench = bench();
    with_hooks(&bench, "300ms");
    for step in STEPS {
        fs::write(bench.path("orders"), format!("{step} hangs")).unwrap();
        let since = Instant::now();
        let output = rotate(&bench);
        assert_eq!(code(&output), 1);
        assert!(stderr(&output).contains("took longer than 300ms and was killed"), "{output:?}");
        assert!(since.elapsed() < Duration::from_mins(1), "what it left behind was waited for");
        assert_eq!(password(&bench), "sesame-zero");
    }
}

#[test]
fn what_a_step_leaves_behind_holds_up_nobody() {
    let bench = bench();
    fs::write(bench.path("leaves"), "setsid sleep 30 &\necho made").unwrap();
    hook(&bench, &[("create", "sh leaves")]);
    policy(&bench, &["--generate", "command", "--hook", "it", "--timeout", "20s"]);
    let since = Instant::now();
    assert_eq!(code(&rotate(&bench)), 0);
    assert!(since.elapsed() < Duration::from_secs(25), "the daemon was waited for");
    assert_eq!(password(&bench), "made");
}

#[test]
fn while_somebody_is_at_it_nobody_else_is() {
    let bench = bench();
    with_hooks(&bench, "20s");
    fs::write(bench.path("orders"), "set waits").unwrap();
    let first = bench.command(&ROTATE).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let by = Instant::now() + Duration::from_secs(20);
    while lines(&bench, "steps").len() < 2 {
        assert!(Instant::now() < by, "it never came to its second step");
        std::thread::sleep(Duration::from_millis(10));
    }
    let second = rotate(&bench);
    assert_eq!(code(&second), 0);
    assert!(stdout(&second).contains("somebody is at it"), "{second:?}");
    assert_eq!(password(&bench), "sesame-zero");
    // The put does not wait.
    bench.put("prod/app/other", "x");
    fs::remove_file(bench.path("orders")).unwrap();
    assert_eq!(code(&first.wait_with_output().unwrap()), 0);
    assert_eq!(lines(&bench, "steps").len(), 4);
}

#[test]
fn a_put_while_it_is_rotated_is_not_overwritten() {
    let bench = bench();
    with_hooks(&bench, "20s");
    fs::write(bench.path("orders"), "test waits").unwrap();
    let first = bench.command(&ROTATE).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let by = Instant::now() + Duration::from_secs(20);
    while lines(&bench, "steps").len() < 3 {
        assert!(Instant::now() < by, "it never came to its third step");
        std::thread::sleep(Duration::from_millis(10));
    }
    // The database may have version 2 by now.
    let by_hand = r#"{"username": "alice", "password": "by-hand"}"#;
    let set: Value = serde_json::from_str(&lines(&bench, "told")[1]).unwrap();
    let policy_none = ["policy", "prod/app/db", "--none"];
    for (refused, stdin) in [
        (&["put", "prod/app/db"][..], by_hand),
        (&["rm", "prod/app/db"], ""),
        (&["destroy", "prod/app/db"], ""),
        (&["destroy", "prod/app/db", "--version", "2"], ""),
        (&policy_none, ""),
    ] {
        let output = bench.store_with(refused, stdin);
        assert_eq!(code(&output), 1, "{refused:?}");
        assert!(stderr(&output).contains("a rotation is at work with version 2"), "{refused:?}: {output:?}");
    }
    assert_eq!(code(&bench.store_with(&["put", "prod/app/db", "--force"], by_hand)), 0);
    // The claim stays, so that no other rotation begins beside it.
    assert!(stdout(&rotate(&bench)).contains("somebody is at it"));
    fs::remove_file(bench.path("orders")).unwrap();
    let output = first.wait_with_output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("was changed while version 2 was made"), "{output:?}");
    assert_eq!(password(&bench), "by-hand");
    // A value that the database may have is never lost, however many versions follow.
    for number in 0..12 {
        let put = bench.store_with(
            &["put", "prod/app/db", "--force", "--keep", "2"],
            &format!("{{\"password\": \"{number}\"}}"),
        );
        assert_eq!(code(&put), 0, "{put:?}");
    }
    let made = bench.store(&["get", "prod/app/db", "--version", "2", "--field", "password"]);
    assert_eq!(json!(stdout(&made).trim_end()), set["fields"]["password"]);
    assert!(stdout(&bench.store(&["history", "prod/app/db"])).contains("of a rotation that did not end"));
    assert_eq!(bench.verified().0, 0);
}

#[test]
fn one_that_was_killed_is_taken_up_with_the_same_value() {
    let bench = bench();
    // A claim lasts four times as long as a step may take, and some seconds.
    with_hooks(&bench, "1ms");
    hook(&bench, &[("finish", "sh hook")]);
    policy(&bench, &["--generate", "password", "--timeout", "50ms", "--hook", "it"]);
    fs::write(bench.path("orders"), "finish waits").unwrap();
    let mut first = bench.command(&ROTATE).stdin(Stdio::null()).spawn().unwrap();
    let by = Instant::now() + Duration::from_secs(20);
    while shown(&bench)["pending"].is_null() {
        assert!(Instant::now() < by, "nothing was pending");
        std::thread::sleep(Duration::from_millis(5));
    }
    first.kill().unwrap();
    first.wait().unwrap();
    fs::remove_file(bench.path("orders")).unwrap();
    let pending = shown(&bench)["pending"].clone();
    assert_eq!(password(&bench), "sesame-zero");
    policy(&bench, &["--generate", "password", "--timeout", "20s", "--hook", "it"]);
    let by = Instant::now() + Duration::from_secs(40);
    loop {
        let output = rotate(&bench);
        if stdout(&output).contains("rotated") {
            assert_eq!(stdout(&output), format!("prod/app/db: rotated, version {pending}\n"));
            break;
        }
        assert!(Instant::now() < by, "{output:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(bench.verified().0, 0);
}

#[test]
fn what_is_sensitive_waits_for_somebody_who_approves_and_an_emergency_does_not() {
    let bench = bench();
    policy(&bench, &["--generate", "uuid", "--every", "1ms", "--approval"]);
    let role = bench.role("rotator", &["--rotate", "prod/app/*"]);
    let rotate = |arguments: &[&str]| bench.store(&as_role(&role, arguments));
    let waits = rotate(&["rotate", "prod/app/db"]);
    assert_eq!(code(&waits), 1);
    assert!(stdout(&waits).contains("waits for an approval"), "{waits:?}");
    assert_eq!(stdout(&rotate(&["rotate", "--due"])), "");
    for denied in [&["approve", "prod/app/db"][..], &["rotate", "--emergency", "prod/app/db"]] {
        let output = rotate(denied);
        assert_eq!(code(&output), 1, "{denied:?}");
        assert!(stderr(&output).contains("may not admin prod/app/db"), "{output:?}");
    }
    assert_eq!(code(&bench.store(&["approve", "prod/app/db"])), 0);
    assert_eq!(shown(&bench)["approved_by"], "owner");
    assert_eq!(stdout(&rotate(&["rotate", "--due"])), "prod/app/db: rotated, version 2\n");
    // One approval is for one rotation.
    assert_eq!(code(&rotate(&["rotate", "prod/app/db"])), 1);
    bench.put("prod/app/unplanned", "x");
    let all = bench.store(&["rotate", "--emergency"]);
    assert_eq!(stdout(&all), "prod/app/db: rotated, version 3\n");
    // A role that may administer needs no other right for it.
    let admin = bench.role("admin", &["--admin", "prod/app/*"]);
    let by_admin = bench.store(&as_role(&admin, &["rotate", "--emergency", "prod/app/db"]));
    assert_eq!(stdout(&by_admin), "prod/app/db: rotated, version 4\n", "{by_admin:?}");
    let none = bench.store(&["approve", "prod/app/unplanned"]);
    assert!(stderr(&none).contains("needs no approval"), "{none:?}");
}

#[test]
fn who_may_rotate_needs_not_read() {
    let bench = bench();
    policy(&bench, &["--generate", "uuid"]);
    let role = bench.role("rotator", &["--rotate", "prod/app/*"]);
    assert_eq!(code(&bench.store(&as_role(&role, &["rotate", "prod/app/db"]))), 0);
    assert_eq!(code(&bench.store(&as_role(&role, &["get", "prod/app/db"]))), 1);
    let reader = bench.role("reader", &["--read", "prod/app/*", "--write", "prod/app/*"]);
    let output = bench.store(&as_role(&reader, &["rotate", "prod/app/db"]));
    assert!(stderr(&output).contains("may not rotate prod/app/db"), "{output:?}");
    let output = bench.store(&as_role(&reader, &["policy", "prod/app/db", "--generate", "hex"]));
    assert!(stderr(&output).contains("may not admin prod/app/db"), "{output:?}");
    let audit = stdout(&bench.store(&["audit", "prod/app/db", "--refused"]));
    assert_eq!(audit.lines().count(), 3, "{audit}");
}

#[test]
fn a_policy_that_cannot_be_followed_is_refused_when_it_is_made() {
    let bench = bench();
    for (arguments, exit, reason) in [
        (&["--generate", "password:length=2,classes=lower+upper+digit"][..], 2, "has room for 2"),
        (&["--generate", "sesame"], 2, "is no generator"),
        (&["--every", "1d"], 2, "add for example --generate password"),
        (&["--generate", "command"], 1, "name a hook with --hook"),
        (&["--generate", "hex", "--timeout", "500000000000y"], 1, "more than an hour"),
        (&["--generate", "hex", "--every", "500y"], 1, "more than a hundred years"),
        (&["--generate", "hex", "--grace", "500000000000y"], 1, "more than a hundred years"),
        (&["--generate", "hex", "--field", "token"], 1, "has no field token"),
        (&["--generate", "hex", "--window", "at night"], 1, "is no window"),
        (&["--generate", "hex", "--every", "0s"], 1, "all the time"),
    ] {
        let output = bench.store(&[&["policy", "prod/app/db"], arguments].concat());
        assert_eq!(code(&output), exit, "{arguments:?}: {output:?}");
        assert!(stderr(&output).contains(reason), "{arguments:?}: {output:?}");
    }
    assert_eq!(stdout(&bench.store(&["policy", "prod/app/db", "--json"])), "null\n");
    let output = rotate(&bench);
    assert!(stderr(&output).contains("has no policy to be rotated by"), "{output:?}");
}

#[test]
fn a_command_makes_the_new_value() {
    let bench = bench();
    fs::write(bench.path("make"), "read -r told; echo '{\"password\": \"made\", \"port\": 5432}'").unwrap();
    hook(&bench, &[("create", "sh make")]);
    policy(&bench, &["--generate", "command", "--hook", "it"]);
    assert_eq!(code(&rotate(&bench)), 0);
    assert_eq!(stdout(&bench.store(&["get", "prod/app/db"])), "password=made\nport=5432\nusername=alice\n");
    fs::write(bench.path("make"), "true").unwrap();
    let output = rotate(&bench);
    assert!(stderr(&output).contains("its command wrote nothing to stdout"), "{output:?}");
    fs::write(bench.path("make"), "head -c 1100000 /dev/zero | tr '\\0' x").unwrap();
    let output = rotate(&bench);
    assert!(stderr(&output).contains("the step create prod/app/db would have"), "{output:?}");
    assert_eq!(shown(&bench)["failures"], 2, "it is no failure that rests");
    fs::write(bench.path("make"), "echo plain").unwrap();
    assert_eq!(code(&rotate(&bench)), 0);
    assert_eq!(password(&bench), "plain");
    for kind in ["ed25519", "rsa:bits=2048"] {
        policy(&bench, &["--generate", kind]);
        assert_eq!(code(&rotate(&bench)), 0, "{kind}");
        let key = stdout(&bench.store(&["get", "prod/app/db", "--field", "private_key"]));
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{kind}");
    }
}
