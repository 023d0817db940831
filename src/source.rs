//! Where secrets come from: the only trait that every backend implements, and the classes of faults.
//!
//! The class of a [`Fault`] decides what happens next, never its text. Code outside `source/` does not know which backend it uses.
//!
//! *Invariant:* this file only defines; the backends in `source/` act.

#[cfg(feature = "aws")]
pub mod aws;
pub mod folder;
pub mod heard;
pub mod http;
pub mod store;
pub mod vault;
pub mod wrapped;

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::fact::Outcome;
use crate::ledger::Identity;
use crate::names::LeaseId;
use crate::plan::Want;
use crate::secret::{Meta, Packed, Secret};
use crate::status::{Clock, CredentialStatus, Rotations};

/// The path of Squire itself, to start an errand, even if its file was replaced.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// One backend, logged in or not. Every method is one exchange with the server; the session does all retries.
pub trait Source: Send + Sync + 'static {
    /// The `type` of the source in a configuration.
    const KIND: &'static str;

    /// Logs in with the credentials that are available now.
    fn log_in(&self) -> impl Future<Output = Result<Grant, Fault>> + Send;

    /// Renews the grant by its first time to live.
    fn renew_grant(&self, grant: &Grant) -> impl Future<Output = Result<GrantLife, Fault>> + Send;

    /// Asks whether the grant is still valid; the class [`Fault::Dead`] says that it is not.
    fn look_up_grant(&self, grant: &Grant) -> impl Future<Output = Result<GrantLife, Fault>> + Send;

    /// Revokes the grant and all that depends on it.
    fn revoke_grant(&self, grant: &Grant) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Makes a wrapping token, of one use and of this life, that gives out the grant: as JSON, in the words of the server. Most sources
    /// have no such tokens.
    fn wrap(&self, _grant: &Grant, _ttl: Duration) -> impl Future<Output = Result<Wrapping, Fault>> + Send {
        ready(Err(Fault::Malformed { why: "this source wraps no token".to_owned() }))
    }

    /// Reads the secret, or writes if there are parameters. A leased secret is new each time.
    fn fetch(&self, grant: &Grant, want: &Want) -> impl Future<Output = Result<Fetched, Fault>> + Send;

    /// Renews a lease to `increment` from now; returns the time that it got. Most sources have no leases.
    fn renew(
        &self,
        _grant: &Grant,
        lease: &LeaseId,
        _increment: Duration,
    ) -> impl Future<Output = Result<Renewal, Fault>> + Send {
        ready(Err(no_lease(lease)))
    }

    /// Asks how long a lease is still valid; [`Fault::Gone`] if it is not.
    fn look_up(
        &self,
        _grant: &Grant,
        lease: &LeaseId,
    ) -> impl Future<Output = Result<Duration, Fault>> + Send {
        ready(Err(no_lease(lease)))
    }

    /// Revokes a lease. A lease that is already gone counts as revoked.
    fn revoke(&self, _grant: &Grant, _lease: &LeaseId) -> impl Future<Output = Result<(), Fault>> + Send {
        ready(Ok(()))
    }

    /// Returns when the source itself says that a secret changed; most sources never do. The future may be dropped at any time.
    fn changed(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Returns when the source asks for a command in a process of its own; most sources never do. The future may be dropped at any time.
    fn errand(&self) -> impl Future<Output = Errand> + Send {
        std::future::pending()
    }

    /// How often to look whether the machine slept or its clock was set, so that an end that came meanwhile is noticed soon.
    fn look_every(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// The identity of the login and its server: another identity must not adopt what this login left.
    fn identity(&self) -> Identity;

    /// The credential of its logins, where there is one and no login goes on.
    fn credential(&self) -> Option<CredentialStatus> {
        None
    }

    /// How the rotations stand that are planned at the source, where it tells.
    fn rotations(&self, _clock: &Clock) -> Option<Rotations> {
        None
    }

    /// The end, for good: forgets what it kept for the logins of a later run. Most sources keep nothing.
    fn forget(&self) {}

    /// The files whose appearance or change makes a new login worth trying.
    fn credential_files(&self) -> Vec<PathBuf>;

    /// The TLS files, of trust and of the client's identity: when they change, [`Self::look_at_tls`] is called.
    fn tls_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Reads the TLS files again.
    fn look_at_tls(&self) {}

    /// Whether a credential file holds the token itself, so that its change is a new grant and not only a new credential to log in.
    fn credential_is_grant(&self) -> bool {
        false
    }
}

fn no_lease(lease: &LeaseId) -> Fault {
    Fault::Gone { why: format!("this source has no leases, and so not {lease}") }
}

/// A command that a source asks for.
#[derive(Clone, Debug)]
pub struct Errand {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables that it gets beside those of every command.
    pub env: BTreeMap<String, Secret<str>>,
}

/// The result of a login: the right to ask.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The bearer token.
    pub token: Secret<str>,
    /// Its time to live.
    pub life: GrantLife,
    /// Whether Squire revokes it at the stop: Squire made it by a login, and the server can revoke it (it cannot revoke a batch token).
    pub revocable: bool,
    /// The number of requests that it allowed at first, at least 1; `None` for any number.
    pub uses: Option<u64>,
}

