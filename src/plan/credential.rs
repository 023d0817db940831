//! `[[credential]]` in a plan: what is rendered for which units, and what a change asks of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use wildmatch::WildMatch;

use super::{Compiler, Content, Finding};
use crate::config::{CredentialConfig, Place, Problem, TemplateSource, UnitReaction};
use crate::names::SecretName;
use crate::ordered::Order as _;
use crate::template::Template;

/// What an entry of the configuration says of a credential, but for its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// As `LoadCredential=` of a unit has it.
    pub name: String,
    /// Who may have it; `*` and `?` stand for others.
    pub units: Vec<String>,
    /// What a change asks of the units that hold it.
    pub on_change: UnitReaction,
    /// The secrets that it is made of.
    pub secrets: Vec<SecretName>,
}

impl Terms {
    /// Whether this unit may have it.
    pub fn allow(&self, unit: &str) -> bool {
        self.units.iter().any(|pattern| WildMatch::new(pattern).matches(unit))
    }
}

/// A credential to render.
#[derive(Debug)]
pub struct PlannedCredential {
    /// Its name, who may have it, and what follows a change.
    pub terms: Arc<Terms>,
    /// What is in it.
    pub content: Content,
}

impl PlannedCredential {
    /// Whether it is the same, wherever it stands in the file.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.terms == other.terms && self.content.is_like(&other.content)
    }
}

impl Compiler<'_> {
    pub(super) fn credential(&mut self, config: &CredentialConfig) -> Option<PlannedCredential> {
        let Place { file, line, key } = &config.place;
        let origin = |kind| format!("{}:{line}: {key}.{kind}", file.display());
        let content = match &config.template {
            TemplateSource::Inline(text) => self.compiled(&origin("inline"), text).map(Content::Text),
            TemplateSource::Base64(text) => self.compiled(&origin("base64"), text).map(Content::Bytes),
            TemplateSource::File(path) => match (self.surroundings.read)(path) {
                Ok(text) => self.compiled(&path.display().to_string(), &text).map(Content::Text),
                Err(error) => {
                    let message = format!("cannot read template {}: {error}", path.display());
                    self.findings.push(Finding::Config(Problem::new(config.place.clone(), message)));
                    None
                }
            },
            // The configuration's reader lets none through.
            TemplateSource::Each(_) => None,
        }?;
        let references = content.template().map(Template::references).unwrap_or_default();
        let secrets: BTreeSet<_> = references.iter().map(|found| SecretName::new(&found.secret)).ordered();
        let terms = Terms {
            name: config.name.clone(),
            units: config.units.clone(),
            on_change: config.on_change,
            secrets: secrets.into_iter().collect(),
        };
        Some(PlannedCredential { terms: Arc::new(terms), content })
    }
}

#[cfg(test)]
mod tests {
    use super::Terms;
    use crate::config::UnitReaction;
    use crate::names::SecretName;
    use crate::plan::Plan;
    use crate::plan::of_text::of_text;

    fn plan(lines: &str) -> Result<Plan, String> {
        let text = format!(
            "[source.vault]\naddress = \"http://a\"\nauth.token.file = \"/t\"\n[secret.db]\npath = \"a/db\"\n[secret.idle]\npath = \"a/idle\"\n\
             [[credential]]\nname = \"db-password\"\nunits = [\"shop@*.service\"]\n{lines}"
        );
        of_text(&text)
    }

    #[test]
    fn its_secrets_are_wanted_and_it_is_something_to_do() {
        let plan = plan("inline = \"{{db.user}}:{{db.password}}\"").unwrap();
        let wanted: Vec<_> = plan.wants.values().flatten().map(|want| want.name.as_str()).collect();
        assert_eq!(wanted, ["db"]);
        assert!(!plan.is_idle());
        let terms = &plan.credentials[0].terms;
        assert_eq!(terms.secrets.iter().map(SecretName::as_str).collect::<Vec<_>>(), ["db"]);
        assert!(
            terms.allow("shop@a.service") && !terms.allow("shop.service") && !terms.allow("xshop@a.service")
        );
    }

    #[test]
    fn a_pattern_takes_a_backslash_as_it_is_and_the_case_counts() {
        for (pattern, unit, is_allowed) in [
            (r"shop\x2ddb.service", r"shop\x2ddb.service", true),
            (r"shop\x2ddb.service", "shop-db.service", false),
            ("shop-db.service", r"shop\x2ddb.service", false),
            (r"shop\*.service", "shop*.service", false),
            (r"shop@\*.service", r"shop@\x2d.service", true),
            ("shop@*.service", "shop@.service", true),
            ("shop@*.service", "shop@a@b.service", true),
            ("shop@*.service", "Shop@a.service", false),
            ("shop@*.service", "shop@a.service.socket", false),
            ("shop@?.service", "shop@ab.service", false),
            ("shop.service", "shop@a.service", false),
        ] {
            let terms = Terms {
                name: "db".to_owned(),
                units: vec![pattern.to_owned()],
                on_change: UnitReaction::Restart,
                secrets: Vec::new(),
            };
            assert_eq!(terms.allow(unit), is_allowed, "{pattern} {unit}");
        }
    }

    #[test]
    fn each_mistake_is_said_with_its_place() {
        for (lines, problem) in [
            ("inline = \"{{bd.password}}\"", "unknown secret `bd`; did you mean `db`?"),
            ("base64 = \"{{#each}}\"", "s.toml:8: credential[0].base64"),
            ("template = \"t.hbs\"", "s.toml:8: credential[0]: cannot read template t.hbs"),
        ] {
            let said = plan(lines).unwrap_err();
            assert!(said.contains(problem), "{lines}: {said}");
        }
    }
}
