//! The messages of Squire: for users of another tool, for typing errors, for programs that read the log; and no message contains a value.

use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::support::{Rig, SOON, Squire, configure_store, fresh, rig_of_store, store};

const FILE: &str = "[output]\ndir = \"@dir@/out\"\n[[file]]\npath = \"x\"\ninline = \"{{db.password}}\"\n";

fn rig(rest: &str) -> Rig {
    let password = fresh("first");
    let rig = rig_of_store(&json!({"password": password}), rest);
    rig.canaries().add(&password);
    rig
}

/// The output of `squire check` for this text; one line.
fn check(rig: &Rig, text: &str) -> (i32, String) {
    rig.whole_config(text);
    let outcome = rig.check();
    (outcome.code, format!("{}{}", outcome.stdout, outcome.stderr))
}

#[test]
fn the_syntax_of_another_tool_is_called_by_its_name() {
    let rig = rig(FILE);
    for (text, line, words) in [
        (
            "pid_file = \"./pid\"\n\nvault {\n  address = \"https://vault:8200\"\n}\nauto_auth {\n  method \"approle\" {\n  }\n}\n",
            3,
            "this is HCL",
        ),
        ("{\n  \"vault\": {\"address\": \"https://vault:8200\"}\n}\n", 1, "this is JSON"),
        ("---\nsource:\n  vault:\n    address: https://vault:8200\n", 1, "this is YAML"),
    ] {
        let (code, said) = check(&rig, text);
        assert_eq!(code, 2, "{said}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
        assert!(said.contains(words) && said.contains("[source.vault]"), "{said}");
        assert!(said.contains(&format!("squire.toml:{line}: ")), "{said}");
    }
    for template in [
        r#"{{ with secret "secret/data/app/db" }}{{ .Data.data.password }}{{ end }}"#,
        r#"{{- with secret "database/creds/app" -}}\n{{ .Data.username }}\n{{- end }}"#,
        "{{ range $k, $v := .Data.data }}{{ $k }}{{ end }}",
        "{{ .Data.data.password | toJSON }}",
        r#"{{ key "app/config" }}"#,
    ] {
        rig.write("go.ctmpl", &template.replace("\\n", "\n"));
        configure_store(
            &rig,
            "[output]\ndir = \"@dir@/out\"\n[[file]]\npath = \"x\"\ntemplate = \"go.ctmpl\"\n",
        );
        let outcome = rig.check();
        assert_eq!(outcome.code, 2, "{template}");
        assert_eq!(outcome.stderr.trim().lines().count(), 1, "{}", outcome.stderr);
        for word in ["go.ctmpl:1:", "Go's template language", "{{db.password}}", "{{json x}}"] {
            assert!(outcome.stderr.contains(word), "{word} in {}", outcome.stderr);
        }
    }
}

#[test]
fn a_configuration_with_nothing_to_do_is_told_so() {
    let rig = rig("");
    let empty = [
        "",
        "[source.vault]\naddress = \"http://127.0.0.1:1\"\nauth.token = { file = \"t\" }\n",
        "[output]\ndir = \"@dir@/out\"\n",
    ];
    for text in empty {
        let (code, said) = check(&rig, text);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("warning: there is nothing to do: add a [[file]]"), "{said}");
        for command in ["run", "render"] {
            let outcome =
                rig.start(&[command, "-c", rig.path("squire.toml").to_str().unwrap()]).outcome(SOON);
            assert_eq!(outcome.code, 2, "{}", outcome.stderr);
            assert!(outcome.stderr.contains("there is nothing to do"), "{}", outcome.stderr);
        }
    }
    // A process alone is enough for a run.
    assert_eq!(rig.run_command(&["true"]).outcome(SOON).code, 0);
    configure_store(&rig, &format!("[secret.other]\npath = \"prod/app/other\"\n{FILE}"));
    let unused = format!("{}:", rig.path("squire.toml").display());
    let said = rig.check().stderr;
    let line = rig.read("squire.toml").lines().position(|line| line.contains("[secret.other]")).unwrap() + 1;
    assert!(
        said.contains(&format!("warning: {unused}{line}: nothing refers to the secret `other`")),
        "{said}"
    );
}

