//! The store as a source of the agent: its queries at rest, and what happens when its file changes.

use std::fs;
use std::time::Duration;

use squire::config::{Listing, ServerVariables, StoreConfig, StoreLogin};
use squire::names::{SecretName, SourceName};
use squire::plan::Want;
use squire::source::store::Embedded;
use squire::source::{Fault, Grant, Source};
use tokio::time::timeout;

use crate::bench::Bench;

/// Long enough for any operation that should be quick.
const SOON: Duration = Duration::from_secs(20);

const STORE: &str = "inner/squire.store";

/// A store with `prod/app` in it, in a directory of its own, and its owner logged in.
async fn opened() -> (Bench, Embedded, Grant) {
    let bench = Bench::new();
    bench.put("prod/app", "one");
    fs::create_dir(bench.path("inner")).unwrap();
    fs::rename(bench.path("squire.store"), bench.path(STORE)).unwrap();
    let login = StoreLogin::Owner { key_file: bench.path("squire.store.key") };
    let refresh = Duration::from_mins(5);
    let (file, server) = (bench.path(STORE), ServerVariables::default());
    let source = Embedded::new(&StoreConfig { file, refresh, hooks: None, login, server });
    let grant = source.log_in().await.unwrap();
    (bench, source, grant)
}

/// The login of its owner.
fn store(bench: &Bench, arguments: &[&str], stdin: &str) {
    let owner = ["--store", STORE, "--key-file", "squire.store.key"];
    let output = bench.store_with(&[arguments, &owner].concat(), stdin);
    assert!(output.status.success(), "{output:?}");
}

fn rename(bench: &Bench, from: &str, to: &str) {
    fs::rename(bench.path(from), bench.path(to)).unwrap();
}

async fn read(source: &Embedded, grant: &Grant) -> Result<String, Fault> {
    read_at(source, grant, "prod/app").await
}

/// What stands at this path, under the same name in templates.
async fn read_at(source: &Embedded, grant: &Grant, path: &str) -> Result<String, Fault> {
    let want = Want {
        name: SecretName::new("app"),
        source: SourceName::new("store"),
        path: path.to_owned(),
        params: None,
        version: None,
        kind: None,
        list: None,
        tags: std::collections::BTreeMap::new(),
        refresh: Duration::from_mins(5),
        max_size: squire::size::USUAL,
    };
    let fetched = source.fetch(grant, &want).await?;
    Ok(fetched.fields.expose()["value"].as_str().unwrap().to_owned())
}

/// How often this thread went to sleep.
fn waits() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    line.trim().parse().unwrap()
}

/// Waits on this thread for an event that must not happen; returns how often the thread woke up.
async fn waits_within(span: Duration, never: impl Future<Output = ()>) -> u64 {
    let before = waits();
    timeout(span, never).await.unwrap_err();
    waits() - before
}

async fn neither(source: &Embedded) {
    tokio::select! {
        () = source.changed() => {}
        errand = source.errand() => panic!("{errand:?}"),
    }
}

#[tokio::test]
async fn at_rest_nothing_is_asked_and_what_the_agent_itself_writes_is_no_change() {
    let (_bench, source, grant) = opened().await;
    assert_eq!(read(&source, &grant).await.unwrap(), "one");
    // The writes of the log-in and the read are heard, and the store is looked at once.
    waits_within(Duration::from_millis(1500), neither(&source)).await;
    let span = Duration::from_secs(3);
    let resting = waits_within(span, std::future::pending()).await;
    let watching = waits_within(span, neither(&source)).await;
    assert!(watching <= resting + 1, "{watching} times, and {resting} without");
}

/// As after a reload that changed the path: both have one version, of the same number.
#[tokio::test]
async fn a_name_that_stands_for_another_path_has_the_value_of_that_one() {
    let (bench, source, grant) = opened().await;
    store(&bench, &["put", "prod/other"], "another");
    for (path, expected) in [("prod/app", "one"), ("prod/other", "another"), ("prod/app", "one")] {
        assert_eq!(read_at(&source, &grant, path).await.unwrap(), expected, "{path}");
    }
}

