//! What happens to a source: its login and its token.

use std::path::PathBuf;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::seconds;
use crate::names::SourceName;

/// Something that happened to a source.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants and their fields are the words of the log lines below")]
pub enum SourceFact {
    Adopted { ttl: Option<Duration>, leases: usize },
    NotAdopted { error: String },
    LoggedIn { ttl: Option<Duration> },
    CredentialAwaited { file: PathBuf, why: String },
    LoginFailed { error: String, again_in: Duration },
    TokenRenewed { ttl: Option<Duration> },
    TokenNotRenewed { error: String, again_in: Duration },
    TokenDead,
    TokenRevoked,
    TokenNotRevoked { error: String },
    Unreachable { error: String },
    Reachable,
    LedgerIgnored { error: String },
    LedgerNotWritten { error: String },
    CredentialNotKept { error: String },
    CredentialNotForgotten { error: String },
    TokenWritten { file: PathBuf },
    TokenNotWritten { file: PathBuf, error: String, again_in: Duration },
    TokenNotWrapped { error: String, again_in: Duration },
    TokenOutlived,
    TokenRestarts,
}

impl SourceFact {
    /// Its name, for machines.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Adopted { .. } => "source_adopted",
            Self::NotAdopted { .. } => "source_not_adopted",
            Self::LoggedIn { .. } => "logged_in",
            Self::CredentialAwaited { .. } => "credential_awaited",
            Self::LoginFailed { .. } => "login_failed",
            Self::TokenRenewed { .. } => "token_renewed",
            Self::TokenNotRenewed { .. } => "token_not_renewed",
            Self::TokenDead => "token_dead",
            Self::TokenRevoked => "token_revoked",
            Self::TokenNotRevoked { .. } => "token_not_revoked",
            Self::Unreachable { .. } => "source_unreachable",
            Self::Reachable => "source_reachable",
            Self::LedgerIgnored { .. } => "ledger_ignored",
            Self::LedgerNotWritten { .. } => "ledger_not_written",
            Self::CredentialNotKept { .. } => "credential_not_kept",
            Self::CredentialNotForgotten { .. } => "credential_not_forgotten",
            Self::TokenWritten { .. } => "token_written",
            Self::TokenNotWritten { .. } => "token_not_written",
            Self::TokenNotWrapped { .. } => "token_not_wrapped",
            Self::TokenOutlived => "token_outlived",
            Self::TokenRestarts => "token_restarts",
        }
    }

    pub(super) fn log(&self, source: &SourceName) {
        match self {
            Self::Adopted { ttl, leases } => {
                info!(%source, ttl_s = ttl.map(seconds), leases, "token of an earlier run adopted");
            }
            Self::NotAdopted { error } => info!(%source, error, "token of an earlier run is of no use"),
            Self::LoggedIn { ttl } => info!(%source, ttl_s = ttl.map(seconds), "logged in"),
            Self::CredentialAwaited { file, why } => {
                warn!(%source, file = %file.display(), why, "waiting for a credential file");
            }
            Self::LoginFailed { error, again_in } => {
                warn!(%source, error, again_in_s = seconds(*again_in), "login failed");
            }
            Self::TokenRenewed { ttl } => debug!(%source, ttl_s = ttl.map(seconds), "token renewed"),
            Self::TokenNotRenewed { error, again_in } => {
                warn!(%source, error, again_in_s = seconds(*again_in), "token not renewed");
            }
            Self::TokenDead => warn!(%source, "token is dead, logging in anew"),
            Self::TokenRevoked => info!(%source, "token revoked"),
            Self::TokenNotRevoked { error } => warn!(%source, error, "token not revoked"),
            Self::Unreachable { error } => {
                warn!(%source, error, "source does not answer, going on with what there is");
            }
            Self::Reachable => info!(%source, "source answers again"),
            Self::LedgerIgnored { error } => {
                warn!(%source, error, "ledger ignored, logging in and fetching anew");
            }
            Self::LedgerNotWritten { error } => {
                warn!(%source, error, "ledger not written, a restarted agent would make anew what this one holds");
            }
            Self::CredentialNotKept { error } => {
                warn!(%source, error, "credential not kept in the ledger, a restarted agent may have to wait for a new one");
            }
            Self::CredentialNotForgotten { error } => {
                warn!(%source, error, "credential not removed from the ledger");
            }
            Self::TokenWritten { file } => info!(%source, file = %file.display(), "token written"),
            Self::TokenNotWritten { file, error, again_in } => {
                let (file, again_in_s) = (file.display(), seconds(*again_in));
                warn!(%source, %file, error, again_in_s, "token not written");
            }
            Self::TokenOutlived => warn!(
                %source,
                "the token in the environment of the process is of a former login, and ends; the process gets the new one when it is \
                 started again, which restart_on_new_token = true does at once"
            ),
            Self::TokenRestarts => info!(%source, "there is a new token, the process is restarted with it"),
            Self::TokenNotWrapped { error, again_in } => {
                warn!(%source, error, again_in_s = seconds(*again_in), "token not wrapped");
            }
        }
    }
}
