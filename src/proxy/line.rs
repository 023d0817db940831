//! The way to the source: its connections, its token, and who is told that the token may be dead.
//!
//! *Invariant:* the token is the session's. Nobody here logs in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::{timeout, timeout_at};

use crate::session::keeper::Notice;
use crate::session::keeper::tap::Tap;
use crate::session::{Serial, View};
use crate::source::Grant;
use crate::source::vault::Vault;

/// A look at a token that was refused something takes no longer, a login after it neither; else the client has the refusal.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);

/// A token that was looked at just now is not looked at again: what it is refused is not its fault.
const VOUCHED_FOR: Duration = Duration::from_secs(1);

/// The source as its keeper says it stands.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub(super) vault: Arc<Vault>,
    notices: mpsc::WeakUnboundedSender<Notice>,
    pub(super) view: View,
    looks: u64,
    looked: Option<Instant>,
}

/// Where keepers say it, and the proxy reads it.
#[derive(Clone, Debug)]
pub struct Line(watch::Sender<Option<Upstream>>);

impl Default for Line {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Line {
    /// The tap of a keeper of this source.
    pub fn tap(&self, vault: Arc<Vault>, notices: mpsc::WeakUnboundedSender<Notice>) -> Tap {
        let line = self.0.clone();
        Tap::new(Box::new(move |view, looks| {
            line.send_modify(|upstream| {
                let before = upstream.as_ref().map(|upstream| (upstream.looks, upstream.looked));
                let looked = match before {
                    Some((before, looked)) if before == looks => looked,
                    None if looks == 0 => None,
                    Some(_) | None => Some(Instant::now()),
                };
                let (vault, notices) = (Arc::clone(&vault), notices.clone());
                *upstream = Some(Upstream { vault, notices, view, looks, looked });
            });
        }))
    }

    /// How it stands now; `None` before the first word of a keeper.
    pub(super) fn now(&self) -> Option<Upstream> {
        self.0.borrow().clone()
    }

    /// How it stands once there is a token, or after this time.
    pub(super) async fn with_token(&self, within: Duration) -> Option<Upstream> {
        let mut changes = self.0.subscribe();
        let has_token = |upstream: &Option<Upstream>| {
            upstream.as_ref().is_some_and(|upstream| upstream.view.grant.is_some())
        };
        let found = timeout(within, changes.wait_for(has_token)).await;
        found.ok()?.ok()?.clone()
    }

    /// This token was refused something: whether it is dead is found out. The token after it, if there is one soon.
    pub(super) async fn after(&self, doubted: Serial) -> Option<(Serial, Grant)> {
        let before = self.now()?;
        if before.looked.is_some_and(|at| at.elapsed() < VOUCHED_FOR) && before.has(doubted) {
            return None;
        }
        before.notices.upgrade()?.send(Notice::Doubted(doubted)).ok()?;
        let by = tokio::time::Instant::now() + SETTLED_WITHIN;
        let mut changes = self.0.subscribe();
        let looks = before.looks;
        let settled = |upstream: &Option<Upstream>| {
            upstream.as_ref().is_some_and(|upstream| {
                upstream.has_other(doubted) || (upstream.has(doubted) && upstream.looks > looks)
            })
        };
        let upstream = timeout_at(by, changes.wait_for(settled)).await.ok()?.ok()?.clone()?;
        upstream.view.grant.filter(|(serial, _)| *serial != doubted)
    }
}

impl Upstream {
    fn has(&self, wanted: Serial) -> bool {
        self.view.grant.as_ref().is_some_and(|(serial, _)| *serial == wanted)
    }

    fn has_other(&self, than: Serial) -> bool {
        self.view.grant.as_ref().is_some_and(|(serial, _)| *serial != than)
    }
}
