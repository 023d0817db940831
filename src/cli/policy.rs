//! `squire policy`: prints the least policy for a configuration.

use std::collections::BTreeMap;

use clap::Args;

use super::USAGE;
use super::load::{Origin, Reader, complain, load};
use super::output::say;
use super::visit::{self, Online, Visitor};
use crate::agent::Setup;
use crate::config::{SourceConfig, VaultConfig};
use crate::names::SourceName;
use crate::plan::{self, Want};
use crate::policy::{self, Heading, Known, Text};
use crate::source::Grant;
use crate::source::vault::Vault;

/// What is asked for.
#[derive(Args, Debug)]
pub(super) struct PolicyAsked {
    /// The name of the policy or role in the text
    #[arg(long, value_name = "NAME", default_value = "app")]
    name: String,
    /// Only for this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    #[command(flatten)]
    online: Online,
}

/// Prints; returns the exit code.
pub(super) fn policy(origin: &Origin, asked: &PolicyAsked) -> u8 {
    let loaded = match load(&Reader::at_start(), origin, None) {
        Ok(loaded) => loaded,
        Err(problems) => {
            complain(&problems);
            return USAGE;
        }
    };
    let chosen = match chosen(&loaded, asked.source.as_deref()) {
        Ok(chosen) => chosen,
        Err(problem) => {
            complain(&[problem]);
            return USAGE;
        }
    };
    let visitor = Visitor::default();
    let known = match asked.online.online.then(|| visit::run(&visitor, known(&visitor, &chosen, asked))) {
        None => BTreeMap::new(),
        Some(Ok(known)) => known,
        Some(Err(unanswered)) => return unanswered.tell(),
    };
    let origin = origin.to_string();
    let (mut whole, nothing) = (String::new(), Known::new());
    for (source, config, wants) in &chosen {
        let heading = Heading { origin: &origin, source, name: &asked.name };
        let proxy = loaded.config.proxy.as_ref().filter(|proxy| proxy.source == **source);
        let proxied = proxy.and_then(|proxy| proxy.paths.as_deref()).unwrap_or_default();
        let known = known.get(*source).unwrap_or(&nothing);
        match policy::text(&heading, config, (wants, proxied), known) {
            Ok(text) => show(&mut whole, source, text, chosen.len() > 1),
            Err(problems) => {
                complain(
                    &problems.iter().map(|problem| format!("source {source}: {problem}")).collect::<Vec<_>>(),
                );
                return USAGE;
            }
        }
    }
    say(&whole)
}

/// A source, with the secrets that are wanted from it: by templates, or by clients of the proxy.
pub(super) type Chosen<'a> = (&'a SourceName, &'a SourceConfig, Vec<Want>);

/// The sources that anything is wanted from: all, or the one that is named.
pub(super) fn chosen<'a>(loaded: &'a Setup, only: Option<&str>) -> Result<Vec<Chosen<'a>>, String> {
    let Setup { config, plan, .. } = loaded;
    if let Some(name) = only.filter(|name| !config.sources.contains_key(*name)) {
        let all: Vec<&str> = config.sources.keys().map(SourceName::as_str).collect();
        return Err(format!("there is no source {name:?}; the configuration has: {}", all.join(", ")));
    }
    let wanted = plan.wants.iter().filter(|(name, _)| only.is_none_or(|only| name.as_str() == only));
    let proxy_at = |name: &SourceName| config.proxy.as_ref().filter(|proxy| proxy.source == *name);
    let of = |name: &SourceName, wants: &[Want]| match proxy_at(name) {
        // Then its clients may ask for every secret of the configuration.
        Some(proxy) if proxy.paths.is_none() => plan::of_source(config, name),
        Some(_) | None => wants.to_vec(),
    };
    let chosen: Vec<_> = wanted
        .filter_map(|(name, wants)| Some((name, config.sources.get(name)?, of(name, wants))))
        .filter(|(name, _, wants)| !wants.is_empty() || proxy_at(name).is_some())
        .collect();
    if chosen.is_empty() {
        return Err("no template refers to a secret of a source, so nothing has to be allowed".to_owned());
    }
    Ok(chosen)
}

/// With one source, what is printed is the policy and nothing else, so that another program can read it.
fn show(whole: &mut String, source: &SourceName, text: Text, is_one_of_many: bool) {
    let gap = if whole.is_empty() { "" } else { "\n" };
    let heading = if is_one_of_many { format!("{gap}# ---- source {source} ----\n") } else { String::new() };
    whole.extend([heading, text.body]);
    if !text.notes.is_empty() {
        complain(&text.notes.iter().map(|note| format!("note: source {source}: {note}")).collect::<Vec<_>>());
    }
}

/// Asks the servers what is mounted where: two of them may have something else at the same path.
async fn known(
    visitor: &Visitor,
    chosen: &[Chosen<'_>],
    asked: &PolicyAsked,
) -> Result<BTreeMap<SourceName, Known>, String> {
    let mut known = BTreeMap::new();
    for (source, config, wants) in chosen {
        let SourceConfig::Vault(config) = config else { continue };
        let found = mounts(visitor, config, wants, asked).await;
        known.insert((*source).clone(), found.map_err(|why| format!("source {source}: {why}"))?);
    }
    Ok(known)
}

async fn mounts(
    visitor: &Visitor,
    config: &VaultConfig,
    wants: &[Want],
    asked: &PolicyAsked,
) -> Result<Known, String> {
    let token_file = asked.online.token_file.as_deref();
    let questions = async |vault: &Vault, grant: &Grant| {
        let mut known = Known::new();
        for want in wants {
            if let Some(mounted) = vault.mounted(grant, want).await? {
                known.insert(want.path.clone(), mounted);
            }
        }
        Ok(known)
    };
    let (known, left) = visitor.vault((config, token_file, wants.len()), questions).await?;
    complain_of(left.as_deref());
    Ok(known)
}

fn complain_of(left: Option<&str>) {
    if let Some(left) = left {
        complain(&[format!("warning: {left}")]);
    }
}
