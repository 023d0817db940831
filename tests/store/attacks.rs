//! Attacks by somebody who has a role, a copy of the file, or an old key.
//!
//! Each test is one attacker. Attacks that need the inside of the store (a role that seals what it may not) are in `src/store/attacks.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;
use squire::secret::Secret;
use squire::store::{Credential, OwnerSecret, Store};

use crate::bench::{Bench, as_role, code, stderr, stdout};

fn database(bench: &Bench) -> Connection {
    Connection::open(bench.path("squire.store")).unwrap()
}

/// A copy of the present store, as taken by a user who may read the file.
fn keep(bench: &Bench, name: &str) {
    database(bench).execute("VACUUM INTO ?1", [bench.path(name).to_str().unwrap()]).unwrap();
}

/// Replaces these tables by those of a copy.
fn put_back(bench: &Bench, copy: &str, tables: &[&str]) {
    let db = database(bench);
    db.execute("ATTACH ?1 AS kept", [bench.path(copy).to_str().unwrap()]).unwrap();
    for table in tables {
        db.execute_batch(&format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept.{table}"))
            .unwrap();
    }
}

/// Replaces the whole store by a copy.
fn put_whole_back(bench: &Bench, copy: &str) {
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(bench.path(&format!("squire.store{suffix}"))).ok();
    }
    fs::copy(bench.path(copy), bench.path("squire.store")).unwrap();
}

#[test]
fn an_admin_of_one_environment_runs_nothing_as_whoever_rotates() {
    let bench = Bench::new();
    bench.put("dev/app/db", "dev");
    bench.put("prod/app/db", "prod");
    let admin = bench.role("admin", &["--read", "dev/app/*", "--admin", "dev/app/*"]);
    fs::write(bench.path("evil"), "echo ran >> ran; env >> ran").unwrap();
    // A policy can no longer contain a command.
    for option in ["--create", "--set", "--test", "--finish"] {
        let policy = ["policy", "dev/app/db", "--generate", "hex", option, "sh evil"];
        assert_eq!(code(&bench.store(&as_role(&admin, &policy))), 2, "{option}");
    }
    // The owner's hooks are only for the secrets that the owner names.
    fs::write(
        bench.path("hooks.toml"),
        "[hook.prod-db]\npaths = [\"prod/app/*\"]\nset = [\"sh\", \"evil\"]\n",
    )
    .unwrap();
    for hook in ["prod-db", "evil"] {
        let policy = ["policy", "dev/app/db", "--every", "1ms", "--generate", "hex", "--hook", hook];
        assert_eq!(code(&bench.store(&as_role(&admin, &policy))), 0, "{hook}");
        let rotated = bench.store(&["rotate", "--due", "--hooks", "hooks.toml"]);
        assert_eq!(code(&rotated), 1, "{rotated:?}");
        assert!(stderr(&rotated).contains("names the hook"), "{rotated:?}");
    }
    assert!(!bench.path("ran").exists());
    assert_eq!(bench.get("dev/app/db"), "dev");
}

#[test]
fn a_hook_has_only_what_it_is_given_and_its_file_is_nobody_elses() {
    let bench = Bench::new();
    bench.put("dev/app/db", "dev");
    fs::write(bench.path("show"), "env > shown").unwrap();
    let hooks = "[hook.show]\npaths = [\"dev/**\"]\nset = [\"sh\", \"show\"]\nenv = [\"WANTED\"]\n";
    fs::write(bench.path("hooks.toml"), hooks).unwrap();
    bench.store(&["policy", "dev/app/db", "--generate", "hex", "--hook", "show"]);
    let rotate = || {
        let mut command = bench.command(&["rotate", "dev/app/db", "--hooks", "hooks.toml"]);
        command.env("PATH", "/usr/bin:/bin").env("WANTED", "yes").env("VAULT_TOKEN", "canary");
        command.env("SQUIRE_STORE_KEY_FILE", bench.path("squire.store.key"));
        command.output().unwrap()
    };
    assert_eq!(code(&rotate()), 0);
    let shown = fs::read_to_string(bench.path("shown")).unwrap();
    assert!(shown.contains("WANTED=yes") && shown.contains("SQUIRE_PATH=dev/app/db"), "{shown}");
    assert!(!shown.contains("canary") && !shown.contains("KEY_FILE"), "{shown}");
    // Whoever may write the file chooses the commands.
    let set_mode = |mode: u32| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(bench.path("hooks.toml"), mode).unwrap();
    };
    for mode in [0o666, 0o664] {
        set_mode(mode);
        let refused = rotate();
        assert!(
            code(&refused) == 1 && stderr(&refused).contains("may be written by somebody else"),
            "{refused:?}"
        );
    }
    set_mode(0o600);
    std::os::unix::fs::chown(bench.path("hooks.toml"), Some(1234), None).unwrap();
    assert_eq!(code(&rotate()), 1);
}

