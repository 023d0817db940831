//! The templates that come with Squire: what each renders to, what it refuses, and that its comment tells the truth.
//!
//! What they render of `tests/templates/secrets.json` is in `tests/templates/golden`, and `program::templates` has the programs read it that
//! it is for. `WRITE_GOLDEN=1` writes it anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{CANARY, data, engine};
use crate::config::{self, Config, TemplateSource};
use crate::template::shipped::{SHIPPED, Shipped};
use crate::template::{Template, TemplateError};

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The configuration of its comment, with a source.
fn configuration(shipped: &Shipped) -> Config {
    let source = "[source.vault]\naddress = \"https://v:8200\"\nauth.token.file = \"/t\"\n[output]\ndir = \"/run/x\"\n";
    let text = format!("{source}{}", shipped.configuration());
    config::parse(Path::new("squire.toml"), &text, &|_| None)
        .unwrap_or_else(|problems| panic!("{}: {problems:?}", shipped.name))
}

/// The ugly secrets that its configuration names; where its grammar cannot carry all of them, its own.
fn secrets(shipped: &Shipped) -> Value {
    let all: Value = serde_json::from_str(include_str!("../../../tests/templates/secrets.json")).unwrap();
    let of = |(name, secret): (_, &config::SecretConfig)| {
        let own = all.get(format!("{} for {}", secret.path, shipped.name));
        let fields = own.or(all.get(&secret.path)).unwrap_or_else(|| panic!("no {}", secret.path)).clone();
        (format!("{name}"), fields)
    };
    configuration(shipped).secrets.iter().map(of).collect::<serde_json::Map<_, _>>().into()
}

fn render(shipped: &Shipped, secrets: &Value) -> Result<Vec<u8>, TemplateError> {
    let template = Template::compile(shipped.name, shipped.text).unwrap();
    let data = data(secrets.clone());
    match configuration(shipped).files.remove(0).template {
        TemplateSource::Base64(_) => {
            engine().render_base64(&template, &data).map(|bytes| bytes.expose().to_vec())
        }
        TemplateSource::File(_) | TemplateSource::Inline(_) => {
            engine().render(&template, &data).map(|text| text.expose().as_bytes().to_vec())
        }
        TemplateSource::Each(_) => panic!("a template that comes with Squire has a text"),
    }
}

#[test]
fn the_list_and_the_folder_are_the_same() {
    let files = std::fs::read_dir(place("templates")).unwrap();
    let files: BTreeSet<String> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let listed: BTreeSet<String> = SHIPPED.iter().map(|shipped| format!("{}.hbs", shipped.name)).collect();
    assert_eq!(files, listed);
    assert_eq!(listed.len(), SHIPPED.len());
}

#[test]
fn each_says_what_it_is_for_and_its_configuration_is_one() {
    for shipped in SHIPPED {
        let (name, text) = (shipped.name, shipped.text);
        assert!(shipped.purpose().ends_with('.'), "{name}");
        assert!(text.contains("\nFields: ") && text.contains("\nMode:   "), "{name}");
        let config = configuration(shipped);
        let body = text.split_once("--}}\n").unwrap().1;
        match &config.files[0].template {
            TemplateSource::File(file) => assert_eq!(file, &PathBuf::from(format!("{name}.hbs"))),
            TemplateSource::Base64(inline) => assert_eq!(inline.trim(), body.trim(), "{name}"),
            TemplateSource::Inline(_) | TemplateSource::Each(_) => panic!("{name}"),
        }
        let fields = text.lines().find(|line| line.starts_with("Fields: ")).unwrap();
        for reference in Template::compile(name, text).unwrap().references() {
            let named = |word: &str| {
                fields.split(|c: char| !c.is_alphanumeric() && c != '_').any(|field| field == word)
            };
            assert!(config.secrets.keys().any(|secret| secret.as_str() == reference.secret), "{name}");
            assert!(named(&reference.secret), "{name}: {reference:?}");
            assert!(reference.field.as_deref().is_none_or(named), "{name}: {reference:?}");
        }
    }
}

