//! Import and export, counts, the audit, and an owner with a passphrase.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::bench::{Bench, as_role, code, stderr, stdout};

#[test]
fn what_is_exported_is_imported_elsewhere_to_the_letter() {
    let bench = Bench::new();
    bench.put("prod/app/db", r#"{"username": "alice", "password": "it's \"odd\"\n"}"#);
    bench.put("prod/app/deep/json", r#"{"a": {"b": [1, null, true]}, "c": "plain"}"#);
    bench.put("dev/app/token", "sesame");
    let output = bench.store(&["export", "--to", "all.json"]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(fs::metadata(bench.path("all.json")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(code(&bench.store(&["export", "--to", "all.json"])), 1, "over something that is there");

    let other = Bench::new();
    fs::copy(bench.path("all.json"), other.path("all.json")).unwrap();
    let output = other.store(&["import", "all.json"]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stdout(&output).ends_with("3 imported, 0 were the same already\n"), "{output:?}");
    for path in ["prod/app/db", "prod/app/deep/json", "dev/app/token"] {
        let get = ["get", path, "--json"];
        assert_eq!(stdout(&other.store(&get)), stdout(&bench.store(&get)), "{path}");
    }
    let again = other.store(&["import", "all.json"]);
    assert!(stdout(&again).ends_with("0 imported, 3 were the same already\n"), "{again:?}");
    assert_eq!(other.verified().0, 0);
}

#[test]
fn files_of_each_kind_become_secrets() {
    let bench = Bench::new();
    fs::write(bench.path(".env"), "# for the app\nexport DB_URL='pg://x'\nTOKEN=sesame\n").unwrap();
    fs::write(bench.path("some.json"), r#"{"db": {"user": "u"}, "api": {"key": "k"}}"#).unwrap();
    fs::write(bench.path("some.toml"), "[mail]\npassword = 'p'\n[deep.er]\nport = 25\n").unwrap();
    for (file, under) in [(".env", "dev/app/env"), ("some.json", "dev/json"), ("some.toml", "dev/toml/")] {
        let output = bench.store(&["import", file, "--under", under]);
        assert_eq!(code(&output), 0, "{file}: {output:?}");
    }
    assert_eq!(stdout(&bench.store(&["get", "dev/app/env"])), "DB_URL=pg://x\nTOKEN=sesame\n");
    let listed = stdout(&bench.store(&["list", "--json"]));
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let paths: Vec<_> = listed.iter().map(|head| head["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["dev/app/env", "dev/json/api", "dev/json/db", "dev/toml/deep/er", "dev/toml/mail"]);
    // And out again, in the form that programs take.
    let output = bench.store(&["export", "dev/app/env", "--format", "env"]);
    assert_eq!(stdout(&output), "DB_URL='pg://x'\nTOKEN='sesame'\n");
    let output = bench.store(&["export", "dev/", "--format", "env"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("5 secrets are no list of variables"), "{output:?}");
}

#[test]
fn a_file_that_cannot_be_imported_changes_nothing_and_says_why() {
    let bench = Bench::new();
    for (file, text, arguments, reason) in [
        (
            "a.json",
            r#"{"a": {"b": "sesame"}, "c": "sesame"}"#,
            &["--under", "dev/x"][..],
            "beside each other",
        ),
        ("b.json", "{\"a\": \"sesame\"", &["--under", "dev/x"], "line 1"),
        (
            "c.json",
            r#"{"good": {"a": "sesame"}, "b d": {"a": "sesame"}}"#,
            &["--under", "dev/x"],
            "\"dev/x/b d\"",
        ),
        ("d.json", r#"{"a": "sesame"}"#, &[], "--under"),
        ("e.yaml", "a: sesame", &["--under", "dev/x"], ".env, .json or .toml"),
        ("f.env", "sesame", &["--under", "dev/x"], "NAME=value"),
    ] {
        fs::write(bench.path(file), text).unwrap();
        let output = bench.store(&[&["import", file], arguments].concat());
        assert_eq!(code(&output), 2, "{file}: {output:?}");
        assert!(
            stderr(&output).contains(reason) && !stderr(&output).contains("sesame"),
            "{file}: {output:?}"
        );
    }
    assert_eq!(stdout(&bench.store(&["list"])), "");
}

#[test]
fn the_audit_is_asked_and_the_store_counted() {
    let bench = Bench::new();
    bench.put("prod/app/db", "x");
    bench.put("dev/app/db", "x");
    let role = bench.role("web", &["--read", "prod/app/*"]);
    for path in ["prod/app/db", "prod/app/none", "dev/app/db"] {
        bench.store(&as_role(&role, &["get", path]));
    }
    let asked = |arguments: &[&str]| {
        let output = bench.store(&[&["audit", "--json"], arguments].concat());
        assert_eq!(code(&output), 0, "{output:?}");
        let lines: Vec<Value> =
            stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines
    };
    let reads = asked(&["--who", "web", "--action", "read"]);
    let told: Vec<_> = reads.iter().map(|entry| (&entry["about"], &entry["outcome"])).collect();
    let expected = [("prod/app/db", "done"), ("prod/app/none", "missing"), ("dev/app/db", "refused")]
        .map(|(about, outcome)| (json!(about), json!(outcome)));
    assert_eq!(told, expected.each_ref().map(|(about, outcome)| (about, outcome)));
    assert_eq!(asked(&["dev/", "--refused"]).len(), 1);
    assert_eq!(asked(&["--last", "2"]).len(), 2);
    assert!(asked(&["--since", "1h"]).len() > 5);
    assert_eq!(asked(&["--who", "nobody"]).len(), 0);
    let output = bench.store(&as_role(&role, &["audit"]));
    assert!(stderr(&output).contains("only the owner may read the audit"), "{output:?}");

    bench.store(&["rm", "dev/app/db"]);
    let stats: Value = serde_json::from_str(&stdout(&bench.store(&["stats", "--json"]))).unwrap();
    let counted =
        ["environments", "secrets", "deleted", "versions", "roles"].map(|name| stats[name].as_u64().unwrap());
    assert_eq!(counted, [2, 1, 1, 2, 1], "{stats}");
    assert!(stats["audit_entries"].as_u64() > Some(10) && stats["bytes"].as_u64() > Some(4096), "{stats}");
}

#[test]
fn every_command_says_as_json_what_it_did() {
    let bench = Bench::new();
    fs::write(bench.path("one.json"), r#"{"a": {"b": "c"}}"#).unwrap();
    for (arguments, expected) in [
        (&["put", "dev/app/db"][..], json!({"path": "dev/app/db", "version": 1})),
        (&["rm", "dev/app/db"], json!({"path": "dev/app/db", "deleted": 1})),
        (&["undelete", "dev/app/db"], json!({"path": "dev/app/db", "undeleted": 1})),
        (&["rotate", "--due"], json!(null)),
        (&["policy", "dev/app/db"], json!(null)),
        (&["policy", "dev/app/db", "--none"], json!({"path": "dev/app/db", "policy": null})),
        (&["destroy", "dev/app/db"], json!({"path": "dev/app/db", "destroyed": 1})),
        (&["import", "one.json", "--under", "dev"], json!({"imported": 1, "same": 0})),
        (&["rekey"], json!({"store": "squire.store", "key_file": "squire.store.key"})),
    ] {
        let output = bench.store_with(&[arguments, &["--json"]].concat(), "x");
        assert_eq!(code(&output), 0, "{output:?}");
        let said = stdout(&output);
        let last = said.lines().last().map_or(Value::Null, |line| serde_json::from_str(line).unwrap());
        assert_eq!(last, expected, "{arguments:?}");
    }
}

#[test]
fn as_many_versions_are_kept_as_are_wanted() {
    let bench = Bench::new();
    for number in 0..5 {
        let output = bench.store_with(&["put", "dev/a", "--keep", "2"], &number.to_string());
        assert_eq!(code(&output), 0, "{output:?}");
    }
    assert_eq!(stdout(&bench.store(&["get", "dev/a", "--version", "4", "--field", "value"])), "3\n");
    assert_eq!(code(&bench.store(&["get", "dev/a", "--version", "3"])), 1);
    assert_eq!(code(&bench.store_with(&["put", "dev/a", "--keep", "0"], "x")), 2);
}

#[test]
fn a_passphrase_opens_a_store_that_was_made_with_one() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench { directory };
    fs::write(bench.path("passphrase"), "correct horse battery staple\n").unwrap();
    fs::write(bench.path("wrong"), "correct horse battery stapel\n").unwrap();
    fs::write(bench.path("short"), "horse\n").unwrap();
    let with =
        |file: &str, arguments: &[&str]| bench.store(&[&["--passphrase-file", file], arguments].concat());
    let short = with("short", &["init", "--passphrase"]);
    assert_eq!(code(&short), 2);
    assert!(stderr(&short).contains("less than 12 characters"), "{short:?}");
    assert_eq!(code(&with("passphrase", &["init", "--passphrase"])), 0);
    assert!(!bench.path("squire.store.key").exists());
    let put = ["--passphrase-file", "passphrase", "put", "dev/a"];
    assert_eq!(code(&bench.store_with(&put, "sesame")), 0);
    assert_eq!(stdout(&with("passphrase", &["get", "dev/a"])), "value=sesame\n");
    let wrong = with("wrong", &["get", "dev/a"]);
    assert_eq!(code(&wrong), 1);
    assert!(stderr(&wrong).contains("does not open with this"), "{wrong:?}");
    let asked = bench.store(&["get", "dev/a"]);
    assert!(stderr(&asked).contains("wants its passphrase"), "{asked:?}");
    // A key replaces it, and only the key opens the store then.
    assert_eq!(code(&with("passphrase", &["rekey"])), 0);
    assert_eq!(stdout(&bench.store(&["get", "dev/a"])), "value=sesame\n");
    assert_eq!(code(&with("passphrase", &["get", "dev/a"])), 1);
    assert_eq!(bench.verified().0, 0);
}

/// If the reader closes the pipe, no error is printed, and the exit code is that of a program that SIGPIPE ends.
#[test]
fn who_reads_no_further_ends_an_export() {
    let bench = Bench::new();
    bench.put("dev/large", &"x".repeat(900_000));
    let mut child = bench
        .command(&["export"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (141, ""), "{output:?}");
}
