//! Which unit holds which value: those that asked, since the ledger began. So it is known who has to be told of a change, after a restart of
//! Squire too.
//!
//! *Invariant:* pure. A value is known here by a stamp only, which is made with a key that is kept beside the stamps.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Shown, Wanted};
use crate::config::UnitReaction;
use crate::secret::{Digest, DigestKey};

/// A unit that could not be told so often is forgotten: it may be gone from the machine.
const TRIES: u32 = 3;

/// So many units are known. Beyond them is a template with an instance for each connection (`Accept=yes`), of which few still run.
const MOST: usize = 1024;

/// Who holds what.
#[derive(Clone, Debug)]
pub struct Held {
    seed: [u8; 32],
    key: DigestKey,
    units: BTreeMap<String, Holding>,
    /// How often somebody was given something.
    times: u64,
    is_written: bool,
}

/// What one unit holds.
#[derive(Clone, Debug, Default)]
struct Holding {
    /// By the name of the credential.
    stamps: BTreeMap<String, Digest>,
    /// How often it could not be told in a row.
    failures: u32,
    /// When it asked last, by the times that somebody did.
    asked: u64,
}

/// A unit got a credential.
#[derive(Clone, Debug)]
pub struct Given {
    /// Which one, and for whom.
    pub wanted: Wanted,
    /// Which value.
    pub stamp: Digest,
}

/// As it is kept for a later run.
#[derive(Debug, Serialize, Deserialize)]
struct Layout {
    seed: [u8; 32],
    units: BTreeMap<String, BTreeMap<String, Digest>>,
}

