//! When to renew, re-read, replace or try again: every delay of the program, as values.
//!
//! All durations count from the moment the request was *sent*, because the server's clock started no earlier than that.
//!
//! *Invariant:* no delay is shorter than [`SOONEST`], and none is longer than the time to the event that it has to come before. Random
//! numbers are an argument.

use std::time::Duration;

use crate::source::{LONGEST_LIFE, Life, Renewal};

/// The shortest delay there is: a schedule can never become a busy loop.
pub const SOONEST: Duration = Duration::from_millis(100);

/// A credential that the server refused is not sent again earlier than this, unless its file changes: the fifth wrong login locks the role
/// for everyone, and the server's documentation counts them within 15 minutes.
pub const REFUSED_PAUSE: Duration = Duration::from_mins(16);

/// How often to look for a credential file that is missing. A watch on its directory is usually quicker.
pub const AWAITED_PAUSE: Duration = Duration::from_secs(1);

/// The pause between two probes of a server that cannot be reached is random below a bound. The bound is below a second at first, and
/// doubles each time that this many probes failed, up to four seconds. It limits the time of the recovery in proportion to the outage.
const LOOKS_BEFORE_DOUBLING: u32 = 64;
const FIRST_PROBE: Duration = Duration::from_secs(1);
const LONGEST_PROBE: Duration = Duration::from_secs(4);

/// A leased credential that the process cannot use is made anew at least this often, since nobody tells Squire when its rights were
/// corrected.
const LONGEST_REJECTED: Duration = Duration::from_mins(5);

/// A start gives up only after the source has said this many times in a row that a secret is denied or missing. A standby of OpenBao was
/// behind its leader for a quarter of a second; these tries take over a second.
pub const FIRST_TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// A rollout takes no longer than this, for all that is planned with it.
const LONGEST_ROLLOUT: Duration = Duration::from_mins(2);

/// The shortest pause after a failure that concerns one path.
const SHORTEST_PAUSE: Duration = Duration::from_secs(2);
/// The longest one.
pub const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// A random number in `0.0..1.0` that the caller draws, so that this module has no randomness of its own.
#[derive(Clone, Copy, Debug)]
pub struct Chance(f64);

impl Chance {
    /// Takes a number and limits it to `0.0..=1.0`.
    pub fn new(number: f64) -> Self {
        Self(if number.is_nan() { 0.0 } else { number.clamp(0.0, 1.0) })
    }

    /// The point between two numbers that this random number stands for.
    fn between(self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0
    }
}

/// What to do with a value that we hold, and how long after its request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Renew the lease.
    Renew(Duration),
    /// Fetch a new value, because the old one ends.
    Replace(Duration),
    /// Read again, to see whether there is a new value.
    Reread(Duration),
}

impl Due {
    /// How long after the request was sent.
    pub fn after(self) -> Duration {
        match self {
            Self::Renew(after) | Self::Replace(after) | Self::Reread(after) => after,
        }
    }
}

/// The next step for a value that was just fetched. `refresh` is how often values without a lease are re-read.
pub fn fetched(life: &Life, refresh: Duration, chance: Chance) -> Due {
    match life {
        Life::Renewable { ttl, .. } => Due::Renew(renewal(*ttl, chance)),
        Life::Expiring { ttl, .. } => Due::Replace(share(*ttl, chance.between(0.85, 0.95))),
        Life::Rotating { ttl } => Due::Reread(rotation(*ttl).min(refresh).max(SOONEST)),
        Life::Versioned { within } => {
            let interval = within.map_or(refresh, |within| refresh.min(within));
            Due::Reread(share(interval, chance.between(0.9, 1.1)))
        }
    }
}

/// The next step after a renewal. If the renewal was shorter than asked for, the end of the lease is near, and the next step is a
/// replacement.
pub fn renewed(renewal: Renewal, chance: Chance) -> Due {
    if renewal.capped {
        Due::Replace(last_chance(renewal.ttl))
    } else {
        Due::Renew(self::renewal(renewal.ttl, chance))
    }
}

/// When to replace a value that cannot be renewed further: at two thirds of the remaining time, so that the old value is still valid during
/// the switch.
pub fn last_chance(left: Duration) -> Duration {
    share(left, 2.0 / 3.0)
}

/// Whether what an earlier run left is good enough to start with. What ends within a fifth of its life, two minutes at most, would be dead
/// before its successor could be rolled out.
pub fn is_worth_adopting(left: Duration, first: Duration) -> bool {
    left > (first / 5).min(LONGEST_ROLLOUT)
}

/// When to renew: at two thirds of the life, less up to a tenth of that, so that leases made together drift apart.
pub fn renewal(ttl: Duration, chance: Chance) -> Duration {
    share(ttl, chance.between(0.6, 2.0 / 3.0))
}

/// The pause before the next probe of a server that cannot be reached: full jitter below a bound that grows with the number of failures in
/// a row. If the server asked for a longer pause, that is used.
pub fn unreachable(failures: u32, retry_after: Option<Duration>, chance: Chance) -> Duration {
    let bound = FIRST_PROBE.saturating_mul(doubled(1 + failures / LOOKS_BEFORE_DOUBLING)).min(LONGEST_PROBE);
    let asked = retry_after.unwrap_or_default().min(LONGEST_PAUSE);
    share(bound, chance.between(0.0, 1.0)).max(asked)
}

