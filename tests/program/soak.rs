//! All faults at once, at random: a log-in with the credentials in the files succeeds, unless a fault makes that impossible.
//!
//! 45 s by default, ten minutes with `SQUIRE_LONG=1`. The seed is printed; `SQUIRE_SEED` repeats a run.

use std::fmt::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    Bao, CHILD, LogIns, Postgres, Rig, SOON, Squire, Tenant, database_file, fresh, kv_file, long, record,
    wait_until, works,
};

const DATABASE: u64 = 20;
const STATIC: u64 = 30;

/// How soon after such a look-up everything has to be well on a machine that is not busy. The long form, which runs alone, asserts it; beside
/// other tests a fault is over when everything is well again.
const RECOVERED: Duration = Duration::from_secs(2);

/// The interval of look-ups in this test.
const LOOKED_UP: Duration = Duration::from_secs(2);

/// A fault, and how long it lasts.
#[derive(Clone, Copy, Debug)]
enum Fault {
    ServerHalted,
    DatabaseDown,
    TokenRevoked,
    LeasesRevoked,
    ValuesWritten,
    SecretIdReplaced,
}

const FAULTS: [Fault; 6] = [
    Fault::ServerHalted,
    Fault::DatabaseDown,
    Fault::TokenRevoked,
    Fault::LeasesRevoked,
    Fault::ValuesWritten,
    Fault::SecretIdReplaced,
];

