//! Sessions, snapshot, render, rollout and supervision together, under fake time, with scripted sources and no server.
//!
//! Each world is a random schedule from a seed: answers that come late, faults of every class, processes that stop slowly or
//! die, disks that fail, a Squire that is killed and begins anew, a machine that sleeps. The seed also chooses whether there is one source
//! or two, and whether a successor proves itself beside its process. What always has to hold is checked after every step
//! (`invariants.rs`). `WORLD_SEEDS=100000` runs more of them, and `WORLD_STORY=17` prints what happens in the world of that seed.

#![expect(
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests are tests, and a world looks at the few effects that it checks"
)]

mod fate;
mod hands;
mod invariants;
mod process;
mod server;
mod sessions;
mod squire;
mod store;
mod variant;
mod world;

use std::time::Duration;

use variant::{Fates, Lives, StoreUse, Variant, Weather};
use world::World;

const NOTHING: Fates = Fates { crashes: false, suspensions: false, refreshes: false };
const CRASHES: Fates = Fates { crashes: true, ..NOTHING };
const SUSPENSIONS: Fates = Fates { suspensions: true, ..NOTHING };
const EVERYTHING: Fates = Fates { crashes: true, suspensions: true, refreshes: true };

/// How many worlds of a kind are run.
fn seeds() -> u64 {
    std::env::var("WORLD_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

#[test]
fn whatever_happens_the_invariants_hold() {
    let (mut rotations, mut taken_back, mut overlaps) = (0, 0, 0);
    for seed in 0..seeds() {
        let fates = if seed % 2 == 0 { EVERYTHING } else { NOTHING };
        let mut world = World::with(seed, Weather::Storm, fates, Variant::of(seed));
        world.run(Duration::from_mins(10));
        rotations += world.tally.rotations;
        taken_back += world.tally.taken_back;
        overlaps += world.tally.overlaps;
    }
    assert!(taken_back > seeds(), "the storm took almost nothing back: {taken_back}");
    assert!(rotations > seeds(), "the storm let almost nothing through: {rotations} rotations");
    assert!(overlaps > seeds(), "two processes never ran at once: {overlaps}");
}

#[test]
fn in_calm_weather_the_process_never_holds_a_dead_credential() {
    for seed in 0..seeds() {
        let mut world = World::new(seed, Weather::Calm);
        world.run(Duration::from_mins(10));
        let rotations = world.tally.rotations;
        assert!(rotations > 10, "seed {seed}: only {rotations} rotations");
        assert_eq!(world.tally.dead_for, Duration::ZERO, "seed {seed}: the process held a dead credential");
    }
}

#[test]
fn whoever_was_killed_goes_on_and_its_process_never_holds_a_dead_credential() {
    for seed in 0..seeds() {
        let mut world = World::with(seed, Weather::Calm, CRASHES, Variant::of(seed));
        world.run(Duration::from_mins(10));
        assert!(world.tally.crashes > 0, "seed {seed}: nobody was killed");
        assert_eq!(world.tally.dead_for, Duration::ZERO, "seed {seed}: the process held a dead credential");
        world.calm_down();
        world.run(Duration::from_mins(1));
        assert!(world.is_serving(), "seed {seed}");
    }
}

#[test]
fn what_a_suspension_killed_is_mended_soon() {
    let mut longest = Duration::ZERO;
    for seed in 0..seeds() {
        let mut world = World::with(seed, Weather::Calm, SUSPENSIONS, Variant::of(seed));
        world.run(Duration::from_mins(10));
        assert!(world.tally.suspensions > 0, "seed {seed}: the machine never slept");
        assert_eq!(world.tally.dead_for, Duration::ZERO, "seed {seed}: not mended in time");
        longest = longest.max(world.tally.mended_in);
    }
    assert!(longest > Duration::ZERO, "no suspension killed anything");
}

/// Nothing ends by itself here, so what nobody remembers would be seen.
#[test]
fn after_crashes_one_lease_of_each_secret_is_left() {
    let mut adoptions = 0;
    for seed in 0..seeds().div_ceil(2) {
        let variant = Variant { lives: Lives::LONG, ..Variant::of(seed) };
        let fates = Fates { suspensions: seed % 2 == 0, ..EVERYTHING };
        let mut world = World::with(seed, Weather::Trouble, fates, variant);
        world.run(Duration::from_mins(10));
        adoptions += world.tally.adoptions;
        world.calm_down();
        world.run(Duration::from_mins(6));
        assert!(world.is_serving(), "seed {seed}");
        world.assert_at_most(1, "in the calm after crashes");
        world.stop();
        world.assert_at_most(0, "after the stop");
    }
    assert!(adoptions > seeds() / 2, "there was almost nothing to take over: {adoptions}");
}

#[test]
fn after_a_stop_nothing_is_left_on_the_server() {
    for seed in 0..seeds() {
        let fates = if seed % 3 == 0 { CRASHES } else { NOTHING };
        let mut world = World::with(seed, Weather::Calm, fates, Variant::of(seed));
        world.run(Duration::from_secs(30 + seed % 60));
        world.calm_down();
        world.run(Duration::from_secs(15));
        world.stop();
        world.assert_at_most(0, "after the stop");
    }
}

#[test]
fn a_refused_credential_is_not_sent_again() {
    for seed in 0..seeds() {
        let mut world = World::new(seed, Weather::WrongCredential);
        world.run(Duration::from_mins(15));
        assert_eq!(world.server.logins, 1, "seed {seed}");
    }
}

#[test]
fn an_errand_is_run_for_as_long_as_it_takes_and_what_it_did_arrives() {
    for seed in 0..seeds().div_ceil(4) {
        let variant = Variant { store: StoreUse::InEnvironment, ..Variant::of(seed) };
        let mut world = World::with(seed, Weather::Trouble, NOTHING, variant);
        world.run(Duration::from_mins(10));
        world.calm_down();
        world.run(Duration::from_mins(2));
        assert!(world.store.errands > 5, "seed {seed}: only {} errands", world.store.errands);
        let arrives = |world: &mut World| {
            world.run(Duration::from_secs(1));
            world.disk.has(&format!("dev/app/rotating-{}", world.store.version("dev/app/rotating")))
        };
        assert!((0..10).any(|_| arrives(&mut world)), "seed {seed}: what an errand did was not published");
    }
}
