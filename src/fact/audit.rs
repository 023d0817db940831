//! Which facts stand in the audit, and what of them.
//!
//! Every match is without a wildcard: a new fact does not compile until somebody has decided about it here.
//!
//! *Invariant:* pure. A record holds names, numbers and classes: no value, and no words of a server, which may quote one.

use std::sync::Arc;

use super::{
    CredentialFact, Fact, Outcome, ProcessFact, QuestionFact, QuestionKind, ReloadFact, RolloutFact,
    SecretFact, SourceFact, Subject, WebhookFact,
};
use crate::names::{Accessor, Generation, LeaseId, RequestId, SecretName, SourceName, Trace};

/// What the audit keeps of a fact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// What was done.
    pub what: &'static str,
    /// How it went: `done`, or the class of the fault.
    pub outcome: &'static str,
    /// At which source.
    pub source: Option<SourceName>,
    /// As whom there.
    pub login: Option<Arc<str>>,
    /// The token's name there. Only some answers have it; the audit's writer knows the last one.
    pub accessor: Option<Accessor>,
    /// The secrets that it is about.
    pub secrets: Vec<SecretName>,
    /// The path at the source.
    pub path: Option<String>,
    /// The lease.
    pub lease: Option<LeaseId>,
    /// The generation.
    pub generation: Option<Generation>,
    /// What the server calls the request.
    pub request: Option<RequestId>,
    /// The rollout that it belongs to.
    pub trace: Option<Trace>,
    /// The unit of systemd that it is about.
    pub unit: Option<String>,
    /// What that unit calls its credential.
    pub credential: Option<String>,
}

impl Record {
    fn new(what: &'static str, outcome: &'static str) -> Self {
        Self { what, outcome, ..Self::default() }
    }

    fn done(what: &'static str) -> Self {
        Self::new(what, DONE)
    }

    fn failed(what: &'static str) -> Self {
        Self::new(what, "failed")
    }

    fn of(self, generation: Generation) -> Self {
        Self { generation: Some(generation), ..self }
    }

    fn about(self, secrets: &[SecretName]) -> Self {
        Self { secrets: secrets.to_vec(), ..self }
    }
}

const DONE: &str = "done";

/// What the audit keeps of this; `None` if another fact says the same, or nothing was done to a secret or with one.
pub fn record(fact: &Fact) -> Option<Record> {
    match fact {
        Fact::Source(source, fact) => {
            of_source(fact).map(|record| Record { source: Some(source.clone()), ..record })
        }
        Fact::Question(source, fact) => {
            of_question(fact).map(|record| Record { source: Some(source.clone()), ..record })
        }
        Fact::Secret(secret, fact) => {
            of_secret(fact).map(|record| record.about(std::slice::from_ref(secret)))
        }
        Fact::Rollout(trace, fact) => {
            of_rollout(fact).map(|record| Record { trace: trace.clone(), ..record })
        }
        Fact::Process(fact) => of_process(fact),
        Fact::Reload(fact) => of_reload(fact),
        // The audit says of itself what it has to.
        Fact::Audit(_) => None,
        Fact::Webhook(fact) => of_webhook(fact),
        Fact::Credential(fact) => of_credential(fact),
    }
}

/// Who has got what. Only root is written down when it is refused: others must not be able to fill the audit.
fn of_credential(fact: &CredentialFact) -> Option<Record> {
    match fact {
        CredentialFact::Given { unit, credential, secrets, generation } => Some(Record {
            unit: Some(unit.clone()),
            credential: Some(credential.clone()),
            ..Record::done("give").of(*generation).about(secrets)
        }),
        CredentialFact::Refused { unit, credential, why: _ } => {
            let (unit, credential) = (unit.clone(), credential.clone());
            Some(Record { unit, credential, ..Record::new("give", "denied") })
        }
        CredentialFact::Stranger { .. }
        | CredentialFact::Outdated { .. }
        | CredentialFact::NotKept { .. } => None,
    }
}

/// A reload changes what is asked for.
fn of_reload(fact: &ReloadFact) -> Option<Record> {
    match fact {
        ReloadFact::Reloaded { .. } => Some(Record::done("reload")),
        ReloadFact::NotReloaded { .. } => Some(Record::failed("reload")),
        ReloadFact::Begun | ReloadFact::UpToDate | ReloadFact::Awaited { .. } => None,
    }
}

/// What is refused is only logged: whoever has no key must not be able to fill the audit.
fn of_webhook(fact: &WebhookFact) -> Option<Record> {
    match fact {
        WebhookFact::Accepted { from: _, secrets } => Some(Record::done("webhook").about(secrets)),
        WebhookFact::Refused { from: _, why: _ } => None,
    }
}

