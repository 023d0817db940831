//! How long a change needs from its source to the live release.
//!
//! *Invariant:* pure. Of each secret at most [`KEPT`] values wait.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use super::SecretFact;
use crate::names::{Revision, SecretName};

/// So many values of a secret wait to be live; while rollouts fail for long, nobody needs the times of older ones.
const KEPT: usize = 8;

/// The values that are not live yet, and when each was written.
#[derive(Debug, Default)]
pub(super) struct Changes(BTreeMap<SecretName, VecDeque<(Revision, SystemTime)>>);

impl Changes {
    /// A new value came at this time. The first one of a run is no change: nobody knows how long it was there.
    pub(super) fn heard(&mut self, secret: &SecretName, fact: &SecretFact, at: SystemTime) {
        let SecretFact::Fetched { revision, written, .. } = fact else { return };
        if *revision == Revision::default().next() {
            return;
        }
        let waiting = self.0.entry(secret.clone()).or_default();
        waiting.truncate(KEPT - 1);
        waiting.push_front((*revision, written.unwrap_or(at)));
    }

    /// These values are live since this time; answers with how long each needed. What is older was left out, and never will be. The clock of
    /// the source may be ahead of ours: then it needed no time.
    pub(super) fn live(&mut self, renewed: &[(SecretName, Revision)], at: SystemTime) -> Vec<Duration> {
        let mut times = Vec::new();
        for (secret, live) in renewed {
            let Some(waiting) = self.0.get_mut(secret) else { continue };
            let written = waiting.iter().find(|(revision, _)| revision == live).map(|(_, written)| *written);
            waiting.retain(|(revision, _)| revision > live);
            times.extend(written.map(|written| at.duration_since(written).unwrap_or_default()));
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_counted_once_from_when_it_was_written_and_the_first_value_not_at_all() {
        let (mut changes, db, start) = (Changes::default(), SecretName::new("db"), SystemTime::UNIX_EPOCH);
        let after = |seconds| start + Duration::from_secs(seconds);
        let revision = |number| (0..number).fold(Revision::default(), |revision, _| revision.next());
        let mut heard = |number, written| {
            let fact = SecretFact::Fetched { next_in: Duration::ZERO, revision: revision(number), written };
            changes.heard(&db, &fact, after(10 * number));
        };
        heard(1, None);
        heard(2, Some(after(15)));
        heard(3, None);
        heard(4, Some(after(99)));
        let mut live = |number| changes.live(&[(db.clone(), revision(number))], after(50));
        assert!(live(1).is_empty());
        assert_eq!(live(2), [Duration::from_secs(35)]);
        assert!(live(2).is_empty());
        assert_eq!(live(4), [Duration::ZERO], "a clock that is ahead");
        assert!(live(3).is_empty(), "left out by the release before");
    }

    #[test]
    fn what_never_goes_live_is_not_kept_for_ever() {
        let (mut changes, db) = (Changes::default(), SecretName::new("db"));
        let mut revision = Revision::default().next();
        for _ in 0..100 {
            revision = revision.next();
            let fact = SecretFact::Fetched { next_in: Duration::ZERO, revision, written: None };
            changes.heard(&db, &fact, SystemTime::UNIX_EPOCH);
        }
        assert_eq!(changes.0[&db].len(), KEPT);
        assert_eq!(changes.live(&[(db, revision)], SystemTime::UNIX_EPOCH), [Duration::ZERO]);
    }
}
