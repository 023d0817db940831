//! Measures the cost of the embedded store: `cargo bench --bench store`, with `SECRETS=100000` for that many secrets.
//!
//! Each figure of a write or a read is compared with the floor: the same number of bare `SQLite` commits, with the same durability, on the
//! same disk, in the same run.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed step ends the benchmark, which prints"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use squire::secret::{Fields, Secret};
use squire::store::{Credential, NewRole, OwnerSecret, Query, Right, SecretPath, Store, With};

/// The number of single operations that are measured.
const SAMPLE: u32 = 1000;

fn main() {
    // `cargo test --all-targets` runs benchmarks too, to see that they build.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let secrets: u32 = std::env::var("SECRETS").map_or(1000, |number| number.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bench.store");
    let key = Store::new_key().unwrap();
    let owner = OwnerSecret::Key(key);
    Store::init(&file, &owner).unwrap();
    let mut store = Store::open(&file, &Credential::Owner(owner)).unwrap();

    let floor = floor(&directory.path().join("floor")) / SAMPLE;
    println!("floor: a bare commit                  {floor:>10.1?}");
    let put = timed(|| (0..secrets).for_each(|number| put(&mut store, number))) / secrets;
    println!(
        "put, {:<32} {put:>10.1?}  {:.2} x floor",
        format!("{secrets} secrets in all"),
        ratio(put, floor)
    );
    let get = timed(|| {
        for number in 0..SAMPLE {
            store.get(&path(number * 7919 % secrets), None).unwrap();
        }
    }) / SAMPLE;
    println!("get, recorded                         {get:>10.1?}  {:.2} x floor", ratio(get, floor));
    let some = timed(|| assert_eq!(store.list("dev/group-0/").unwrap().len(), 100.min(secrets as usize)));
    println!("list 100                              {some:>10.1?}");
    let all = timed(|| assert_eq!(store.list("").unwrap().len(), secrets as usize));
    println!("list all                              {all:>10.1?}");
    let verified = timed(|| assert!(store.verify(None).unwrap().findings.is_empty()));
    println!("verify                                {verified:>10.1?}");
    let query = Query { about: "dev/group-0/".to_owned(), ..Query::default() };
    let mut found = 0;
    let queried = timed(|| found = store.query(&query).unwrap().len());
    let entries = store.stats().unwrap().audit_entries;
    println!("audit query, {:<24} {queried:>10.1?}", format!("{found} of {entries} entries"));
    let grants = BTreeMap::from([(Right::Read, vec!["dev/**".to_owned()])]);
    let role = store
        .add_role(&NewRole { name: "bench".to_owned(), grants, expires: None, uses: None }, |_| Ok(()))
        .unwrap();
    let credential = Credential::Role { id: role.id, secret_id: role.secret_id };
    let log_in = timed(|| drop(Store::open(&file, &credential).unwrap()));
    println!("log in as a role, with its Argon2id   {log_in:>10.1?}");
    crowd(&file, &credential, log_in);
    refusals(&file, &credential, &mut store);
}

/// This many agents log in at once, as after a restart of a machine. The floor is their Argon2id on as many cores as there are.
fn crowd(file: &Path, credential: &Credential, log_in: Duration) {
    const AGENTS: u32 = 200;
    let cores = u32::try_from(thread::available_parallelism().unwrap().get()).unwrap();
    let floor = log_in * AGENTS / cores;
    let all = timed(|| {
        thread::scope(|scope| {
            for _ in 0..AGENTS {
                scope.spawn(|| drop(Store::open(file, credential).unwrap()));
            }
        });
    });
    println!("{AGENTS} agents log in at once           {all:>10.1?}  {:.2} x floor", ratio(all, floor));
}

/// A reader beside loops of wrong secret-ids. The floor is the reader beside as many loops that only keep the cores busy.
fn refusals(file: &Path, credential: &Credential, store: &mut Store) {
    const LOOPS: usize = 12;
    let Credential::Role { id, .. } = credential else { return };
    let wrong = Credential::Role { id: id.clone(), secret_id: Secret::new("0".repeat(64)) };
    let beside = |work: &(dyn Fn() + Sync), store: &mut Store| {
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..LOOPS {
                scope.spawn(|| {
                    while !ended.load(Ordering::Relaxed) {
                        work();
                    }
                });
            }
            let read = |_| {
                // With pauses, as agents log in: without them all would be over before the loops began.
                thread::sleep(Duration::from_millis(20));
                timed(|| drop(store.get(&path(7), None).unwrap()))
            };
            let mut took: Vec<Duration> = (0..100).map(read).collect();
            ended.store(true, Ordering::Relaxed);
            took.sort();
            (took[50], took[98])
        })
    };
    let busy = || {
        std::hint::black_box((0..10_000_u64).fold(0, |sum, number| sum ^ number.wrapping_mul(31)));
    };
    let floor = beside(&busy, store);
    let reads = beside(&|| drop(Store::open(file, &wrong)), store);
    println!(
        "a read beside {LOOPS} wrong log-ins          {:>10.1?}  {:.2} x floor; 99 of 100 within {:.1?}, floor {:.1?}",
        reads.0,
        ratio(reads.0, floor.0),
        reads.1,
        floor.1
    );
}

fn path(number: u32) -> SecretPath {
    SecretPath::parse(&format!("dev/group-{}/secret-{number}", number / 100)).unwrap()
}

fn put(store: &mut Store, number: u32) {
    let value = serde_json::json!({ "username": "app", "password": format!("password-{number}") });
    let fields: Fields = value.as_object().unwrap().clone();
    store.put(&path(number), &Secret::new(fields), With::default()).unwrap();
}

/// This many rows of about the size of a secret, each durable before the next.
fn floor(file: &std::path::Path) -> Duration {
    let db = Connection::open(file).unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE rows (number INTEGER PRIMARY KEY, value BLOB)")
        .unwrap();
    let value = vec![7_u8; 600];
    timed(|| {
        for number in 0..SAMPLE {
            db.execute("INSERT INTO rows VALUES (?1, ?2)", rusqlite::params![number, value]).unwrap();
        }
    })
}

fn timed(act: impl FnOnce()) -> Duration {
    let began = Instant::now();
    act();
    began.elapsed()
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}
