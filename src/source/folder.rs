//! A folder as one secret: how its entries are asked for, and how they are put together.
//!
//! *Invariant:* a folder is whole, or a fault: only what is gone by the time it is read is left out. All its entries together weigh no more
//! than one secret may.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use super::{Fault, Fetched, Life};
use crate::config::Listing;
use crate::plan::Want;
use crate::secret::meta::ENTRIES;
use crate::secret::{Meta, Packed};
use crate::size;

/// The most entries of a folder, and the most folders in it: each entry is a question, and a folder is read whole each time.
pub const MOST_ENTRIES: usize = 1_000;

/// The most folders within each other.
pub const DEEPEST: usize = 16;

/// Questions about one folder at once, beside those about other secrets.
pub(super) const AT_ONCE: usize = 4;

/// All of a folder has to come within this time: each of its entries may take long, and what changes meanwhile is not seen.
pub(super) const WHOLE_WITHIN: Duration = Duration::from_mins(2);

/// Reads all of a folder, or gives up.
///
/// # Errors
/// Those of the reading; [`Fault::Failing`] if it takes longer than this.
pub(super) async fn in_time<T>(
    want: &Want,
    within: Duration,
    reading: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(within, reading).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Fault::Failing {
            why: format!(
                "{}: not all of the folder came within {} s: list a folder in it",
                want.path,
                within.as_secs()
            ),
        }),
    }
}

/// What is in a folder, as far as it came.
#[derive(Debug)]
pub(super) struct Folder {
    path: String,
    /// What all may weigh together, in bytes.
    max_size: usize,
    weight: usize,
    entries: BTreeMap<String, Packed>,
    /// What is known of each.
    metas: BTreeMap<String, Packed>,
    /// The longest wait before the next look, if an entry says one.
    within: Option<Duration>,
}

impl Folder {
    /// Nothing is in it yet.
    pub(super) fn new(want: &Want) -> Mutex<Self> {
        let (path, max_size) = (want.path.clone(), want.max_size);
        Mutex::new(Self {
            path,
            max_size,
            weight: 0,
            entries: BTreeMap::new(),
            metas: BTreeMap::new(),
            within: None,
        })
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// [`Fault::Malformed`] if all of them weigh more than they may.
    pub(super) fn add(&mut self, name: String, entry: Fetched) -> Result<(), Fault> {
        // Text and numbers can always be written.
        let json = serde_json::to_vec(&entry.fields).unwrap_or_default();
        let more = [name.len(), size::weight(&json), entry.meta.size()];
        self.weight = more.into_iter().fold(self.weight, usize::saturating_add);
        if self.weight > self.max_size {
            let why = format!("all that is in {} {}", self.path, size::too_large(self.max_size));
            return Err(Fault::Malformed { why });
        }
        self.look_within(match entry.life {
            Life::Versioned { within } => within,
            Life::Rotating { ttl } | Life::Expiring { ttl, .. } | Life::Renewable { ttl, .. } => Some(ttl),
        });
        self.metas.insert(name.clone(), entry.meta.packed().clone());
        self.entries.insert(name, entry.fields);
        Ok(())
    }

    /// Something in it may change by then.
    pub(super) fn look_within(&mut self, within: Option<Duration>) {
        self.within = self.within.into_iter().chain(within).min();
    }

    /// All of it as one secret. When it was written is not known: what was removed left no date.
    pub(super) fn whole(&mut self) -> Fetched {
        let fields = Packed::of_all(&std::mem::take(&mut self.entries));
        let meta = Meta::of_map(ENTRIES, Packed::of_all(&std::mem::take(&mut self.metas)));
        Fetched { fields, life: Life::Versioned { within: self.within }, written: None, meta }
    }
}

impl Fetched {
    /// An entry that stays until somebody writes another.
    pub(super) fn stays(fields: Packed, meta: Meta) -> Self {
        Self { fields, life: Life::Versioned { within: None }, written: None, meta }
    }
}

/// The folder, to add to.
pub(super) fn lock(folder: &Mutex<Folder>) -> MutexGuard<'_, Folder> {
    folder.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The names that were found in a folder, by the paths from it on.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Secrets.
    pub(super) secrets: BTreeSet<String>,
    /// Folders that are still to be listed, with a slash at the end.
    pub(super) folders: Vec<String>,
    /// How many there were of both.
    taken: usize,
}