#[test]
fn a_revoked_role_that_puts_rows_back_is_found_and_reads_nothing_new() {
    let every = ["environments", "secrets", "folders", "versions"];
    for tables in [
        &every[..],
        &["environments"],
        &["secrets", "versions"],
        &["roles"],
        &["environments", "secrets", "folders", "versions", "roles", "writers"],
    ] {
        let bench = Bench::new();
        bench.put("dev/app/db", "old");
        let leaver = bench.role("leaver", &["--read", "dev/app/*"]);
        keep(&bench, "kept");
        assert_eq!(code(&bench.store(&["role", "revoke", "leaver"])), 0);
        assert_eq!(bench.verified().0, 0);
        put_back(&bench, "kept", tables);
        let (found, said) = bench.verified();
        assert_eq!(found, 1, "{tables:?}: {said}");
        // No value is stored under the keys that the revoked role has.
        let put = bench.store_with(&["put", "dev/app/db"], "new");
        assert_eq!(code(&put), 1, "{tables:?}: {put:?}");
        let read = bench.store(&as_role(&leaver, &["get", "dev/app/db"]));
        assert_eq!(code(&read), 1, "{tables:?}: {read:?}");
    }
}

#[test]
fn an_earlier_file_is_refused_until_the_owner_accepts_it() {
    let bench = Bench::new();
    bench.put("prod/app/db", "leaked");
    let leaver = bench.role("leaver", &["--read", "prod/app/*"]);
    keep(&bench, "backup");
    bench.put("prod/app/db", "rotated");
    assert_eq!(code(&bench.store(&["role", "revoke", "leaver"])), 0);
    let tip = stdout(&bench.store(&["tip"]));
    put_whole_back(&bench, "backup");

    for command in [&["get", "prod/app/db"][..], &["list"], &["role", "list"], &["stats"]] {
        let refused = bench.store(command);
        assert_eq!(code(&refused), 1, "{command:?}");
        assert!(stderr(&refused).contains("an earlier state of the store"), "{refused:?}");
        assert!(stderr(&refused).contains("accept-restore"), "{refused:?}");
    }
    let (found, said) = bench.verified();
    assert!(found == 1 && said.contains("entry"), "{said}");
    // A tip on paper finds it without an anchor.
    fs::rename(bench.path("squire.store.key.anchor"), bench.path("anchor")).unwrap();
    let since = bench.store(&["verify", "--since", tip.trim()]);
    assert!(code(&since) == 1 && stdout(&since).contains("the audit does not have it"), "{since:?}");
    fs::rename(bench.path("anchor"), bench.path("squire.store.key.anchor")).unwrap();

    let accepted = bench.store(&["accept-restore"]);
    assert!(code(&accepted) == 0 && stdout(&accepted).contains("era 1"), "{accepted:?}");
    assert_eq!(bench.get("prod/app/db"), "leaked");
    assert_eq!(bench.verified().0, 0, "{:?}", bench.verified());
    assert!(stdout(&bench.store(&["audit", "--action", "accept-restore"])).contains("era 1"));
    // The same file is now of an earlier era.
    put_whole_back(&bench, "backup");
    assert_eq!(code(&bench.store(&["get", "prod/app/db"])), 1);
    // As documented, the role is there again. That is why `restore` lists what comes back.
    assert_eq!(code(&bench.store(&["accept-restore"])), 0);
    assert_eq!(code(&bench.store(&as_role(&leaver, &["get", "prod/app/db"]))), 0);
}

