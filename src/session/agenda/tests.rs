//! The agenda against a plain look at everything, and how much it looks at.

use std::cell::Cell;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug, Default)]
struct Item {
    due: Option<Instant>,
    end: Option<Instant>,
    urgency: Urgency,
    of: Option<SecretName>,
}

thread_local! {
    /// How many items were looked at.
    static LOOKS: Cell<usize> = const { Cell::new(0) };
}

impl Planned for Item {
    fn due(&self) -> Option<Instant> {
        LOOKS.set(LOOKS.get() + 1);
        self.due
    }

    fn end(&self) -> Option<Instant> {
        self.end
    }

    fn urgency(&self) -> Urgency {
        self.urgency
    }

    fn belongs_to(&self) -> Option<&SecretName> {
        self.of.as_ref()
    }
}

#[derive(Clone, Debug)]
enum Change {
    Put(u8, Option<u8>, Option<u8>, (bool, bool)),
    Remove(u8),
    /// Everything is due this much sooner.
    Sooner(u8),
    TakeUrgent,
    Pass(u8),
}

fn change() -> impl Strategy<Value = Change> {
    let time = || proptest::option::of(0..20_u8);
    prop_oneof![
        4 => (0..8_u8, time(), time(), any::<(bool, bool)>()).prop_map(|(key, due, end, urgent)| Change::Put(key, due, end, urgent)),
        1 => (0..8_u8).prop_map(Change::Remove),
        1 => (0..4_u8).prop_map(Change::Sooner),
        1 => Just(Change::TakeUrgent),
        2 => (0..6_u8).prop_map(Change::Pass),
    ]
}

proptest! {
    #[test]
    fn it_finds_what_a_look_at_everything_finds(changes in vec(change(), 0..60), most in 0..9_usize) {
        let start = Instant::now() + Duration::from_hours(1);
        let after = |seconds: u8| start + Duration::from_secs(seconds.into());
        let secret = |key: u8| SecretName::new(format!("secret-{}", key % 2));
        let mut now = start;
        let mut agenda = Agenda::<u8, Item>::default();
        for change in changes {
            match change {
                Change::Put(key, due, end, (one, other)) => {
                    let (due, end) = (due.map(after), end.map(after));
                    let item = Item { due, end, urgency: (one, other, end), of: Some(secret(key)) };
                    match agenda.get_mut(&key) {
                        Some(before) => *before = item,
                        None => agenda.insert(key, item),
                    }
                }
                Change::Remove(key) => drop(agenda.remove(&key)),
                Change::Sooner(seconds) => {
                    let by = Duration::from_secs(seconds.into());
                    agenda.values_mut().for_each(|item| item.due = item.due.and_then(|at| at.checked_sub(by)));
                }
                Change::TakeUrgent => drop(agenda.take_if(|item| item.urgency.0)),
                Change::Pass(seconds) => now += Duration::from_secs(seconds.into()),
            }
            let mut due: Vec<_> = agenda.iter().filter(|(_, item)| item.due.is_some_and(|at| at <= now)).map(|(key, item)| (item.urgency, *key)).collect();
            due.sort_unstable();
            due.truncate(most);
            prop_assert_eq!(agenda.due(now, most), due);
            let ended: BTreeSet<_> = agenda.iter().filter(|(_, item)| item.end.is_some_and(|at| at <= now)).map(|(key, _)| *key).collect();
            prop_assert_eq!(agenda.ended(now), ended);
            prop_assert_eq!(agenda.next_end(), agenda.values().filter_map(|item| item.end).min());
            // What is due already is due now.
            prop_assert_eq!(agenda.next_due().map(|at| at.max(now)), agenda.values().filter_map(|item| item.due).min().map(|at| at.max(now)));
            for key in 0..2 {
                let of: Vec<_> = agenda.iter().filter(|(_, item)| item.of == Some(secret(key))).map(|(key, _)| *key).collect();
                prop_assert_eq!(agenda.of(&secret(key)), of);
            }
        }
        for key in 0..8 {
            agenda.remove(&key);
        }
        prop_assert!(agenda.sorted.is_empty() && agenda.waiting.is_empty() && agenda.ripe.is_empty());
        prop_assert!(agenda.ends.is_empty() && agenda.by_secret.is_empty());
    }
}

/// What one change costs does not depend on how much is kept, and not on how much is due.
#[test]
fn a_change_looks_at_what_was_changed() {
    let now = Instant::now();
    let looks = |kept: usize| {
        let item = Item { due: Some(now), ..Item::default() };
        let mut agenda: Agenda<_, _> = (0..kept).map(|key| (key, item.clone())).collect();
        assert_eq!(agenda.due(now, 16).len(), 16);
        LOOKS.set(0);
        if let Some(item) = agenda.get_mut(&7) {
            item.due = None;
        }
        let due = agenda.due(now, 16);
        assert!(due.len() == 16 && due.iter().all(|(_, key)| *key != 7));
        assert_eq!(agenda.next_due(), Some(now));
        LOOKS.get()
    };
    assert_eq!(looks(20), 1);
    assert_eq!(looks(20_000), 1);
}
