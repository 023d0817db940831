//! The least policy of AWS IAM for Secrets Manager, in JSON.
//!
//! *Invariant:* pure. No name of a secret has a character that IAM takes for a pattern: the configuration lets none in.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Rule, Text, Weight, by_place, secrets};
use crate::config::{AwsConfig, EVERYWHERE, Version};
use crate::plan::Want;

pub(super) const READ: &str = "secretsmanager:GetSecretValue";
pub(crate) const READ_MANY: &str = "secretsmanager:BatchGetSecretValue";
pub(super) const DESCRIBE: &str = "secretsmanager:DescribeSecret";
pub(super) const LIST: &str = "secretsmanager:ListSecrets";

/// The name of a secret, or the pattern of those in a folder: no name has a `*` or a space.
pub fn place(want: &Want) -> String {
    let Some(pattern) = pattern(want) else { return want.path.clone() };
    if want.tags.is_empty() {
        return pattern;
    }
    let tags: Vec<String> = want.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{pattern} tagged {}", tags.join(", "))
}

/// The pattern of the names in a folder. In an ARN it stands for slashes too, so one level cannot be told from a tree.
fn pattern(want: &Want) -> Option<String> {
    want.list?;
    let folder = want.path.trim_end_matches('/');
    Some(if folder == EVERYWHERE { EVERYWHERE.to_owned() } else { format!("{folder}/*") })
}

/// Every right that the agent uses with these secrets.
pub fn rules(wants: &[Want]) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (path, names) in by_place(wants, place) {
        let rule =
            |capability, weight| Rule { paths: vec![path.clone()], capability, why: secrets(&names), weight };
        rules.push(rule(READ, Weight::Needed));
        if rotates(wants, &path) {
            rules.push(rule(
                DESCRIBE,
                Weight::Helps("a planned rotation is seen at the next `refresh`, and not when it happens"),
            ));
        }
    }
    for (_, names) in by_place(folders(wants), |_| String::new()) {
        let why = format!("to list {}", secrets(&names));
        rules.push(Rule { paths: vec!["*".to_owned()], capability: LIST, why, weight: Weight::Needed });
    }
    if are_many(wants) {
        rules.push(Rule {
            paths: vec!["*".to_owned()],
            capability: READ_MANY,
            why: "to read up to twenty secrets in one request".to_owned(),
            weight: Weight::Helps("each secret is a request of its own"),
        });
    }
    rules
}

fn folders(wants: &[Want]) -> impl Iterator<Item = &Want> {
    wants.iter().filter(|want| want.list.is_some())
}

/// Whether a secret at this path follows a stage, and has to be asked when it rotates: one that is pinned by its id has no rotation, and a
/// list tells of those in a folder.
fn rotates(wants: &[Want], path: &str) -> bool {
    let follows = |want: &Want| want.list.is_none() && !matches!(want.version, Some(Version::Id(_)));
    wants.iter().any(|want| want.path == path && follows(want))
}

/// Whether there are two that one request can read: only those without a version.
fn are_many(wants: &[Want]) -> bool {
    let current = wants.iter().filter(|want| want.version.is_none());
    by_place(current, place).len() > 1 || folders(wants).next().is_some()
}

