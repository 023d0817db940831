//! Reads all secrets whose names begin alike, or that have the same tags, as one. AWS has no folders: the slashes of names stand for them.
//!
//! *Invariant:* a secret is read by the name that was listed, and counts only if its name begins as the folder does and it has every tag.
//! The filters of a list only make it shorter: AWS compares beginnings, and a key and a value each for itself.

use std::collections::BTreeMap;
use std::time::SystemTime;

use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType, SecretListEntry};

use super::account::Account;
use super::batch::LARGEST;
use super::{Aws, Fault, Fetched, answer, heard, plan};
use crate::config::{EVERYWHERE, Listing};
use crate::plan::Want;
use crate::source::folder::{Folder, Names, WHOLE_WITHIN, each, in_time, lock};

/// How many names an answer has at most: <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html>
const PAGE: i32 = 100;

/// The most lists that are asked for. There may be many names in folders within a folder, of which none counts.
const MOST_PAGES: usize = 1_000;

/// What the names of a folder begin with: nothing, where tags alone choose.
fn beginning(path: &str) -> String {
    if path == EVERYWHERE { String::new() } else { format!("{}/", path.trim_end_matches('/')) }
}

/// Whether it has every tag that is asked for.
fn has_tags(entry: &SecretListEntry, tags: &BTreeMap<String, String>) -> bool {
    tags.iter().all(|(key, value)| {
        entry.tags().iter().any(|tag| tag.key() == Some(key) && tag.value().unwrap_or_default() == value)
    })
}

/// What makes the list shorter. Of several tags the first one: AWS does not say what two filters by tags mean together.
fn filters(beginning: &str, tags: &BTreeMap<String, String>) -> Vec<Filter> {
    let filter = |key, text: &str| Filter::builder().key(key).values(text).build();
    let mut filters = Vec::new();
    if !beginning.is_empty() {
        filters.push(filter(FilterNameStringType::Name, beginning));
    }
    if let Some((key, value)) = tags.first_key_value() {
        let kinds = [(FilterNameStringType::TagKey, key), (FilterNameStringType::TagValue, value)];
        filters.extend(
            kinds.into_iter().filter(|(_, text)| can_filter(text)).map(|(kind, text)| filter(kind, text)),
        );
    }
    filters
}

/// Whether AWS takes this for a filter, and as it is written: a `!` at its beginning turns it around.
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_Filter.html>
fn can_filter(text: &str) -> bool {
    let is_taken = |c: char| c.is_ascii_alphanumeric() || " :_@/+=.-!".contains(c);
    !text.is_empty() && !text.starts_with('!') && text.chars().all(is_taken)
}

impl Aws {
    /// The current versions of all of them. There need not be any.
    pub(super) async fn read_folder(
        &self,
        account: &Account,
        want: &Want,
        list: Listing,
    ) -> Result<Fetched, Fault> {
        in_time(want, WHOLE_WITHIN, self.read_entries(account, want, list)).await
    }

    async fn read_entries(&self, account: &Account, want: &Want, list: Listing) -> Result<Fetched, Fault> {
        let beginning = beginning(&want.path);
        // What has no folder has no levels: its name is whole.
        let list = if beginning.is_empty() { Listing::Tree } else { list };
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

    /// The names of secrets that may be listed and are in this folder, so many at most.
    ///
    /// # Errors
    /// [`Fault::Denied`], and those of any request.
    pub async fn listed(&self, folder: &Want, most: usize) -> Result<Vec<String>, Fault> {
        let (account, beginning) = (self.account()?, beginning(&folder.path));
        let page = self.page(&account, folder, &beginning, None).await?;
        let tagged = page.secret_list().iter().filter(|entry| has_tags(entry, &folder.tags));
        let names = tagged.filter_map(SecretListEntry::name);
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
            let page = self.page(account, want, beginning, token).await?;
            for entry in page.secret_list().iter().filter(|entry| has_tags(entry, &want.tags)) {
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
        want: &Want,
        beginning: &str,
        token: Option<String>,
    ) -> Result<aws_sdk_secretsmanager::operation::list_secrets::ListSecretsOutput, Fault> {
        let filters = filters(beginning, &want.tags);
        let question = account.client.list_secrets().max_results(PAGE);
        let question = question.set_filters((!filters.is_empty()).then_some(filters));
        let answer = question.set_next_token(token).send().await;
        let fault = |error| answer::failure(&error, &want.path, "secretsmanager:ListSecrets");
        answer.map_err(|error| self.fault(account, fault(error)))
    }
}

/// When to look again for the planned rotation of this one.
fn rotates(entry: &SecretListEntry) -> Option<std::time::Duration> {
    let next = entry.next_rotation_date().filter(|_| entry.rotation_enabled() == Some(true))?;
    plan::look_again(SystemTime::try_from(*next).ok(), SystemTime::now())
}

#[cfg(test)]
mod tests {
    use aws_sdk_secretsmanager::types::Tag;

    use super::*;

    #[test]
    fn a_folder_ends_with_a_slash_whether_it_is_written_or_not() {
        for (path, expected) in
            [("prod/team", "prod/team/"), ("prod/team/", "prod/team/"), ("/a", "/a/"), ("*", "")]
        {
            assert_eq!(beginning(path), expected);
        }
    }

    fn tags(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// AWS would list each of these for the filters of `team=shop`.
    #[test]
    fn a_secret_counts_only_with_the_whole_tag() {
        let cases: [(&[(&str, &str)], bool); 7] = [
            (&[("team", "shop")], true),
            (&[("stage", "live"), ("team", "shop")], true),
            (&[("team", "shop-2")], false),
            (&[("teams", "shop")], false),
            (&[("team", "other"), ("owner", "shop")], false),
            (&[("Team", "shop")], false),
            (&[], false),
        ];
        for (has, counts) in cases {
            let of = has.iter().map(|(key, value)| Tag::builder().key(*key).value(*value).build());
            let entry = SecretListEntry::builder().set_tags(Some(of.collect())).build();
            assert_eq!(has_tags(&entry, &tags(&[("team", "shop")])), counts, "{has:?}");
            assert!(has_tags(&entry, &tags(&[])));
        }
        let entry = SecretListEntry::builder().tags(Tag::builder().key("a").build()).build();
        assert!(has_tags(&entry, &tags(&[("a", "")])));
        assert!(!has_tags(&entry, &tags(&[("a", ""), ("b", "")])));
    }

    #[test]
    fn a_filter_means_what_the_tag_says_or_is_left_out() {
        let of = |beginning: &str, has: &[(&str, &str)]| {
            let filters = filters(beginning, &tags(has)).into_iter();
            filters
                .map(|filter| format!("{}={}", filter.key().unwrap().as_str(), filter.values().join(",")))
                .collect::<Vec<_>>()
        };
        assert_eq!(of("prod/", &[]), ["name=prod/"]);
        assert_eq!(of("", &[("team", "shop"), ("z", "y")]), ["tag-key=team", "tag-value=shop"]);
        assert_eq!(of("prod/", &[("team", "!shop")]), ["name=prod/", "tag-key=team"]);
        assert!(of("", &[("ü", "")]).is_empty());
    }
}
