//! `[[credential]]`: what a unit of systemd loads from Squire's socket, and which unit may.
//!
//! *Invariant:* no entry is for everybody: each names its units. No two entries give one name to one pattern.

use std::collections::BTreeMap;

use super::reader::{Table, Value, every};
use super::value::Form;
use super::{CredentialConfig, Place, TemplateSource, UnitReaction};

/// Reads every `[[credential]]`.
pub(super) fn credentials(value: Option<Value<'_>>) -> Vec<CredentialConfig> {
    const EXPECTED: &str = "[[credential]] for each credential, with two brackets on each side";
    let Some(items) = value.and_then(|value| value.list(EXPECTED)) else { return Vec::new() };
    let read = items.iter().filter_map(|item| {
        let config = credential(item.table(EXPECTED)?)?;
        Some((item, config))
    });
    let read: Vec<_> = read.collect();
    let mut first: BTreeMap<(&str, &str), &Place> = BTreeMap::new();
    for (item, config) in &read {
        for pattern in &config.units {
            match first.get(&(config.name.as_str(), pattern.as_str())) {
                Some(earlier) => item.report(format!(
                    "gives `{}` to `{pattern}`, which the one in line {} does already; keep one of them",
                    config.name, earlier.line
                )),
                None => drop(first.insert((&config.name, pattern), &config.place)),
            }
        }
    }
    drop(first);
    read.into_iter().map(|(_, config)| config).collect()
}

fn credential(mut table: Table<'_>) -> Option<CredentialConfig> {
    let place = table.place().clone();
    let name = table.require("name", "name = \"db-password\", as LoadCredential= of the unit has it");
    let name = name.and_then(|name| name.read(&NAME));
    let units = table.require("units", "units = [\"shop.service\"], the units that may have it");
    let units = units.and_then(|units| self::units(&units, name.as_deref()));
    let template = template(&mut table);
    let on_change = table.read("on_change", &ON_CHANGE).unwrap_or(UnitReaction::Restart);
    table.finish();
    Some(CredentialConfig { name: name?, units: units?, template: template?, on_change, place })
}

/// As for a file, but for `each`.
fn template(table: &mut Table<'_>) -> Option<TemplateSource> {
    const EXPECTED: &str = "a template in quotes";
    table.refuse(
        "each",
        "is for a directory of files, and a credential is one value; write inline = \"{{secret.field}}\" for each of them",
    );
    let (file, inline, base64) = (table.take("template"), table.take("inline"), table.take("base64"));
    let given: Vec<_> = [&file, &inline, &base64].into_iter().flatten().collect();
    if let [_, second, ..] = given.as_slice() {
        second.report("another of `template`, `inline` and `base64` is there too; keep one of them");
        return None;
    }
    match (file, inline, base64) {
        (Some(file), ..) => file.path().map(TemplateSource::File),
        (_, Some(inline), _) => inline.verbatim(EXPECTED).map(TemplateSource::Inline),
        (.., Some(base64)) => base64.verbatim(EXPECTED).map(TemplateSource::Base64),
        (None, None, None) => {
            table.report("nothing to render; write template = \"FILE\", inline = \"{{secret.field}}\" or base64 = \"{{secret.field}}\"");
            None
        }
    }
}

/// The abstract name to which systemd binds its end has 108 bytes: one that is 0, 16 digits and `/unit/`, the unit, a slash, the credential.
const NAMES_LONGEST: usize = 84;

fn units(value: &Value<'_>, name: Option<&str>) -> Option<Vec<String>> {
    let items = value.list("a list of units, such as [\"shop.service\", \"shop@*.service\"]")?;
    if items.is_empty() {
        value.report("allows no unit; name one, such as [\"shop.service\"]");
    }
    let units: Option<Vec<String>> = every(items.iter().map(|item| {
        let unit = item.read(&UNIT)?;
        if name.is_some_and(|name| unit.len() + name.len() > NAMES_LONGEST) {
            item.report(format!(
                "has {} bytes together with the credential's name: systemd cannot ask a socket with more than {NAMES_LONGEST}; choose a shorter name",
                unit.len() + name.map_or(0, str::len)
            ));
        }
        Some(unit)
    }));
    units.filter(|units| !units.is_empty())
}

/// The longest name that systemd takes.
const NAME_LONGEST: usize = 255;

/// Whether systemd takes this as the name of a credential.
pub fn is_credential_name(text: &str) -> bool {
    let is_fit = |byte: u8| (b'!'..=b'~').contains(&byte) && !b"/:".contains(&byte);
    (1..=NAME_LONGEST).contains(&text.len()) && text.bytes().all(is_fit) && !matches!(text, "." | "..")
}

