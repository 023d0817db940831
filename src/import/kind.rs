//! What a text is, by its name and its first words.
//!
//! *Invariant:* pure. A text that is still in another language's template is named before it is read, since its parts could mean anything.

use super::bank_vaults;
use super::consul_template;
use super::envconsul;
use super::hcl::{Body, Dialect, parse};

/// What can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The configuration of Vault Agent or OpenBao Agent.
    Agent,
    /// That of consul-template.
    ConsulTemplate,
    /// That of envconsul.
    Envconsul,
    /// A command line: `envconsul -secret=app/db -- app`.
    EnvconsulLine,
    /// A command line: `consul-template -template in.ctmpl:out`.
    ConsulTemplateLine,
    /// A template of Go alone.
    Template,
    /// A manifest of Kubernetes.
    Manifest,
    /// A job of Nomad.
    Nomad,
    /// Variables with references of bank-vaults: `DB_PASSWORD=vault:secret/data/db#password`.
    BankVaults,
}

/// The language in which a text is still wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// A chart of Helm.
    Helm,
    /// Jinja, as in Ansible and Salt.
    Ansible,
    /// Terraform.
    Terraform,
}

impl Wrapping {
    /// What to do: the command that gives the text itself.
    pub fn way_out(self) -> &'static str {
        match self {
            Self::Helm => {
                "this is a chart of Helm that is not rendered yet; import what it renders to: helm template NAME CHART | squire import -"
            }
            Self::Ansible => {
                "this is a template of Ansible that is not rendered yet; let it render, for example with \
                 ansible localhost -m template -a \"src=FILE dest=/tmp/out\" -e @vars.yaml, and import the result"
            }
            Self::Terraform => {
                "this is a text of Terraform; import what it makes: take it from terraform show -json, or echo the value with \
                 terraform console, and import the result"
            }
        }
    }
}

/// The language that the text is wrapped in, with the line that shows it.
pub(super) fn wrapping(name: &str, text: &str) -> Option<(usize, Wrapping)> {
    let is_template = is_template_name(name);
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    let is_terraform = ends(&[".tf", ".tftpl"]);
    // A job of Nomad has variables of its own, in the same language.
    let is_job = text.lines().any(|line| line.starts_with("job "));
    text.lines().enumerate().find_map(|(at, line)| {
        let wrapping = if HELM.iter().any(|sign| line.contains(sign))
            || (!is_template && !ends(&[".hcl"]) && line.contains("{{`"))
        {
            Wrapping::Helm
        } else if JINJA.iter().any(|sign| line.contains(sign)) {
            Wrapping::Ansible
        } else if is_terraform || !is_job && TERRAFORM.iter().any(|sign| line.contains(sign)) {
            Wrapping::Terraform
        } else {
            return None;
        };
        Some((at + 1, wrapping))
    })
}

/// Signs that no template of the agents has.
const HELM: &[&str] = &[
    "{{ .Values.",
    "{{.Values.",
    "{{- .Values.",
    " .Values.",
    "(.Values.",
    " .Release.",
    "{{ .Release.",
    "{{ .Chart.",
    "{{ include \"",
    "{{- include \"",
    "{{ \"{{\" }}",
    "{{\"{{\"}}",
    "{{ print \"{{",
];
const JINJA: &[&str] =
    &["{{ '{{' }}", "{{'{{'}}", "{% raw", "{%- raw", "{% if ", "{% for ", "{% endif", "{% set "];
const TERRAFORM: &[&str] = &[
    "${var.",
    "${local.",
    "${module.",
    "${data.",
    "${each.",
    "%{ if ",
    "%{ for ",
    "%{ endif",
    "templatefile(",
];

