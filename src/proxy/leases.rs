//! Leases that clients got through the proxy: each is renewed while its client lives, and given back when the client's process has ended,
//! or when Squire ends.
//!
//! By TCP nobody says when a client has ended. Its leases live for the time that the server gave them, and are given back only when Squire
//! ends: a lease that were renewed for nobody would live for ever.
//!
//! *Invariant:* there are at most [`MOST_LEASES`]; one that there is no room for is given back before its client has it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::Process;
use crate::fact::{Fact, Outcome, QuestionFact, QuestionKind, Subject};
use crate::lease::{Chance, failing, renewal};
use crate::names::{LeaseId, SourceName};
use crate::source::heard::listening;
use crate::source::vault::Vault;
use crate::source::{Fault, Grant, LONGEST_LIFE, Renewal, Source as _};

/// So many leases of clients are held.
pub(super) const MOST_LEASES: usize = 1024;

/// Giving one back is tried so often.
const GIVEN_BACK_TRIES: u32 = 3;

/// From one such try to the next.
const GIVE_BACK_PAUSE: Duration = Duration::from_secs(1);

/// A lease that ends sooner is not renewed any more: its maximum is near.
const SHORTEST: Duration = Duration::from_secs(2);

/// Giving all of them back may take this long at the end.
const ALL_BACK_WITHIN: Duration = Duration::from_secs(4);

/// What an answer says of a lease, and of what else is for one client alone.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Envelope {
    lease_id: Option<String>,
    lease_duration: Option<u64>,
    renewable: Option<bool>,
    auth: Option<IgnoredAny>,
    wrap_info: Option<IgnoredAny>,
}

impl Envelope {
    /// Reads an answer; one that is no JSON says nothing.
    pub(super) fn read(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }

    /// Whether everybody who asks the same may have it.
    pub(super) fn is_for_all(&self) -> bool {
        self.lease().is_none() && self.auth.is_none() && self.wrap_info.is_none()
    }

    /// The lease.
    pub(super) fn lease(&self) -> Option<LeaseId> {
        self.lease_id.as_deref().filter(|id| !id.is_empty()).map(LeaseId::new)
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(self.lease_duration.unwrap_or_default()).min(LONGEST_LIFE)
    }
}

/// A lease, and all that keeps it.
pub(super) struct Held {
    pub(super) id: LeaseId,
    pub(super) vault: Arc<Vault>,
    pub(super) grant: Grant,
    pub(super) source: SourceName,
    /// When its request was sent.
    pub(super) sent: Instant,
    /// `None` where nobody says when the client has ended.
    pub(super) client: Option<Process>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Leases {
    tasks: Mutex<JoinSet<()>>,
    end: watch::Sender<bool>,
    number: Arc<AtomicUsize>,
}

/// One of those that are counted.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(number: &Arc<AtomicUsize>) -> Self {
        number.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(number))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Leases {
    /// None yet; their number is told there.
    pub(super) fn new(number: Arc<AtomicUsize>) -> Self {
        Self { tasks: Mutex::default(), end: watch::Sender::new(false), number }
    }

    /// Keeps one; `false` if there is no room, and then it is given back.
    pub(super) fn hold(&self, held: Held, envelope: &Envelope) -> bool {
        let has_room = self.number.load(Ordering::Relaxed) < MOST_LEASES;
        let counted = Counted::new(&self.number);
        let (ttl, renewable) = (envelope.ttl(), envelope.renewable.unwrap_or_default());
        let end = self.end.subscribe();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that are over are forgotten here, so that there are never more than what is held.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let _counted = counted;
            if has_room && !held.keep(ttl, renewable, end).await {
                return;
            }
            held.give_back().await;
        });
        has_room
    }

    /// The end: all are given back, as far as the server answers in time.
    pub(super) async fn end(&self) {
        self.end.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async { while tasks.join_next().await.is_some() {} };
        if timeout(ALL_BACK_WITHIN, all).await.is_err() {
            tracing::warn!(
                "leases of the proxy's clients could not be given back in time, and live on to their end"
            );
        }
    }
}