#[test]
fn a_process_without_a_command_is_refused() {
    let rig = rig("");
    for key in [
        "stop_signal = \"SIGINT\"",
        "user = \"root\"",
        "on_change = \"SIGHUP\"",
        "stop_timeout = \"1s\"",
        "listen = [\"tcp://127.0.0.1:0\"]",
    ] {
        configure_store(&rig, &format!("{FILE}[process]\n{key}\n"));
        for outcome in [rig.check(), rig.run().outcome(SOON)] {
            assert_eq!(outcome.code, 2, "{key}");
            let words = "says how a process is run, and there is none: set process.command or give a command after `--`";
            assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
        }
        // The text after `--` is a command.
        assert_eq!(rig.run_command(&["true"]).outcome(SOON).code, 0, "{key}");
    }
}

/// Runs a command that cannot start its process, with this environment and none of the rig's.
fn fails_with(rig: &Rig, log: &str, format: &str) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_squire"))
        .args(["run", "-c", rig.path("squire.toml").to_str().unwrap(), "--", "/no/such"])
        .env("SQUIRE_LOG", log)
        .env("SQUIRE_LOG_FORMAT", format)
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_word_that_is_no_level_or_format_is_named_and_replaced() {
    let rig = rig("");
    for (log, format, warning) in [
        (
            "information",
            "json",
            Some("SQUIRE_LOG: \"information\" is no level; write error, warn, info, debug, trace or off"),
        ),
        ("infoo,debug", "json", Some("\"infoo\" is no level")),
        ("info", "xml", Some("SQUIRE_LOG_FORMAT: \"xml\" is unknown; write text or json")),
        // Whatever the filter is, an error that ends Squire is logged.
        ("off", "text", None),
        ("hyper=debug", "json", None),
    ] {
        let (code, said) = fails_with(&rig, log, format);
        assert_eq!(code, 127, "{said}");
        assert!(said.contains("cannot find ") && said.contains("/no/such"), "{log}: {said}");
        match warning {
            Some(words) => assert!(said.replace('\\', "").contains(words), "{log}: {said}"),
            None => assert_eq!(said.lines().count(), 1, "{said}"),
        }
    }
}

#[test]
fn durations_in_the_log_are_numbers_for_machines_and_have_a_unit_for_people() {
    let rig = rig(FILE);
    let mut squire = rig.run();
    squire.wait_until("it is fetched", || rig.path("out/x").exists());
    squire.wait_until("it is said", || rig.read("stderr.1").contains("secret fetched"));
    let fetched = &squire.events("secret fetched")[0];
    assert!(fetched["next_in_s"].as_f64().unwrap() > 1.0, "{fetched}");
    for line in squire.log().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        for (name, value) in line.as_object().unwrap() {
            let is_text = value.as_str().is_some_and(|text| {
                text.strip_suffix('s').is_some_and(|number| number.parse::<f64>().is_ok())
            });
            assert!(!is_text, "{name} is a duration as text: {line}");
        }
    }
    assert_eq!(squire.stop(), 0);

    let output = Command::new(env!("CARGO_BIN_EXE_squire"))
        .args(["render", "-c", rig.path("squire.toml").to_str().unwrap()])
        .env("SQUIRE_LOG_FORMAT", "text")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let line = said.lines().find(|line| line.contains("secret fetched")).unwrap();
    let duration = line.split("next_in=").nth(1).unwrap().split_whitespace().next().unwrap();
    assert!(duration.ends_with('s') && duration.trim_end_matches('s').parse::<f64>().is_ok(), "{line}");
}

