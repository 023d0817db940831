//! Decides when to ask the store whether it was changed, and whether a rotation is due.
//!
//! Both questions are asked when something happened to the store's files. While all is well, only the next rotation is planned beside that.
//!
//! *Invariant:* pure; time is an argument.

use std::time::{Duration, Instant};

use crate::source::Fault;
use crate::store::{Due, Moment, Rotations};

/// However much happens, the question for changes is asked no more often than this …
const CHANGES_APART: Duration = Duration::from_millis(50);
/// … and the question for rotations no more often than this, so that rotations are not begun in a loop.
const ROTATIONS_APART: Duration = Duration::from_secs(1);

/// How often to ask if changes of the files cannot be heard.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(3);

/// A rotation that was asked for and has not begun by then is asked for again; so is a question that failed.
const AGAIN_AFTER: Duration = Duration::from_mins(1);

/// The wall clock is compared at least this often: rotations are due by it, and it may be set.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// The two questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// Whether secrets were changed.
    Changes,
    /// Whether a rotation is due.
    Rotations,
}

impl Asker {
    const fn apart(self) -> Duration {
        match self {
            Self::Changes => CHANGES_APART,
            Self::Rotations => ROTATIONS_APART,
        }
    }
}

/// The state of both questions: their futures may be dropped at any time.
#[derive(Debug, Default)]
pub(super) struct Looks {
    changes: Look,
    rotations: Look,
    /// The last answer about changes.
    found: Option<Result<u64, Fault>>,
    /// The counter of changes when rotations were last looked for.
    looked_at: Option<u64>,
    /// When a rotation may be due.
    due: Option<Moment>,
    /// How all rotations stood when they were last looked for.
    standing: Rotations,
}

#[derive(Debug, Default)]
struct Look {
    /// How many events had been heard when it was asked last.
    heard: u64,
    asked: Option<Instant>,
}

/// When to ask next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// As soon as more events than this were heard …
    pub(super) heard: u64,
    /// … or then, even without an event …
    pub(super) by: Option<Instant>,
    /// … but never earlier than this.
    pub(super) not_before: Option<Instant>,
}

impl Looks {
    /// When to ask this question next.
    pub(super) fn plan(&self, asker: Asker, is_deaf: bool, now: Instant, wall: Moment) -> Plan {
        let look = self.look(asker);
        let is_blind = is_deaf || matches!((asker, &self.found), (Asker::Changes, Some(Err(_))));
        let regular = is_blind.then(|| look.asked.map_or(now, |asked| asked + ASK_EVERY));
        let due = self.due.filter(|_| asker == Asker::Rotations);
        let due = due.map(|due| now + due.since(wall).min(LONGEST_WAIT));
        Plan {
            heard: look.heard,
            by: [regular, due].into_iter().flatten().min(),
            not_before: look.asked.map(|asked| asked + asker.apart()),
        }
    }

    /// Notes that the question is asked now.
    pub(super) fn asks(&mut self, asker: Asker, now: Instant) {
        self.look_mut(asker).asked = Some(now);
    }

    /// Whether an answer is news. `heard` is how many events had been heard before the question.
    pub(super) fn found(&mut self, heard: u64, found: Result<u64, Fault>) -> bool {
        self.changes.heard = heard;
        let is_news = self.found.as_ref() != Some(&found);
        self.found = Some(found);
        is_news
    }

    /// Whether the last question about changes failed.
    pub(super) const fn is_in_trouble(&self) -> bool {
        matches!(self.found, Some(Err(_)))
    }

    /// The counter of changes when rotations were last looked for; `None` if a rotation may be due by now without any change.
    pub(super) fn looked_at(&self, wall: Moment) -> Option<u64> {
        self.looked_at.filter(|_| self.due.is_none_or(|due| due > wall))
    }

    /// Takes the rotations that are due, with the counter of changes (`None` if nothing changed); returns whether to rotate now.
    pub(super) fn found_due(
        &mut self,
        heard: u64,
        found: Result<Option<(u64, Due)>, Fault>,
        wall: Moment,
    ) -> bool {
        self.rotations.heard = heard;
        match found {
            Ok(None) => false,
            Ok(Some((changes, due))) => {
                let is_due = !due.now.is_empty();
                // A rotation that has begun is no longer due, and its beginning is a change.
                let again = is_due.then(|| wall.plus(AGAIN_AFTER));
                self.looked_at = Some(changes);
                self.due = [due.next, again].into_iter().flatten().min();
                self.standing = due.rotations;
                is_due
            }
            Err(_) => {
                self.due = Some(wall.plus(AGAIN_AFTER));
                false
            }
        }
    }