impl Held {
    /// Returns when nobody needs it any more; `false` if it has ended by itself.
    async fn keep(&self, ttl: Duration, renewable: bool, mut end: watch::Receiver<bool>) -> bool {
        let chance = || Chance::new(fastrand::f64());
        let mut ends = self.sent + ttl;
        let renews = renewable && self.client.is_some();
        let mut next = Some(self.sent + renewal(ttl, chance())).filter(|_| renews && ttl >= SHORTEST);
        let mut failures = 0;
        loop {
            let at = next.unwrap_or(ends).min(ends);
            tokio::select! {
                () = ended(self.client.as_ref()) => return true,
                _ = end.wait_for(|is_over| *is_over) => return true,
                () = tokio::time::sleep_until(at.into()) => {}
            }
            let now = Instant::now();
            if ends <= now {
                return false;
            }
            match self.renew(ttl).await {
                Ok(renewed) => {
                    failures = 0;
                    ends = now + renewed.ttl;
                    next = Some(now + renewal(renewed.ttl, chance())).filter(|_| renewed.ttl >= SHORTEST);
                }
                Err(Fault::Gone { .. } | Fault::Denied { .. } | Fault::Dead) => next = None,
                Err(_) => {
                    failures += 1;
                    next = Some(now + failing(failures, Some(ends.saturating_duration_since(now)), chance()));
                }
            }
        }
    }

    async fn renew(&self, ttl: Duration) -> Result<Renewal, Fault> {
        let begun = Instant::now();
        let (result, heard) = listening(self.vault.renew(&self.grant, &self.id, ttl)).await;
        self.tell(QuestionKind::Renew, result.as_ref().err(), begun, heard);
        result
    }

    async fn give_back(&self) {
        for again in 0..GIVEN_BACK_TRIES {
            let begun = Instant::now();
            let (result, heard) = listening(self.vault.revoke(&self.grant, &self.id)).await;
            self.tell(QuestionKind::Revoke, result.as_ref().err(), begun, heard);
            // What is refused is refused again.
            if !matches!(result, Err(Fault::Unreachable { .. } | Fault::Failing { .. })) {
                return;
            }
            tokio::time::sleep(GIVE_BACK_PAUSE * again).await;
        }
    }

    fn tell(
        &self,
        kind: QuestionKind,
        fault: Option<&Fault>,
        begun: Instant,
        heard: crate::source::heard::Heard,
    ) {
        let fact = QuestionFact {
            kind,
            about: Subject::Lease(self.id.clone()),
            outcome: fault.map_or(Outcome::Done, Fault::outcome),
            took: begun.elapsed(),
            login: self.vault.identity().words().into(),
            accessor: heard.accessor,
            request: heard.request,
        };
        Fact::Question(self.source.clone(), fact).tell();
    }
}

async fn ended(client: Option<&Process>) {
    match client {
        Some(process) => process.ended().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_for_all_unless_something_in_it_is_for_one() {
        let cases = [
            (
                r#"{"lease_id":"","lease_duration":0,"renewable":false,"data":{"a":"b"},"auth":null,"wrap_info":null}"#,
                true,
            ),
            (r#"{"lease_id":"database/creds/app/x","lease_duration":60,"renewable":true}"#, false),
            (r#"{"lease_id":"","auth":{"client_token":"x"}}"#, false),
            (r#"{"wrap_info":{"token":"x"}}"#, false),
            ("<html>", true),
            ("", true),
        ];
        for (body, is_for_all) in cases {
            assert_eq!(Envelope::read(body.as_bytes()).is_for_all(), is_for_all, "{body}");
        }
        let envelope = Envelope::read(br#"{"lease_id":"a/b","lease_duration":18446744073709551615}"#);
        assert_eq!((envelope.lease(), envelope.ttl()), (Some(LeaseId::new("a/b")), LONGEST_LIFE));
    }
}
