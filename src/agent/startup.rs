//! Until the first release is live: how long it is waited for, what is said meanwhile, and when waiting is of no use.
//!
//! *Invariant:* pure. After [`Startup::is_over`] nothing is said and nothing ends because of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::names::{SecretName, SourceName};
use crate::session::{Lack, Outlook, Update};

/// A start that takes longer than this says what it waits for.
const QUIET_FOR: Duration = Duration::from_secs(5);

/// Where no time is set, nothing that happens later than this is waited for by whoever ends early.
const FORESIGHT: Duration = Duration::from_mins(1);

/// What holds for the time until the first release is live.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long the first release may take.
    pub timeout: Option<Duration>,
    /// To end as soon as nothing that is planned can change the outcome.
    pub ends_early: bool,
}

/// The start of an agent.
#[derive(Debug)]
pub(super) struct Startup {
    pub(super) began: Instant,
    patience: Patience,
    is_over: bool,
    /// What was said of it.
    told: bool,
    timed_out: bool,
    lacks: BTreeMap<SecretName, (String, Outlook)>,
    /// The sources whose token cannot be shown.
    logins: BTreeMap<SourceName, (String, Outlook)>,
    /// When the source of each value is asked for a newer one.
    again_at: BTreeMap<SecretName, Option<Instant>>,
}

/// What the time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Say what is waited for.
    Tell,
    /// The time is up.
    TimeOut,
}

impl Startup {
    pub(super) fn new(patience: Patience, now: Instant) -> Self {
        Self {
            began: now,
            patience,
            is_over: false,
            told: false,
            timed_out: false,
            lacks: BTreeMap::new(),
            logins: BTreeMap::new(),
            again_at: BTreeMap::new(),
        }
    }

    /// The first release is live.
    pub(super) fn end(&mut self) {
        self.is_over = true;
        self.lacks.clear();
        self.logins.clear();
        self.again_at.clear();
    }

    pub(super) fn updated(&mut self, update: &Update) {
        if !self.is_over {
            self.lacks.remove(&update.secret);
            self.again_at.insert(update.secret.clone(), update.again_at);
        }
    }

    /// The token of this source was shown.
    pub(super) fn shown(&mut self, source: &SourceName) {
        self.logins.remove(source);
    }

    pub(super) fn lacking(&mut self, lack: Lack) {
        if self.is_over {
            return;
        }
        self.logins.extend(lack.login.map(|source| (source, (lack.why.clone(), lack.outlook))));
        for secret in lack.secrets {
            self.lacks.insert(secret, (lack.why.clone(), lack.outlook));
        }
    }