#[test]
fn a_lost_log_is_noticed() {
    let bench = Bench::new();
    bench.put("prod/app/db", "old");
    let key = fs::read_to_string(bench.path("squire.store.key")).unwrap();
    // A process has it open, so that the `-wal` is not moved into the file.
    let open =
        Store::open(&bench.path("squire.store"), &Credential::Owner(OwnerSecret::Key(Secret::new(key))))
            .unwrap();
    fs::copy(bench.path("squire.store"), bench.path("file")).unwrap();
    bench.put("prod/app/db", "rotated");
    fs::rename(bench.path("file"), bench.path("squire.store")).unwrap();
    drop(open);
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(bench.path(&format!("squire.store{suffix}"))).ok();
    }
    let refused = bench.store(&["get", "prod/app/db"]);
    assert!(code(&refused) == 1 && stderr(&refused).contains("earlier state"), "{refused:?}");
    assert_eq!(bench.verified().0, 1);
}

#[test]
fn a_restore_says_what_comes_back_and_is_one_step() {
    let bench = Bench::new();
    for value in ["one", "two"] {
        bench.put("prod/app/db", value);
    }
    bench.put("prod/app/gone", "x");
    bench.role("leaver", &["--read", "prod/app/*"]);
    bench.role("stays", &["--read", "prod/app/*"]);
    assert_eq!(code(&bench.store(&["backup", "backup"])), 0);
    assert_eq!(fs::metadata(bench.path("backup")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(code(&bench.store(&["backup", "backup"])), 1, "over something that is there");
    bench.put("prod/app/db", "three");
    bench.put("prod/app/new", "y");
    bench.store(&["destroy", "prod/app/db", "--version", "1"]);
    bench.store(&["role", "revoke", "leaver"]);
    // A process has the store open, as an agent has.
    let key = Secret::new(fs::read_to_string(bench.path("squire.store.key")).unwrap());
    let credential = Credential::Owner(OwnerSecret::Key(key));
    let mut open = Store::open(&bench.path("squire.store"), &credential).unwrap();
    let restored = bench.store(&["restore", "backup"]);
    assert_eq!(code(&restored), 0, "{restored:?}");
    for line in [
        "role leaver: logs in again",
        "prod/app/db: version 1 can be read again",
        "prod/app/db: version 2 is current again, and was 3",
        "prod/app/new: is no longer there",
    ] {
        assert!(stdout(&restored).contains(line), "{line}: {restored:?}");
    }
    assert!(!stdout(&restored).contains("stays"), "{restored:?}");
    assert_eq!(bench.get("prod/app/db"), "two");
    // A process that had it open goes on with it, because the owner signed the era.
    let path = squire::store::SecretPath::parse("prod/app/db").unwrap();
    assert_eq!(open.get(&path, None).unwrap().version.number, 2);
    assert_eq!(bench.verified().0, 0, "{:?}", bench.verified());
    assert!(!bench.path("squire.store.restoring").exists());

    // A backup that does not match its own audit is not restored.
    let db = Connection::open(bench.path("backup")).unwrap();
    db.execute_batch("DELETE FROM versions WHERE number = 1").unwrap();
    drop(db);
    let refused = bench.store(&["restore", "backup"]);
    assert!(code(&refused) == 2 && stderr(&refused).contains("nothing was changed"), "{refused:?}");
    assert_eq!(bench.get("prod/app/db"), "two");
    // A lost store is restored from its backup.
    keep(&bench, "good");
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(bench.path(&format!("squire.store{suffix}"))).ok();
    }
    drop(open);
    let restored = bench.store(&["restore", "good"]);
    assert!(code(&restored) == 0 && stdout(&restored).contains("nothing to compare"), "{restored:?}");
    assert_eq!(bench.get("prod/app/db"), "two");
}

#[test]
fn an_old_key_opens_nothing_after_a_rekey_whatever_row_is_put_back() {
    let bench = Bench::new();
    bench.put("prod/app/db", "before");
    let role = bench.role("web", &["--read", "prod/app/*"]);
    keep(&bench, "kept");
    fs::copy(bench.path("squire.store.key"), bench.path("old")).unwrap();
    let rekeyed = bench.store(&["rekey"]);
    assert!(code(&rekeyed) == 0 && stdout(&rekeyed).contains("every key below it is new"), "{rekeyed:?}");
    bench.put("prod/app/new", "after");
    assert_eq!(bench.get("prod/app/db"), "before");
    // Roles keep their secret-ids, and the earlier audit can still be read.
    assert_eq!(stdout(&bench.store(&as_role(&role, &["get", "prod/app/new"]))), "value=after\n");
    assert!(stdout(&bench.store(&["audit"])).contains("role-add  web"));
    assert_eq!(bench.verified().0, 0, "{:?}", bench.verified());
    // The thief of the old key puts the old root row back.
    keep(&bench, "now");
    let db = database(&bench);
    db.execute("ATTACH ?1 AS kept", [bench.path("kept").to_str().unwrap()]).unwrap();
    db.execute_batch(
        "UPDATE meta SET value = (SELECT value FROM kept.meta WHERE name = 'root') WHERE name = 'root'",
    )
    .unwrap();
    drop(db);
    let stolen = bench.store(&["--key-file", "old", "--anchor", "none", "get", "prod/app/new"]);
    assert!(code(&stolen) == 1 && !stdout(&stolen).contains("after"), "{stolen:?}");
    put_whole_back(&bench, "now");
    assert_eq!(bench.get("prod/app/new"), "after");

    // The cheap form says how little it protects; the old row that was put back is found.
    keep(&bench, "wrapped");
    fs::copy(bench.path("squire.store.key"), bench.path("older")).unwrap();
    let wrapped = bench.store(&["rekey", "--wrap-only"]);
    assert!(stdout(&wrapped).contains("still opens all of it"), "{wrapped:?}");
    let db = database(&bench);
    db.execute("ATTACH ?1 AS kept", [bench.path("wrapped").to_str().unwrap()]).unwrap();
    db.execute_batch(
        "UPDATE meta SET value = (SELECT value FROM kept.meta WHERE name = 'root') WHERE name = 'root'",
    )
    .unwrap();
    drop(db);
    let found = bench.store(&["--key-file", "older", "verify"]);
    assert!(code(&found) == 1 && stdout(&found).contains("the root key"), "{found:?}");
}

#[test]
fn a_rekey_that_was_killed_leaves_a_key_that_opens_the_store() {
    let bench = Bench::new();
    bench.put("dev/a", "x");
    // Killed after the store took the new key, and before the new key file was renamed over the old one.
    fs::copy(bench.path("squire.store.key"), bench.path("old")).unwrap();
    assert_eq!(code(&bench.store(&["rekey"])), 0);
    fs::rename(bench.path("squire.store.key"), bench.path("squire.store.key.new")).unwrap();
    fs::rename(bench.path("old"), bench.path("squire.store.key")).unwrap();
    assert_eq!(bench.get("dev/a"), "x");
    assert!(!bench.path("squire.store.key.new").exists());
    assert_eq!(bench.get("dev/a"), "x");
    // Killed before that: the old key opens it, and the next rekey says which file is left.
    fs::write(bench.path("squire.store.key.new"), "0".repeat(64)).unwrap();
    assert_eq!(bench.get("dev/a"), "x");
    let refused = bench.store(&["rekey"]);
    assert!(code(&refused) == 2 && stderr(&refused).contains("another `rekey`"), "{refused:?}");
    fs::remove_file(bench.path("squire.store.key.new")).unwrap();
    assert_eq!(code(&bench.store(&["rekey"])), 0);
    assert_eq!(bench.verified().0, 0);
}

#[test]
fn nothing_that_was_taken_away_is_left_in_the_file_or_its_log() {
    let bench = Bench::new();
    bench.put("dev/a", "first");
    let key = Secret::new(fs::read_to_string(bench.path("squire.store.key")).unwrap());
    let _open = Store::open(&bench.path("squire.store"), &Credential::Owner(OwnerSecret::Key(key))).unwrap();
    bench.put("dev/b", "second");
    bench.role("web", &["--read", "dev/*"]);
    bench.put("dev/c", "third");
    let rows = |sql: &str| -> Vec<Vec<u8>> {
        let db = database(&bench);
        let mut statement = db.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let check = |gone: &[Vec<u8>], what: &str| {
        for name in ["squire.store", "squire.store-wal"] {
            // In a process of its own: closing a descriptor of it here would release the locks of `_open`.
            let bytes = std::process::Command::new("cat").arg(bench.path(name)).output().unwrap().stdout;
            for row in gone {
                assert!(!bytes.windows(row.len()).any(|part| part == row), "{what} left something in {name}");
            }
        }
    };
    let values = rows("SELECT value FROM versions UNION ALL SELECT key FROM versions");
    for path in ["dev/a", "dev/b", "dev/c"] {
        assert_eq!(code(&bench.store(&["destroy", path])), 0);
    }
    check(&values, "destroy");
    bench.put("dev/d", "fourth");
    let keys = "SELECT sealed FROM environments UNION ALL SELECT key FROM versions UNION ALL SELECT head FROM secrets \
                UNION ALL SELECT value FROM meta WHERE name IN ('owner', 'audit tip')";
    let (before, roles) = (rows(keys), rows("SELECT sealed FROM roles UNION ALL SELECT record FROM roles"));
    assert_eq!(code(&bench.store(&["role", "revoke", "web"])), 0);
    check(&before, "revoke");
    check(&roles, "revoke");
    let before = rows(&format!(
        "{keys} UNION ALL SELECT sealed FROM writers UNION ALL SELECT value FROM meta WHERE name = 'root'"
    ));
    assert_eq!(code(&bench.store(&["rekey"])), 0);
    check(&before, "rekey");
}

#[test]
fn log_ins_that_are_set_back_are_found() {
    let bench = Bench::new();
    bench.put("dev/a", "x");
    let role = bench.role("web", &["--read", "dev/*", "--uses", "2"]);
    for _ in 0..2 {
        assert_eq!(code(&bench.store(&as_role(&role, &["get", "dev/a"]))), 0);
    }
    for uses in ["0", "1", "-5", "99"] {
        database(&bench).execute_batch(&format!("UPDATE roles SET uses = {uses}")).unwrap();
        let (found, said) = bench.verified();
        assert!(found == 1 && said.contains("role web") && said.contains("2 times"), "{uses}: {said}");
    }
    database(&bench).execute_batch("UPDATE roles SET uses = 0").unwrap();
    // It is accepted, since the owner declared it; the audit records that for ever.
    assert_eq!(code(&bench.store(&as_role(&role, &["get", "dev/a"]))), 0);
    database(&bench).execute_batch("UPDATE roles SET uses = 3").unwrap();
    assert!(bench.verified().1.contains("logs in more often than it may"));
}

#[test]
fn who_is_refused_is_counted_and_nobody_can_call_himself_the_owner() {
    let bench = Bench::new();
    let role = bench.role("web", &["--read", "dev/*"]);
    fs::write(bench.path("wrong"), "0".repeat(64)).unwrap();
    let wrong = ["--role-id", &role[1], "--secret-id-file", "wrong", "list"];
    let unknown = ["--role-id", &"0".repeat(32), "--secret-id-file", "wrong", "list"];
    for asked in [&wrong[..], &wrong, &wrong, &unknown, &["--key-file", "wrong", "list"]] {
        assert_eq!(code(&bench.store(asked)), 1);
    }
    let audit = stdout(&bench.store(&["audit", "--refused", "--json"]));
    let counted: BTreeMap<String, u64> = audit
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .fold(BTreeMap::new(), |mut counted, line| {
            *counted.entry(line["who"].as_str().unwrap_or("?").to_owned()).or_default() +=
                line["count"].as_u64().unwrap();
            counted
        });
    let expected =
        [("?", 1), ("owner", 1), (role[1].as_str(), 3)].map(|(who, count)| (who.to_owned(), count));
    assert_eq!(counted, BTreeMap::from(expected));
    for name in ["owner", "Owner"] {
        let named = bench.store(&["role", "add", name, "--read", "dev/*"]);
        assert!(code(&named) == 1 && stderr(&named).contains("what the audit calls the owner"), "{named:?}");
    }
    assert_eq!(bench.verified().0, 0);
}

#[test]
fn the_audit_is_archived_and_goes_on() {
    let bench = Bench::new();
    bench.put("dev/a", "x");
    let role = bench.role("web", &["--read", "dev/*", "--write", "dev/*", "--uses", "9"]);
    bench.store(&as_role(&role, &["get", "dev/a"]));
    keep(&bench, "unpruned");
    let archived = bench.store(&["audit", "export", "one.jsonl", "--prune"]);
    assert_eq!(code(&archived), 0, "{archived:?}");
    assert!(!stdout(&bench.store(&["audit"])).contains("role-add"), "it is no longer in the store");
    assert!(fs::read_to_string(bench.path("one.jsonl")).unwrap().contains("role-add"));
    assert_eq!(bench.verified().0, 0, "{:?}", bench.verified());
    // The summary is kept: log-ins, roles, and every head.
    assert_eq!(code(&bench.store_with(&as_role(&role, &["put", "dev/a"]), "y")), 0);
    assert_eq!(bench.verified().0, 0, "{:?}", bench.verified());
    database(&bench).execute_batch("UPDATE roles SET uses = 0").unwrap();
    assert!(bench.verified().1.contains("role web"));
    database(&bench).execute_batch("UPDATE roles SET uses = 2").unwrap();
    assert_eq!(code(&bench.store(&["audit", "export", "two.jsonl", "--prune"])), 0);
    assert_eq!(code(&bench.store(&["rekey"])), 0);
    assert_eq!(bench.verified().0, 0, "{:?}", bench.verified());
    // Changes to an archive are found.
    assert_eq!(code(&bench.store(&["audit", "export", "three.jsonl"])), 0);
    let check = |text: &str| {
        fs::write(bench.path("edited"), text).unwrap();
        bench.store(&["audit", "check", "edited"])
    };
    let whole = fs::read_to_string(bench.path("three.jsonl")).unwrap();
    assert_eq!(code(&check(&whole)), 0, "{:?}", check(&whole));
    let lines: Vec<&str> = whole.lines().collect();
    let (last, entries) = lines.split_last().unwrap();
    for (edited, reason) in [
        (whole.replacen("owner", "nobod", 1), "lines that were changed"),
        (format!("{}\n{last}\n", entries[1..].join("\n")), "lines that were changed"),
        (entries.join("\n"), "does not end with the line"),
        (whole.replacen("\"number\":", "\"number\": ", entries.len() + 3), "changed"),
        (fs::read_to_string(bench.path("one.jsonl")).unwrap(), "older than a `rekey`"),
    ] {
        let output = check(&edited);
        assert!(code(&output) == 1 && stderr(&output).contains(reason), "{reason}: {output:?}");
    }
    // The file from before the pruning is an earlier one.
    put_whole_back(&bench, "unpruned");
    assert_eq!(code(&bench.store(&["list"])), 1);
}

/// A role that saw entries that were archived since can go on, and so can an anchor.
#[test]
fn who_saw_entries_that_are_archived_now_goes_on() {
    let bench = Bench::new();
    bench.put("dev/a", "x");
    let role = bench.role("web", &["--read", "dev/*"]);
    let anchored = [&as_role(&role, &["get", "dev/a"])[..], &["--anchor", "web.anchor"]].concat();
    assert_eq!(code(&bench.store(&anchored)), 0);
    bench.put("dev/a", "y");
    assert_eq!(code(&bench.store(&["audit", "export", "one.jsonl", "--prune"])), 0);
    bench.put("dev/a", "z");
    let read = bench.store(&anchored);
    assert!(code(&read) == 0 && stdout(&read) == "value=z\n", "{read:?}");
    assert!(Path::new(&bench.path("web.anchor")).exists());
}
