//! Many agents with one server: all start at the same moment, or resume after an outage.
//!
//! 30 agents by default, 200 with `SQUIRE_LONG=1`.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Bao, CHILD, Gate, Rig, Squire, fresh, kv_file, long, record, wait_until};

/// The secrets of each agent.
const SECRETS: [&str; 3] = ["one", "two", "three"];

/// The requests of an agent at its start: a login, the kind of a mount, and each secret.
const QUESTIONS: usize = 2 + SECRETS.len();

/// How many requests of one agent are out at once.
const IN_FLIGHT: usize = 16;

#[test]
fn a_crowd_that_starts_at_once_and_meets_an_outage_never_stampedes() {
    let agents = if long() { 200 } else { 30 };
    let bao = Bao::start();
    let tenant = bao.tenant();
    for secret in SECRETS {
        tenant.write(secret, &json!({"password": fresh(secret)}));
    }
    let gate = Gate::before(bao.address());
    let rigs: Vec<_> = (0..agents).map(|_| Rig::new(&tenant).through(&gate.address())).collect();
    let files: String = SECRETS.iter().map(|secret| kv_file(secret)).collect();
    for rig in &rigs {
        // 200 logs at trace level would fill the memory.
        rig.set("SQUIRE_LOG", if long() { "info" } else { "trace" });
        rig.config_of_source("address = \"@address@\"\nrefresh = \"20s\"", &format!("{files}{CHILD}"));
    }
    let started = Instant::now();
    let mut squires: Vec<Squire<'_>> = rigs.iter().map(Rig::run).collect();
    let limit = Duration::from_secs(if long() { 120 } else { 30 });
    wait_until(limit, "all are ready", || rigs.iter().all(|rig| rig.read("seen/starts") == "start\n"));
    let ready = started.elapsed();
    let at_start = bao.histogram();
    // No request is sent twice, even under this load, unless a re-read or a look-up of the token became due meanwhile.
    let requests = bao.requests();
    let of = |path: &str| requests.iter().filter(|request| request.starts_with(path)).count();
    let rereads =
        of("read secret/data/").saturating_sub(agents * SECRETS.len()) + of("read auth/token/lookup-self");
    let asked = requests.len();
    assert_eq!(asked - rereads, agents * QUESTIONS, "{requests:#?}");
    let peak = at_start.iter().max().copied().unwrap_or(0);
    assert!(peak <= agents * IN_FLIGHT, "{peak} requests in 100 ms");
    record(
        &format!("{agents} agents start at once against one server"),
        Some(ready),
        &format!("{asked} requests, {peak} in the busiest 100 ms; per 100 ms: {}", shown(&at_start)),
        "all ready, each question asked once",
    );

    gate.shut();
    // Longer than every secret takes to become due.
    std::thread::sleep(Duration::from_secs(25));
    let before = bao.histogram().len();
    let next = fresh("next");
    tenant.write(SECRETS[0], &json!({"password": next}));
    gate.open();
    let back = Instant::now();
    wait_until(Duration::from_secs(30), "all have the value that changed meanwhile", || {
        rigs.iter().all(|rig| rig.read(&format!("out/{}", SECRETS[0])) == next)
    });
    let recovered = back.elapsed();
    let histogram = bao.histogram();
    let after = &histogram[before..];
    let (asked, peak) = (after.iter().sum::<usize>(), after.iter().max().copied().unwrap_or(0));
    assert!(recovered <= Duration::from_secs(5), "the last one took {recovered:?}");
    // Spread over about a second, since a recovery may take two seconds: in a stampede all would come within a tenth of a second.
    assert!(peak * 2 <= asked, "{peak} of {asked} requests within 100 ms: {}", shown(after));
    assert!(asked <= agents * (SECRETS.len() + 2) * 2, "{asked} requests of {agents} agents");
    record(
        &format!("{agents} agents after 25 s without the server"),
        Some(recovered),
        "files and processes untouched",
        &format!("all follow; {asked} requests, {peak} in the busiest 100 ms; per 100 ms: {}", shown(after)),
    );
    for squire in &mut squires {
        assert!(squire.is_running());
    }
}

/// Without the silence at either end.
fn shown(histogram: &[usize]) -> String {
    let busy = |count: &usize| *count > 0;
    let first = histogram.iter().position(busy).unwrap_or(0);
    let last = histogram.iter().rposition(busy).map_or(first, |last| last + 1);
    histogram[first..last].iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