/// Whoever may write into it could fill the audit otherwise: what is refused is asked for again and again.
#[tokio::test]
async fn a_folder_that_is_too_large_is_read_once_and_not_at_each_try() {
    let (bench, source, grant) = opened().await;
    store(&bench, &["put", "prod/large"], &"x".repeat(2000));
    store(&bench, &["put", "prod/small"], "x");
    let folder = |max_size| Want {
        name: SecretName::new("all"),
        source: SourceName::new("store"),
        path: "prod".to_owned(),
        params: None,
        version: None,
        kind: None,
        list: Some(Listing::Level),
        tags: std::collections::BTreeMap::new(),
        refresh: Duration::from_mins(5),
        max_size,
    };
    let records = || {
        let db = rusqlite::Connection::open(bench.path(STORE)).unwrap();
        db.query_row("SELECT count(*) FROM audit", [], |row| row.get::<_, u64>(0)).unwrap()
    };
    let try_it = async |max_size| source.fetch(&grant, &folder(max_size)).await;
    assert!(matches!(try_it(2100).await, Err(Fault::Malformed { .. })));
    let before = records();
    for _ in 0..5 {
        assert!(matches!(try_it(2100).await, Err(Fault::Malformed { .. })));
    }
    assert_eq!(records(), before);
    assert_eq!(try_it(squire::size::USUAL).await.unwrap().fields.expose().len(), 3);
    assert_eq!(records(), before + 1, "the one that was not read yet");
}

#[tokio::test]
async fn a_change_by_anybody_is_heard() {
    let (bench, source, grant) = opened().await;
    for value in ["two", "three"] {
        store(&bench, &["put", "prod/app"], value);
        timeout(SOON, source.changed()).await.unwrap();
        assert_eq!(read(&source, &grant).await.unwrap(), value);
    }
}

#[tokio::test]
async fn a_file_or_directory_that_is_away_cannot_be_reached_until_it_is_back() {
    let (bench, source, grant) = opened().await;
    assert_eq!(read(&source, &grant).await.unwrap(), "one");
    for name in [STORE, "inner"] {
        rename(&bench, name, "away");
        timeout(SOON, source.changed()).await.unwrap();
        assert!(matches!(read(&source, &grant).await, Err(Fault::Unreachable { .. })));
        rename(&bench, "away", name);
        timeout(SOON, source.changed()).await.unwrap();
        assert_eq!(read(&source, &grant).await.unwrap(), "one");
    }
    store(&bench, &["put", "prod/app"], "two");
    timeout(SOON, source.changed()).await.unwrap();
    assert_eq!(read(&source, &grant).await.unwrap(), "two");
}

#[tokio::test]
async fn another_file_is_another_store_until_the_next_log_in() {
    let (bench, source, grant) = opened().await;
    assert_eq!(read(&source, &grant).await.unwrap(), "one");
    // With the `-wal`: it continues from what the agent saw.
    let db = rusqlite::Connection::open(bench.path(STORE)).unwrap();
    db.execute("VACUUM INTO ?1", [bench.path("copy").to_str().unwrap()]).unwrap();
    drop(db);
    rename(&bench, "copy", STORE);
    timeout(SOON, source.changed()).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(read(&source, &grant).await, Err(Fault::Dead)));
    }
    let grant = source.log_in().await.unwrap();
    assert_eq!(read(&source, &grant).await.unwrap(), "one");
    assert!(bench.path("inner/squire.store-wal.replaced").exists(), "what was put last may be in it alone");
    drop(source);
    store(&bench, &["verify"], "");
}

#[tokio::test]
async fn a_rotation_is_asked_for_when_it_is_due() {
    let (bench, source, _grant) = opened().await;
    let policy = ["policy", "prod/app", "--generate", "uuid", "--field", "value", "--every", "4s"];
    store(&bench, &policy, "");
    let errand = timeout(SOON, source.errand()).await.unwrap();
    assert_eq!(errand.command[1..4], ["store", "rotate", "--due"]);
}

#[tokio::test]
async fn what_others_write_is_seen_though_nothing_changed_and_may_not_be_taken_back() {
    let (bench, source, grant) = opened().await;
    assert_eq!(read(&source, &grant).await.unwrap(), "one");
    let entries = || {
        let db = rusqlite::Connection::open(bench.path(STORE)).unwrap();
        db.query_row("SELECT count(*) FROM audit", [], |row| row.get::<_, u64>(0)).unwrap()
    };
    let before = entries();
    let db = rusqlite::Connection::open(bench.path(STORE)).unwrap();
    let tip = |db: &rusqlite::Connection| -> Vec<u8> {
        db.query_row("SELECT value FROM meta WHERE name = 'audit tip'", [], |row| row.get(0)).unwrap()
    };
    let earlier = tip(&db);
    store(&bench, &["list"], "");
    assert!(entries() > before);
    // It changes no secret, and the source reports nothing; but it looks.
    waits_within(Duration::from_millis(1500), neither(&source)).await;
    db.execute("DELETE FROM audit WHERE number > ?1", [before]).unwrap();
    db.execute("UPDATE meta SET value = ?1 WHERE name = 'audit tip'", [earlier]).unwrap();
    timeout(SOON, source.changed()).await.unwrap();
    let refused = read(&source, &grant).await;
    assert!(
        matches!(&refused, Err(Fault::Malformed { why }) if why.contains("earlier state")),
        "{refused:?}"
    );
}
