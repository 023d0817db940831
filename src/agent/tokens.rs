//! The tokens of sources that others are to have: which of them stands where, and which has to be written.
//!
//! A token is no part of a release: it is written as soon as there is one, whatever holds up a rollout, and nobody takes it back. Only the
//! first release waits for it, since whoever starts then may look for the file at once.
//!
//! *Invariant:* pure. Of each file at most one write is under way. A file has the token of the keeper that holds, and no other.

mod process;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::reloading::Reloading;
use super::{Agent, Effect};
use crate::fact::{Fact, SourceFact};
use crate::names::{Edition, SourceName};
use crate::ordered::Order as _;
use crate::plan::{Attributes, Plan, PlannedToken};
use crate::render::{Release, RenderedFile};
use crate::secret::Secret;
use crate::session::keeper::Shown;
use crate::session::sink::{Audience, pause};
use process::ProcessToken;

/// During a reload a source may have two keepers, each with a token.
const KEEPERS: usize = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Tokens {
    files: BTreeMap<PathBuf, TokenFile>,
    process: Option<ProcessToken>,
    /// The first release, which waits for them.
    waiting: Option<Arc<Release>>,
}

/// The newest token of each keeper of a source.
#[derive(Debug, Default)]
struct Newest(BTreeMap<Edition, Shown>);

impl Newest {
    fn note(&mut self, shown: Shown) {
        self.0.insert(shown.edition, shown);
        while self.0.len() > KEEPERS {
            self.0.pop_first();
        }
    }

    /// That of the keeper of this edition.
    fn of(&self, edition: Edition) -> Option<&Shown> {
        self.0.get(&edition)
    }
}

/// The edition of the keeper of this source that holds.
fn holder(reloading: &Reloading, source: &SourceName) -> Edition {
    reloading.edition_of(source).unwrap_or_default()
}

/// One file with a token.
#[derive(Debug)]
struct TokenFile {
    source: SourceName,
    attributes: Attributes,
    newest: Newest,
    /// What is being written.
    writing: Option<Secret<str>>,
    written: Option<Secret<str>>,
    again_at: Option<Instant>,
    /// How many writes failed in a row.
    failures: u32,
}

impl TokenFile {
    fn new(planned: &PlannedToken) -> Self {
        Self {
            source: planned.source.clone(),
            attributes: planned.attributes,
            newest: Newest::default(),
            writing: None,
            written: None,
            again_at: None,
            failures: 0,
        }
    }

    /// What has to be written now, if the keeper of this edition holds.
    fn due(&mut self, edition: Edition, now: Instant) -> Option<Secret<str>> {
        let newest = &self.newest.of(edition)?.text;
        let is_written = self.written.as_ref().is_some_and(|written| written.expose() == newest.expose());
        if is_written || self.writing.is_some() || self.again_at.is_some_and(|at| now < at) {
            return None;
        }
        self.again_at = None;
        self.writing = Some(newest.clone());
        self.writing.clone()
    }
}

impl Tokens {
    pub(super) fn new(plan: &Plan) -> Self {
        Self::of(&plan.tokens, plan.process_token.as_ref().map(ProcessToken::new))
    }

    fn of(planned: &[PlannedToken], process: Option<ProcessToken>) -> Self {
        let files = planned.iter().map(|token| (token.path.clone(), TokenFile::new(token)));
        Self { files: files.ordered(), process, waiting: None }
    }

    /// A keeper has a token for somebody.
    pub(super) fn learn(&mut self, shown: Shown) {
        let newest = match &shown.audience {
            Audience::File(path) => self.files.get_mut(path).map(|file| &mut file.newest),
            Audience::Process => self.process.as_mut().map(|process| &mut process.newest),
        };
        if let Some(newest) = newest {
            newest.note(shown);
        }
    }

    /// The release, unless it has to wait for a token.
    pub(super) fn gate(&mut self, release: Arc<Release>) -> Option<Arc<Release>> {
        if self.missing().next().is_none() {
            return Some(release);
        }
        self.waiting = Some(release);
        None
    }

    /// The release that waits is none any more.
    pub(super) fn drop_waiting(&mut self) {
        self.waiting = None;
    }

    /// What has no token yet, in words.
    pub(super) fn missing(&self) -> impl Iterator<Item = String> {
        let files = self.files.iter().filter(|(_, file)| file.written.is_none());
        let files = files.map(|(path, file)| {
            format!("the token of the source {} is not in {} yet", file.source, path.display())
        });
        let process = self.process.iter().filter(|process| process.newest.0.is_empty());
        let process = process.map(|process| format!("the source {} has no token yet", process.source));
        files.chain(process)
    }

    /// The sources whose token is missing.
    pub(super) fn sources_missing(&self) -> impl Iterator<Item = &SourceName> {
        let files = self.files.values().filter(|file| file.written.is_none()).map(|file| &file.source);
        let process = self.process.iter().filter(|process| process.newest.0.is_empty());
        files.chain(process.map(|process| &process.source))
    }

