//! Reads all secrets whose names begin alike, as one. AWS has no folders: the slashes of names stand for them.
//!
//! *Invariant:* a secret is read by the name that was listed, and counts only if its name begins as the folder does.

use std::time::SystemTime;

use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType, SecretListEntry};

use super::account::Account;
use super::batch::LARGEST;
use super::{Aws, Fault, Fetched, answer, heard, plan};
use crate::config::Listing;
use crate::plan::Want;
use crate::source::folder::{Folder, Names, each, lock};

/// How many names an answer has at most: <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html>
const PAGE: i32 = 100;

/// The most lists that are asked for. There may be many names in folders within a folder, of which none counts.
const MOST_PAGES: usize = 1_000;

/// What the names of a folder begin with.
fn beginning(path: &str) -> String {
    format!("{}/", path.trim_end_matches('/'))
}

impl Aws {
    /// The current versions of all of them. There need not be any.
    pub(super) async fn read_folder(
        &self,
        account: &Account,
        want: &Want,
        list: Listing,
    ) -> Result<Fetched, Fault> {
        let beginning = beginning(&want.path);
        let folder = Folder::new(want);
        let names = self.names(account, want, &beginning, |entry, name, names| {
            names.take(&want.path, name, list)?;
            if names.secrets.contains(name) {
                lock(&folder).look_within(rotates(entry));
            }
            Ok(())
        });
        let names = names.await?;
        let (folder_here, beginning) = (&folder, beginning.as_str());
        let read = |name: String| async move {
            let id = format!("{beginning}{name}");
            let answer = account.batch.get(&account.client, &id).await;
            let value = match answer.map_err(|failure| self.fault(account, failure)) {
                Ok(value) => value,
                // It was deleted since it was listed.
                Err(Fault::Gone { .. }) => return Ok(()),
                Err(fault) => return Err(fault),
            };
            heard::request(value.request.clone());
            let fields = value.fields(&id, want.max_size)?;
            lock(folder_here).add(name, Fetched::stays(fields, value.meta()))
        };
        // As many as one request reads.
        each(names, LARGEST, read).await?;
        Ok(lock(&folder).whole())
    }

    /// The names of secrets that may be listed and begin like this, so many at most.
    ///
    /// # Errors
    /// [`Fault::Denied`], and those of any request.
    pub async fn listed(&self, path: &str, most: usize) -> Result<Vec<String>, Fault> {
        let (account, beginning) = (self.account()?, beginning(path));
        let page = self.page(&account, path, &beginning, None).await?;
        let names = page.secret_list().iter().filter_map(SecretListEntry::name);
        Ok(names.filter(|name| name.starts_with(&beginning)).take(most).map(str::to_owned).collect())
    }

    /// All names below the beginning, as far as they are taken: an entry, its name from the folder on, and what was taken so far.
    async fn names(
        &self,
        account: &Account,
        want: &Want,
        beginning: &str,
        take: impl Fn(&SecretListEntry, &str, &mut Names) -> Result<(), Fault>,
    ) -> Result<Vec<String>, Fault> {
        let (mut names, mut token) = (Names::default(), None);
        for _ in 0..MOST_PAGES {
            let page = self.page(account, &want.path, beginning, token).await?;
            for entry in page.secret_list() {
                let name = entry.name().and_then(|name| name.strip_prefix(beginning));
                if let Some(name) = name.filter(|_| entry.deleted_date().is_none()) {
                    take(entry, name, &mut names)?;
                }
            }
            token = page.next_token().map(str::to_owned);
            if token.is_none() {
                return Ok(names.secrets.into_iter().collect());
            }
        }
        let why = format!("{}: its names do not end after {MOST_PAGES} lists", want.path);
        Err(Fault::Malformed { why })
    }

    async fn page(
        &self,
        account: &Account,
        path: &str,
        beginning: &str,
        token: Option<String>,
    ) -> Result<aws_sdk_secretsmanager::operation::list_secrets::ListSecretsOutput, Fault> {
        let begins = Filter::builder().key(FilterNameStringType::Name).values(beginning).build();
        let question = account.client.list_secrets().filters(begins).max_results(PAGE);
        let answer = question.set_next_token(token).send().await;
        answer
            .map_err(|error| self.fault(account, answer::failure(&error, path, "secretsmanager:ListSecrets")))
    }
}

/// When to look again for the planned rotation of this one.
fn rotates(entry: &SecretListEntry) -> Option<std::time::Duration> {
    let next = entry.next_rotation_date().filter(|_| entry.rotation_enabled() == Some(true))?;
    plan::look_again(SystemTime::try_from(*next).ok(), SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::beginning;

    #[test]
    fn a_folder_ends_with_a_slash_whether_it_is_written_or_not() {
        for (path, expected) in [("prod/team", "prod/team/"), ("prod/team/", "prod/team/"), ("/a", "/a/")] {
            assert_eq!(beginning(path), expected);
        }
    }
}