#[test]
fn nobody_ever_holds_a_dead_credential_while_a_live_one_can_be_had() {
    let seed = std::env::var("SQUIRE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    eprintln!("soak: SQUIRE_SEED={seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let span = Duration::from_secs(if long() { 600 } else { 45 });
    let (bao, postgres) = (Bao::start(), Postgres::start());
    let tenant = bao.tenant_with(&json!({"token_ttl": "20s", "token_max_ttl": "60s"}));
    let rig = Rig::new(&tenant);
    // Ten minutes at trace level would fill the memory.
    rig.set("SQUIRE_LOG", if long() { "info" } else { "trace" });
    let files = configure(&rig, &tenant, &postgres, &mut chance);
    let mut squire = rig.run();
    squire.wait_until("the child runs and all credentials work", || {
        rig.read("seen/starts") == "start\n" && files.iter().all(|file| works(&rig, file))
    });
    let names: Vec<_> = files.iter().map(String::as_str).collect();
    let mut log_ins = LogIns::start(&rig, &names);
    let (started, mut excused, mut early) = (Instant::now(), Vec::new(), None);
    let mut counts = [0_usize; FAULTS.len()];
    let (mut round, mut revoked) = (Vec::new(), None);
    let mut slowest = Duration::ZERO;
    while started.elapsed() < span || counts.contains(&0) {
        if started.elapsed() > Duration::from_mins(1) && early.is_none() {
            early = Some(resident(&squire));
        }
        // Each fault once before any comes again, so that the short form causes all of them.
        if round.is_empty() {
            round = (0..FAULTS.len()).collect();
            chance.shuffle(&mut round);
        }
        let Some(index) = round.pop() else { continue };
        // Logins for dead tokens are limited to one a minute in the long run, so more revocations would test another promise.
        if matches!(FAULTS[index], Fault::TokenRevoked) {
            if revoked.is_some_and(|at: Instant| at.elapsed() < Duration::from_secs(65)) {
                continue;
            }
            revoked = Some(Instant::now());
        }
        let from = Instant::now();
        cause(FAULTS[index], &tenant, &rig, &postgres, &mut chance);
        counts[index] += 1;
        let over = Instant::now();
        eprintln!("soak: {:?} after {:.1} s", FAULTS[index], (from - started).as_secs_f64());
        // Credentials may still work that are to be found dead within a look-up.
        std::thread::sleep(LOOKED_UP);
        wait_until(if long() { RECOVERED } else { SOON }, "all credentials work again", || {
            files.iter().all(|file| works(&rig, file))
        });
        slowest = slowest.max(over.elapsed());
        excused.push((from, Instant::now()));
        // Long enough to tell it from the next fault.
        std::thread::sleep(Duration::from_millis(chance.u64(500..2500)));
        assert!(squire.is_running(), "squire ended");
    }
    log_ins.stop();
    let (failed, all) = (log_ins.failed_outside(&excused), log_ins.noted());
    assert!(
        failed.is_empty(),
        "{} of {} failed: {:#?}",
        failed.len(),
        all.len(),
        &failed[..failed.len().min(5)]
    );
    let during = log_ins.failed_outside(&[]).len();
    assert_eq!(rig.read("seen/starts"), "start\n", "the child was touched");
    let late = resident(&squire);
    if let Some(early) = early {
        assert!(late <= early + early / 5 + 2048, "{early} KiB after a minute, {late} KiB at the end");
    }
    assert_eq!(squire.stop(), 128 + 15);
    nothing_is_left(&bao, &tenant, &postgres);
    record(
        &format!("soak: 50 secrets, {} s, seed {seed}", span.as_secs()),
        None,
        &format!(
            "{} log-ins, {during} failed while a fault lasted or until all was well, {:.1} s after it at most; {counts:?} of {FAULTS:?}",
            all.len(),
            slowest.as_secs_f64()
        ),
        &format!(
            "no other log-in failed; no lease, token or user left; {} KiB resident after a minute, {late} KiB at the end",
            early.unwrap_or(0)
        ),
    );
}

/// 50 secrets; the files with the credentials of the database.
fn configure(rig: &Rig, tenant: &Tenant<'_>, postgres: &Postgres, chance: &mut fastrand::Rng) -> Vec<String> {
    let mut configuration = String::new();
    let mut files = Vec::new();
    for number in 0..DATABASE {
        let role = format!("soak{number}");
        let ttl = chance.u32(3..=20);
        tenant.bao().connect_database(postgres, &role, ttl, ttl * chance.u32(1..=4));
        configuration += &database_file(postgres, &role);
        files.push(format!("out/{role}"));
    }
    for number in 0..STATIC {
        let name = format!("static{number}");
        tenant.write(&name, &json!({"password": fresh("static")}));
        configuration += &kv_file(&name);
    }
    write!(configuration, "{CHILD}\n[rollout]\ngrace = \"2s\"\n").unwrap();
    rig.config_of_source("address = \"@address@\"\nrefresh = \"2s\"\nlook_up_every = \"2s\"", &configuration);
    files
}

/// Causes a fault and ends it.
fn cause(fault: Fault, tenant: &Tenant<'_>, rig: &Rig, postgres: &Postgres, chance: &mut fastrand::Rng) {
    let bao = tenant.bao();
    match fault {
        Fault::ServerHalted => {
            bao.halt();
            std::thread::sleep(Duration::from_millis(chance.u64(1000..6000)));
            bao.go_on();
        }
        Fault::DatabaseDown => {
            postgres.go_down();
            std::thread::sleep(Duration::from_millis(chance.u64(1000..6000)));
            postgres.come_back();
        }
        Fault::TokenRevoked => tenant.revoke_tokens(),
        Fault::LeasesRevoked => {
            let role = format!("soak{}", chance.u64(..DATABASE));
            bao.api().post(&format!("sys/leases/revoke-prefix/database/creds/{role}"), &json!({}));
        }
        Fault::ValuesWritten => {
            for _ in 0..5 {
                let (name, password) = (format!("static{}", chance.u64(..STATIC)), fresh("static"));
                tenant.write(&name, &json!({"password": password}));
                wait_until(SOON, "the new value is there", || rig.read(&format!("out/{name}")) == password);
            }
        }
        Fault::SecretIdReplaced => rig.write("secret-id", &tenant.secret_id()),
    }
}

/// The memory of the program, in KiB.
fn resident(squire: &Squire<'_>) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", squire.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn nothing_is_left(bao: &Bao, tenant: &Tenant<'_>, postgres: &Postgres) {
    wait_until(SOON * 2, "no lease is left on the server", || {
        (0..DATABASE).all(|number| bao.leases(&format!("database/creds/soak{number}")).is_empty())
    });
    wait_until(SOON, "no token is left on the server", || tenant.tokens().is_empty());
    wait_until(SOON, "no user is left in the database", || postgres.roles("v-approle").is_empty());
}
