//! Restrictions that Squire puts on itself, so that a mistake of its own, or another program that looks at it, reveals no secret.
//!
//! Squire leaves no core dump, and processes of the same user can read neither its memory nor its environment. Its memory is locked if that
//! is configured. Its agent, which talks to networks and renders texts of others, can write only where it has to. All of that is for Squire
//! alone: a child inherits none of it.
//!
//! *Invariant:* this file is pure; `harden/` acts. If the system refuses a restriction, Squire reports that and goes on.

mod environment;
mod landlock;
mod memory;
mod process;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::{AuthConfig, Config, ProxyListen, SourceConfig};
use crate::ordered::Order as _;
use crate::plan::Plan;
use crate::source::wrapped::TPM_DEVICE;

pub use environment::forget;
pub use landlock::{ConfineError, confine};
pub use memory::{LockError, lock};
pub use process::{seal, shield};

/// The directories below which the agent has to write: where it publishes, writes tokens, keeps its ledger and its audit, and removes a used
/// secret-id.
pub fn places(config: &Config, plan: &Plan) -> BTreeSet<PathBuf> {
    let absolute = plan.files.iter().filter(|file| file.path.is_absolute());
    let absolute = absolute.filter_map(|file| file.path.parent());
    let ledger = config.agent.ledger.iter().flat_map(|ledger| {
        let key = ledger.key_file.as_deref().and_then(Path::parent);
        [Some(ledger.directory.as_path()), key].into_iter().flatten()
    });
    let tokens = plan.tokens.iter().filter_map(|token| token.path.parent());
    let places = config.output.dir.as_deref().into_iter().chain(absolute).chain(tokens).chain(ledger);
    let places = places.chain(config.sources.values().filter_map(used_up));
    let audit = config.audit.iter().flat_map(|audit| [audit.file.parent(), audit.anchor.parent()]);
    let places = places.chain(audit.flatten());
    let proxy = config.proxy.iter().filter_map(|proxy| match &proxy.listen {
        ProxyListen::Socket(path) => path.parent(),
        ProxyListen::Loopback(_) => None,
    });
    let places = places.chain(proxy);
    // A file name without a directory is in the current directory.
    places.map(|place| if place.as_os_str().is_empty() { Path::new(".") } else { place }.to_owned()).ordered()
}

/// The devices that the agent writes to: the TPM, since it may have sealed a store's credential.
pub fn devices(config: &Config) -> Vec<&'static Path> {
    let is_store = |source: &SourceConfig| matches!(source, SourceConfig::Store(_));
    let tpm = config.sources.values().any(is_store).then(|| Path::new(TPM_DEVICE));
    tpm.into_iter().collect()
}

/// The directories where a used credential is removed, or where a store is.
fn used_up(source: &SourceConfig) -> Option<&Path> {
    let vault = match source {
        SourceConfig::Vault(vault) => vault,
        // Whoever reads a store writes its audit.
        SourceConfig::Store(store) => return store.file.parent(),
        SourceConfig::Aws(_) => return None,
    };
    match &vault.auth {
        AuthConfig::AppRole(role) => {
            role.secret_id.as_ref().filter(|secret_id| secret_id.delete)?.from.file()?.parent()
        }
        AuthConfig::Token { .. }
        | AuthConfig::Jwt(_)
        | AuthConfig::Kubernetes(_)
        | AuthConfig::Cert(_)
        | AuthConfig::Password(_)
        | AuthConfig::Aws(_)
        | AuthConfig::Gcp(_)
        | AuthConfig::Azure(_) => None,
    }
}
