//! Squire is killed and started again: it continues with its token and leases, and no other program notices.

use std::fs::{metadata, read_dir};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    Bao, CHILD, LogIns, Postgres, Rig, SOON, Tenant, database_file, fresh, kv_file, record, recovered,
    stays_true, wait_until, works,
};

const LEDGER: &str = "\n[agent]\nledger = \"@dir@/ledger\"\n";

/// The inode of the file, and when it was written.
fn identity(path: &Path) -> (u64, i64, i64) {
    let metadata = metadata(path).unwrap();
    (metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
}

fn rig(tenant: &Tenant<'_>, role: &str, rest: &str) -> Rig {
    tenant.bao().connect_database(Postgres::shared(), role, 60, 3600);
    tenant.write("app", &json!({"password": fresh("app")}));
    tenant.write("pulse", &json!({"password": fresh("pulse")}));
    let rig = Rig::new(tenant);
    let files = [kv_file("app"), kv_file("pulse"), database_file(Postgres::shared(), role)];
    rig.config(&format!("{}{rest}{LEDGER}", files.concat()));
    rig
}

/// How many (logins, mints, tokens, leases, users) there are on the servers.
fn held(tenant: &Tenant<'_>, role: &str) -> [usize; 5] {
    let path = format!("database/creds/{role}");
    [
        tenant.bao().count("update auth/approle/login"),
        tenant.bao().count(&format!("read {path}")),
        tenant.tokens().len(),
        tenant.bao().leases(&path).len(),
        Postgres::shared().roles(&format!("-{role}-")).len(),
    ]
}

/// Kills Squire ten times; each time it has to follow a new value of the secret `pulse` before it is killed again.
fn ten_times(name: &str, role: &str, process: &str) {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant, role, process);
    let file = format!("out/{role}");
    let mut squire = rig.run();
    squire.wait_until("everything is there", || works(&rig, &file));
    let files = [rig.path(&file), rig.path("out/app")];
    let before: Vec<_> = files.iter().map(|file| identity(file)).collect();
    let mut log_ins = LogIns::start(&rig, &[&file]);
    let mut longest = Duration::ZERO;
    for round in 1..=10 {
        squire.kill();
        let next = fresh("pulse");
        tenant.write("pulse", &json!({"password": next}));
        let started = Instant::now();
        squire = rig.run();
        let took = recovered(&mut squire, started, Duration::from_secs(3), "squire goes on", || {
            rig.read("out/pulse") == next
        });
        longest = longest.max(took);
        let now: Vec<_> = files.iter().map(|file| identity(file)).collect();
        assert_eq!(now, before, "files were touched in round {round}");
        assert_eq!(held(&tenant, role), [1; 5], "logins, mints, tokens, leases, users in round {round}");
        if !process.is_empty() {
            squire.wait_until("the child runs", || rig.read("seen/starts").lines().count() == round + 1);
        }
    }
    log_ins.stop();
    let failed = log_ins.failed_outside(&[]);
    assert!(failed.is_empty(), "{failed:#?}");
    squire.stop();
    if !process.is_empty() {
        wait_until(SOON, "no token and no user is left behind", || held(&tenant, role)[2..] == [0; 3]);
    }
    record(
        name,
        Some(longest),
        "files untouched (inode and time of change), every log-in to the database succeeds",
        "1 login, 1 token, 1 lease, 1 database user",
    );
}

#[test]
fn ten_deaths_of_a_sidecar_leave_one_token_one_lease_and_one_user() {
    ten_times("squire killed and restarted ten times, as a sidecar", "sidecar", "");
}

#[test]
fn ten_deaths_of_a_launcher_leave_one_token_one_lease_and_one_user() {
    ten_times("squire killed and restarted ten times, with its process", "launch", CHILD);
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn a_ledger_that_is_cut_or_edited_is_ignored_with_a_warning() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, &str, Damage); 3] = [
        ("cut in half", "cut", |bytes| bytes.truncate(bytes.len() / 2)),
        ("edited", "edited", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }),
        ("emptied", "emptied", Vec::clear),
    ];
    for (name, role, damage) in damages {
        let bao = Bao::start();
        let tenant = bao.tenant();
        let rig = rig(&tenant, role, "");
        let file = format!("out/{role}");
        let mut squire = rig.run();
        squire.wait_until("everything is there", || works(&rig, &file));
        squire.kill();
        let url = rig.read(&file);
        let largest =
            files_below(&rig.path("ledger")).into_iter().max_by_key(|file| metadata(file).unwrap().len());
        let largest = largest.expect("there is no ledger");
        let mut bytes = std::fs::read(&largest).unwrap();
        damage(&mut bytes);
        std::fs::write(&largest, bytes).unwrap();
        let mut squire = rig.run();
        squire.wait_until("new credentials are there", || rig.read(&file) != url && works(&rig, &file));
        let warned =
            rig.read("stderr.2").lines().any(|line| line.contains("\"WARN\"") && line.contains("ledger"));
        assert!(warned, "nothing was said of a ledger that was {name}");
        assert_eq!(held(&tenant, role)[0], 2);
    }
}

#[test]
fn the_ledger_of_another_login_is_ignored_with_a_warning() {
    let bao = Bao::start();
    let (mine, other) = (bao.tenant(), bao.tenant());
    let (rig, theirs) = (rig(&mine, "mine", ""), rig(&other, "theirs", ""));
    let mut squire = rig.run();
    squire.wait_until("mine is there", || works(&rig, "out/mine"));
    squire.kill();
    let mut squire = theirs.run();
    squire.wait_until("theirs is there", || works(&theirs, "out/theirs"));
    squire.kill();
    // With its key, as if a volume had been mounted into the wrong pod.
    std::fs::remove_dir_all(rig.path("ledger")).unwrap();
    std::fs::rename(theirs.path("ledger"), rig.path("ledger")).unwrap();
    let logins = bao.count("update auth/approle/login");
    let mut squire = rig.run();
    squire.wait_until("squire logs in itself", || bao.count("update auth/approle/login") == logins + 1);
    squire.wait_until("and has credentials", || works(&rig, "out/mine"));
    let warned =
        rig.read("stderr.2").lines().any(|line| line.contains("\"WARN\"") && line.contains("ledger"));
    assert!(warned, "nothing was said of it");
    assert_eq!(other.tokens().len(), 1, "the token of another login was touched");
}

#[test]
fn what_died_while_squire_was_away_is_not_adopted() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant, "away", "");
    let mut squire = rig.run();
    squire.wait_until("everything is there", || works(&rig, "out/away"));
    squire.kill();
    let url = rig.read("out/away");
    bao.api().post("sys/leases/revoke-prefix/database/creds/away", &json!({}));
    let started = Instant::now();
    let mut squire = rig.run();
    let bound = Duration::from_secs(3);
    recovered(&mut squire, started, bound, "the lost lease is replaced", || {
        rig.read("out/away") != url && works(&rig, "out/away")
    });
    assert_eq!(held(&tenant, "away"), [1, 2, 1, 1, 1], "the token was still good");
    squire.kill();
    let url = rig.read("out/away");
    tenant.revoke_tokens();
    let started = Instant::now();
    let mut squire = rig.run();
    recovered(&mut squire, started, bound, "a login replaces the dead token", || {
        rig.read("out/away") != url && works(&rig, "out/away")
    });
    assert_eq!(held(&tenant, "away")[..4], [2, 3, 1, 1]);
    stays_true(Duration::from_secs(2), "that is all", || held(&tenant, "away")[..2] == [2, 3]);
}
