//! Values, keys, roles and the audit: kept, separated, recorded, durable; and harm to the file.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use squire::secret::Secret;
use squire::store::{Credential, OwnerSecret, SecretPath, Store, With};

use crate::bench::{Bench, as_role, code, stderr, stdout};

#[test]
fn what_is_put_is_there_with_its_versions() {
    let bench = Bench::new();
    for value in ["one", "two", "three"] {
        bench.put("dev/app/token", value);
    }
    assert_eq!(bench.get("dev/app/token"), "three");
    let old = bench.store(&["get", "dev/app/token", "--version", "1", "--json"]);
    assert_eq!(
        serde_json::from_str::<Value>(&stdout(&old)).unwrap(),
        json!({"version": 1, "fields": {"value": "one"}})
    );
    let fields = bench.store_with(&["put", "dev/app/db", "username=alice", "password=-"], "sesame\n");
    assert_eq!(code(&fields), 0, "{fields:?}");
    assert_eq!(stdout(&bench.store(&["get", "dev/app/db"])), "password=sesame\nusername=alice\n");
    bench.put("dev/app/json", r#"{"a": 1, "b": {"c": [true]}}"#);
    assert_eq!(stdout(&bench.store(&["get", "dev/app/json"])), "a=1\nb={\"c\":[true]}\n");
    assert_eq!(stdout(&bench.store(&["list", "dev/app/d"])), "dev/app/db  version 1\n");

    assert_eq!(code(&bench.store(&["rm", "dev/app/token"])), 0);
    assert!(stderr(&bench.store(&["get", "dev/app/token"])).contains("was deleted at"));
    assert!(!stdout(&bench.store(&["list"])).contains("token"));
    assert_eq!(code(&bench.store(&["undelete", "dev/app/token"])), 0);
    assert_eq!(bench.get("dev/app/token"), "three");
    assert_eq!(code(&bench.store(&["destroy", "dev/app/token", "--version", "3"])), 0);
    assert!(stderr(&bench.store(&["get", "dev/app/token"])).contains("was destroyed at"));
    for number in 0..12 {
        bench.put("dev/app/token", &number.to_string());
    }
    let history = stdout(&bench.store(&["history", "dev/app/token"]));
    assert_eq!(history.lines().filter(|line| line.starts_with("version")).count(), 10, "{history}");
    assert_eq!(bench.verified().0, 0);
}

#[test]
fn a_number_is_kept_as_it_was_written() {
    const NUMBERS: [&str; 7] =
        ["123456789012345678901234567890", "1.10", "-0.50", "1e+400", "1.0e+2", "18446744073709551616", "7"];
    let bench = Bench::new();
    for number in NUMBERS {
        bench.put("dev/app/n", &format!("{{\"n\": {number}, \"deep\": [{number}]}}"));
        assert_eq!(stdout(&bench.store(&["get", "dev/app/n"])), format!("deep=[{number}]\nn={number}\n"));
        fs::write(bench.path("in.json"), format!("{{\"imported\": {{\"n\": {number}}}}}")).unwrap();
        assert_eq!(code(&bench.store(&["import", "in.json", "--under", "dev/app"])), 0);
        assert_eq!(stdout(&bench.store(&["get", "dev/app/imported"])), format!("n={number}\n"));
    }
    fs::write(bench.path("in.toml"), "[toml]\nn = 1.10\nlarge = 9223372036854775807\nhex = 0x10\n").unwrap();
    assert_eq!(code(&bench.store(&["import", "in.toml", "--under", "dev/app"])), 0);
    let imported = stdout(&bench.store(&["get", "dev/app/toml"]));
    assert_eq!(imported, "hex=16\nlarge=9223372036854775807\nn=1.10\n");
    fs::write(bench.path("in.toml"), "[toml]\nn = nan\n").unwrap();
    let refused = bench.store(&["import", "in.toml", "--under", "dev/app"]);
    assert!(stderr(&refused).contains("a number that JSON does not have: write it in quotes"), "{refused:?}");
}

#[test]
fn nothing_can_be_read_in_the_file() {
    let bench = Bench::new();
    let words = ["canary-value", "canary-name", "canary-field", "canary-env", "canary-role", "canary-note"];
    let fields = r#"{"canary-field": "canary-value"}"#;
    let put = bench.store_with(&["put", "canary-env/canary-name", "--note", "canary-note"], fields);
    assert_eq!(code(&put), 0);
    bench.role("canary-role", &["--read", "canary-env/*"]);
    for name in ["squire.store", "squire.store-wal", "squire.store-shm"] {
        let bytes = fs::read(bench.path(name)).unwrap_or_default();
        for word in words {
            assert!(!bytes.windows(word.len()).any(|part| part == word.as_bytes()), "{word} in {name}");
        }
    }
    for name in ["squire.store", "squire.store.key", "canary-role.secret-id"] {
        assert_eq!(fs::metadata(bench.path(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[test]
fn every_key_opens_its_environments_and_no_other() {
    let bench = Bench::new();
    let environments = ["dev", "staging", "prod", "test"];
    for environment in environments {
        bench.put(&format!("{environment}/app/db"), environment);
    }
    for mine in environments {
        let role = bench.role(mine, &["--read", &format!("{mine}/**")]);
        for other in environments {
            let path = format!("{other}/app/db");
            let output = bench.store(&as_role(&role, &["get", &path]));
            if other == mine {
                assert_eq!(stdout(&output), format!("value={mine}\n"));
            } else {
                assert_eq!(code(&output), 1);
                assert!(stderr(&output).contains(&format!("may not read {path}")), "{output:?}");
            }
            // The key is missing, so no right has to be checked. A role cannot even write at the paths that it may read.
            assert_eq!(code(&bench.store_with(&as_role(&role, &["put", &path]), "x")), 1);
        }
        let listed = stdout(&bench.store(&as_role(&role, &["list"])));
        assert_eq!(listed, format!("{mine}/app/db  version 1\n"));
    }
    assert_eq!(bench.verified().0, 0);
}

#[test]
fn a_role_does_what_it_may_in_its_time_and_as_often_as_it_may() {
    let bench = Bench::new();
    bench.put("prod/app/db", "one");
    bench.put("prod/other/db", "other");
    let role = bench.role("web", &["--read", "prod/app/*", "--uses", "2"]);
    assert_eq!(stdout(&bench.store(&as_role(&role, &["get", "prod/app/db"]))), "value=one\n");
    assert!(
        stderr(&bench.store(&as_role(&role, &["get", "prod/other/db"])))
            .contains("may not read prod/other/db")
    );
    let third = bench.store(&as_role(&role, &["get", "prod/app/db"]));
    assert!(code(&third) == 1 && stderr(&third).contains("has logged in 2 times"), "{third:?}");
    let short = bench.role("short", &["--read", "prod/app/*", "--expires", "1ms"]);
    let late = bench.store(&as_role(&short, &["get", "prod/app/db"]));
    assert!(code(&late) == 1 && stderr(&late).contains("expired at"), "{late:?}");
    let writer = bench.role("writer", &["--write", "prod/app/*"]);
    assert_eq!(code(&bench.store_with(&as_role(&writer, &["put", "prod/app/db"]), "two")), 0);
    assert_eq!(code(&bench.store(&as_role(&writer, &["get", "prod/app/db"]))), 1);
    assert!(stderr(&bench.store(&as_role(&writer, &["role", "list"]))).contains("only the owner may"));
    assert_eq!(bench.get("prod/app/db"), "two");
    // After its revocation it opens nothing, and the others go on.
    assert_eq!(code(&bench.store(&["role", "revoke", "short"])), 0);
    assert!(
        stderr(&bench.store(&as_role(&short, &["get", "prod/app/db"]))).contains("does not open with this")
    );
    assert_eq!(code(&bench.store_with(&as_role(&writer, &["put", "prod/app/db"]), "three")), 0);
    assert_eq!(bench.get("prod/app/db"), "three");
    assert_eq!(bench.verified().0, 0, "{:?}", bench.verified());
}

#[test]
fn a_wrong_credential_is_refused_without_a_hint_which() {
    let bench = Bench::new();
    bench.put("dev/app/db", "x");
    let role = bench.role("web", &["--read", "dev/app/*"]);
    fs::write(bench.path("wrong"), "0".repeat(64)).unwrap();
    let wrong_id = ["--role-id", &"0".repeat(32), "--secret-id-file", "web.secret-id"].map(str::to_owned);
    let wrong_secret = ["--role-id", &role[1], "--secret-id-file", "wrong"].map(str::to_owned);
    let wrong_key = ["--key-file", "wrong"].map(str::to_owned);
    let said: BTreeSet<_> = [&wrong_id[..], &wrong_secret, &wrong_key]
        .into_iter()
        .map(|credential| {
            let output = bench.store(&as_role(credential, &["get", "dev/app/db"]));
            assert_eq!(code(&output), 1);
            stderr(&output)
        })
        .collect();
    assert_eq!(said.len(), 1, "{said:?}");
    // From then on only the new owner's key works.
    fs::copy(bench.path("squire.store.key"), bench.path("old")).unwrap();
    assert_eq!(code(&bench.store(&["rekey"])), 0);
    assert_eq!(bench.get("dev/app/db"), "x");
    assert_eq!(code(&bench.store(&["--key-file", "old", "get", "dev/app/db"])), 1);
    assert_eq!(bench.verified().0, 0);
}

#[test]
fn bad_input_is_refused_and_nothing_is_lost() {
    let bench = Bench::new();
    bench.put("dev/app/db", "good");
    for (arguments, stdin, expected) in [
        (&["put", "dev/app/db", "hunter2"][..], "", "not taken from the command line"),
        (&["put", "dev/app/db"], "", "nothing on stdin"),
        (&["put", "app"], "x", "names no environment"),
        (&["put", "dev//db"], "x", "empty segment"),
        (&["put", "dev/app/db", "a=1", "a=2"], "", "is there twice"),
        (&["put", "dev/app/db", "a=-"], "", "no line for the field a"),
        (&["put", "dev/app/db", "--file", "missing"], "", "cannot read missing"),
        (&["get", "dev/app/missing"], "", "there is nothing at dev/app/missing"),
        (&["get", "dev/app/db", "--version", "9"], "", "there is no version 9"),
        (&["get", "dev/app/db", "--field", "x"], "", "there is no field x; there is value"),
        (&["role", "add", "web"], "", "may do nothing"),
        (&["role", "add", "web", "--read", "*/app"], "", "cannot be a pattern"),
        (&["role", "revoke", "nobody"], "", "there is no role nobody"),
        (&["init"], "", "already"),
        (&["--store", "missing", "list"], "", "there is no store at missing"),
        (&["--key-file", "missing", "list"], "", "cannot be read"),
        (
            &["--store", "missing", "--key-file", "squire.store.key", "list"],
            "",
            "there is no store at missing",
        ),
        (&["--store", "squire.store.key", "--key-file", "squire.store.key", "list"], "", "is not a store"),
    ] {
        let output = bench.store_with(arguments, stdin);
        assert!(matches!(code(&output), 1 | 2), "{arguments:?}: {output:?}");
        assert!(stderr(&output).contains(expected), "{arguments:?}: {output:?}");
        assert!(!stderr(&output).contains("hunter2"), "{output:?}");
    }
    let large = "x".repeat((1 << 20) + 1);
    let output = bench.store_with(&["put", "dev/app/db"], &large);
    assert!(stderr(&output).contains("may have 1048576"), "{}", stderr(&output));
    bench.put("dev/app/large", &"x".repeat((1 << 20) - 100));
    assert_eq!(bench.get("dev/app/db"), "good");
    assert_eq!(bench.verified().0, 0);
}

/// Every byte of the database's pages counts: each change is found, and its place is named.
#[test]
fn cuts_edits_and_swaps_are_found() {
    type Harm = fn(&rusqlite::Connection);
    let harms: [(&str, Harm, &str); 9] = [
        (
            "an edited value",
            |db| {
                sql(
                    db,
                    "UPDATE versions SET value = CAST(x'00' || substr(value, 2) AS BLOB) WHERE number = 1",
                );
            },
            "version 1 of dev/app/",
        ),
        (
            "a swapped row",
            |db| {
                sql(
                    db,
                    "UPDATE versions SET value = (SELECT value FROM versions WHERE number = 2 LIMIT 1) WHERE number = 1",
                );
            },
            "another value was put in its place",
        ),
        ("a lost version", |db| sql(db, "DELETE FROM versions WHERE number = 2"), "version 2 of dev/app/a"),
        ("a lost secret", |db| sql(db, "DELETE FROM secrets"), "the audit knows it, and it is not there"),
        (
            "an edited entry",
            |db| {
                sql(
                    db,
                    "UPDATE audit SET sealed = CAST(x'00' || substr(sealed, 2) AS BLOB) WHERE number = 4",
                );
            },
            "audit entry 4",
        ),
        ("a lost entry", |db| sql(db, "DELETE FROM audit WHERE number = 3"), "audit entry 3"),
        ("a cut end", |db| sql(db, "DELETE FROM audit WHERE number > 5"), "the end of the audit"),
        (
            "two swapped entries",
            |db| {
                sql(
                    db,
                    "UPDATE audit SET number = -2 WHERE number = 2; UPDATE audit SET number = 2 WHERE number = 3; UPDATE audit SET number = 3 WHERE number = -2",
                );
            },
            "audit entry 2",
        ),
        (
            "a foreign environment",
            |db| sql(db, "UPDATE secrets SET environment = zeroblob(16)"),
            "there is no such environment",
        ),
    ];
    for (what, harm, expected) in harms {
        let bench = Bench::new();
        for (path, value) in [("dev/app/a", "1"), ("dev/app/a", "2"), ("dev/app/b", "3")] {
            bench.put(path, value);
        }
        assert_eq!(bench.verified().0, 0);
        let db = rusqlite::Connection::open(bench.path("squire.store")).unwrap();
        harm(&db);
        drop(db);
        let (code, said) = bench.verified();
        assert!(code == 1 && said.contains(expected), "{what}: {code} {said}");
    }
}

fn sql(db: &rusqlite::Connection, statements: &str) {
    db.execute_batch(statements).unwrap();
}

#[test]
fn an_earlier_state_of_a_secret_that_is_put_back_is_found() {
    let bench = Bench::new();
    bench.put("dev/app/a", "old");
    let db = rusqlite::Connection::open(bench.path("squire.store")).unwrap();
    let head: Vec<u8> = db.query_row("SELECT head FROM secrets", [], |row| row.get(0)).unwrap();
    drop(db);
    bench.put("dev/app/a", "new");
    let db = rusqlite::Connection::open(bench.path("squire.store")).unwrap();
    db.execute("UPDATE secrets SET head = ?1", [head]).unwrap();
    drop(db);
    let (code, said) = bench.verified();
    assert!(code == 1 && said.contains("an earlier one was put back"), "{said}");
}

#[test]
fn a_cut_or_newer_file_is_refused() {
    let bench = Bench::new();
    bench.put("dev/app/a", &"x".repeat(100_000));
    let path = bench.path("squire.store");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let (code, said) = bench.verified();
    assert!(code == 1, "{said}");
    fs::write(&path, &whole).unwrap();
    assert_eq!(bench.verified().0, 0);
    let db = rusqlite::Connection::open(&path).unwrap();
    sql(&db, "PRAGMA user_version = 99");
    drop(db);
    let (code, said) = bench.verified();
    assert!(code == 1 && said.contains("has format 99") && said.contains("use a newer one"), "{said}");
}

#[test]
fn a_full_or_read_only_disk_loses_nothing() {
    let bench = Bench::new();
    let mount = |options: &[&str]| {
        let status = Command::new("mount").args(options).arg(bench.path("small")).status().unwrap();
        assert!(status.success(), "this test mounts a tmpfs: run it as root");
    };
    fs::create_dir(bench.path("small")).unwrap();
    mount(&["-t", "tmpfs", "-o", "size=1m", "store-test"]);
    let _unmount = Unmount(&bench.path("small"));
    let in_it = |arguments: &[&str], stdin: &str| {
        bench.store_with(&[&["--store", "small/s", "--key-file", "key"], arguments].concat(), stdin)
    };
    assert_eq!(code(&in_it(&["init"], "")), 0);
    assert_eq!(code(&in_it(&["put", "dev/app/a"], "good")), 0);
    let large = "x".repeat(1_000_000);
    let full = in_it(&["put", "dev/app/a"], &large);
    assert!(code(&full) == 1 && stderr(&full).contains("the disk is full"), "{full:?}");
    assert_eq!(stdout(&in_it(&["get", "dev/app/a"], "")), "value=good\n");
    mount(&["-o", "remount,ro"]);
    let refused = in_it(&["put", "dev/app/a"], "x");
    assert!(code(&refused) == 1 && stderr(&refused).contains("cannot be written"), "{refused:?}");
    mount(&["-o", "remount,rw"]);
    assert_eq!(stdout(&in_it(&["get", "dev/app/a"], "")), "value=good\n");
    assert_eq!(code(&in_it(&["verify"], "")), 0);
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0).status().ok();
    }
}

#[test]
fn two_writers_at_once_both_write() {
    let bench = Bench::new();
    bench.put("dev/app/a", "first");
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (path, key) =
                (bench.path("squire.store"), fs::read_to_string(bench.path("squire.store.key")).unwrap());
            std::thread::spawn(move || {
                let mut store =
                    Store::open(&path, &Credential::Owner(OwnerSecret::Key(Secret::new(key)))).unwrap();
                let path = SecretPath::parse("dev/app/a").unwrap();
                for number in 0..25 {
                    let fields = json!({"value": format!("{writer}-{number}")});
                    store
                        .put(&path, &Secret::new(fields.as_object().unwrap().clone()), With::default())
                        .unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    let history = stdout(&bench.store(&["history", "dev/app/a"]));
    assert!(history.contains("version 101 "), "{history}");
    assert_eq!(bench.verified().0, 0);
}

/// The variable that turns [`writer`] from an empty test into the writer.
const STORE: &str = "STORE_WRITER";

/// Not a test: puts for ever, and prints what was reported as done.
#[test]
fn writer() {
    let Some(path) = std::env::var_os(STORE).map(PathBuf::from) else { return };
    let key = fs::read_to_string(path.with_added_extension("key")).unwrap();
    let mut store = Store::open(&path, &Credential::Owner(OwnerSecret::Key(Secret::new(key)))).unwrap();
    let secret = SecretPath::parse("dev/app/counter").unwrap();
    let mut stdout = std::io::stdout();
    loop {
        let fields = json!({"value": "x"});
        let number =
            store.put(&secret, &Secret::new(fields.as_object().unwrap().clone()), With::default()).unwrap();
        writeln!(stdout, "\nput {number}").unwrap();
    }
}

#[test]
fn what_was_reported_is_there_after_a_kill_at_any_instant() {
    let bench = Bench::new();
    let mut random = fastrand::Rng::new();
    let mut last = 0_u64;
    let mut kills = 0;
    while last < 2000 {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "keeping::writer", "--nocapture"]).env(STORE, bench.path("squire.store"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        // Until the first put is reported, and then for a random time.
        let mut reported = String::new();
        let mut line = String::new();
        while !line.starts_with("put ") {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "the writer ended");
        }
        reported.push_str(&line);
        std::thread::sleep(Duration::from_micros(random.u64(0..150_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        lines.read_to_string(&mut reported).unwrap();
        let whole = &reported[..reported.rfind('\n').map_or(0, |end| end + 1)];
        let numbers = whole.lines().filter_map(|line| line.strip_prefix("put ")?.parse::<u64>().ok());
        last = numbers.max().unwrap();
        kills += 1;
        let key = fs::read_to_string(bench.path("squire.store.key")).unwrap();
        let mut store =
            Store::open(&bench.path("squire.store"), &Credential::Owner(OwnerSecret::Key(Secret::new(key))))
                .unwrap();
        let head = store.history(&SecretPath::parse("dev/app/counter").unwrap()).unwrap();
        assert!(head.current >= last, "version {last} was reported, and {} is the last", head.current);
    }
    println!("{kills} kills, {last} puts");
    assert_eq!(bench.verified().0, 0, "{:?}", bench.verified());
}