#[test]
fn each_renders_ugly_values_as_before() {
    let mut differ = Vec::new();
    for shipped in SHIPPED {
        let golden = place("tests/templates/golden").join(shipped.name);
        let rendered = render(shipped, &secrets(shipped)).unwrap_or_else(|error| panic!("{error}"));
        if std::env::var_os("WRITE_GOLDEN").is_some() {
            std::fs::write(&golden, &rendered).unwrap();
        }
        if std::fs::read(&golden).ok().as_ref() != Some(&rendered) {
            differ.push(format!("{}: {:?}", shipped.name, String::from_utf8_lossy(&rendered)));
        }
        let text = String::from_utf8_lossy(&rendered);
        assert!(
            !text.contains("{{") && !text.contains("Fields:") && !text.starts_with(['\n', ' ']),
            "{text}"
        );
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// What a value may not have: a NUL, a line break inside it, a blank before it. What is not refused is read back by `program::templates`.
const REFUSED: [(&str, &str, [bool; 3]); 35] = [
    ("compose-env", "app.PASSWORD", [true, false, false]),
    ("bash-env", "app.PASSWORD", [true, false, false]),
    ("systemd-env", "app.PASSWORD", [true, false, false]),
    ("json", "app.password", [false, false, false]),
    ("yaml", "app.password", [false, false, false]),
    ("toml", "app.password", [false, false, false]),
    ("ini", "app.password", [true, true, true]),
    ("java-properties", "app.password", [false, false, false]),
    ("pgpass", "db.password", [true, true, false]),
    ("pg-service", "db.password", [true, true, true]),
    ("postgres-url", "db.password", [true, false, false]),
    ("my-cnf", "db.password", [true, false, false]),
    ("redis-acl", "redis.username", [true, true, true]),
    ("redis-acl", "redis.password", [false, false, false]),
    ("kafka", "kafka.password", [true, false, false]),
    ("rabbitmq-url", "rabbit.password", [true, false, false]),
    ("rabbitmq-definitions", "rabbit.password", [false, false, false]),
    ("nginx-cert", "tls.certificate", [true, true, false]),
    ("nginx-key", "tls.private_key", [true, true, false]),
    ("haproxy-pem", "tls.private_key", [true, true, false]),
    ("java-keystore", "java.keystore", [true, true, true]),
    ("aws-credentials", "aws.secret_key", [true, true, true]),
    ("docker-config", "registry.password", [true, true, false]),
    ("npmrc", "npm.token", [true, false, true]),
    ("pip-conf", "pypi.password", [true, false, false]),
    ("netrc", "web.password", [true, true, false]),
    ("git-credentials", "git.password", [true, true, false]),
    ("kubeconfig", "kube.token", [false, false, false]),
    ("kubeconfig", "kube.ca", [true, true, false]),
    ("ssh-key", "ssh.private_key", [true, true, false]),
    ("ssh-known-hosts", "ssh.host", [true, true, true]),
    ("ssh-known-hosts", "ssh.host_key", [true, true, false]),
    ("prometheus-web", "web.password", [true, false, false]),
    ("htpasswd", "web.username", [true, true, true]),
    ("htpasswd", "web.password", [true, false, false]),
];

/// The adversary may write a secret, and wants a line of his own in the file, or another value than the one that is stored.
#[test]
fn what_a_grammar_cannot_carry_is_refused_without_the_value() {
    assert!(SHIPPED.iter().all(|shipped| REFUSED.iter().any(|(name, ..)| *name == shipped.name)));
    for (name, path, refused) in REFUSED {
        let shipped = Shipped::find(name).unwrap();
        let (secret, field) = path.split_once('.').unwrap();
        let original = secrets(shipped);
        let is_pem = original[secret][field].as_str().is_some_and(|value| value.contains("-----BEGIN"));
        let base = if is_pem { original[secret][field].as_str().unwrap().trim() } else { CANARY };
        let values = [format!("{base}\0x"), format!("{base}\nx"), format!(" {base}")];
        for (value, refused) in values.into_iter().zip(refused) {
            let mut secrets = original.clone();
            secrets[secret][field] = json!(value);
            let rendered = render(shipped, &secrets);
            assert_eq!(rendered.is_err(), refused, "{name}, {path}: {value:?}: {rendered:?}");
            let Err(error) = rendered else { continue };
            assert!(!error.message.contains(CANARY) && !error.message.contains('\n'), "{error}");
            // The bytes of a keystore are refused as a whole.
            assert!(name == "java-keystore" || error.line > 1, "{error}");
            let names_it = error.message.contains(field) || error.message.starts_with("the value");
            assert!(name == "java-keystore" || names_it || path.starts_with("app"), "{error}");
        }
    }
}

#[test]
fn a_field_of_an_environment_cannot_bring_a_line_of_its_own() {
    for name in ["compose-env", "bash-env", "systemd-env", "ini"] {
        for key in ["A\nLD_PRELOAD", "A=", "1A", "", "A B", "É", "[x]", "#A"] {
            let secrets = json!({"app": {(key): "x"}});
            let error = render(Shipped::find(name).unwrap(), &secrets).expect_err(key);
            assert!(error.message.contains("`env_name` cannot write"), "{error}");
        }
    }
}

#[test]
fn every_helper_and_every_template_has_a_line_in_the_documentation() {
    let page = include_str!("../../../docs/templates.md");
    let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let words: BTreeSet<&str> = cells
        .flat_map(|cell| cell.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-'))
        .collect();
    let helpers = crate::template::catalogue::HELPERS.iter().map(|helper| helper.name);
    let missing: Vec<&str> = helpers
        .chain(SHIPPED.iter().map(|shipped| shipped.name))
        .filter(|name| !words.contains(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