    /// How all rotations stood when they were last looked for.
    pub(super) const fn standing(&self) -> &Rotations {
        &self.standing
    }

    /// The store was opened, perhaps from another file, with this counter of changes.
    pub(super) fn opened(&mut self, changes: u64) {
        self.found = Some(Ok(changes));
        (self.looked_at, self.due, self.standing) = (None, None, Rotations::default());
    }

    const fn look(&self, asker: Asker) -> &Look {
        match asker {
            Asker::Changes => &self.changes,
            Asker::Rotations => &self.rotations,
        }
    }

    const fn look_mut(&mut self, asker: Asker) -> &mut Look {
        match asker {
            Asker::Changes => &mut self.changes,
            Asker::Rotations => &mut self.rotations,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SecretPath;

    const WALL: Moment = Moment::from_millis(1_700_000_000_000);

    fn dead() -> Result<u64, Fault> {
        Err(Fault::Dead)
    }

    fn due(now: &[&str], next: Option<Moment>) -> Due {
        Due { now: now.iter().map(|path| SecretPath::parse(path).unwrap()).collect(), next, ..Due::default() }
    }

    #[test]
    fn at_rest_nothing_is_planned() {
        let (mut looks, now) = (Looks::default(), Instant::now());
        looks.opened(5);
        for asker in [Asker::Changes, Asker::Rotations] {
            looks.asks(asker, now);
        }
        assert!(!looks.found(1, Ok(5)));
        assert!(!looks.found_due(1, Ok(Some((5, Due::default()))), WALL));
        let plan = looks.plan(Asker::Changes, false, now, WALL);
        assert_eq!(plan, Plan { heard: 1, by: None, not_before: Some(now + CHANGES_APART) });
        let plan = looks.plan(Asker::Rotations, false, now, WALL);
        assert_eq!(plan, Plan { heard: 1, by: None, not_before: Some(now + ROTATIONS_APART) });
        let deaf = looks.plan(Asker::Rotations, true, now, WALL);
        assert_eq!(deaf.by, Some(now + ASK_EVERY));
    }

    #[test]
    fn what_is_found_is_told_once_and_trouble_is_looked_after() {
        let (mut looks, now) = (Looks::default(), Instant::now());
        looks.opened(5);
        looks.asks(Asker::Changes, now);
        assert!(looks.found(1, Ok(6)));
        assert!(!looks.found(2, Ok(6)));
        assert!(looks.found(3, dead()) && looks.is_in_trouble());
        assert!(!looks.found(4, dead()));
        assert_eq!(looks.plan(Asker::Changes, false, now, WALL).by, Some(now + ASK_EVERY));
        assert!(looks.found(4, Ok(6)) && !looks.is_in_trouble(), "what was missed meanwhile is not known");
    }

    #[test]
    fn a_rotation_is_looked_for_when_it_is_due_by_the_wall_clock() {
        let (mut looks, now) = (Looks::default(), Instant::now());
        let at = WALL.plus(Duration::from_secs(90));
        assert!(!looks.found_due(1, Ok(Some((5, due(&[], Some(at))))), WALL));
        let by = |looks: &Looks, wall| looks.plan(Asker::Rotations, false, now, wall).by;
        assert_eq!(by(&looks, WALL), Some(now + Duration::from_secs(90)));
        assert_eq!(by(&looks, at), Some(now), "somebody set the clock");
        assert_eq!((looks.looked_at(WALL), looks.looked_at(at)), (Some(5), None));
        assert!(!looks.found_due(1, Ok(Some((5, due(&[], Some(Moment::from_millis(u64::MAX)))))), at));
        assert_eq!(by(&looks, at), Some(now + LONGEST_WAIT));
        assert_eq!(looks.plan(Asker::Changes, false, now, WALL).by, None);
    }

    #[test]
    fn what_was_not_begun_or_could_not_be_asked_is_looked_for_again() {
        let mut looks = Looks::default();
        let again = Some(WALL.plus(AGAIN_AFTER));
        assert!(looks.found_due(1, Ok(Some((5, due(&["prod/a"], None)))), WALL));
        assert_eq!(looks.due, again);
        looks.opened(5);
        assert!(!looks.found_due(2, Err(Fault::Dead), WALL));
        assert_eq!((looks.due, looks.looked_at(WALL)), (again, None));
    }
}