#[test]
fn what_was_never_held_is_not_said_to_be_valid() {
    let rig = rig(&FILE.replace("db.password", "none.password"));
    configure_store(
        &rig,
        &format!("[secret.none]\npath = \"prod/app/none\"\n{}", FILE.replace("db.password", "none.password")),
    );
    let mut squire = rig.run();
    squire.wait_until("it is said", || rig.read("stderr.1").contains("secret not fetched"));
    let line = &squire.events("secret not fetched")[0];
    assert_eq!((&line["holds_a_value"], line.get("still_valid_s")), (&json!(false), None), "{line}");
    squire.stop();
}

#[test]
fn a_configuration_beside_references_is_refused_and_no_process_gets_the_text_of_one() {
    let rig = rig("");
    rig.set("DB_PASSWORD", "store:prod/app/db#password");
    rig.set("URL", "postgres://app:${vault:secret/db#password}@db");
    rig.set("HOME_PAGE", "https://example.com/store:all");
    for arguments in [&["run", "--", "env"][..], &["run", "-c", "squire.toml", "--", "env"]] {
        let outcome = rig.start(arguments).outcome(SOON);
        assert_eq!(outcome.code, 2, "{}", outcome.stdout);
        for words in [
            "the environment variable DB_PASSWORD refers to a secret",
            "the environment variable URL refers",
            "process.env",
        ] {
            assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
        }
        assert!(!outcome.stderr.contains("HOME_PAGE") && outcome.stdout.is_empty());
    }
    // A variable that is kept back, replaced, or passed on explicitly is no mistake.
    configure_store(&rig, "[process]\nenv = { DB_PASSWORD = \"{{db.password}}\" }\nenv_pass = [\"URL\"]\n");
    let outcome = rig.run_command(&["sh", "-c", "echo $URL"]).outcome(SOON);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (0, "postgres://app:${vault:secret/db#password}@db\n"),
        "{}",
        outcome.stderr
    );
    configure_store(&rig, "[process]\nenv_deny = [\"URL\", \"DB_*\"]\n");
    assert_eq!(rig.run_command(&["sh", "-c", "test -z \"$URL$DB_PASSWORD\""]).outcome(SOON).code, 0);
}

#[test]
fn a_check_that_prints_its_credentials_prints_none_into_the_log() {
    const SAYS: &str = r#"
        [rollout]
        check = [["sh", "-c", "test -e @dir@/good || { @dir@/says {dir}/x; exit 1; }"]]
        [process]
        command = ["sleep", "600"]
        on_change = "none"
    "#;
    let rig = rig(&format!(
        "{}{SAYS}",
        FILE.replace("{{db.password}}", "user = app\\nkey = {{db.password}}\\nsum = {{sha256 db.password}}")
    ));
    let password = format!("It's-{}", fresh("secret"));
    rig.canaries().add(&password);
    store(&rig, &["put", "prod/app/db"], &json!({ "password": password }).to_string());
    script(
        &rig,
        "says",
        r#"#!/usr/bin/env python3
import base64, html, sys, urllib.parse
lines = open(sys.argv[1]).read().splitlines()
password = lines[1].split()[2]
print("upper", password.upper())
print("shell", "'" + password.replace("'", "'" + chr(92) + "''") + "'")
print("hex", password.encode().hex().upper())
for user in ("a", "ab", "abc"):
    print("Authorization: Basic", base64.b64encode(f"{user}:{password}".encode()).decode())
print("url", urllib.parse.quote(password))
print("html", html.escape(password))
print("in line 3:", lines[2])
print("kept: user = app")
"#,
    );
    let mut squire = rig.run();
    let said = &wait_for_complaints(&mut squire, &rig, 1)[0];
    let expected = "upper *** | shell '***' | hex *** | Authorization: Basic *** | Authorization: Basic *** | Authorization: Basic *** | url *** | \
                    html *** | in line 3: ***";
    assert!(said.starts_with(expected), "{said}");
    let random = password.rsplit('-').next().unwrap();
    for form in [random.to_uppercase(), random.to_owned()] {
        assert!(!said.contains(&form), "{said}");
    }
    assert!(said.contains("kept: user = app"), "what stands in the template is no secret: {said}");
    squire.signal(nix::sys::signal::Signal::SIGTERM);
    squire.wait_for_end(Duration::from_secs(20));
}

