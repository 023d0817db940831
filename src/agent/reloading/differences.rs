//! What differs, in words.
//!
//! *Invariant:* pure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Setup, Summary};
use crate::names::SecretName;
use crate::plan::diff::{Changes, Diff};

/// What a reload cannot do: every reason.
pub(super) fn refusals(diff: &Diff, setup: &Setup, confined: Option<&BTreeSet<PathBuf>>) -> Vec<String> {
    let fixed = diff.fixed.iter().map(|key| format!("{key}: cannot change while squire runs; start it anew"));
    let places = setup.places();
    let outside = places.iter().filter(|place| confined.is_some_and(|confined| !is_within(place, confined)));
    let outside = outside.map(|place| {
        format!(
            "{}: squire has not been able to write there since its start (agent.confine); start it anew",
            place.display()
        )
    });
    fixed.chain(outside).collect()
}

fn is_within(place: &Path, confined: &BTreeSet<PathBuf>) -> bool {
    confined.iter().any(|allowed| place.starts_with(allowed))
}

/// What whoever asked is told while a reload waits.
pub(in crate::agent) fn awaited(missing: &[SecretName], errors: &[String]) -> Vec<String> {
    if missing.is_empty() {
        let why = "the new configuration waits until a rollout may begin: for one to end, for `squire release`, or for rollout.window";
        return vec![format!("{why}; the one before holds meanwhile")];
    }
    let names = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let waits = format!("the new configuration waits for {names}; the one before holds meanwhile");
    errors.iter().cloned().chain([waits]).collect()
}

/// What a reload changed.
pub(super) fn summary(diff: &Diff) -> Summary {
    let mut summary = Summary::default();
    summary.add("source", &diff.sources, ToString::to_string);
    summary.add("secret", &diff.secrets, ToString::to_string);
    summary.add("file", &diff.files, |path| path.display().to_string());
    summary.add("variable", &diff.variables, ToString::to_string);
    summary.changed.extend(diff.settings.iter().map(ToString::to_string));
    summary
}

impl Summary {
    fn add<T>(&mut self, kind: &str, changes: &Changes<T>, name: impl Fn(&T) -> String) {
        let Changes { added, removed, changed } = changes;
        let words = [(&mut self.added, added), (&mut self.removed, removed), (&mut self.changed, changed)];
        for (words, names) in words {
            words.extend(names.iter().map(|of| format!("{kind} {}", name(of))));
        }
    }
}
