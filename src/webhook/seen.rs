//! Which deliveries were accepted.
//!
//! *Invariant:* pure and bounded: when it is full nothing more is accepted, and nothing is forgotten before its time.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::{SKEW, Tag};

/// A delivery that was signed [`SKEW`] in the future counts as new for twice as long, and for a second more, since times are cut to seconds.
const REMEMBERED_FOR: Duration = SKEW.saturating_mul(2).saturating_add(Duration::from_secs(1));

/// So many are remembered. Only who has the key can add any: one sender comes to 610 in that time.
const MOST: usize = 8192;

/// What was accepted, by the digest of what was signed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    identities: BTreeSet<Tag>,
    /// Those that came first stand first.
    forget_at: VecDeque<(Instant, Tag)>,
}

impl Seen {
    pub(super) fn has(&self, identity: &Tag) -> bool {
        self.identities.contains(identity)
    }

    /// Remembers it; or says when there is room.
    pub(super) fn remember(&mut self, identity: Tag, now: Instant) -> Result<(), Duration> {
        self.prune(now);
        if let Some((at, _)) = self.forget_at.front().filter(|_| self.forget_at.len() >= MOST) {
            return Err(at.saturating_duration_since(now));
        }
        if self.identities.insert(identity) {
            self.forget_at.push_back((now + REMEMBERED_FOR, identity));
        }
        Ok(())
    }

    fn prune(&mut self, now: Instant) {
        while let Some((_, identity)) = self.forget_at.pop_front_if(|(at, _)| *at <= now) {
            self.identities.remove(&identity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_in_time_and_is_never_larger_than_it_may_be() {
        let (mut seen, now) = (Seen::default(), Instant::now());
        let identity = |number: usize| {
            let mut identity = Tag::default();
            identity[..8].copy_from_slice(&number.to_le_bytes());
            identity
        };
        for number in 0..MOST {
            assert_eq!(seen.remember(identity(number), now), Ok(()));
        }
        let second = Duration::from_secs(1);
        assert_eq!(seen.remember(identity(MOST), now + second), Err(REMEMBERED_FOR.saturating_sub(second)));
        assert!(
            seen.has(&identity(0)) && !seen.has(&identity(MOST)),
            "a flood of the key's owner lets nobody replay"
        );
        assert_eq!(seen.remember(identity(MOST), now + REMEMBERED_FOR), Ok(()));
        assert!(!seen.has(&identity(0)) && seen.has(&identity(MOST)));
        assert_eq!((seen.identities.len(), seen.forget_at.len()), (1, 1));
    }
}