/// What the text is; `None` if nothing shows it.
pub fn kind(name: &str, text: &str) -> Option<Kind> {
    if is_template_name(name) {
        return Some(Kind::Template);
    }
    if bank_vaults::is_environment(text) {
        return Some(Kind::BankVaults);
    }
    if envconsul::is_command_line(text) {
        return Some(Kind::EnvconsulLine);
    }
    if consul_template::is_command_line(text) {
        return Some(Kind::ConsulTemplateLine);
    }
    let begins = |word: &str| text.lines().any(|line| line.starts_with(word));
    if begins("apiVersion:") || (begins("kind:") && begins("metadata:")) {
        return Some(Kind::Manifest);
    }
    let dialect = Dialect::of(text);
    if let Some(kind) = parse(text, dialect).ok().and_then(|body| by_keys(&body)) {
        return Some(kind);
    }
    if let Some(Kind::Nomad) = parse(text, Dialect::Second).ok().and_then(|body| by_keys(&body)) {
        return Some(Kind::Nomad);
    }
    by_words(text)
}

fn is_template_name(name: &str) -> bool {
    [".ctmpl", ".tpl", ".tmpl", ".gotmpl", ".ctpl"].iter().any(|ending| name.ends_with(ending))
}

fn by_keys(body: &Body) -> Option<Kind> {
    let keys = || body.items.iter().filter_map(|item| item.keys.first()).map(|key| key.name.as_str());
    let any = |known: &[&str]| keys().any(|key| known.contains(&key));
    if any(&["job", "Job", "TaskGroups"]) {
        Some(Kind::Nomad)
    } else if any(&["apiVersion"]) {
        Some(Kind::Manifest)
    } else if any(&["storage", "seal", "api_addr"]) && !any(&["auto_auth"]) {
        // A server's configuration, which has listeners and a cache too.
        None
    } else if any(AGENT) {
        Some(Kind::Agent)
    } else if any(&["secret", "prefix", "upcase", "sanitize", "pristine"]) {
        Some(Kind::Envconsul)
    } else if any(CONSUL_TEMPLATE) {
        Some(Kind::ConsulTemplate)
    } else {
        None
    }
}

const AGENT: &[&str] =
    &["auto_auth", "env_template", "template_config", "api_proxy", "listener", "exit_after_auth", "cache"];
const CONSUL_TEMPLATE: &[&str] = &[
    "template",
    "vault",
    "consul",
    "exec",
    "deduplicate",
    "wait",
    "reload_signal",
    "kill_signal",
    "max_stale",
    "syslog",
    "once",
    "template_error_fatal",
    "block_query_wait",
];

/// The agents have a block of that name; a key of `[proxy]` of ours has it too, with a word.
fn opens_auto_auth(text: &str) -> bool {
    let rest = |line: &str| {
        let line = line.trim_start_matches([' ', '\t', '"']).strip_prefix("auto_auth")?;
        Some(line.trim_start_matches([' ', '\t', '"', '=', ':']).to_owned())
    };
    text.lines().filter_map(rest).any(|rest| rest.is_empty() || rest.starts_with('{'))
}