/// Every question, but looks at a token or a lease that found nothing wrong: they reveal nothing, and there is one a minute for each.
fn of_question(fact: &QuestionFact) -> Option<Record> {
    let QuestionFact { kind, about, outcome, took: _, login, accessor, request } = fact;
    let was_asked = match (kind, outcome) {
        // Its credential was not there yet, so nothing was sent.
        (_, Outcome::Awaiting) | (QuestionKind::LookUp, Outcome::Done) => false,
        (
            QuestionKind::LogIn
            | QuestionKind::Fetch
            | QuestionKind::Renew
            | QuestionKind::LookUp
            | QuestionKind::Revoke
            | QuestionKind::Wrap
            | QuestionKind::Forward,
            _,
        ) => true,
    };
    let (secrets, lease) = match about {
        Subject::Token | Subject::Path(_) => (Vec::new(), None),
        Subject::Secret { secret, path: _ } => (vec![secret.clone()], None),
        Subject::Lease(lease) => (Vec::new(), Some(lease.clone())),
    };
    was_asked.then(|| Record {
        login: Some(Arc::clone(login)),
        accessor: accessor.clone(),
        secrets,
        path: about.path().map(str::to_owned),
        lease,
        request: request.clone(),
        ..Record::new(kind.word(), outcome.word())
    })
}

/// What was asked of the source is in the questions.
fn of_source(fact: &SourceFact) -> Option<Record> {
    match fact {
        SourceFact::Adopted { .. } => Some(Record::done("adopt")),
        SourceFact::NotAdopted { .. } => Some(Record::failed("adopt")),
        SourceFact::TokenDead => Some(Record::new("token", "dead")),
        SourceFact::TokenWritten { .. } => Some(Record::new("token", "written")),
        SourceFact::LoggedIn { .. }
        | SourceFact::CredentialAwaited { .. }
        | SourceFact::LoginFailed { .. }
        | SourceFact::TokenRenewed { .. }
        | SourceFact::TokenNotRenewed { .. }
        | SourceFact::TokenRevoked
        | SourceFact::TokenNotRevoked { .. }
        | SourceFact::Unreachable { .. }
        | SourceFact::Reachable
        | SourceFact::LedgerIgnored { .. }
        | SourceFact::LedgerNotWritten { .. }
        | SourceFact::CredentialNotKept { .. }
        | SourceFact::CredentialNotForgotten { .. }
        | SourceFact::TokenNotWritten { .. }
        | SourceFact::TokenNotWrapped { .. }
        | SourceFact::TokenOutlived
        | SourceFact::TokenRestarts => None,
    }
}

/// What was asked for the secret is in the questions.
fn of_secret(fact: &SecretFact) -> Option<Record> {
    match fact {
        SecretFact::Adopted { .. } => Some(Record::done("adopt")),
        SecretFact::Expired { .. } => Some(Record::done("expire")),
        SecretFact::Lost => Some(Record::new("lease", "lost")),
        SecretFact::Fetched { .. }
        | SecretFact::Same { .. }
        | SecretFact::NotFetched { .. }
        | SecretFact::Recovered
        | SecretFact::Renewed { .. }
        | SecretFact::NotRenewed { .. }
        | SecretFact::Ending { .. }
        | SecretFact::Revoked { .. }
        | SecretFact::NotRevoked { .. } => None,
    }
}

/// Which values went out, and which came back.
fn of_rollout(fact: &RolloutFact) -> Option<Record> {
    match fact {
        RolloutFact::NotRendered { generation, .. } => Some(Record::failed("render").of(*generation)),
        RolloutFact::Published { generation, .. } => Some(Record::done("publish").of(*generation)),
        RolloutFact::NotPublished { generation, .. } => Some(Record::failed("publish").of(*generation)),
        RolloutFact::Committed { generation } => Some(Record::done("commit").of(*generation)),
        RolloutFact::NotPassed { generation, .. } => Some(Record::failed("check").of(*generation)),
        RolloutFact::Unhealthy { generation, .. } => Some(Record::failed("probe").of(*generation)),
        RolloutFact::TakenBack { to, .. } => Some(Record::done("take_back").of(*to)),
        RolloutFact::NoWayBack { generation, dead } => {
            Some(Record::failed("take_back").of(*generation).about(dead))
        }
        RolloutFact::Held { secrets } => Some(Record::done("hold_back").about(secrets)),
        RolloutFact::RollingBack { secrets } => Some(Record::done("roll_back").about(secrets)),
        RolloutFact::OnHold => Some(Record::done("hold")),
        RolloutFact::HoldEnded => Some(Record::done("release")),
        RolloutFact::FormerCleared { .. } | RolloutFact::Swept => Some(Record::done("remove_files")),
        RolloutFact::NotSwept { .. } => Some(Record::failed("remove_files")),
        RolloutFact::AwaitsWindow { .. }
        | RolloutFact::BeforeWindow { .. }
        | RolloutFact::AwaitsRelease { .. }
        | RolloutFact::Over { .. }
        | RolloutFact::NotDiscarded { .. }
        | RolloutFact::NotRetired { .. }
        | RolloutFact::TimedOut { .. }
        | RolloutFact::Waiting { .. }
        | RolloutFact::Hopeless { .. }
        | RolloutFact::Exposed(_)
        | RolloutFact::NotEnrolled { .. } => None,
    }
}