fn script(rig: &Rig, name: &str, text: &str) {
    rig.write(name, text);
    assert!(Command::new("chmod").arg("755").arg(rig.path(name)).status().unwrap().success());
}

/// What so many checks that failed wrote, as it is in the log.
fn wait_for_complaints(squire: &mut Squire, rig: &Rig, count: usize) -> Vec<String> {
    squire.wait_until("the checks failed", || {
        rig.read("stderr.1").matches("failed its check").count() >= count
    });
    let events = squire.events("generation failed its check, what is published stays");
    let complaint = |event: &Value| {
        let why = event["why"].as_str().unwrap();
        why.split_once("it wrote: ").map_or(why, |(_, wrote)| wrote).to_owned()
    };
    events.iter().map(complaint).collect()
}

/// A check that fails unless there is a file `good`.
fn checked_by(command: &str) -> String {
    format!(
        "{FILE}[rollout]\ncheck = [{{ run = [\"sh\", \"-c\", \"test -e @dir@/good || {{ {command}; exit 1; }}\"], timeout = \"4s\" }}]\n\
         [process]\ncommand = [\"sleep\", \"600\"]\non_change = \"none\"\n"
    )
}

fn end(mut squire: Squire) {
    squire.signal(nix::sys::signal::Signal::SIGTERM);
    squire.wait_for_end(Duration::from_secs(20));
}

/// By the programs themselves: whatever they make of a value, nothing of it is in the log.
#[test]
fn whatever_programs_write_a_value_as_none_of_it_is_in_the_log() {
    // More does not fit into one line of the log.
    for third in 0..3 {
        let rig = rig(&checked_by(&format!("@dir@/says {{dir}}/x {third}")));
        let random = fresh("grün\u{1f511}#~<&>*_/ \\");
        let password = format!("It's \"{random}\"! {}$", fresh("and more"));
        rig.canaries().add(&random);
        rig.canaries().add(&password);
        store(&rig, &["put", "prod/app/db"], &json!({ "password": password }).to_string());
        script(&rig, "says", PROGRAMS);
        let mut squire = rig.run();
        let said = &wait_for_complaints(&mut squire, &rig, 1)[0];
        let expected = SHOWN.iter().skip((third + 2) % 3).step_by(3);
        let expected = expected.map(|(who, shown)| format!("by {who} | {shown} | end."));
        assert_eq!(*said, expected.collect::<Vec<_>>().join(" | "));
        end(squire);
    }
}

