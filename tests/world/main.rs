//! Sessions, snapshot, render, rollout and supervision together, under fake time, with a scripted source and no server.
//!
//! Each world is a random schedule from a seed: answers that come late, faults of every class, processes that stop slowly or
//! die, disks that fail. What always has to hold is checked after every step. `WORLD_SEEDS=100000` runs more of them.

#![expect(
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests are tests, and a world looks at the few effects that it checks"
)]

mod process;
mod server;
mod world;

use std::time::Duration;

use world::{Weather, World};

/// How many worlds of a kind are run.
fn seeds() -> u64 {
    std::env::var("WORLD_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

#[test]
fn whatever_happens_the_invariants_hold() {
    let (mut rotations, mut taken_back) = (0, 0);
    for seed in 0..seeds() {
        let mut world = World::new(seed, Weather::Storm);
        world.run(Duration::from_mins(10));
        rotations += world.rotations();
        taken_back += world.taken_back();
    }
    assert!(taken_back > seeds(), "the storm took almost nothing back: {taken_back}");
    assert!(rotations > seeds(), "the storm let almost nothing through: {rotations} rotations");
}

#[test]
fn in_calm_weather_the_process_never_holds_a_dead_credential() {
    for seed in 0..seeds() {
        let mut world = World::new(seed, Weather::Calm);
        world.run(Duration::from_mins(10));
        assert!(world.rotations() > 10, "seed {seed}: only {} rotations", world.rotations());
        assert_eq!(world.dead_for(), Duration::ZERO, "seed {seed}: the process held a dead credential");
    }
}

#[test]
fn after_a_stop_nothing_is_left_on_the_server() {
    for seed in 0..seeds() {
        let mut world = World::new(seed, Weather::Calm);
        world.run(Duration::from_secs(30 + seed % 60));
        world.stop();
        assert_eq!(world.living_leases(), 0, "seed {seed}");
    }
}

#[test]
fn a_refused_credential_is_not_sent_again() {
    for seed in 0..seeds() {
        let mut world = World::new(seed, Weather::WrongCredential);
        world.run(Duration::from_mins(15));
        assert_eq!(world.logins(), 1, "seed {seed}");
    }
}