/// The time to live of a grant, counted from the moment the request for it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantLife {
    /// `None` lives for ever.
    pub ttl: Option<Duration>,
    /// Whether it can be renewed.
    pub renewable: bool,
}

/// A wrapping token.
#[derive(Clone, Debug)]
pub struct Wrapping {
    /// The token alone.
    pub token: Secret<str>,
    /// What the server says of it, and the token: a JSON object.
    pub document: Secret<str>,
}

/// A secret in an answer.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The fields for templates.
    pub fields: Packed,
    /// How long it stays valid.
    pub life: Life,
    /// When somebody wrote it, by the clock of the source, where that says so.
    pub written: Option<SystemTime>,
    /// What the source tells of it beside its fields. Who asks adds what the arrival tells.
    pub meta: Meta,
}

/// The longest time to live, whatever a server says: a century. Times up to here can be computed with, and no longer ones: an instant of
/// the system ends 292 years after its start.
pub const LONGEST_LIFE: Duration = Duration::from_hours(24 * 365 * 100);

/// How long a value stays valid, counted from the moment the request was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// Leased, and the lease may be renewed.
    Renewable {
        /// The id to renew and revoke it.
        lease: LeaseId,
        /// The time to its end.
        ttl: Duration,
    },
    /// It cannot be renewed: a lease that is not renewable, or a certificate.
    Expiring {
        /// `None` if the server keeps no lease of it.
        lease: Option<LeaseId>,
        /// The time to its end.
        ttl: Duration,
    },
    /// The server itself changes it in place after this long (a static role with rotation).
    Rotating {
        /// The time to the change; 0 while the change is going on.
        ttl: Duration,
    },
    /// It stays until somebody writes a new one.
    Versioned {
        /// The longest wait before the next look, as the source says.
        within: Option<Duration>,
    },
}

/// A renewed lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// Its time to live, counted from the moment the request was sent.
    pub ttl: Duration,
    /// Whether the server said that its maximum time to live is near.
    pub capped: bool,
}

/// The faults of a source. The class decides what happens next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The server cannot be asked now: no connection, time-out, sealed, standby, overloaded. Back off and keep the present values.
    #[error("cannot be reached: {why}")]
    Unreachable {
        /// What happened, without values.
        why: String,
        /// The pause that the server asked for.
        retry_after: Option<Duration>,
    },
    /// The server answers, but cannot serve this path now (a database behind it is down). Back off for this path alone.
    #[error("failed at the server: {why}")]
    Failing {
        /// The server's message.
        why: String,
    },
    /// A credential file is not there yet, or empty. Wait for it.
    #[error("waiting for {}: {why}", file.display())]
    Awaiting {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The server refused the credential. Sending it again may lock the role for everyone.
    #[error("login refused: {why}")]
    Refused {
        /// The server's message.
        why: String,
        /// When it may be sent again without a change of its file: no role is locked, or the server may not know it yet. `None`: only when
        /// its file changes, or after the time in which the server locks a role.
        again_in: Option<Duration>,
    },
    /// The grant is valid, but its policy does not allow this.
    #[error("permission denied on {path}: needs {capability}")]
    Denied {
        /// The path that was asked for.
        path: String,
        /// The capability that the policy would have to give.
        capability: &'static str,
    },
    /// The grant itself is dead.
    #[error("the token is no longer valid")]
    Dead,
    /// Deleted, destroyed or never there.
    #[error("{why}")]
    Gone {
        /// The missing object.
        why: String,
    },
    /// An answer that is not valid.
    #[error("unexpected answer: {why}")]
    Malformed {
        /// What was wrong with it, without its content.
        why: String,
    },
}

impl Fault {
    /// Its class alone.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unreachable { .. } => Outcome::Unreachable,
            Self::Failing { .. } => Outcome::Failing,
            Self::Awaiting { .. } => Outcome::Awaiting,
            Self::Refused { .. } => Outcome::Refused,
            Self::Denied { .. } => Outcome::Denied,
            Self::Dead => Outcome::Dead,
            Self::Gone { .. } => Outcome::Gone,
            Self::Malformed { .. } => Outcome::Malformed,
        }
    }
}
