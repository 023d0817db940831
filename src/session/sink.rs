//! One place where the token of a session is shown to others: when it has to be written, and when it has to be wrapped anew.
//!
//! A wrapping token is good for one use and a while, so it is made anew before that while is over, whether or not somebody used it: nobody
//! tells.
//!
//! *Invariant:* pure. A token is shown once, or, wrapped, again only after most of the time that its wrapping lives. A wrapping that fails
//! is tried again no sooner than after a pause.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::lease;
use crate::names::SourceName;
use crate::plan::Plan;
use crate::secret::Secret;

/// From a wrapping, or a write, that failed to the next try.
const AGAIN_IN: Duration = Duration::from_secs(5);

/// So many tries come that soon; then each pause is twice the one before, up to a minute.
const SOON: u32 = 3;

/// From the last of so many failures in a row to the next try.
pub fn pause(failures: u32) -> Duration {
    let doubled = failures.saturating_sub(SOON).min(8);
    (AGAIN_IN * (1 << doubled)).min(lease::LONGEST_PAUSE)
}

/// Who gets the token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Audience {
    /// Whoever may read this file.
    File(PathBuf),
    /// The process, in its environment.
    Process,
}

/// One place to show the token.
#[derive(Clone, Debug)]
pub struct Sink {
    /// Who gets it there.
    pub audience: Audience,
    wrap_ttl: Option<Duration>,
    /// What was shown last, or is being wrapped.
    shown: Option<Secret<str>>,
    is_asking: bool,
    again_at: Option<Instant>,
    /// How many wrappings failed in a row.
    failures: u32,
}

/// What has to be done.
#[derive(Clone, Debug)]
pub enum Showing {
    /// Show this token.
    Plain(Secret<str>),
    /// Ask the server to wrap it for this long; then call [`Sink::wrapped`].
    Wrapped(Duration),
}

/// Who is to have the token of each source.
pub fn sinks(plan: &Plan) -> BTreeMap<SourceName, Vec<Sink>> {
    let mut sinks: BTreeMap<_, Vec<_>> = BTreeMap::new();
    if let Some(token) = &plan.process_token {
        sinks.insert(token.source.clone(), vec![Sink::new(Audience::Process, None)]);
    }
    for token in &plan.tokens {
        let sink = Sink::new(Audience::File(token.path.clone()), token.wrap_ttl);
        sinks.entry(token.source.clone()).or_default().push(sink);
    }
    sinks
}

impl Sink {
    /// Nothing was shown yet.
    pub fn new(audience: Audience, wrap_ttl: Option<Duration>) -> Self {
        Self { audience, wrap_ttl, shown: None, is_asking: false, again_at: None, failures: 0 }
    }

    /// What is due with the token that the session holds now.
    pub fn look(&mut self, held: Option<&Secret<str>>, now: Instant) -> Option<Showing> {
        let held = held.filter(|_| !self.is_asking)?;
        let is_new = self.shown.as_ref().is_none_or(|shown| shown.expose() != held.expose());
        let is_due = self.again_at.map_or(is_new, |at| at <= now);
        // A wrapping of another token waits for nothing but a pause after a failure, when nothing is shown.
        let is_successor = is_new && self.shown.is_some();
        if !is_due && !is_successor {
            return None;
        }
        self.again_at = None;
        self.shown = Some(held.clone());
        match self.wrap_ttl {
            None => Some(Showing::Plain(held.clone())),
            Some(ttl) => {
                self.is_asking = true;
                Some(Showing::Wrapped(ttl))
            }
        }
    }

    /// The server wrapped it, or did not; it was asked at `sent`. Returns the pause after a failure.
    pub fn wrapped(&mut self, is_wrapped: bool, sent: Instant, now: Instant) -> Option<Duration> {
        self.is_asking = false;
        if is_wrapped {
            self.failures = 0;
            self.again_at = self.wrap_ttl.map(|ttl| (sent + ttl * 2 / 3).max(now + AGAIN_IN));
            return None;
        }
        self.shown = None;
        self.failures = self.failures.saturating_add(1);
        let pause = pause(self.failures);
        self.again_at = Some(now + pause);
        Some(pause)
    }

    /// How many wrappings failed in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// When to look again.
    pub fn deadline(&self) -> Option<Instant> {
        self.again_at.filter(|_| !self.is_asking)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str) -> Secret<str> {
        Secret::new(name)
    }

    fn said(showing: Option<Showing>) -> String {
        match showing {
            None => String::new(),
            Some(Showing::Plain(token)) => format!("show {}", token.expose()),
            Some(Showing::Wrapped(ttl)) => format!("wrap for {ttl:?}"),
        }
    }

    #[test]
    fn a_token_is_shown_once_and_its_successor_again() {
        let (mut sink, now) = (Sink::new(Audience::Process, None), Instant::now());
        for (held, expected) in [
            (None, ""),
            (Some("a"), "show a"),
            (Some("a"), ""),
            (None, ""),
            (Some("a"), ""),
            (Some("b"), "show b"),
        ] {
            assert_eq!(said(sink.look(held.map(token).as_ref(), now)), expected, "{held:?}");
        }
        assert_eq!(sink.deadline(), None);
    }

    #[test]
    fn a_wrapping_is_made_anew_before_its_end_and_for_a_new_token_at_once() {
        let (ttl, now) = (Duration::from_mins(5), Instant::now());
        let mut sink = Sink::new(Audience::Process, Some(ttl));
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(said(sink.look(Some(&token("a")), now)), "wrap for 300s");
        assert_eq!(said(sink.look(Some(&token("a")), now)), "", "it is asked");
        assert_eq!(sink.deadline(), None);
        assert_eq!(sink.wrapped(true, now, after(1)), None);
        assert_eq!(sink.deadline(), Some(after(200)));
        assert_eq!(said(sink.look(Some(&token("a")), after(199))), "");
        assert_eq!(said(sink.look(Some(&token("a")), after(200))), "wrap for 300s");
        sink.wrapped(true, after(200), after(200));
        assert_eq!(said(sink.look(Some(&token("b")), after(201))), "wrap for 300s");
        assert_eq!(said(sink.look(Some(&token("c")), after(202))), "", "one question at a time");
        sink.wrapped(true, after(201), after(202));
        assert_eq!(said(sink.look(Some(&token("c")), after(203))), "wrap for 300s");
    }

    #[test]
    fn a_wrapping_that_fails_is_tried_again_after_a_pause() {
        let now = Instant::now();
        let mut sink = Sink::new(Audience::Process, Some(Duration::from_mins(5)));
        sink.look(Some(&token("a")), now);
        assert_eq!(sink.wrapped(false, now, now), Some(AGAIN_IN));
        assert_eq!(said(sink.look(Some(&token("a")), now)), "");
        assert_eq!(said(sink.look(Some(&token("b")), now)), "", "not even for another one");
        assert_eq!(sink.deadline(), Some(now + AGAIN_IN));
        assert_eq!(said(sink.look(Some(&token("a")), now + AGAIN_IN)), "wrap for 300s");
        assert_eq!((sink.wrapped(false, now, now), sink.failures()), (Some(AGAIN_IN), 2));
    }

    #[test]
    fn who_refuses_for_long_is_asked_less_often() {
        let pauses: Vec<_> = (1..9).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(pauses, [5, 5, 5, 10, 20, 40, 60, 60]);
        assert_eq!(pause(u32::MAX), lease::LONGEST_PAUSE);
    }
}