impl Names {
    /// Takes a name from the folder on: one with a slash at its end is a folder's. What has a slash counts in a tree only.
    ///
    /// # Errors
    /// [`Fault::Malformed`] for a name that would lead elsewhere, and for one too many.
    pub(super) fn take(&mut self, folder: &str, name: &str, list: Listing) -> Result<(), Fault> {
        let wrong = |why: String| Err(Fault::Malformed { why });
        if name.is_empty() || (list == Listing::Level && name.contains('/')) {
            return Ok(());
        }
        if name.ends_with('/') {
            self.folders.push(name.to_owned());
        } else {
            self.secrets.insert(name.to_owned());
        }
        if name.split('/').any(|part| matches!(part, "." | "..")) {
            return wrong(format!("{folder}: it has an entry whose name is a way to another folder"));
        }
        self.taken += 1;
        if self.taken > MOST_ENTRIES {
            return wrong(format!("{folder} has more than {MOST_ENTRIES} entries: list a folder in it"));
        }
        Ok(())
    }
}

/// There are folders within folders beyond the limit.
pub(super) fn too_deep(folder: &str) -> Fault {
    Fault::Malformed {
        why: format!("{folder} has more than {DEEPEST} folders within each other: list one of them"),
    }
}

/// Asks about each of these, a few at a time, and returns the answers in the order in which they came. The first fault ends it.
pub(super) async fn each<T, R, F: Future<Output = Result<R, Fault>>>(
    items: Vec<T>,
    at_once: usize,
    ask: impl Fn(T) -> F,
) -> Result<Vec<R>, Fault> {
    let mut waiting = items.into_iter();
    let mut asked: Vec<Pin<Box<F>>> =
        waiting.by_ref().take(at_once).map(|item| Box::pin(ask(item))).collect();
    let mut answers = Vec::new();
    poll_fn(move |context| {
        let mut index = 0;
        while let Some(question) = asked.get_mut(index) {
            match question.as_mut().poll(context) {
                Poll::Pending => index += 1,
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                Poll::Ready(Ok(answer)) => {
                    answers.push(answer);
                    match waiting.next() {
                        Some(item) => *question = Box::pin(ask(item)),
                        None => drop(asked.swap_remove(index)),
                    }
                }
            }
        }
        if asked.is_empty() { Poll::Ready(Ok(std::mem::take(&mut answers))) } else { Poll::Pending }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;
    use crate::names::{SecretName, SourceName};
    use crate::secret::Fields;

    fn want(max_size: usize) -> Want {
        Want {
            name: SecretName::new("team"),
            source: SourceName::new("vault"),
            path: "secret/team".to_owned(),
            params: None,
            version: None,
            kind: None,
            list: Some(Listing::Tree),
            tags: BTreeMap::new(),
            refresh: Duration::from_mins(5),
            max_size,
        }
    }

    fn entry(value: &str, within: Option<u64>) -> Fetched {
        let fields = Packed::of(&Fields::from_iter([("password".to_owned(), value.into())]));
        let within = within.map(Duration::from_secs);
        let meta = Meta::of([("version", 2.into())]);
        Fetched { fields, life: Life::Versioned { within }, written: None, meta }
    }

    #[test]
    fn entries_are_a_map_by_their_names_and_the_next_look_is_the_soonest() {
        let folder = Folder::new(&want(size::USUAL));
        for (name, within) in [("b", None), ("a/x", Some(30)), ("c", Some(10))] {
            lock(&folder).add(name.to_owned(), entry(name, within)).unwrap();
        }
        let Fetched { fields, life, written, meta } = lock(&folder).whole();
        let known = json!({"entries": {"a/x": {"version": 2}, "b": {"version": 2}, "c": {"version": 2}}});
        assert_eq!(json!(meta.expose()), known);
        let expected = json!({"a/x": {"password": "a/x"}, "b": {"password": "b"}, "c": {"password": "c"}});
        assert_eq!((json!(fields), written), (expected, None));
        assert_eq!(life, Life::Versioned { within: Some(Duration::from_secs(10)) });
        let empty = lock(&Folder::new(&want(0))).whole();
        assert_eq!((json!(empty.fields), empty.life), (json!({}), Life::Versioned { within: None }));
    }

    #[test]
    fn all_together_may_weigh_what_one_secret_may() {
        let folder = Folder::new(&want(1000));
        let mut added = 0;
        let refused = loop {
            match lock(&folder).add(format!("entry-{added}"), entry("x", None)) {
                Ok(()) => added += 1,
                Err(fault) => break fault,
            }
        };
        // Each weighs 111: three times 32 bytes for its JSON, its name, and what is known of it.
        assert_eq!(added, 9);
        let why = "unexpected answer: all that is in secret/team is larger than 1000 bytes";
        assert!(refused.to_string().starts_with(why), "{refused}");
    }

    #[test]
    fn names_are_those_of_the_folder_or_of_all_below_it() {
        let found = |list| {
            let mut names = Names::default();
            for name in ["b", "a", "deeper/", "", "deeper", "other/x"] {
                names.take("x", name, list).unwrap();
            }
            (names.secrets.into_iter().collect::<Vec<_>>(), names.folders)
        };
        let names = ["a", "b", "deeper"].map(str::to_owned).to_vec();
        assert_eq!(found(Listing::Level), (names.clone(), Vec::new()));
        let deeper = [names, vec!["other/x".to_owned()]].concat();
        assert_eq!(found(Listing::Tree), (deeper, vec!["deeper/".to_owned()]));
        for bad in ["..", "a/../b", "./x", "../"] {
            assert!(Names::default().take("x", bad, Listing::Tree).is_err(), "{bad}");
        }
        let mut names = Names::default();
        let mut take = |number: usize| names.take("x", &number.to_string(), Listing::Level);
        assert!((0..MOST_ENTRIES).all(|number| take(number).is_ok()));
        let why = "unexpected answer: x has more than 1000 entries: list a folder in it";
        assert_eq!(take(MOST_ENTRIES).unwrap_err().to_string(), why);
    }

    #[tokio::test]
    async fn a_folder_that_does_not_come_whole_in_time_is_a_fault() {
        let never = std::future::pending::<Result<(), Fault>>();
        let fault = in_time(&want(0), Duration::from_millis(1), never).await.unwrap_err();
        let why = "secret/team: not all of the folder came within 0 s: list a folder in it";
        assert_eq!(fault, Fault::Failing { why: why.to_owned() });
        let dead = async { Err::<(), _>(Fault::Dead) };
        assert_eq!(in_time(&want(0), WHOLE_WITHIN, dead).await, Err(Fault::Dead));
    }

    #[tokio::test]
    async fn a_few_are_asked_at_once_and_each_is_answered_unless_one_fails() {
        let (out, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (out, most) = (&out, &most);
        let ask = |number: u64| async move {
            most.fetch_max(out.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            for _ in 0..number % 5 {
                tokio::task::yield_now().await;
            }
            out.fetch_sub(1, Ordering::Relaxed);
            if number == 77 { Err(Fault::Dead) } else { Ok(number) }
        };
        let mut answers = each((0..50).collect(), AT_ONCE, ask).await.unwrap();
        answers.sort_unstable();
        assert!(answers.into_iter().eq(0..50));
        assert_eq!((out.load(Ordering::Relaxed), most.load(Ordering::Relaxed)), (0, AT_ONCE));
        assert_eq!(each((0..100).collect(), AT_ONCE, ask).await, Err(Fault::Dead));
        assert_eq!(each(Vec::new(), AT_ONCE, ask).await, Ok(Vec::new()));
    }
}