const SHOWN: [(&str, &str); 24] = [
    ("json", r#"{"password": "***"}"#),
    ("json within json", r#""{\"body\": \"{\\\"password\\\": \\\"***\\\"}\"}""#),
    ("json of PHP", r#"{"password": "***"}"#),
    ("repr", "'***'"),
    ("ascii", "'***'"),
    ("bytes", "b'***'"),
    ("list", "[***]"),
    ("form", "p=***"),
    ("url", "%7B%22password%22%3A%20%22***%22%7D"),
    ("html", "***"),
    ("html of Go", "***"),
    ("shlex", "'***'"),
    ("csv", "\"***\""),
    ("textwrap", "***"),
    ("printf %q", "***"),
    ("printf %q in ASCII", "$'***'"),
    ("declare", "declare -- p=\"***\""),
    ("fold", "***"),
    ("base64", "***"),
    ("base64 of JSON", "***"),
    ("hex", "***"),
    ("hex with colons", "***"),
    ("od -x", "***"),
    ("od -tx1z", "***"),
];

const PROGRAMS: &str = r#"#!/usr/bin/env python3
import base64, csv, html, io, json, shlex, subprocess, sys, textwrap, urllib.parse
password, third = open(sys.argv[1]).read(), int(sys.argv[2])
count = 0
def run(*command):
    return subprocess.run(command, input=password.encode(), capture_output=True, check=True).stdout.decode()
def say(who, text):
    global count
    count += 1
    if count % 3 == third:
        print("by " + who, text, "end.", sep="\n")
document = json.dumps({"password": password})
row = io.StringIO()
csv.writer(row).writerow([password])
say("json", document)
say("json within json", json.dumps(json.dumps({"body": document})))
say("json of PHP", document.replace("/", chr(92) + "/"))
say("repr", repr(password))
say("ascii", ascii(password))
say("bytes", repr(password.encode()))
say("list", list(password.encode()))
say("form", urllib.parse.urlencode({"p": password}))
say("url", urllib.parse.quote(document, safe=""))
say("html", html.escape(password))
say("html of Go", html.escape(password).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"))
say("shlex", shlex.quote(password))
say("csv", row.getvalue())
say("textwrap", textwrap.fill(password, 24, subsequent_indent="    "))
say("printf %q", run("bash", "-c", 'IFS= read -rd "" p; printf %q "$p"'))
say("printf %q in ASCII", run("env", "LC_ALL=C", "bash", "-c", 'IFS= read -rd "" p; printf %q "$p"'))
say("declare", run("bash", "-c", 'IFS= read -rd "" p; declare -p p'))
say("fold", run("fold", "-w", "30"))
say("base64", run("base64"))
say("base64 of JSON", base64.encodebytes(document.encode()).decode())
say("hex", textwrap.fill(password.encode().hex(), 60))
say("hex with colons", password.encode().hex(":"))
# Without the address of the end.
say("od -x", run("od", "-x").rsplit("\n", 2)[0])
say("od -tx1z", run("od", "-tx1z").rsplit("\n", 2)[0])
"#;

#[test]
fn a_check_that_prints_what_was_live_before_shows_no_value() {
    let rig = rig(&checked_by("cat @dir@/out/..data_prev/x @dir@/out/x"));
    rig.write("good", "");
    let mut squire = rig.run();
    squire.wait_until("the first is published", || rig.path("out/x").exists());
    for count in 1..=2 {
        let password = fresh("next");
        rig.canaries().add(&password);
        if count == 2 {
            std::fs::remove_file(rig.path("good")).unwrap();
        }
        store(&rig, &["put", "prod/app/db"], &json!({ "password": password }).to_string());
        if count == 1 {
            squire.wait_until("the second is published", || rig.read("out/x") == password);
        }
    }
    assert_eq!(wait_for_complaints(&mut squire, &rig, 1), ["***"]);
    end(squire);
}

#[test]
fn a_check_that_is_killed_within_a_line_does_not_show_the_beginning_of_a_value() {
    let rig = rig(&checked_by("echo begins; printf 'key: '; head -c 9 {dir}/x; sleep 600"));
    let mut squire = rig.run();
    assert_eq!(wait_for_complaints(&mut squire, &rig, 1), ["begins"]);
    end(squire);
}

#[test]
fn a_check_that_dumps_a_keystore_shows_none_of_it() {
    let rig = rig("");
    let keystore: Vec<u8> = fresh("k")
        .bytes()
        .cycle()
        .take(900)
        .enumerate()
        .map(|(at, byte)| byte ^ at.wrapping_mul(37).to_le_bytes()[0])
        .collect();
    assert!(str::from_utf8(&keystore).is_err());
    let encoded = base64::engine::general_purpose::STANDARD.encode(&keystore);
    rig.canaries().add(&encoded);
    store(&rig, &["put", "prod/app/db"], &json!({ "password": encoded }).to_string());
    let dump =
        "tail -c 300 {dir}/x; echo; echo; base64 {dir}/x | tail -n 5; echo; od -An -tx1 {dir}/x | tail -n 20";
    configure_store(&rig, &checked_by(dump).replace("inline = ", "base64 = "));
    let mut squire = rig.run();
    let said = wait_for_complaints(&mut squire, &rig, 1);
    assert_eq!(said, ["*** | *** | ***"]);
    end(squire);
}