/// When somebody began to have the values, and ceased to.
fn of_process(fact: &ProcessFact) -> Option<Record> {
    match fact {
        ProcessFact::Started { .. } => Some(Record::done("start")),
        ProcessFact::NotStarted { .. } => Some(Record::failed("start")),
        ProcessFact::Exited { .. } => Some(Record::done("exit")),
        ProcessFact::Stopping { .. } => Some(Record::done("stop")),
        ProcessFact::Ready
        | ProcessFact::Restarting
        | ProcessFact::Signalled { .. }
        | ProcessFact::Killed
        | ProcessFact::Left { .. }
        | ProcessFact::CommandStarted { .. }
        | ProcessFact::CommandDone { .. }
        | ProcessFact::CommandFailed { .. }
        | ProcessFact::ActionDone { .. }
        | ProcessFact::ActionFailed { .. }
        | ProcessFact::Resting { .. }
        | ProcessFact::GaveUp { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn question(kind: QuestionKind, about: Subject, outcome: Outcome) -> Fact {
        let fact = QuestionFact {
            kind,
            about,
            outcome,
            took: Duration::from_millis(3),
            login: "approle web".into(),
            accessor: Some(Accessor::new("acc")),
            request: Some(RequestId::new("req")),
        };
        Fact::Question(SourceName::new("vault"), fact)
    }

    #[test]
    fn a_webhook_counts_when_it_is_signed_and_a_forgers_fills_nothing() {
        let (from, secrets) = (Some([192, 0, 2, 1].into()), vec![SecretName::new("db")]);
        let accepted = record(&Fact::Webhook(WebhookFact::Accepted { from, secrets: secrets.clone() }));
        assert_eq!(accepted, Some(Record::done("webhook").about(&secrets)));
        let why = "it is not signed".to_owned();
        assert_eq!(record(&Fact::Webhook(WebhookFact::Refused { from, why })), None);
    }

    #[test]
    fn a_question_says_who_asked_whom_for_what_and_what_came_back() {
        let db = Subject::Secret { secret: SecretName::new("db"), path: "database/creds/app".to_owned() };
        let expected = Record {
            what: "fetch",
            outcome: "denied",
            source: Some(SourceName::new("vault")),
            login: Some("approle web".into()),
            accessor: Some(Accessor::new("acc")),
            secrets: vec![SecretName::new("db")],
            path: Some("database/creds/app".to_owned()),
            request: Some(RequestId::new("req")),
            ..Record::default()
        };
        assert_eq!(record(&question(QuestionKind::Fetch, db, Outcome::Denied)), Some(expected));
        let lease = || Subject::Lease(LeaseId::new("database/creds/app/Jx"));
        let revoked = record(&question(QuestionKind::Revoke, lease(), Outcome::Done)).unwrap();
        assert_eq!((revoked.what, revoked.path.as_deref()), ("revoke", Some("database/creds/app")));
        assert_eq!(record(&question(QuestionKind::LookUp, lease(), Outcome::Done)), None);
        assert!(record(&question(QuestionKind::LookUp, lease(), Outcome::Gone)).is_some());
        assert_eq!(record(&question(QuestionKind::LogIn, Subject::Token, Outcome::Awaiting)), None);
        let wrapped = record(&question(QuestionKind::Wrap, Subject::Token, Outcome::Done)).unwrap();
        assert_eq!((wrapped.path, wrapped.lease), (None, None), "a wrapping is about the token");
    }

    #[test]
    fn no_words_of_a_server_are_kept() {
        let error = || "canary".to_owned();
        let generation = Generation::FIRST;
        let facts = [
            Fact::Source(SourceName::new("v"), SourceFact::NotAdopted { error: error() }),
            RolloutFact::NotRendered { generation, errors: vec![error()] }.into(),
            RolloutFact::Unhealthy { generation, why: error() }.into(),
            RolloutFact::NotPassed { generation, why: error(), again_in: Duration::ZERO }.into(),
            ProcessFact::NotStarted { error: error() }.into(),
            ProcessFact::Stopping { cause: error() }.into(),
        ];
        for fact in facts {
            let record = record(&fact).unwrap();
            assert!(!format!("{record:?}").contains("canary"), "{record:?}");
        }
    }
}