/// The policy in JSON, which has no comments.
pub fn text(config: &AwsConfig, wants: &[Want]) -> Text {
    let region = config.region.as_deref().filter(|region| is_region(region)).unwrap_or("*");
    let paths: Vec<String> = by_place(wants, place).into_iter().map(|(path, _)| path).collect();
    let (following, others): (Vec<&str>, Vec<&str>) =
        paths.iter().map(String::as_str).partition(|path| rotates(wants, path));
    let pinned: Vec<&str> =
        others.into_iter().filter(|path| !folders(wants).any(|want| place(want) == *path)).collect();
    let statement = |sid: &str, actions: &[&str], resources: Vec<String>| {
        (!resources.is_empty())
            .then(|| json!({"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}))
    };
    let resources = |paths: &[&str]| paths.iter().flat_map(|path| arns(path, region)).collect::<Vec<_>>();
    let everything = |is_needed: bool| is_needed.then(|| "*".to_owned()).into_iter().collect();
    let statements: Vec<Value> = [
        statement("Read", &[READ, DESCRIBE], resources(&following)),
        statement("ReadPinned", &[READ], resources(&pinned)),
    ]
    .into_iter()
    .chain(in_folders(wants, region).into_iter().map(Some))
    .chain([
        statement("List", &[LIST], everything(folders(wants).next().is_some())),
        statement("ReadManyAtOnce", &[READ_MANY], everything(are_many(wants))),
    ])
    .flatten()
    .collect();
    let policy = json!({"Version": "2012-10-17", "Statement": statements});
    Text { body: format!("{policy:#}\n"), notes: notes(config, wants, region) }
}

/// A statement for the folders without tags, and one for each choice of tags.
fn in_folders(wants: &[Want], region: &str) -> Vec<Value> {
    let mut by_tags: Vec<(&BTreeMap<String, String>, Vec<String>)> = Vec::new();
    for want in folders(wants) {
        let arn = arn(&pattern(want).unwrap_or_default(), region);
        match by_tags.iter_mut().find(|(tags, _)| **tags == want.tags) {
            Some((_, arns)) if arns.contains(&arn) => {}
            Some((_, arns)) => arns.push(arn),
            None => by_tags.push((&want.tags, vec![arn])),
        }
    }
    // Those without tags first.
    by_tags.sort_by_key(|(tags, _)| !tags.is_empty());
    let statements = by_tags.into_iter().enumerate().map(|(index, (tags, arns))| {
        if tags.is_empty() {
            return json!({"Sid": "ReadFolders", "Effect": "Allow", "Action": [READ], "Resource": arns});
        }
        let tags: serde_json::Map<String, Value> =
            tags.iter().map(|(key, value)| (format!("aws:ResourceTag/{key}"), json!(value))).collect();
        let sid = format!("ReadTagged{}", index + 1);
        let condition = json!({ "StringEquals": tags });
        json!({"Sid": sid, "Effect": "Allow", "Action": [READ], "Resource": arns, "Condition": condition})
    });
    statements.collect()
}

fn notes(config: &AwsConfig, wants: &[Want], region: &str) -> Vec<String> {
    let mut notes = vec![format!(
        "a secret that is encrypted with a key of your own also needs kms:Decrypt on the ARN of that key, best with the condition \
         StringEquals kms:ViaService secretsmanager.{}.amazonaws.com; `squire check --online` names the key",
        if region == "*" { "REGION" } else { region }
    )];
    if wants.iter().any(|want| !want.path.starts_with("arn:")) {
        notes.push("the account is not known here: * in an ARN stands for it, and each name goes on with the six characters that AWS adds".to_owned());
    }
    if are_many(wants) {
        notes.push(format!("{READ_MANY} takes no ARN; it reads nothing that {READ} does not allow"));
    }
    if folders(wants).next().is_some() {
        notes.push(format!("{LIST} takes no ARN: it shows the names of all secrets of the account in this region, and no value"));
    }
    if folders(wants).any(|want| !want.tags.is_empty()) {
        notes.push("whoever may tag a secret decides by it who reads it: secretsmanager:TagResource and UntagResource are as good as a read".to_owned());
    }
    if let Some(role) = &config.assume_role {
        notes.push(format!(
            "this is for the role {}; the credentials that Squire finds need sts:AssumeRole on it, and the role has to trust them",
            role.arn
        ));
    }
    notes
}

/// The ARNs of a secret. AWS adds a hyphen and six characters to each name; a name that ends as if it had them may be either.
fn arns(path: &str, region: &str) -> Vec<String> {
    let whole = arn(path, region);
    let added = format!("{whole}-??????");
    let is_whole = path.starts_with("arn:")
        && path
            .rsplit_once('-')
            .is_some_and(|(_, end)| end.len() == 6 && end.chars().all(|c| c.is_ascii_alphanumeric()));
    if is_whole { vec![whole, added] } else { vec![added] }
}

/// The ARN that begins with this name or is it.
fn arn(path: &str, region: &str) -> String {
    if path.starts_with("arn:") {
        return path.to_owned();
    }
    format!("arn:{}:secretsmanager:{region}:*:secret:{path}", partition(region))
}

fn partition(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

/// The variables of AWS are not checked as the configuration is.
fn is_region(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::super::tests::wanted;
    use super::*;
    use crate::config::SourceConfig;

    fn aws(rest: &str) -> (AwsConfig, Vec<Want>) {
        match wanted(&format!("[source.aws]\nregion = \"eu-west-1\"\n{rest}")).pop() {
            Some((_, SourceConfig::Aws(config), wants)) => (config, wants),
            other => panic!("{other:?}"),
        }
    }

    fn policy(rest: &str) -> Value {
        let (config, wants) = aws(rest);
        serde_json::from_str(&text(&config, &wants).body).unwrap()
    }

    #[test]
    fn a_name_is_an_arn_with_what_aws_adds_and_many_are_read_at_once() {
        let policy = policy(
            "[secret.a]\npath = \"prod/a\"\n[secret.b]\npath = \"prod/b\"\n[secret.old]\npath = \"prod/c\"\nversion_id = \"x\"\n",
        );
        let arn = |name: &str| format!("arn:aws:secretsmanager:eu-west-1:*:secret:{name}-??????");
        let expected = json!([
            {"Sid": "Read", "Effect": "Allow", "Action": [READ, DESCRIBE], "Resource": [arn("prod/a"), arn("prod/b")]},
            {"Sid": "ReadPinned", "Effect": "Allow", "Action": [READ], "Resource": [arn("prod/c")]},
            {"Sid": "ReadManyAtOnce", "Effect": "Allow", "Action": [READ_MANY], "Resource": ["*"]},
        ]);
        assert_eq!(policy["Statement"], expected);
    }

    #[test]
    fn one_secret_needs_no_batch_and_two_versions_of_it_are_one_secret() {
        let policy = policy(
            "[secret.a]\npath = \"prod/a\"\n[secret.b]\npath = \"prod/a\"\nversion_stage = \"AWSPREVIOUS\"\n",
        );
        assert_eq!(policy["Statement"].as_array().unwrap().len(), 1, "{policy:#}");
        assert_eq!(policy["Statement"][0]["Resource"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_folder_is_listed_and_read_by_the_beginning_of_its_names() {
        let policy = policy("[secret.team]\npath = \"prod/team/\"\nlist = true\n");
        let arn = "arn:aws:secretsmanager:eu-west-1:*:secret:prod/team/*";
        let expected = json!([
            {"Sid": "ReadFolders", "Effect": "Allow", "Action": [READ], "Resource": [arn]},
            {"Sid": "List", "Effect": "Allow", "Action": [LIST], "Resource": ["*"]},
            {"Sid": "ReadManyAtOnce", "Effect": "Allow", "Action": [READ_MANY], "Resource": ["*"]},
        ]);
        assert_eq!(policy["Statement"], expected);
        let (_, wants) = aws("[secret.team]\npath = \"prod/team/\"\nlist = true\n");
        let rules: Vec<_> = rules(&wants).into_iter().map(|rule| (rule.capability, rule.paths)).collect();
        let at = |path: &str| vec![path.to_owned()];
        assert_eq!(rules, [(READ, at("prod/team/*")), (LIST, at("*")), (READ_MANY, at("*"))]);
    }

    #[test]
    fn a_folder_by_tags_is_read_where_the_tags_are() {
        let rest = "[secret.plain]\npath = \"prod\"\nlist = true\n[secret.shop]\npath = \"prod\"\nlist = true\ntags = { team = \"shop\" }\n\
                    [secret.all]\nlist = \"tree\"\ntags = { team = \"shop\", stage = \"live\" }\n";
        let arn = |name: &str| format!("arn:aws:secretsmanager:eu-west-1:*:secret:{name}");
        let tagged = |sid: &str, name: &str, tags: Value| {
            let condition = json!({ "StringEquals": tags });
            json!({"Sid": sid, "Effect": "Allow", "Action": [READ], "Resource": [arn(name)], "Condition": condition})
        };
        let expected = json!([
            {"Sid": "ReadFolders", "Effect": "Allow", "Action": [READ], "Resource": [arn("prod/*")]},
            tagged("ReadTagged2", "*", json!({"aws:ResourceTag/stage": "live", "aws:ResourceTag/team": "shop"})),
            tagged("ReadTagged3", "prod/*", json!({"aws:ResourceTag/team": "shop"})),
            {"Sid": "List", "Effect": "Allow", "Action": [LIST], "Resource": ["*"]},
            {"Sid": "ReadManyAtOnce", "Effect": "Allow", "Action": [READ_MANY], "Resource": ["*"]},
        ]);
        assert_eq!(policy(rest)["Statement"], expected, "{:#}", policy(rest));
        let (_, wants) = aws(rest);
        let places: Vec<String> = wants.iter().map(place).collect();
        assert_eq!(places, ["* tagged stage=live, team=shop", "prod/*", "prod/* tagged team=shop"]);
    }

    #[test]
    fn an_arn_is_itself_and_one_that_may_be_a_beginning_is_both() {
        let arn = "arn:aws-cn:secretsmanager:cn-north-1:1:secret:prod/my-secret";
        assert_eq!(arns(arn, "*"), [arn.to_owned(), format!("{arn}-??????")]);
        assert_eq!(
            arns("arn:aws:secretsmanager:eu-west-1:1:secret:db", "*"),
            ["arn:aws:secretsmanager:eu-west-1:1:secret:db-??????"]
        );
        assert_eq!(
            arns("my-secret", "us-gov-west-1"),
            ["arn:aws-us-gov:secretsmanager:us-gov-west-1:*:secret:my-secret-??????"]
        );
    }

    #[test]
    fn a_region_of_the_environment_is_no_pattern() {
        for (region, expected) in [("eu-*", false), ("", false), ("EU", false), ("eu-west-1", true)] {
            assert_eq!(is_region(region), expected, "{region}");
        }
    }
}
