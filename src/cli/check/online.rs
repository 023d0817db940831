//! `squire check --online`: asks each source what it allows, and reads no secret.

#[cfg(feature = "aws")]
use std::collections::BTreeMap;
use std::io::Write;

use super::super::USAGE;
use super::super::load::{Origin, complain};
use super::super::policy::{Chosen, chosen};
use super::super::visit::{self, Visitor};
use super::CheckAsked;
use crate::agent::Setup;
use crate::config::{AppRoleConfig, AuthConfig, SourceConfig, StoreConfig, VaultConfig};
use crate::plain::plain;
use crate::plan::Want;
use crate::policy::review::{self, Review, VaultFacts};
use crate::policy::{self, Known};
use crate::source::store::Embedded;
use crate::source::vault::{Vault, suits};
use crate::source::{Fault, Grant, Source};

/// Asks; returns the exit code.
pub(super) fn online(origin: &Origin, loaded: &Setup, asked: &CheckAsked) -> u8 {
    let chosen = match chosen(loaded, asked.source.as_deref()) {
        Ok(chosen) => chosen,
        Err(problem) => {
            complain(&[problem]);
            return USAGE;
        }
    };
    let visitor = Visitor::default();
    let (lacks, silent) = match visit::run(&visitor, all(&visitor, &chosen, asked)) {
        Ok(counted) => counted,
        Err(unanswered) => return unanswered.tell(),
    };
    if (lacks, silent) == (0, 0) {
        tell(&format!("{origin}: everything that it needs is allowed"));
        return 0;
    }
    tell(&format!("{origin}: {lacks} rights are missing or not known, {silent} sources could not be asked"));
    1
}

