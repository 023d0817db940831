//! Where secrets come from: the one trait that every backend implements, and the classes of what can go wrong.
//!
//! The class of a [`Fault`] decides what happens next, never its text. Nothing outside `source/` knows which backend it has.
//!
//! *Invariant:* this file only defines; the backends in `source/` act.

#[cfg(feature = "aws")]
pub mod aws;
pub mod http;
pub mod store;
pub mod vault;
pub mod wrapped;

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::path::PathBuf;
use std::time::Duration;

use crate::ledger::Identity;
use crate::names::LeaseId;
use crate::plan::Want;
use crate::secret::{Fields, Secret};

/// Squire itself as the program of an errand, whatever became of its file.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// One backend, logged in or not. Every method is one conversation with the server and leaves retrying to the session.
pub trait Source: Send + Sync + 'static {
    /// Logs in with the credentials that are there now.
    fn log_in(&self) -> impl Future<Output = Result<Grant, Fault>> + Send;

    /// Asks for a longer life of the grant, by as much as it had at first.
    fn renew_grant(&self, grant: &Grant) -> impl Future<Output = Result<GrantLife, Fault>> + Send;

    /// Asks whether the grant still lives; the class of the fault tells a dead one ([`Fault::Dead`]).
    fn look_up_grant(&self, grant: &Grant) -> impl Future<Output = Result<GrantLife, Fault>> + Send;

    /// Ends the grant and all that depends on it.
    fn revoke_grant(&self, grant: &Grant) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Reads (or, with parameters, writes) the secret. A leased one is new each time.
    fn fetch(&self, grant: &Grant, want: &Want) -> impl Future<Output = Result<Fetched, Fault>> + Send;

    /// Asks for a lease to live `increment` from now; answers how long it does. Most sources have no leases.
    fn renew(
        &self,
        _grant: &Grant,
        lease: &LeaseId,
        _increment: Duration,
    ) -> impl Future<Output = Result<Renewal, Fault>> + Send {
        ready(Err(no_lease(lease)))
    }

    /// Asks how long a lease still lives; [`Fault::Gone`] if it does not.
    fn look_up(
        &self,
        _grant: &Grant,
        lease: &LeaseId,
    ) -> impl Future<Output = Result<Duration, Fault>> + Send {
        ready(Err(no_lease(lease)))
    }

    /// Ends a lease. One that is gone already counts as ended.
    fn revoke(&self, _grant: &Grant, _lease: &LeaseId) -> impl Future<Output = Result<(), Fault>> + Send {
        ready(Ok(()))
    }

    /// Ends when the source itself says that something in it changed; most sources never do. Losing it is safe.
    fn changed(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Ends when the source wants a command to be run for it, in a process of its own; most sources never do. Losing it is safe.
    fn errand(&self) -> impl Future<Output = Errand> + Send {
        std::future::pending()
    }

    /// How often it is looked whether the machine slept or its clock was set, so that what ends meanwhile is noticed soon.
    fn look_every(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// As whom it logs in, where: what one login left is for no other to adopt.
    fn identity(&self) -> Identity;

    /// The end, for good: forgets what it kept for the logins of a later run. Most sources keep nothing.
    fn forget(&self) {}

    /// The files whose appearance or change makes a new login worth trying.
    fn credential_files(&self) -> Vec<PathBuf>;

    /// The files by which the other end is trusted and we are known to it: when they change, [`Self::look_at_tls`] is called.
    fn tls_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Reads them again.
    fn look_at_tls(&self) {}

    /// Whether a credential file holds the grant itself, so that its change is a new grant and not only a new way to one.
    fn credential_is_grant(&self) -> bool {
        false
    }
}

fn no_lease(lease: &LeaseId) -> Fault {
    Fault::Gone { why: format!("this source has no leases, and so not {lease}") }
}

/// A command that a source wants to be run.
#[derive(Clone, Debug)]
pub struct Errand {
    /// Program and arguments.
    pub command: Vec<String>,
    /// What it finds in its environment beside what every command does.
    pub env: BTreeMap<String, Secret<str>>,
}

/// What a login gave: the right to ask.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The bearer token.
    pub token: Secret<str>,
    /// How long it lives.
    pub life: GrantLife,
    /// Whether it is ours to end when we stop: we made it by a login, and the server can end it (a batch token it cannot).
    pub revocable: bool,
    /// How many requests it was good for when it was given, at least 1; `None` for any number.
    pub uses: Option<u64>,
}

/// How long a grant lives, counted from the moment the request for it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantLife {
    /// `None` lives for ever.
    pub ttl: Option<Duration>,
    /// Whether asking for a longer life can help.
    pub renewable: bool,
}

/// A secret that came back.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// What templates see.
    pub fields: Secret<Fields>,
    /// How long it stays good.
    pub life: Life,
}

/// No life is longer than this, whatever a server says: a century. Time can be reckoned with up to here, and no further: an instant of
/// the system ends 292 years after its start.
pub const LONGEST_LIFE: Duration = Duration::from_hours(24 * 365 * 100);

/// How long what came back stays good, counted from the moment the request was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// Leased, and the lease may be renewed.
    Renewable {
        /// What renews and ends it.
        lease: LeaseId,
        /// Until it ends.
        ttl: Duration,
    },
    /// Ends without appeal: a lease that cannot be renewed, or a certificate.
    Expiring {
        /// `None` for what the server keeps no lease of.
        lease: Option<LeaseId>,
        /// Until it ends.
        ttl: Duration,
    },
    /// The server itself changes it in place after this long (a static role with rotation).
    Rotating {
        /// Until it changes; 0 while the change is going on.
        ttl: Duration,
    },
    /// Stays until somebody writes a new one.
    Versioned {
        /// What the source says at most to wait before looking again.
        within: Option<Duration>,
    },
}

/// A renewed lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// How long it lives, counted from the moment the request was sent.
    pub ttl: Duration,
    /// Whether the server said that its maximum is in sight.
    pub capped: bool,
}

/// What can go wrong with a source. The class decides what happens next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The server cannot be asked now: no connection, time-out, sealed, standby, overloaded. Back off and keep what we have.
    #[error("cannot be reached: {why}")]
    Unreachable {
        /// What happened, without values.
        why: String,
        /// What the server asked us to wait.
        retry_after: Option<Duration>,
    },
    /// The server answers, but not for this path now (a database behind it is down). Back off for this path alone.
    #[error("failed at the server: {why}")]
    Failing {
        /// The server's words.
        why: String,
    },
    /// A credential file is not there yet, or empty. Wait for it.
    #[error("waiting for {}: {why}", file.display())]
    Awaiting {
        /// The file.
        file: PathBuf,
        /// What is the matter with it.
        why: String,
    },
    /// The server refused the credential. Sending it again may lock the role for everyone.
    #[error("login refused: {why}")]
    Refused {
        /// The server's words.
        why: String,
        /// When it may be sent again all the same: nothing locks, or the server may not know it yet. `None`: when its file changes,
        /// or no role is locked any more.
        again_in: Option<Duration>,
    },
    /// The grant lives, but its policy does not allow this.
    #[error("permission denied on {path}: needs {capability}")]
    Denied {
        /// What was asked for.
        path: String,
        /// What the policy would have to allow.
        capability: &'static str,
    },
    /// The grant itself is dead.
    #[error("the token is no longer valid")]
    Dead,
    /// Deleted, destroyed or never there.
    #[error("{why}")]
    Gone {
        /// What is not there.
        why: String,
    },
    /// An answer that is not one.
    #[error("unexpected answer: {why}")]
    Malformed {
        /// What was wrong with it, without its content.
        why: String,
    },
}