    /// What is in the files and in the environment of the process, or may be: for who looks for secrets.
    pub(super) fn plaintexts(&self) -> impl Iterator<Item = &[u8]> {
        let of_process = self.process.iter();
        let newest = self.files.values().map(|file| &file.newest);
        let newest = newest.chain(of_process.clone().map(|process| &process.newest));
        let shown = newest.flat_map(|newest| newest.0.values()).flat_map(|shown| [&shown.text, &shown.token]);
        let written = self.files.values().filter_map(|file| file.written.as_ref());
        let given = of_process.filter_map(|process| process.given.as_ref());
        shown.chain(written).chain(given).map(|text| text.expose().as_bytes())
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.files.values().filter_map(|file| file.again_at).min()
    }

    /// The write of this file is over; returns whose token it is, and the pause after a failure.
    fn written(&mut self, path: &Path, is_done: bool, now: Instant) -> Option<(SourceName, Duration)> {
        let file = self.files.get_mut(path)?;
        let writing = file.writing.take()?;
        if is_done {
            (file.written, file.failures) = (Some(writing), 0);
            return Some((file.source.clone(), Duration::ZERO));
        }
        file.failures = file.failures.saturating_add(1);
        let again_in = pause(file.failures);
        file.again_at = Some(now + again_in);
        Some((file.source.clone(), again_in))
    }
}

impl Agent {
    /// Writes the tokens that are due, and goes on with what waited for one.
    pub(super) fn sink(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for (path, file) in &mut self.tokens.files {
            let Some(text) = file.due(holder(&self.reloading, &file.source), now) else { continue };
            let contents = text.into_bytes();
            let digest = self.key.digest(contents.expose());
            let attributes = file.attributes;
            effects.push(Effect::Sink(RenderedFile { path: path.clone(), contents, digest, attributes }));
        }
        self.renew_token_of_process(now, effects);
        if self.tokens.waiting.is_some() && self.tokens.missing().next().is_none() {
            effects.extend(self.tokens.waiting.take().map(Effect::Stage));
        }
    }

    /// A token was written, or was not.
    pub(super) fn sunk(
        &mut self,
        path: &Path,
        result: Result<(), String>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let Some((source, again_in)) = self.tokens.written(path, result.is_ok(), now) else { return };
        let file = path.to_owned();
        let fact = match result {
            Ok(()) => SourceFact::TokenWritten { file },
            Err(error) => SourceFact::TokenNotWritten { file, error, again_in },
        };
        effects.push(Effect::Report(Fact::Source(source, fact)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;
    use crate::plan::FileGroup;

    const PATH: &str = "/run/app/token";

    fn tokens() -> Tokens {
        let attributes = Attributes { mode: Mode::new(0o400), owner: 0, group: FileGroup::Inherited };
        let (source, path) = (SourceName::new("vault"), PATH.into());
        Tokens::of(&[PlannedToken { source, path, attributes, directory: None, wrap_ttl: None }], None)
    }

    pub(super) fn shown(edition: Edition, text: &str) -> Shown {
        Shown {
            source: SourceName::new("vault"),
            edition,
            audience: Audience::File(PATH.into()),
            text: Secret::new(text),
            token: Secret::new(text),
        }
    }

    fn due(tokens: &mut Tokens, edition: Edition, now: Instant) -> Option<String> {
        let file = tokens.files.get_mut(Path::new(PATH)).unwrap();
        file.due(edition, now).map(|text| text.expose().to_owned())
    }

    #[test]
    fn a_file_follows_the_keeper_that_holds_and_one_write_at_a_time() {
        let (mut tokens, now) = (tokens(), Instant::now());
        let (first, second) = (Edition::default(), Edition::default().next());
        assert_eq!(tokens.missing().count(), 1);
        assert_eq!(due(&mut tokens, first, now), None);
        tokens.learn(shown(first, "a"));
        assert_eq!(due(&mut tokens, first, now).as_deref(), Some("a"));
        tokens.learn(shown(first, "b"));
        assert_eq!(due(&mut tokens, first, now), None, "the first is being written");
        tokens.written(Path::new(PATH), true, now);
        assert_eq!(tokens.missing().count(), 0);
        assert_eq!(due(&mut tokens, first, now).as_deref(), Some("b"));
        tokens.written(Path::new(PATH), true, now);
        assert_eq!(due(&mut tokens, first, now), None, "it stands there");
        // A reload tries another keeper, and takes it back.
        tokens.learn(shown(second, "c"));
        assert_eq!(due(&mut tokens, first, now), None);
        assert_eq!(due(&mut tokens, second, now).as_deref(), Some("c"));
        tokens.written(Path::new(PATH), true, now);
        assert_eq!(due(&mut tokens, first, now).as_deref(), Some("b"));
    }

    #[test]
    fn what_was_not_written_is_written_after_a_pause() {
        let (mut tokens, now) = (tokens(), Instant::now());
        let edition = Edition::default();
        tokens.learn(shown(edition, "a"));
        assert!(due(&mut tokens, edition, now).is_some());
        tokens.written(Path::new(PATH), false, now);
        assert_eq!(tokens.deadline(), Some(now + pause(1)));
        assert_eq!(due(&mut tokens, edition, now), None);
        assert_eq!(due(&mut tokens, edition, now + pause(1)).as_deref(), Some("a"));
        assert_eq!(tokens.deadline(), None);
        assert_eq!(tokens.missing().count(), 1);
    }
}
