//! `[webhook]` in a plan: the key has to be one field of a secret, and what is refreshed has to be in use.

use ipnet::IpNet;

use super::{Compiler, Finding, unknown_secret};
use crate::config::{Place, Problem, WebhookConfig};
use crate::names::SecretName;
use crate::template::Template;

/// Webhooks that are taken.
#[derive(Debug)]
pub struct PlannedWebhook {
    /// Renders the key by which they are signed.
    pub key: Template,
    /// What one refreshes; all secrets if there are none.
    pub secrets: Vec<SecretName>,
    /// The networks that they may come from by the listener; any if there are none.
    pub allow: Vec<IpNet>,
}

impl Compiler<'_> {
    /// The last part to be compiled: by then it is known which secrets are used.
    pub(super) fn webhook(&mut self, config: &WebhookConfig) -> Option<PlannedWebhook> {
        let Place { file, line, key } = &config.place;
        let origin = format!("{}:{line}: {key}.key", file.display());
        let template = self.compiled(&origin, &config.key)?;
        let is_one_field = matches!(template.references(), [only] if only.field.is_some());
        if !is_one_field {
            self.refuse(config, "`key` has to be one field of a secret, such as \"{{hook.key}}\"".to_owned());
        }
        for secret in &config.secrets {
            if !self.config.secrets.contains_key(secret) {
                self.refuse(config, unknown_secret(secret.as_str(), self.config));
            } else if !self.used.contains(secret.as_str()) {
                self.refuse(config, format!("nothing refers to the secret `{secret}`, so it is not fetched; take it out of `secrets`"));
            }
        }
        Some(PlannedWebhook { key: template, secrets: config.secrets.clone(), allow: config.allow.clone() })
    }

    fn refuse(&mut self, config: &WebhookConfig, message: String) {
        self.findings.push(Finding::Config(Problem::new(config.place.clone(), message)));
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::Plan;
    use crate::plan::of_text::of_text;

    /// With these lines after `[webhook]`: the plan, or its problems, a line each.
    fn plan(webhook: &str) -> Result<Plan, String> {
        plan_of("listen = \"127.0.0.1:9790\"", webhook)
    }

    fn plan_of(agent: &str, webhook: &str) -> Result<Plan, String> {
        let text = format!(
            "[source.vault]\naddress = \"http://a\"\nauth.token.file = \"/t\"\n\
             secret.db.path = \"a/db\"\nsecret.hook.path = \"a/hook\"\nsecret.idle.path = \"a/idle\"\n\
             [process]\ncommand = [\"app\"]\nenv = {{ P = \"{{{{db.password}}}}\" }}\n[agent]\n{agent}\n[webhook]\n{webhook}"
        );
        let text = text.replace("secret.", "[secret.").replace(".path", "]\npath");
        of_text(&text)
    }

    #[test]
    fn the_secret_of_the_key_is_in_use_and_is_asked_for() {
        let plan =
            plan("key = \"{{hook.key}}\"\nsecrets = [\"db\", \"hook\"]\nallow = [\"10.0.0.0/8\", \"::1\"]")
                .unwrap();
        let wanted: Vec<_> = plan.wants.values().flatten().map(|want| want.name.as_str()).collect();
        assert_eq!(wanted, ["db", "hook"]);
        let webhook = plan.webhook.as_ref().unwrap();
        let allow: Vec<_> = webhook.allow.iter().map(ToString::to_string).collect();
        assert_eq!((webhook.secrets.len(), allow), (2, vec!["10.0.0.0/8".to_owned(), "::1/128".to_owned()]));
        let unused: Vec<_> = plan.unused.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(unused, ["idle"]);
    }

    #[test]
    fn each_mistake_is_said_with_its_line() {
        const KEY: &str = "key = \"{{hook.key}}\"\n";
        for (webhook, problem) in [
            ("", "s.toml:15: webhook: `key` is missing; write key = \"{{hook.key}}\""),
            ("key = 1", "s.toml:16: webhook.key: expected a template in quotes"),
            ("key = \"plain text\"", "s.toml:15: webhook: `key` has to be one field of a secret"),
            ("key = \"{{hook.key}}{{db.password}}\"", "s.toml:15: webhook: `key` has to be one field"),
            ("key = \"{{#each hook}}{{/each}}\"", "s.toml:15: webhook: `key` has to be one field"),
            (
                "key = \"{{hok.key}}\"",
                "s.toml:15: webhook.key:1:1: unknown secret `hok`; did you mean `hook`?",
            ),
            (&format!("{KEY}secrets = []"), "s.toml:17: webhook.secrets: names no secret"),
            (
                &format!("{KEY}secrets = [\"bd\"]"),
                "s.toml:15: webhook: unknown secret `bd`; did you mean `db`?",
            ),
            (
                &format!("{KEY}secrets = [\"idle\"]"),
                "s.toml:15: webhook: nothing refers to the secret `idle`",
            ),
            (&format!("{KEY}allow = []"), "s.toml:17: webhook.allow: allows nobody"),
            (
                &format!("{KEY}allow = [\"10.0.0.0/33\"]"),
                "s.toml:17: webhook.allow[0]: \"10.0.0.0/33\" is no network",
            ),
            (
                &format!("{KEY}allow = [\"10.0.0.1/8\"]"),
                "\"10.0.0.1/8\" has bits beyond its prefix; write \"10.0.0.0/8\"",
            ),
            (&format!("{KEY}alow = []"), "s.toml:17: webhook.alow: unknown key; did you mean `allow`?"),
        ] {
            let said = plan(webhook).unwrap_err();
            assert!(said.contains(problem), "{webhook}:\n{said}");
        }
        let said = plan_of("socket = \"none\"", KEY).unwrap_err();
        assert!(said.starts_with("s.toml:15: webhook: nobody could send one"), "{said}");
        assert!(plan_of("", KEY).is_ok(), "the socket is there without being named");
    }
}