impl Held {
    /// Nobody holds anything yet. The seed has to be random.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, key: DigestKey::new(seed), units: BTreeMap::new(), times: 0, is_written: true }
    }

    /// What an earlier run wrote with [`Self::write`]; `None` if this is nothing of the kind.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let Layout { seed, units } = serde_json::from_slice(bytes).ok()?;
        let units = units.into_iter().map(|(unit, stamps)| (unit, Holding { stamps, ..Holding::default() }));
        Some(Self { units: units.collect(), ..Self::new(seed) })
    }

    /// What a later run needs; `None` if nothing changed since this was asked last.
    pub fn write(&mut self) -> Option<Vec<u8>> {
        if std::mem::replace(&mut self.is_written, true) {
            return None;
        }
        let units = self.units.iter().map(|(unit, holding)| (unit.clone(), holding.stamps.clone()));
        // Text and numbers can always be written.
        serde_json::to_vec(&Layout { seed: self.seed, units: units.collect() }).ok()
    }

    /// The key of the stamps.
    pub fn key(&self) -> &DigestKey {
        &self.key
    }

    /// A unit got a credential. Says what it has to be asked, if that value is one of before by now.
    pub fn given(&mut self, given: Given, shown: &Shown) -> Option<UnitReaction> {
        let Given { wanted: Wanted { unit, name }, stamp } = given;
        let now = shown.find(&unit, &name).map(|shown| (shown.stamp, shown.terms.on_change));
        if self.units.len() >= MOST && !self.units.contains_key(&unit) {
            self.forget_one();
        }
        self.times += 1;
        let holding = self.units.entry(unit).or_default();
        holding.asked = self.times;
        holding.failures = 0;
        self.is_written &= holding.stamps.insert(name, stamp) == Some(stamp);
        let (newest, reaction) = now?;
        (newest != stamp && reaction != UnitReaction::Nothing).then_some(reaction)
    }

    /// Forgets the unit that asked longest ago, of the template that has the most of them.
    fn forget_one(&mut self) {
        fn template(unit: &str) -> &str {
            unit.split_once('@').map_or(unit, |(template, _)| template)
        }
        let mut instances: BTreeMap<&str, usize> = BTreeMap::new();
        for unit in self.units.keys() {
            *instances.entry(template(unit)).or_default() += 1;
        }
        let many = |unit: &str| instances.get(template(unit)).copied().unwrap_or_default();
        let eldest = self.units.iter().max_by_key(|(unit, holding)| (many(unit), Reverse(holding.asked)));
        if let Some(eldest) = eldest.map(|(unit, _)| unit.clone()) {
            self.units.remove(&eldest);
        }
    }

    /// The units that hold another value than is shown, and are asked for this because of it. A unit that is restarted is not reloaded, too.
    pub fn outdated(&self, shown: &Shown, reaction: UnitReaction) -> Vec<String> {
        let is_asked = |unit: &str, holding: &Holding, reaction: UnitReaction| {
            holding.stamps.iter().any(|(name, stamp)| {
                let now = shown.find(unit, name);
                now.is_some_and(|now| now.stamp != *stamp && now.terms.on_change == reaction)
            })
        };
        let asked = self.units.iter().filter(|(unit, holding)| {
            let restarts = is_asked(unit, holding, UnitReaction::Restart);
            is_asked(unit, holding, reaction) && (reaction == UnitReaction::Restart || !restarts)
        });
        asked.map(|(unit, _)| unit.clone()).collect()
    }

    /// These units were told. Whoever was restarted has asked again by now; whoever did not ask does not run, and asks when it is started. A unit
    /// that was reloaded keeps the value that it has until its next start.
    pub fn told(&mut self, units: &[String], shown: &Shown, reaction: UnitReaction) {
        for unit in units {
            let Some(holding) = self.units.get_mut(unit) else { continue };
            holding.failures = 0;
            holding.stamps.retain(|name, stamp| {
                let newest = shown.find(unit, name).filter(|now| now.stamp != *stamp);
                match (newest, reaction) {
                    (Some(_), UnitReaction::Restart) => return false,
                    (Some(now), UnitReaction::Reload) if now.terms.on_change == UnitReaction::Reload => {
                        *stamp = now.stamp;
                    }
                    (Some(_) | None, _) => {}
                }
                true
            });
        }
        self.units.retain(|_, holding| !holding.stamps.is_empty());
        self.is_written = false;
    }

    /// This unit could not be told, by a command for it alone.
    pub fn not_told(&mut self, unit: &str) {
        let Some(holding) = self.units.get_mut(unit) else { return };
        holding.failures += 1;
        if holding.failures >= TRIES {
            self.units.remove(unit);
            self.is_written = false;
        }
    }

    /// The units that hold a credential of this name, with whether it is what is shown.
    pub fn holders(&self, name: &str, shown: &Shown) -> BTreeMap<String, bool> {
        let held = |(unit, holding): (&String, &Holding)| {
            let stamp = holding.stamps.get(name)?;
            Some((unit.clone(), shown.find(unit, name).is_some_and(|now| now.stamp == *stamp)))
        };
        self.units.iter().filter_map(held).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::credential::RenderedCredential;
    use crate::names::Generation;
    use crate::plan::Terms;
    use crate::secret::Secret;

    const RESTART: UnitReaction = UnitReaction::Restart;
    const RELOAD: UnitReaction = UnitReaction::Reload;

    /// `db` and `cert` of every service, with these values.
    fn shown(held: &Held, db: &str, cert: &str) -> Shown {
        let rendered = [("db", db, RESTART), ("cert", cert, RELOAD)].map(|(name, value, on_change)| {
            let (name, units) = (name.to_owned(), vec!["*.service".to_owned()]);
            let terms = Terms { name, units, on_change, secrets: Vec::new() };
            let (contents, digest) = (Secret::new(value.as_bytes()), held.key().digest(value.as_bytes()));
            RenderedCredential { terms: Arc::new(terms), contents, digest }
        });
        Shown::new(Generation::FIRST, &rendered, held.key())
    }

    fn give(held: &mut Held, unit: &str, name: &str, from: &Shown, now: &Shown) -> Option<UnitReaction> {
        let wanted = Wanted { unit: unit.to_owned(), name: name.to_owned() };
        let stamp = from.find(unit, name).unwrap().stamp;
        held.given(Given { wanted, stamp }, now)
    }

    fn names(units: &[&str]) -> Vec<String> {
        units.iter().map(|unit| (*unit).to_owned()).collect()
    }

    #[test]
    fn who_holds_a_former_value_is_told_once_and_restarted_rather_than_reloaded() {
        let mut held = Held::new([7; 32]);
        let first = shown(&held, "one", "one");
        for (unit, name) in
            [("a.service", "db"), ("a.service", "cert"), ("b.service", "cert"), ("c.service", "db")]
        {
            assert_eq!(give(&mut held, unit, name, &first, &first), None);
        }
        assert!(held.outdated(&first, RESTART).is_empty() && held.outdated(&first, RELOAD).is_empty());
        let second = shown(&held, "two", "two");
        assert_eq!(held.outdated(&second, RESTART), ["a.service", "c.service"]);
        assert_eq!(held.outdated(&second, RELOAD), ["b.service"], "the other one is restarted");
        // One of them asks again, and the other does not run.
        give(&mut held, "a.service", "db", &second, &second);
        give(&mut held, "a.service", "cert", &second, &second);
        held.told(&names(&["a.service", "c.service"]), &second, RESTART);
        held.told(&names(&["b.service"]), &second, RELOAD);
        assert_eq!(held.units.keys().map(String::as_str).collect::<Vec<_>>(), ["a.service", "b.service"]);
        assert!(held.outdated(&second, RESTART).is_empty() && held.outdated(&second, RELOAD).is_empty());
        let third = shown(&held, "two", "three");
        assert_eq!(held.outdated(&third, RELOAD), ["a.service", "b.service"]);
        assert_eq!(
            held.holders("cert", &third),
            [("a.service".to_owned(), false), ("b.service".to_owned(), false)].into()
        );
    }

    /// systemd was answered in the moment before a new value was shown.
    #[test]
    fn who_got_a_former_value_a_moment_ago_is_told() {
        let mut held = Held::new([7; 32]);
        let (first, second) = (shown(&held, "one", "one"), shown(&held, "two", "one"));
        assert_eq!(give(&mut held, "a.service", "db", &first, &second), Some(RESTART));
        assert_eq!(give(&mut held, "a.service", "cert", &first, &second), None);
    }

    #[test]
    fn a_unit_that_cannot_be_told_again_and_again_is_forgotten() {
        let mut held = Held::new([7; 32]);
        let first = shown(&held, "one", "one");
        give(&mut held, "a.service", "db", &first, &first);
        for _ in 1..TRIES {
            held.not_told("a.service");
        }
        assert_eq!(held.units.len(), 1);
        held.not_told("a.service");
        assert!(held.units.is_empty());
    }

    #[test]
    fn an_instance_for_each_connection_drives_out_no_other_unit_and_has_an_end() {
        let mut held = Held::new([7; 32]);
        let first = shown(&held, "one", "one");
        give(&mut held, "a.service", "db", &first, &first);
        give(&mut held, "b@1.service", "db", &first, &first);
        for number in 0..2 * MOST {
            give(&mut held, &format!("shop@{number}.service"), "db", &first, &first);
        }
        assert_eq!(held.units.len(), MOST);
        let newest = format!("shop@{}.service", 2 * MOST - 1);
        for (unit, is_known) in
            [("a.service", true), ("b@1.service", true), (newest.as_str(), true), ("shop@0.service", false)]
        {
            assert_eq!(held.units.contains_key(unit), is_known, "{unit}");
        }
        // Who is known already drives out nobody.
        give(&mut held, "a.service", "cert", &first, &first);
        assert_eq!(held.units.len(), MOST);
    }

    #[test]
    fn a_later_run_knows_who_holds_what_and_no_value_is_written() {
        let mut held = Held::new([7; 32]);
        assert!(held.write().is_none(), "there is nothing to keep");
        let first = shown(&held, "one", "cert-of-one");
        give(&mut held, "a.service", "cert", &first, &first);
        let written = held.write().unwrap();
        assert!(held.write().is_none() && !String::from_utf8_lossy(&written).contains("cert-of-one"));
        let later = Held::read(&written).unwrap();
        let (same, other) = (shown(&later, "two", "cert-of-one"), shown(&later, "two", "other"));
        assert!(later.outdated(&same, RELOAD).is_empty());
        assert_eq!(later.outdated(&other, RELOAD), ["a.service"]);
        assert_eq!(later.holders("cert", &same), [("a.service".to_owned(), true)].into());
        for odd in ["", "{}", "[]", r#"{"seed":[1],"units":{}}"#] {
            assert!(Held::read(odd.as_bytes()).is_none(), "{odd}");
        }
    }
}