/// Every source in turn: how many rights are missing, and how many sources could not be asked.
async fn all(visitor: &Visitor, chosen: &[Chosen<'_>], asked: &CheckAsked) -> Result<(usize, usize), String> {
    let (mut lacks, mut silent) = (0, 0);
    for (name, config, wants) in chosen {
        match one(visitor, config, wants, asked).await {
            Ok(review) => {
                tell(&format!("source {name}:"));
                show(&review);
                lacks += review.lacks();
            }
            Err(why) => {
                complain(&[format!("source {name}: {why}")]);
                silent += 1;
            }
        }
    }
    Ok((lacks, silent))
}

fn show(review: &Review) {
    review.lines.iter().for_each(|line| tell(&format!("  {line}")));
    review.wrong.iter().for_each(|wrong| tell(&format!("  WRONG    {wrong}")));
    review.worries.iter().for_each(|worry| tell(&format!("  review   {worry}")));
    review.notes.iter().for_each(|note| tell(&format!("  note     {note}")));
}

/// If nobody reads it, the exit code alone tells.
fn tell(line: &str) {
    drop(std::io::stdout().write_all(format!("{}\n", plain(line)).as_bytes()));
}

async fn one(
    visitor: &Visitor,
    config: &SourceConfig,
    wants: &[Want],
    asked: &CheckAsked,
) -> Result<Review, String> {
    match config {
        SourceConfig::Vault(config) => vault(visitor, config, wants, asked).await,
        SourceConfig::Store(config) => Box::pin(store(config, wants)).await,
        #[cfg(feature = "aws")]
        SourceConfig::Aws(config) => aws(config, wants).await,
        #[cfg(not(feature = "aws"))]
        SourceConfig::Aws(_) => Err("this build has no AWS".to_owned()),
    }
}

async fn vault(
    visitor: &Visitor,
    config: &VaultConfig,
    wants: &[Want],
    asked: &CheckAsked,
) -> Result<Review, String> {
    let token_file = asked.online.token_file.as_deref();
    let questions = async |vault: &Vault, grant: &Grant| {
        // Another token tells nothing about those of the login.
        let grant_of_login = Some(grant).filter(|_| token_file.is_none());
        ask_vault(vault, grant, (config, wants, grant_of_login)).await
    };
    let (mut review, left) = visitor.vault((config, token_file, wants.len()), questions).await?;
    review.worries.extend(left);
    if let (None, AuthConfig::AppRole(AppRoleConfig { secret_id: Some(secret_id), .. })) =
        (token_file, &config.auth)
    {
        let from = &secret_id.from;
        review
            .notes
            .push(format!("this log-in was one use of the secret-id in {from}, where its uses are counted"));
    }
    Ok(review)
}

async fn ask_vault(
    vault: &Vault,
    grant: &Grant,
    (config, wants, of_login): (&VaultConfig, &[Want], Option<&Grant>),
) -> Result<Review, Fault> {
    let (mut known, mut wrong) = (Known::new(), Vec::new());
    for want in wants {
        if let Some(mounted) = vault.mounted(grant, want).await? {
            wrong.extend(
                suits(&mounted, want).err().map(|fault| format!("the secret {}: {fault}", want.name)),
            );
            known.insert(want.path.clone(), mounted);
        }
    }
    let rules = policy::vault::rules(config, wants, &known, of_login);
    let mut paths: Vec<String> = rules.iter().flat_map(|rule| rule.paths.clone()).collect();
    paths.extend(review::probes(&rules).into_keys());
    let rights = match vault.rights(grant, &paths).await {
        Ok(rights) => Some(rights),
        Err(Fault::Denied { .. }) => None,
        Err(fault) => return Err(fault),
    };
    let facts = VaultFacts { rights, acl: vault.acl(grant).await?, held: vault.held(grant).await? };
    Ok(Review { wrong, ..review::vault(&rules, &facts) })
}

async fn store(config: &StoreConfig, wants: &[Want]) -> Result<Review, String> {
    let store = Embedded::new(config);
    let questions = async {
        store.log_in().await?;
        store.rights(wants).await
    };
    let rights = visit::within(questions).await?;
    Ok(review::store(&policy::store::rules(config, wants), &rights))
}

#[cfg(feature = "aws")]
async fn aws(config: &crate::config::AwsConfig, wants: &[Want]) -> Result<Review, String> {
    use crate::source::aws::Aws;
    let mut config = config.clone();
    // They were said already.
    config.cautions.clear();
    let aws = Aws::new(&config).map_err(|error| crate::agent::chain(&error))?;
    let rules = policy::aws::rules(wants);
    let facts = visit::within(Box::pin(ask_aws(&aws, wants, &rules))).await?;
    Ok(review::aws(&rules, &facts))
}

#[cfg(feature = "aws")]
async fn ask_aws(
    aws: &crate::source::aws::Aws,
    wants: &[Want],
    rules: &[policy::Rule],
) -> Result<review::AwsFacts, Fault> {
    aws.log_in().await?;
    let nobody = nobody()?;
    let (mut reads, mut described) = (BTreeMap::new(), BTreeMap::new());
    let (mut batch, mut lists) = (None, None);
    for rule in rules {
        let [path] = rule.paths.as_slice() else { continue };
        let is_folder = |want: &&Want| want.list.is_some() && policy::aws::place(want) == *path;
        if let Some(folder) = wants.iter().find(is_folder) {
            let (listed, read) = of_folder(for_itself(aws.may_read_folder(folder, &nobody).await)?);
            lists = Some(listed);
            reads.insert(path.clone(), read);
        } else if path == "*" && rule.capability == policy::aws::READ_MANY {
            batch = Some(for_itself(aws.may_batch(&nobody).await)?);
        } else if path != "*"
            && let std::collections::btree_map::Entry::Vacant(entry) = reads.entry(path.clone())
        {
            entry.insert(for_itself(aws.may_read(path, &nobody).await)?);
            described.insert(path.clone(), kept(aws.describe(path).await)?);
        }
    }
    Ok(review::AwsFacts { reads, lists, batch, described, has_end: aws.has_end()? })
}

/// Whether a folder may be listed, and what is in it read.
#[cfg(feature = "aws")]
fn of_folder(found: Result<Option<Vec<bool>>, String>) -> (Result<bool, String>, Result<bool, String>) {
    match found {
        Ok(Some(reads)) if reads.is_empty() => {
            (Ok(true), Err("there is nothing, and what is not there cannot be asked about".to_owned()))
        }
        Ok(Some(reads)) => (Ok(true), Ok(reads.into_iter().all(|may| may))),
        Ok(None) => (Ok(false), Err("it cannot be asked without the right to list".to_owned())),
        Err(why) => (Err(why.clone()), Err(why)),
    }
}

/// What failed for one question alone; what is so for each of them ends the check.
#[cfg(feature = "aws")]
fn for_itself<T>(answer: Result<T, Fault>) -> Result<Result<T, String>, Fault> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(
            fault
            @ (Fault::Unreachable { .. } | Fault::Refused { .. } | Fault::Dead | Fault::Awaiting { .. }),
        ) => Err(fault),
        Err(
            fault @ (Fault::Failing { .. }
            | Fault::Denied { .. }
            | Fault::Gone { .. }
            | Fault::Malformed { .. }),
        ) => Ok(Err(fault.to_string())),
    }
}

#[cfg(feature = "aws")]
fn kept(
    described: Result<crate::source::aws::Described, Fault>,
) -> Result<Result<Option<review::Kept>, String>, Fault> {
    match described {
        Ok(described) => Ok(Ok(Some(match described.deleted {
            Some(_) => review::Kept::Not("it is deleted, or is to be".to_owned()),
            None => review::Kept::There(described.key),
        }))),
        Err(Fault::Denied { .. }) => Ok(Ok(None)),
        Err(Fault::Gone { why }) => Ok(Ok(Some(review::Kept::Not(why)))),
        Err(fault) => for_itself(Err(fault)),
    }
}

/// The id of a version, and the name of a secret, that nobody has.
#[cfg(feature = "aws")]
fn nobody() -> Result<String, Fault> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Fault::Failing { why: format!("no random bytes: {error}") })?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}
