//! The least role of a store: the command that makes it.
//!
//! *Invariant:* pure. No path of a store has a character that a role takes for a pattern: the store lets none in.

use super::{Heading, Rule, Text, Weight, by_place, comment, secrets, word};
use crate::config::{StoreConfig, StoreLogin};
use crate::plan::Want;
use crate::source::store::place;
use crate::store::SecretPath;

pub(super) const READ: &str = "read";
pub(super) const ROTATE: &str = "rotate";

/// Every right that the agent uses with these secrets. Only an agent that has hooks is surely meant to rotate.
pub fn rules(config: &StoreConfig, wants: &[Want]) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (path, names) in by_place(wants, place) {
        let rule =
            |capability, weight| Rule { paths: vec![path.clone()], capability, why: secrets(&names), weight };
        rules.push(rule(READ, Weight::Needed));
        if config.hooks.is_some() {
            rules.push(rule(ROTATE, Weight::Helps("somebody else has to rotate it")));
        }
    }
    rules
}

/// The command.
///
/// # Errors
/// Every path that no store has.
pub fn text(heading: &Heading<'_>, config: &StoreConfig, wants: &[Want]) -> Result<Text, Vec<String>> {
    let rules = rules(config, wants);
    let bad = |want: &Want| {
        let path = &want.path;
        // Any secret stands for those in a folder.
        let parsed =
            want.list.map_or_else(|| SecretPath::parse(path), |_| SecretPath::parse(&format!("{path}/x")));
        parsed.err().map(|why| format!("the path {path:?} {why}"))
    };
    let problems: Vec<String> = wants.iter().filter_map(bad).collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    let Heading { origin, source, name } = heading;
    let lines = [format!("The role with the least rights for the source {source} of {origin}:")];
    let mut command = vec![format!(
        "squire store role add {} --store {}",
        word(name),
        word(&config.file.display().to_string())
    )];
    for rule in &rules {
        command.extend(rule.paths.iter().map(|path| format!("--{} {}", rule.capability, word(path))));
    }
    let mut notes = Vec::new();
    match &config.login {
        StoreLogin::Role { secret_id_file, .. } => {
            command.push(format!("--secret-id-to {}", word(&secret_id_file.display().to_string())));
        }
        StoreLogin::Owner { .. } => notes.push(
            "the configuration opens the store as its owner, who may do everything: give it role_id and secret_id_file of this role \
             instead of key_file"
                .to_owned(),
        ),
    }
    notes.push("--expires 90d ends the role, and --uses N the number of its log-ins".to_owned());
    if config.hooks.is_none() {
        notes.push(
            "if this agent is to rotate by the policies of the secrets, add --rotate for each of them"
                .to_owned(),
        );
    }
    Ok(Text { body: format!("{}{}\n", comment(&lines), command.join(" \\\n  ")), notes })
}

#[cfg(test)]
mod tests {
    use super::super::tests::wanted;
    use super::*;
    use crate::config::SourceConfig;
    use crate::names::SourceName;

    fn body(source: &str, path: &str) -> Result<Text, Vec<String>> {
        let text_of =
            format!("[source.store]\nfile = \"/srv/it's.store\"\n{source}[secret.x]\npath = \"{path}\"\n");
        match wanted(&text_of).pop() {
            Some((_, SourceConfig::Store(config), wants)) => {
                let name = SourceName::new("store");
                text(&Heading { origin: "squire.toml", source: &name, name: "app" }, &config, &wants)
            }
            other => panic!("{other:?}"),
        }
    }

    const ROLE: &str = "role_id = \"0123\"\nsecret_id_file = \"/run/id\"\n";

    #[test]
    fn it_is_the_command_that_makes_the_role() {
        let expected = "# The role with the least rights for the source store of squire.toml:\n\
                        squire store role add app --store '/srv/it'\\''s.store' \\\n  --read prod/app/db \\\n  --secret-id-to /run/id\n";
        assert_eq!(body(ROLE, "prod/app/db").unwrap().body, expected);
        let rotating = body(&format!("{ROLE}hooks = \"/etc/hooks.toml\"\n"), "prod/app/db").unwrap();
        assert!(rotating.body.contains("--read prod/app/db \\\n  --rotate prod/app/db"), "{}", rotating.body);
    }

    #[test]
    fn a_folder_is_a_pattern_of_the_role() {
        for (list, expected) in [("true", "--read 'prod/team/*'"), ("\"tree\"", "--read 'prod/team/**'")] {
            let body = body(ROLE, &format!("prod/team\"\nlist = {list} # \"")).unwrap().body;
            assert!(body.contains(expected), "{body}");
        }
        assert!(body(ROLE, "prod/te*m\"\nlist = true # \"").unwrap_err()[0].contains("contains '*'"));
    }

    #[test]
    fn an_owner_is_told_to_be_none_and_a_path_that_no_store_has_is_refused() {
        let owner = body("key_file = \"/run/key\"\n", "prod/app/db").unwrap();
        assert!(owner.notes[0].contains("may do everything"), "{:?}", owner.notes);
        assert!(body(ROLE, "prod/*").unwrap_err()[0].contains("contains '*'"));
    }
}
