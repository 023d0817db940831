//! From the configuration of a source to its backend, at the start and for a reload.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::agent::keepers::{Keepers, Tapped};
use crate::agent::reloads::Prepared;
use crate::agent::{Setup, chain};
use crate::config::{AwsConfig, SourceConfig, StoreConfig, VaultConfig};
use crate::ledger::file::Ledger;
use crate::names::{Edition, SourceName};
use crate::plan::Want;
use crate::proxy::line::Line;
use crate::secret::DigestKey;
use crate::session::Settings;
#[cfg(feature = "aws")]
use crate::source::aws::Aws;
use crate::source::store::Embedded;
use crate::source::vault::Vault;

/// What every source of a run shares.
pub(super) struct Means {
    pub(super) key: DigestKey,
    pub(super) ledger: Option<Arc<Ledger>>,
    /// The source whose token the proxy uses, and where it hears of it.
    pub(super) proxied: Option<(SourceName, Line)>,
}

impl Means {
    /// The sources of all secrets of a configuration; or every reason why one cannot be.
    pub(super) fn sources(&self, setup: &Setup) -> Result<BTreeMap<SourceName, Prepared>, Vec<String>> {
        let (mut sources, mut problems) = (BTreeMap::new(), Vec::new());
        for name in setup.plan.wants.keys() {
            let Some(source) = setup.config.sources.get(name) else { continue };
            match prepare(self, name, source) {
                Ok(prepared) => drop(sources.insert(name.clone(), prepared)),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(sources) } else { Err(problems) }
    }
}

/// The one place that turns a source's configuration into its backend.
pub(super) fn prepare(means: &Means, name: &SourceName, source: &SourceConfig) -> Result<Prepared, String> {
    let seed = u64::from_le_bytes(random()?);
    match source {
        SourceConfig::Vault(config) => vault(means, name, config, seed),
        SourceConfig::Store(config) => Ok(store(means, name, config, seed)),
        SourceConfig::Aws(config) => aws(means, name, config, seed),
    }
}

fn vault(means: &Means, name: &SourceName, config: &VaultConfig, seed: u64) -> Result<Prepared, String> {
    let (key, ledger, look_up_every) = (means.key.clone(), means.ledger.clone(), config.look_up_every);
    let vault = Vault::new(config).map_err(|error| format!("source {name}: {}", chain(&error)))?;
    let vault = match &ledger {
        Some(ledger) => vault.with_ledger(Arc::clone(ledger), name.clone()),
        None => vault,
    };
    let (vault, name) = (Arc::new(vault), name.clone());
    let line = means.proxied.as_ref().filter(|(proxied, _)| *proxied == name).map(|(_, line)| line.clone());
    Ok(Box::new(move |keepers: &mut Keepers, wants: Vec<Want>, edition: Edition| {
        let settings = Settings { source: name, wants, look_up_every, seed, adopt: None };
        let proxied = Arc::clone(&vault);
        let tap = line.map(|line| -> Tapped { Box::new(move |keeper| line.tap(proxied, keeper)) });
        keepers.keep(vault, settings, &key, ledger, edition, tap);
    }))
}

fn store(means: &Means, name: &SourceName, config: &StoreConfig, seed: u64) -> Prepared {
    let (key, look_up_every) = (means.key.clone(), config.refresh);
    let store = Embedded::new(config);
    let store = match &means.ledger {
        Some(ledger) => store.with_ledger(Arc::clone(ledger), name.clone()),
        None => store,
    };
    let name = name.clone();
    Box::new(move |keepers: &mut Keepers, wants: Vec<Want>, edition: Edition| {
        let settings = Settings { source: name, wants, look_up_every, seed, adopt: None };
        // It has no lease that could outlive us, and no token: what it leaves in the ledger is its own.
        keepers.keep(Arc::new(store), settings, &key, None, edition, None);
    })
}

#[cfg(feature = "aws")]
fn aws(means: &Means, name: &SourceName, config: &AwsConfig, seed: u64) -> Result<Prepared, String> {
    let (key, look_up_every) = (means.key.clone(), config.refresh);
    let aws = Aws::new(config).map_err(|error| format!("source {name}: {}", chain(&error)))?;
    let name = name.clone();
    Ok(Box::new(move |keepers: &mut Keepers, wants: Vec<Want>, edition: Edition| {
        let settings = Settings { source: name, wants, look_up_every, seed, adopt: None };
        // It has no lease either, and its credentials are kept by whoever gave them.
        keepers.keep(Arc::new(aws), settings, &key, None, edition, None);
    }))
}

#[cfg(not(feature = "aws"))]
fn aws(_: &Means, name: &SourceName, _: &AwsConfig, _: u64) -> Result<Prepared, String> {
    Err(format!("source {name}: this build has no AWS"))
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random bytes: {error}"))?;
    Ok(bytes)
}
