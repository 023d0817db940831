//! How the planned rotations stand, whoever makes them.
//!
//! *Invariant:* pure.

use super::head::Head;
use super::moment::Moment;
use super::policy::Policy;

/// The rotations of the secrets that an identity may read or rotate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotations {
    /// When each is due, or has been since; those without an interval are not in it.
    pub due: Vec<Moment>,
    /// Those whose last rotation failed.
    pub failing: usize,
}

impl Rotations {
    pub(super) fn count(&mut self, policy: &Policy, head: &Head) {
        self.due.extend(policy.due(head));
        self.failing += usize::from(head.rotation.trouble.is_some());
    }

    /// So many should have been made by now.
    pub fn overdue(&self, now: Moment) -> usize {
        self.due.iter().filter(|due| **due <= now).count()
    }

    /// When the next one is due.
    pub fn next(&self, now: Moment) -> Option<Moment> {
        self.due.iter().filter(|due| **due > now).min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_by_now_is_overdue_and_the_next_is_ahead() {
        let at = Moment::from_millis;
        let rotations = Rotations { due: vec![at(30), at(10), at(20)], failing: 0 };
        assert_eq!((rotations.overdue(at(9)), rotations.next(at(9))), (0, Some(at(10))));
        assert_eq!((rotations.overdue(at(20)), rotations.next(at(20))), (2, Some(at(30))));
        assert_eq!((rotations.overdue(at(99)), rotations.next(at(99))), (3, None));
    }
}
