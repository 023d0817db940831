//! Puts one question to a source, and reports what became of it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::arrival::arrived;
use crate::fact::{Fact, Outcome, QuestionFact, QuestionKind, Subject};
use crate::ledger::Identity;
use crate::names::SourceName;
use crate::plan::Want;
use crate::secret::DigestKey;
use crate::session::{Answer, Ask};
use crate::size;
use crate::source::heard::{Heard, listening};
use crate::source::{Fault, Fetched, Grant, Source, Wrapping};

/// Who asks whom.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    source: SourceName,
    login: Arc<str>,
}

impl Asker {
    pub(super) fn new(source: &SourceName, identity: &Identity) -> Self {
        Self { source: source.clone(), login: identity.words().into() }
    }

    /// Tells what became of a question.
    fn tell(&self, (kind, about): (QuestionKind, Subject), outcome: Outcome, sent: Instant, heard: Heard) {
        let fact = QuestionFact {
            kind,
            about,
            outcome,
            took: sent.elapsed(),
            login: Arc::clone(&self.login),
            accessor: heard.accessor,
            request: heard.request,
        };
        Fact::Question(self.source.clone(), fact).tell();
    }
}

/// Puts the question; returns when it was sent, and the answer.
pub(super) async fn put<S: Source>(
    source: &S,
    ask: Ask,
    key: &DigestKey,
    asker: &Asker,
) -> (Instant, Answer) {
    let (kind, about) = question(&ask);
    let sent = Instant::now();
    let (answer, heard) = listening(exchange(source, ask, key)).await;
    asker.tell((kind, about), outcome(&answer), sent, heard);
    (sent, answer)
}

/// Has the token wrapped for somebody; returns when that was asked for, and the answer.
pub(super) async fn wrap<S: Source>(
    source: &S,
    grant: &Grant,
    ttl: Duration,
    asker: &Asker,
) -> (Instant, Result<Wrapping, Fault>) {
    let sent = Instant::now();
    let (result, heard) = listening(source.wrap(grant, ttl)).await;
    asker.tell((QuestionKind::Wrap, Subject::Token), of(&result), sent, heard);
    (sent, result)
}

/// What is asked, and about what.
fn question(ask: &Ask) -> (QuestionKind, Subject) {
    let lease = |lease: &_| Subject::Lease(Clone::clone(lease));
    match ask {
        Ask::LogIn => (QuestionKind::LogIn, Subject::Token),
        Ask::RenewGrant(..) => (QuestionKind::Renew, Subject::Token),
        Ask::LookUpGrant(..) => (QuestionKind::LookUp, Subject::Token),
        Ask::RevokeGrant(_) => (QuestionKind::Revoke, Subject::Token),
        Ask::Fetch(_, want) => {
            (QuestionKind::Fetch, Subject::Secret { secret: want.name.clone(), path: want.path.clone() })
        }
        Ask::Renew(_, id, _) => (QuestionKind::Renew, lease(id)),
        Ask::LookUp(_, id) => (QuestionKind::LookUp, lease(id)),
        Ask::Revoke(_, id) => (QuestionKind::Revoke, lease(id)),
    }
}

fn of<T>(result: &Result<T, Fault>) -> Outcome {
    result.as_ref().map_or_else(Fault::outcome, |_| Outcome::Done)
}

fn outcome(answer: &Answer) -> Outcome {
    match answer {
        Answer::LogIn(result) => of(result),
        Answer::RenewGrant(_, result) | Answer::LookUpGrant(_, result) => of(result),
        Answer::RevokeGrant(result) | Answer::Revoke(_, result) => of(result),
        Answer::Fetch(_, result) => of(result),
        Answer::Renew(_, result) => of(result),
        Answer::LookUp(_, result) => of(result),
    }
}

async fn exchange<S: Source>(source: &S, ask: Ask, key: &DigestKey) -> Answer {
    match ask {
        Ask::LogIn => Answer::LogIn(source.log_in().await),
        Ask::RenewGrant(serial, grant) => Answer::RenewGrant(serial, source.renew_grant(&grant).await),
        Ask::LookUpGrant(serial, grant) => Answer::LookUpGrant(serial, source.look_up_grant(&grant).await),
        Ask::RevokeGrant(grant) => Answer::RevokeGrant(source.revoke_grant(&grant).await),
        Ask::Fetch(grant, want) => {
            let asked = SystemTime::now();
            let result = source.fetch(&grant, &want).await.and_then(|fetched| bounded(fetched, &want));
            let result = result.map(|fetched| arrived(fetched, asked, SystemTime::now()));
            let digested = result.map(|fetched| {
                let digest = key.digest_fields(&fetched.fields);
                (fetched, digest)
            });
            Answer::Fetch(want.name, digested)
        }
        Ask::Renew(grant, lease, increment) => {
            let result = source.renew(&grant, &lease, increment).await;
            Answer::Renew(lease, result)
        }
        Ask::LookUp(grant, lease) => {
            let result = source.look_up(&grant, &lease).await;
            Answer::LookUp(lease, result)
        }
        Ask::Revoke(grant, lease) => {
            let result = source.revoke(&grant, &lease).await;
            Answer::Revoke(lease, result)
        }
    }
}

/// Each source counts before it reads, and does not know all that is not the secret's in what it read.
fn bounded(fetched: Fetched, want: &Want) -> Result<Fetched, Fault> {
    if fetched.fields.size() > want.max_size {
        return Err(Fault::Malformed { why: format!("{} {}", want.path, size::too_large(want.max_size)) });
    }
    Ok(fetched)
}