/// The pause before a path that failed is requested again. `left` is how long the present value is still valid, if it ends: the less time
/// is left, the more often we ask.
pub fn failing(failures: u32, left: Option<Duration>, chance: Chance) -> Duration {
    let patience = left.map_or(LONGEST_PAUSE, |left| (left / 8).clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
    let bound = Duration::from_secs(1).saturating_mul(doubled(failures)).min(patience);
    share(bound, chance.between(0.25, 1.0))
}

/// The pause before a path that is denied or missing is requested again: only an operator can correct that. A secret without a value is
/// requested [`FIRST_TRIES`] times soon, since the start waits for it and a standby may answer wrongly for a moment.
pub fn denied(failures: u32, refresh: Duration, has_value: bool, chance: Chance) -> Duration {
    let soon = if has_value { 0 } else { FIRST_TRIES - 1 };
    let bound = match failures.checked_sub(soon).filter(|later| *later > 0) {
        Some(later) => Duration::from_secs(5).saturating_mul(doubled(later)).min(LONGEST_PAUSE),
        None => FIRST_PAUSE.saturating_mul(doubled(failures)),
    };
    share(bound.min(refresh.max(SOONEST)), chance.between(0.75, 1.0))
}

/// The pause before a value that the process could not use is replaced again. `left` is how long the previous value is still valid: there
/// is one more try before it ends.
pub fn rejected(rejections: u32, left: Duration) -> Duration {
    Duration::from_secs(5)
        .saturating_mul(doubled(rejections))
        .min(LONGEST_REJECTED)
        .min(last_chance(left))
        .max(SOONEST)
}

/// A static role is read again one second after its rotation, and then each second until the rotation is done.
fn rotation(ttl: Duration) -> Duration {
    ttl.saturating_add(Duration::from_secs(1))
}

fn doubled(failures: u32) -> u32 {
    1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX)
}

fn share(whole: Duration, part: f64) -> Duration {
    // Clamped first: multiplying centuries by a fraction must not overflow.
    whole.min(LONGEST_LIFE).mul_f64(part).max(SOONEST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::names::LeaseId;

    const LOW: Chance = Chance(0.0);
    const HIGH: Chance = Chance(1.0);

    fn seconds(number: f64) -> Duration {
        Duration::from_secs_f64(number)
    }

    fn renewable(ttl: f64) -> Life {
        Life::Renewable { lease: LeaseId::new("x"), ttl: seconds(ttl) }
    }

    #[test]
    fn the_table_of_what_is_due() {
        let refresh = seconds(300.0);
        let cases = [
            (renewable(60.0), Due::Renew(seconds(36.0)), Due::Renew(seconds(40.0))),
            (
                Life::Expiring { lease: None, ttl: seconds(100.0) },
                Due::Replace(seconds(85.0)),
                Due::Replace(seconds(95.0)),
            ),
            (Life::Rotating { ttl: seconds(9.0) }, Due::Reread(seconds(10.0)), Due::Reread(seconds(10.0))),
            (Life::Rotating { ttl: seconds(0.0) }, Due::Reread(seconds(1.0)), Due::Reread(seconds(1.0))),
            (Life::Rotating { ttl: seconds(900.0) }, Due::Reread(refresh), Due::Reread(refresh)),
            (Life::Versioned { within: None }, Due::Reread(seconds(270.0)), Due::Reread(seconds(330.0))),
            (
                Life::Versioned { within: Some(seconds(10.0)) },
                Due::Reread(seconds(9.0)),
                Due::Reread(seconds(11.0)),
            ),
        ];
        for (life, low, high) in cases {
            let near = |due: Due, expected: Due| {
                std::mem::discriminant(&due) == std::mem::discriminant(&expected)
                    && due.after().abs_diff(expected.after()) < Duration::from_millis(1)
            };
            let got = (fetched(&life, refresh, LOW), fetched(&life, refresh, HIGH));
            assert!(near(got.0, low) && near(got.1, high), "{life:?}: {got:?}");
        }
    }

    #[test]
    fn a_renewal_cut_short_leads_to_a_replacement_with_time_to_spare() {
        let cut = renewed(Renewal { ttl: seconds(3.0), capped: true }, HIGH);
        assert_eq!(cut, Due::Replace(seconds(2.0)));
    }

    #[test]
    fn an_outage_of_any_length_is_probed_every_few_seconds() {
        for failures in 0..200 {
            assert!(unreachable(failures, None, HIGH) <= LONGEST_PROBE);
        }
        assert_eq!(unreachable(1, Some(seconds(30.0)), LOW), seconds(30.0));
    }

    proptest! {
        #[test]
        fn no_delay_is_zero_or_comes_after_the_end(ttl in 0.2_f64..1e12, chance in 0.0_f64..=1.0) {
            let (ttl, chance) = (seconds(ttl), Chance::new(chance));
            let lives = [
                Life::Renewable { lease: LeaseId::new("x"), ttl },
                Life::Expiring { lease: None, ttl },
            ];
            for life in lives {
                let after = fetched(&life, ttl, chance).after();
                prop_assert!(after >= SOONEST && after < ttl, "{life:?} → {after:?}");
            }
            for capped in [false, true] {
                let after = renewed(Renewal { ttl, capped }, chance).after();
                prop_assert!(after >= SOONEST && after < ttl);
            }
        }

        #[test]
        fn no_pause_is_shorter_than_the_soonest(failures: u32, left in 0_u64..1_000_000, chance in 0.0_f64..=1.0) {
            let (left, chance) = (Duration::from_millis(left), Chance::new(chance));
            for pause in [
                unreachable(failures, None, chance),
                failing(failures, None, chance),
                failing(failures, Some(left), chance),
                denied(failures, left, true, chance),
                denied(failures, left, false, chance),
                fetched(&Life::Rotating { ttl: left }, left, chance).after(),
                fetched(&Life::Versioned { within: Some(left) }, left, chance).after(),
            ] {
                prop_assert!(pause >= SOONEST && pause <= LONGEST_PAUSE.max(left + left / 2 + SOONEST));
            }
        }
    }
}