/// For a text that cannot be read: whose it would be, so that its fault is told.
fn by_words(text: &str) -> Option<Kind> {
    let begins = |words: &[&str]| {
        text.lines()
            .any(|line| words.iter().any(|word| line.trim_start_matches([' ', '\t', '"']).starts_with(word)))
    };
    if opens_auto_auth(text) || begins(&["env_template", "template_config", "exit_after_auth"]) {
        Some(Kind::Agent)
    } else if begins(&["job \"", "job  \""]) {
        Some(Kind::Nomad)
    } else if begins(&["secret {", "prefix {", "upcase"]) {
        Some(Kind::Envconsul)
    } else if begins(&["template {", "vault {", "template={", "template = {"]) {
        Some(Kind::ConsulTemplate)
    } else if text.contains("{{") {
        Some(Kind::Template)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_known_by_its_name_or_its_words() {
        let cases = [
            ("agent.hcl", "vault { address = \"x\" }\nauto_auth {}\n", Some(Kind::Agent)),
            ("agent.json", "{\"auto_auth\": {}}", Some(Kind::Agent)),
            ("ct.hcl", "vault {}\ntemplate {}\n", Some(Kind::ConsulTemplate)),
            ("e.hcl", "vault {}\nsecret { path = \"a\" }\nexec { command = \"x\" }", Some(Kind::Envconsul)),
            ("e.hcl", "upcase = true\n", Some(Kind::Envconsul)),
            ("run.sh", "envconsul -secret=a/b -no-prefix \\\n  -upcase -- app\n", Some(Kind::EnvconsulLine)),
            (
                "run",
                "#!/bin/sh\nset -eu\n# starts it\nexec envconsul -secret=a/b -- app\n",
                Some(Kind::EnvconsulLine),
            ),
            ("run", "#!/bin/sh\nsleep 1\nexec envconsul -secret=a/b -- app\n", None),
            ("-", "VAULT_ADDR=http://v exec /usr/bin/envconsul -secret a app", Some(Kind::EnvconsulLine)),
            ("-", "consul-template -template a.ctmpl:b -once", Some(Kind::ConsulTemplateLine)),
            ("a.ctmpl", "x", Some(Kind::Template)),
            ("a.txt", "{{ with secret \"a\" }}{{ end }}", Some(Kind::Template)),
            ("pod.yaml", "apiVersion: v1\nkind: Pod\n", Some(Kind::Manifest)),
            ("-", "---\n# x\napiVersion: v1\nkind: Pod\n", Some(Kind::Manifest)),
            ("app.nomad", "variable \"x\" {}\njob \"a\" {\n  count = var.x\n}\n", Some(Kind::Nomad)),
            ("agent.hcl", "auto_auth {\n  method \"x\" {\n", Some(Kind::Agent)),
            ("squire.toml", "[proxy]\nauto_auth = \"if_missing\"\n", None),
            (".env", "# x\nA=1\nexport B='vault:secret/data/b#c'\n", Some(Kind::BankVaults)),
            ("server.hcl", "storage \"file\" {}\nlistener \"tcp\" {}\n", None),
            ("x", "hello", None),
            ("x", "", None),
        ];
        for (name, text, expected) in cases {
            assert_eq!(kind(name, text), expected, "{name}: {text}");
        }
    }

    #[test]
    fn a_text_in_another_language_is_named() {
        let cases = [
            ("deploy.yaml", "a: {{ .Values.role }}", Some((1, Wrapping::Helm))),
            ("deploy.yaml", "x\na: {{ include \"app.name\" . }}", Some((2, Wrapping::Helm))),
            ("deploy.yaml", "a: |\n  {{`{{- with secret \"a\" }}`}}", Some((2, Wrapping::Helm))),
            ("deploy.yaml", "{{ \"{{\" }}- with secret \"a\" }}", Some((1, Wrapping::Helm))),
            ("agent.hcl.j2", "{{ '{{' }} with secret \"a\" }}", Some((1, Wrapping::Ansible))),
            ("agent.hcl.j2", "{% if x %}", Some((1, Wrapping::Ansible))),
            ("agent.hcl", "address = \"${var.address}\"", Some((1, Wrapping::Terraform))),
            ("main.tf", "x = 1", Some((1, Wrapping::Terraform))),
            ("agent.hcl", "a = \"${HOME}\"", None),
            ("a.nomad", "job \"a\" {\n  x = \"${var.a}\"\n}", None),
            ("a.ctmpl", "{{ with secret \"a\" }}{{ .Data.x }}{{ `raw` }}{{ end }}", None),
        ];
        for (name, text, expected) in cases {
            assert_eq!(wrapping(name, text), expected, "{name}: {text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_a_kind_or_none(name in "[a-z.]{0,8}", text in "(\\PC|\n){0,60}") {
            let _: (Option<Kind>, _) = (kind(&name, &text), wrapping(&name, &text));
        }
    }
}