    /// When to ask for [`Startup::due`].
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.is_over {
            return None;
        }
        let tell_at = (!self.told).then(|| self.began + QUIET_FOR);
        tell_at.into_iter().chain(self.ends_at().filter(|_| !self.timed_out)).min()
    }

    /// What the time asks for, each once.
    pub(super) fn due(&mut self, now: Instant) -> Option<Call> {
        if self.is_over {
            return None;
        }
        if !self.timed_out && self.ends_at().is_some_and(|at| at <= now) {
            (self.timed_out, self.told) = (true, true);
            return Some(Call::TimeOut);
        }
        if !self.told && self.began + QUIET_FOR <= now {
            self.told = true;
            return Some(Call::Tell);
        }
        None
    }

    /// Whether nothing that is planned can make the release whole in time: a secret, or a token of one of these sources, that is missing
    /// will not come, or those that are there do not render and no newer ones come.
    pub(super) fn is_hopeless<'a>(
        &self,
        missing: &BTreeSet<SecretName>,
        mut tokens: impl Iterator<Item = &'a SourceName>,
        renders: bool,
    ) -> bool {
        if self.is_over || !self.patience.ends_early {
            return false;
        }
        let horizon = self.ends_at().unwrap_or(self.began + FORESIGHT);
        let will_not_come = |secret: &SecretName| {
            self.lacks.get(secret).is_some_and(|(_, outlook)| outlook.is_closed_until(horizon))
        };
        let stays = |again_at: &Option<Instant>| again_at.is_none_or(|at| horizon <= at);
        let is_not_shown = |source: &SourceName| {
            self.logins.get(source).is_some_and(|(_, outlook)| outlook.is_closed_until(horizon))
        };
        missing.iter().any(will_not_come)
            || tokens.any(is_not_shown)
            || !renders && missing.is_empty() && self.again_at.values().all(stays)
    }

    /// Why the tokens of these sources are missing, as far as no secret is for the same reason.
    pub(super) fn reasons_of_tokens<'a>(&self, tokens: impl Iterator<Item = &'a SourceName>) -> Vec<String> {
        let why = |source: &SourceName| {
            let (why, _) = self.logins.get(source)?;
            let is_said = self.lacks.values().any(|(said, _)| said == why);
            (!is_said).then(|| format!("{source}: {why}"))
        };
        tokens.collect::<BTreeSet<_>>().into_iter().filter_map(why).collect()
    }

    /// Why each of them is missing; those with one reason together.
    pub(super) fn reasons(&self, missing: &BTreeSet<SecretName>) -> Vec<String> {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for secret in missing {
            let Some((why, _)) = self.lacks.get(secret) else { continue };
            match reasons.iter_mut().find(|(known, _)| known == why) {
                Some((_, secrets)) => secrets.push(secret.as_str()),
                None => reasons.push((why, vec![secret.as_str()])),
            }
        }
        reasons.into_iter().map(|(why, secrets)| format!("{}: {why}", secrets.join(", "))).collect()
    }

    fn ends_at(&self) -> Option<Instant> {
        self.patience.timeout.and_then(|timeout| self.began.checked_add(timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Revision;
    use crate::secret::{DigestKey, Fields, Meta, Packed};

    fn names(names: &[&str]) -> BTreeSet<SecretName> {
        names.iter().map(|name| SecretName::new(*name)).collect()
    }

    fn lack(secret: &str, outlook: Outlook) -> Lack {
        Lack {
            login: None,
            secrets: names(&[secret]).into_iter().collect(),
            why: "denied".to_owned(),
            outlook,
        }
    }

    fn update(secret: &str, again_at: Option<Instant>) -> Update {
        let fields = Packed::of(&Fields::default());
        let digest = DigestKey::new([0; 32]).digest_fields(&fields);
        let secret = SecretName::new(secret);
        Update {
            secret,
            revision: Revision::default(),
            fields,
            meta: Meta::default(),
            digest,
            former_ends: None,
            is_leased: false,
            again_at,
        }
    }

    #[test]
    fn what_cannot_change_in_time_is_not_waited_for() {
        let now = Instant::now();
        let (minute, later) = (now + Duration::from_mins(1), now + Duration::from_mins(2));
        let soon = now + Duration::from_secs(1);
        let patience = Patience { timeout: Some(Duration::from_mins(1)), ends_early: true };
        for (outlook, is_hopeless) in [
            (Outlook::Open, false),
            (Outlook::Closed, true),
            (Outlook::ClosedUntil(soon), false),
            (Outlook::ClosedUntil(minute), true),
            (Outlook::ClosedUntil(later), true),
        ] {
            let mut startup = Startup::new(patience, now);
            startup.lacking(lack("db", outlook));
            let missing = names(&["db", "other"]);
            assert_eq!(startup.is_hopeless(&missing, [].iter(), true), is_hopeless, "{outlook:?}");
            assert!(!startup.is_hopeless(&names(&["other"]), [].iter(), true), "it came in the end");
            let patient = Patience { ends_early: false, ..patience };
            assert!(!Startup { patience: patient, ..startup }.is_hopeless(&missing, [].iter(), true));
        }
        for (again_at, is_hopeless) in [(None, true), (Some(soon), false), (Some(later), true)] {
            let mut startup = Startup::new(patience, now);
            startup.updated(&update("db", again_at));
            assert_eq!(startup.is_hopeless(&names(&[]), [].iter(), false), is_hopeless, "{again_at:?}");
            assert!(!startup.is_hopeless(&names(&[]), [].iter(), true), "it renders");
            assert!(
                !startup.is_hopeless(&names(&["other"]), [].iter(), false),
                "who knows how it renders then"
            );
        }
    }

    #[test]
    fn a_token_that_nobody_will_be_shown_is_not_waited_for() {
        let now = Instant::now();
        let sources = [SourceName::new("vault")];
        let patience = Patience { timeout: Some(Duration::from_mins(1)), ends_early: true };
        let mut startup = Startup::new(patience, now);
        let lack = |outlook| Lack {
            login: Some(SourceName::new("vault")),
            secrets: Vec::new(),
            why: "refused".to_owned(),
            outlook,
        };
        startup.lacking(lack(Outlook::Open));
        assert!(!startup.is_hopeless(&names(&[]), sources.iter(), true));
        startup.lacking(lack(Outlook::Closed));
        assert!(startup.is_hopeless(&names(&[]), sources.iter(), true));
        assert!(!startup.is_hopeless(&names(&[]), [].iter(), true), "it stands where it is wanted");
        assert_eq!(startup.reasons_of_tokens(sources.iter().chain(&sources)), ["vault: refused"]);
        startup.shown(&sources[0]);
        assert!(!startup.is_hopeless(&names(&[]), sources.iter(), true));
        startup.lacking(Lack { secrets: vec![SecretName::new("db")], ..lack(Outlook::Closed) });
        assert!(startup.reasons_of_tokens(sources.iter()).is_empty(), "it is said of the secret");
        assert_eq!(startup.reasons(&names(&["db"])), ["db: refused"]);
    }

    #[test]
    fn it_says_once_what_it_waits_for_and_once_that_the_time_is_up() {
        let now = Instant::now();
        let patience = Patience { timeout: Some(Duration::from_secs(8)), ends_early: false };
        let mut startup = Startup::new(patience, now);
        assert_eq!(startup.due(now), None);
        assert_eq!(startup.deadline(), Some(now + QUIET_FOR));
        assert_eq!(startup.due(now + QUIET_FOR), Some(Call::Tell));
        assert_eq!(startup.due(now + QUIET_FOR), None);
        assert_eq!(startup.deadline(), Some(now + Duration::from_secs(8)));
        assert_eq!(startup.due(now + Duration::from_secs(8)), Some(Call::TimeOut));
        assert_eq!(startup.deadline(), None);
        let mut startup = Startup::new(patience, now);
        startup.end();
        assert_eq!((startup.deadline(), startup.due(now + Duration::from_mins(1))), (None, None));
    }

    #[test]
    fn one_reason_is_said_once() {
        let mut startup = Startup::new(Patience { timeout: None, ends_early: true }, Instant::now());
        startup.lacking(lack("a", Outlook::Open));
        startup.lacking(lack("b", Outlook::Open));
        startup.lacking(Lack { why: "gone".to_owned(), ..lack("c", Outlook::Open) });
        assert_eq!(startup.reasons(&names(&["a", "b", "c", "d"])), ["a, b: denied", "c: gone"]);
    }
}
