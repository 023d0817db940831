//! The way to the source: its connections, its token, and who is told that the token may be dead.
//!
//! *Invariant:* the token is the session's. Nobody here logs in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
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

/// From one look at a token that was refused something to the next: a client that asks for what it may not costs no more.
const APART: Duration = Duration::from_secs(1);

/// Tells one token of the source from the next, whichever keeper has it: after a reload there may be another keeper, which counts anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Which keeper.
    pub(super) keeper: u64,
    serial: Serial,
}

/// The source as its keeper says it stands.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub(super) vault: Arc<Vault>,
    notices: mpsc::WeakUnboundedSender<Notice>,
    pub(super) view: View,
    pub(super) keeper: u64,
    looks: u64,
    looked: Option<Instant>,
}

/// Where keepers say it, and the proxy reads it.
#[derive(Clone, Debug)]
pub struct Line {
    upstream: watch::Sender<Option<Upstream>>,
    keepers: Arc<AtomicU64>,
    /// How many leases clients have.
    pub(super) leases: Arc<AtomicUsize>,
}

impl Default for Line {
    fn default() -> Self {
        Self { upstream: watch::Sender::new(None), keepers: Arc::default(), leases: Arc::default() }
    }
}

impl Line {
    /// The tap of a keeper of this source.
    pub fn tap(&self, vault: Arc<Vault>, notices: mpsc::WeakUnboundedSender<Notice>) -> Tap {
        let (line, leases) = (self.upstream.clone(), Arc::clone(&self.leases));
        let count = Box::new(move || leases.load(Ordering::Relaxed));
        let keeper = self.keepers.fetch_add(1, Ordering::Relaxed);
        let tell = Box::new(move |view, looks| {
            line.send_modify(|upstream| {
                let of_it = upstream.as_ref().filter(|upstream| upstream.keeper == keeper);
                let before = of_it.map(|upstream| (upstream.looks, upstream.looked));
                let looked = match before {
                    Some((before, looked)) if before == looks => looked,
                    None if looks == 0 => None,
                    Some(_) | None => Some(Instant::now()),
                };
                let (vault, notices) = (Arc::clone(&vault), notices.clone());
                *upstream = Some(Upstream { vault, notices, view, keeper, looks, looked });
            });
        });
        Tap::new(tell, count)
    }

    /// How it stands now; `None` before the first word of a keeper.
    pub(super) fn now(&self) -> Option<Upstream> {
        self.upstream.borrow().clone()
    }

    /// How it stands once there is a token, or after this time.
    pub(super) async fn with_token(&self, within: Duration) -> Option<Upstream> {
        let mut changes = self.upstream.subscribe();
        let has_token = |upstream: &Option<Upstream>| {
            upstream.as_ref().is_some_and(|upstream| upstream.view.grant.is_some())
        };
        let found = timeout(within, changes.wait_for(has_token)).await;
        found.ok()?.ok()?.clone()
    }

    /// This token was refused something: whether it is dead is found out. The token after it, if there is one soon.
    pub(super) async fn after(&self, doubted: Mark) -> Option<(Mark, Grant)> {
        let by = Instant::now() + SETTLED_WITHIN;
        let before = self.now()?;
        // Somebody else may have it looked at meanwhile; if not, one look in a while is enough.
        let next = before.looked.map_or(Instant::now(), |at| at + APART);
        if let Some(upstream) = self.settled(doubted, before.looks, next).await {
            return upstream.successor(doubted);
        }
        if before.keeper != doubted.keeper {
            return before.token();
        }
        before.notices.upgrade()?.send(Notice::Doubted(doubted.serial)).ok()?;
        self.settled(doubted, before.looks, by).await?.successor(doubted)
    }

    /// How it stands once the token was looked at, or there is another one.
    async fn settled(&self, doubted: Mark, looks: u64, by: Instant) -> Option<Upstream> {
        let is_settled = |upstream: &Option<Upstream>| {
            upstream.as_ref().is_some_and(|upstream| match upstream.mark() {
                Some(mark) => mark != doubted || upstream.looks > looks,
                // It was dead: there will be another.
                None => false,
            })
        };
        timeout_at(by.into(), self.upstream.subscribe().wait_for(is_settled)).await.ok()?.ok()?.clone()
    }
}

impl Upstream {
    /// Which token it has.
    pub(super) fn mark(&self) -> Option<Mark> {
        let (serial, _) = self.view.grant.as_ref()?;
        Some(Mark { keeper: self.keeper, serial: *serial })
    }

    /// The token.
    pub(super) fn token(self) -> Option<(Mark, Grant)> {
        let keeper = self.keeper;
        self.view.grant.map(|(serial, grant)| (Mark { keeper, serial }, grant))
    }

    fn successor(self, of: Mark) -> Option<(Mark, Grant)> {
        self.token().filter(|(mark, _)| *mark != of)
    }
}