const NAME: Form<String> = Form {
    expected: "the name of a credential in quotes, such as \"db-password\"",
    shown: true,
    read: |text| {
        if is_credential_name(text) {
            Ok(text.to_owned())
        } else {
            Err("is no name that systemd takes; write letters, digits, `-`, `_` and `.`, such as \"db-password\""
                .to_owned())
        }
    },
};

/// The kinds of units that start a process, and so can load a credential.
const KINDS: [&str; 4] = [".service", ".socket", ".mount", ".swap"];

const UNIT: Form<String> = Form {
    expected: "a unit in quotes, such as \"shop.service\"",
    shown: true,
    read: |text| {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@*?".contains(&byte);
        if !text.bytes().all(is_fit) {
            return Err(
                "is no unit; write its name, such as \"shop.service\" or \"shop@*.service\"".to_owned()
            );
        }
        if !KINDS.iter().any(|kind| text.len() > kind.len() && text.ends_with(kind)) {
            return Err("does not say what kind of unit it is; write for example \"shop.service\"".to_owned());
        }
        Ok(text.to_owned())
    },
};

const ON_CHANGE: Form<UnitReaction> = Form {
    expected: "\"restart\", \"reload\" or \"none\"",
    shown: true,
    read: |text| match text {
        "restart" => Ok(UnitReaction::Restart),
        "reload" => Ok(UnitReaction::Reload),
        "none" => Ok(UnitReaction::Nothing),
        _ => Err("is unknown; write \"restart\", \"reload\" or \"none\"".to_owned()),
    },
};

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Config, TemplateSource, UnitReaction, parse};

    fn read(lines: &str) -> Result<Config, String> {
        let problems = |problems: Vec<crate::config::Problem>| {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        parse(Path::new("/squire.toml"), &format!("[[credential]]\n{lines}"), &|_| None).map_err(problems)
    }

    #[test]
    fn an_entry_names_its_units_and_restarts_them_unless_it_says_otherwise() {
        let config =
            read("name = 'db-password'\nunits = ['shop.service', 'shop@*.service']\ninline = '{{db.p}}'")
                .unwrap();
        let [entry] = &config.credentials[..] else { panic!("{:?}", config.credentials) };
        assert_eq!((entry.name.as_str(), entry.units.len()), ("db-password", 2));
        assert_eq!(entry.on_change, UnitReaction::Restart);
        assert!(matches!(entry.template, TemplateSource::Inline(_)));
        // Another unit may have another value under the same name.
        let two = "name = 'a'\nunits = ['b.service']\ninline = 'x'\n[[credential]]\nname = 'a'\nunits = ['c.service']\nbase64 = 'eA=='\non_change = 'none'";
        assert_eq!(read(two).unwrap().credentials[1].on_change, UnitReaction::Nothing);
    }

    #[test]
    fn what_makes_no_sense_or_opens_too_much_is_a_problem() {
        const WHOLE: &str = "name = 'a'\nunits = ['b.service']\ninline = 'x'\n";
        for (lines, problem) in [
            ("units = ['b.service']\ninline = 'x'".to_owned(), "`name` is missing"),
            ("name = 'a'\ninline = 'x'".to_owned(), "`units` is missing"),
            ("name = 'a'\nunits = ['b.service']".to_owned(), "nothing to render"),
            ("name = 'a'\nunits = []\ninline = 'x'".to_owned(), "allows no unit"),
            ("name = 'a'\nunits = 'b.service'\ninline = 'x'".to_owned(), "expected a list of units"),
            ("name = 'a'\nunits = ['b']\ninline = 'x'".to_owned(), "does not say what kind of unit"),
            ("name = 'a'\nunits = ['.service']\ninline = 'x'".to_owned(), "does not say what kind of unit"),
            ("name = 'a'\nunits = ['../b.service']\ninline = 'x'".to_owned(), "is no unit"),
            ("name = 'a/b'\nunits = ['b.service']\ninline = 'x'".to_owned(), "is no name that systemd takes"),
            ("name = '..'\nunits = ['b.service']\ninline = 'x'".to_owned(), "is no name that systemd takes"),
            ("name = 'a:b'\nunits = ['b.service']\ninline = 'x'".to_owned(), "is no name that systemd takes"),
            ("name = 'a'\nunits = ['b.service']\neach = 'db'".to_owned(), "a credential is one value"),
            (format!("{WHOLE}template = '/t'"), "another of `template`"),
            (format!("{WHOLE}on_change = 'SIGHUP'"), "is unknown"),
            (format!("{WHOLE}unit = 'c'"), "did you mean `units`?"),
            (format!("{WHOLE}[[credential]]\n{WHOLE}"), "which the one in line 1 does already"),
            (
                format!("name = 'a'\nunits = ['{}.service']\ninline = 'x'", "b".repeat(76)),
                "has 85 bytes together with the credential's name",
            ),
        ] {
            let said = read(&lines).unwrap_err();
            assert!(said.contains(problem), "{lines}: {said}");
        }
    }
}
