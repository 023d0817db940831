//! The least policy of a HashiCorp Vault or OpenBao, in HCL.
//!
//! No line is for what every token may do (look up the mount of a secret that it may read) or what needs no token (log in, look up and
//! unwrap a wrapping token).
//!
//! *Invariant:* pure.

use super::{Heading, Known, Rule, Text, Weight, comment, secrets, word};
use crate::config::{AuthConfig, EngineKind, Listing, VaultConfig};
use crate::plan::Want;
use crate::source::Grant;
use crate::source::vault::Mounted;

/// Every right that the agent uses with these secrets: with this grant, or with any that the login may give.
pub fn rules(config: &VaultConfig, wants: &[Want], known: &Known, grant: Option<&Grant>) -> Vec<Rule> {
    let mut rules = reads(wants, known);
    let may_look = grant.is_none_or(|grant| grant.uses.is_none());
    if wants.iter().any(|want| may_be_leased(want, known)) {
        rules.extend(leases().into_iter().filter(|rule| may_look || rule.paths != [LOOK_UP_LEASE]));
    }
    if grant.is_none_or(|grant| grant.life.renewable) {
        rules.push(rule("auth/token/renew-self", "update", "to renew the token", Weight::Needed));
    }
    let is_given = matches!(config.auth, AuthConfig::Token { .. });
    if is_given || may_look {
        let weight = if is_given {
            Weight::Needed
        } else {
            Weight::Helps("a token that was revoked is noticed only by its next use")
        };
        rules.push(rule("auth/token/lookup-self", "read", "to notice that the token was revoked", weight));
    }
    if !is_given && grant.is_none_or(|grant| grant.revocable) {
        let why = "to give the token back at the end, with all of its leases";
        rules.push(rule("auth/token/revoke-self", "update", why, Weight::Needed));
    }
    if config.token_files.iter().any(|file| file.wrap_ttl.is_some()) {
        rules.push(rule("sys/wrapping/wrap", "update", "to wrap the token for its file", Weight::Needed));
    }
    rules.push(rule(ASK, "update", "for squire check --online: what is missing", Weight::Asks));
    rules.push(rule(ASK_ALL, "read", "for squire check --online: what is allowed beside that", Weight::Asks));
    rules
}

/// What tells the capabilities of a token.
const ASK: &str = "sys/capabilities-self";
/// What tells all that a token may do.
const ASK_ALL: &str = "sys/internal/ui/resultant-acl";
const LOOK_UP_LEASE: &str = "sys/leases/lookup";

fn rule(path: &str, capability: &'static str, why: &str, weight: Weight) -> Rule {
    Rule { paths: vec![path.to_owned()], capability, why: why.to_owned(), weight }
}

fn leases() -> [Rule; 3] {
    [
        rule("sys/leases/renew", "update", "to renew what is leased", Weight::Needed),
        rule(
            LOOK_UP_LEASE,
            "update",
            "to notice that a lease was revoked",
            Weight::Helps("a lease that was revoked is noticed only when it is renewed or replaced"),
        ),
        rule(
            "sys/leases/revoke",
            "update",
            "to end a lease once its successor is in use",
            Weight::Helps("a lease is ended by renewing it for a second, if it can be renewed"),
        ),
    ]
}

/// The rights to the secrets themselves, each once.
fn reads(wants: &[Want], known: &Known) -> Vec<Rule> {
    let mut rights: Vec<(Vec<String>, &'static str, Vec<&str>)> = Vec::new();
    let asked = wants.iter().flat_map(|want| {
        if let Some(list) = want.list {
            return of_folder(want, list, known).map(|(paths, right)| (want, paths, right)).to_vec();
        }
        let capability = if want.params.is_some() { "update" } else { "read" };
        vec![(want, forms(want, known), capability)]
    });
    for (want, paths, capability) in asked {
        let name = want.name.as_str();
        match rights.iter_mut().find(|(other, right, _)| *other == paths && *right == capability) {
            Some((.., names)) => names.push(name),
            None => rights.push((paths, capability, vec![name])),
        }
    }
    let rule = |(paths, capability, names): (_, _, Vec<&str>)| Rule {
        paths,
        capability,
        why: secrets(&names),
        weight: Weight::Needed,
    };
    rights.into_iter().map(rule).collect()
}

/// What an agent with these wants asks its server for: a path, whether it is a pattern, and the capability.
pub fn asked(wants: &[Want]) -> Vec<(String, bool, &'static str)> {
    let known = Known::default();
    let of = |want: &Want| {
        let Some(list) = want.list else {
            let capability = if want.params.is_some() { "update" } else { "read" };
            return forms(want, &known).into_iter().map(|path| (path, false, capability)).collect::<Vec<_>>();
        };
        // A name that a policy would take for a pattern is left out: it would allow more than what is meant.
        if !patterns(want, &known).is_empty() {
            return Vec::new();
        }
        let rights = of_folder(want, list, &known).into_iter();
        rights.flat_map(|(paths, right)| paths.into_iter().map(move |path| (path, true, right))).collect()
    };
    wants.iter().flat_map(of).collect()
}

/// The engine of a secret, as far as the configuration or the server says it.
fn mounted(want: &Want, known: &Known) -> Option<Mounted> {
    match want.kind {
        Some(_) => Mounted::said(want),
        None => known.get(&want.path).cloned(),
    }
}

/// The paths at which the agent may ask for a secret: one, or for a mount of unknown kind that of KV v2 and that of all others.
fn forms(want: &Want, known: &Known) -> Vec<String> {
    let path = want.path.clone();
    if let Some(mounted) = mounted(want, known) {
        return vec![mounted.asked(&path)];
    }
    let Some((first, _)) = path.split_once('/').filter(|_| is_readable_kv(want)) else { return vec![path] };
    let versioned = Mounted { path: format!("{first}/"), kind: EngineKind::Kv2 }.asked(&path);
    // A version is asked of KV v2 only. Its mount may have more than one part, and then this is the form of its API.
    let has_form = path.contains("/data/");
    match want.version {
        _ if versioned == path => vec![path],
        Some(_) if !has_form => vec![versioned],
        Some(_) | None => vec![versioned, path],
    }
}

/// The paths at which the agent may list a folder, and those at which it may read what is in it, each for every kind of KV that it may be.
/// In a policy `+` is any one part, and `*` at the end whatever follows.
fn of_folder(want: &Want, list: Listing, known: &Known) -> [(Vec<String>, &'static str); 2] {
    let folders: Vec<(String, String)> =
        engines(want, known).iter().map(|at| at.folder(&want.path)).collect();
    let (listed, read): (Vec<String>, Vec<String>) = folders
        .into_iter()
        .map(|(listed, read)| match list {
            Listing::Level => (listed, format!("{read}+")),
            Listing::Tree => (format!("{listed}*"), format!("{read}*")),
        })
        .unzip();
    [(listed, "list"), (read, "read")]
}

/// What may be mounted where a folder is.
fn engines(want: &Want, known: &Known) -> Vec<Mounted> {
    if let Some(mounted) = mounted(want, known) {
        return vec![mounted];
    }
    let first = want.path.split('/').next().unwrap_or_default();
    [EngineKind::Kv2, EngineKind::Kv1].map(|kind| Mounted { path: format!("{first}/"), kind }).to_vec()
}

/// Why a policy would take more for the path of a secret or folder than what is meant.
fn patterns(want: &Want, known: &Known) -> Vec<String> {
    let paths = match want.list {
        None => forms(want, known),
        // What comes after it is Squire's.
        Some(_) => engines(want, known).iter().map(|at| at.folder(&want.path).1).collect(),
    };
    paths.iter().filter_map(|path| pattern(path)).collect()
}

/// Whether it can be in KV: nothing is written there, and these two are never KV.
fn is_readable_kv(want: &Want) -> bool {
    want.params.is_none() && !want.path.starts_with("auth/") && !want.path.starts_with("sys/")
}

/// Whether an answer may have a lease.
fn may_be_leased(want: &Want, known: &Known) -> bool {
    match mounted(want, known).map(|mounted| mounted.kind) {
        _ if want.list.is_some() => false,
        Some(EngineKind::Kv1 | EngineKind::Kv2) => false,
        None if is_readable_kv(want) => want.version.is_none() && forms(want, known).len() > 1,
        Some(EngineKind::Other) | None => true,
    }
}

/// The policy in HCL.
///
/// # Errors
/// Every path that the policy would take for a pattern.
pub fn text(
    heading: &Heading<'_>,
    config: &VaultConfig,
    (wants, proxied): (&[Want], &[String]),
    known: &Known,
) -> Result<Text, Vec<String>> {
    let mut rules = rules(config, wants, known, None);
    if proxied.iter().any(|path| may_lease(path)) && !rules.iter().any(|rule| rule.paths == [LOOK_UP_LEASE]) {
        rules.extend(leases());
    }
    let problems: Vec<String> = wants.iter().flat_map(|want| patterns(want, known)).collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    let unknown = rules.iter().filter(|rule| rule.paths.len() > 1);
    let notes: Vec<String> = unknown
        .map(|rule| {
            let why = &rule.why;
            format!("{why}: it is not known what is mounted there, so the policy has a line for KV v2 and one for all else; `kind` in the \
                     configuration, or --online, leaves one")
        })
        .collect();
    let body = comment(&introduction(heading, config)) + &rules.iter().map(stanzas).collect::<String>();
    let proxied = proxied.iter().map(|path| of_proxy(path)).collect::<String>();
    Ok(Text { body: body + &proxied, notes })
}

/// What a path of the proxy needs, as far as the path says it. Whether clients write there, nobody knows.
fn of_proxy(path: &str) -> String {
    let capabilities = capabilities(path);
    let why = if capabilities.contains(&"read") {
        "a path of the proxy; a client that writes there needs create, update, patch or delete, too"
    } else {
        "a path of the proxy"
    };
    let quotes: Vec<String> = capabilities.iter().map(|capability| format!("\"{capability}\"")).collect();
    let list = quotes.join(", ");
    format!("\n{}path {} {{\n  capabilities = [{list}]\n}}\n", comment(&[why.to_owned()]), quoted(path))
}

/// What is asked by writing, and changes nothing.
const ASKED_BY_WRITING: [&str; 13] = [
    "datakey",
    "decrypt",
    "encrypt",
    "generate",
    "hash",
    "hmac",
    "issue",
    "login",
    "random",
    "rewrap",
    "sign",
    "sign-verbatim",
    "verify",
];

/// The capabilities that this pattern needs, for who reads.
fn capabilities(path: &str) -> Vec<&'static str> {
    let parts: Vec<&str> = path.split('/').collect();
    let has = |word: &str| parts.iter().any(|part| part.trim_end_matches('*') == word);
    let is_listed = path.ends_with('/');
    let is_of_token = path.starts_with("auth/token/");
    match path {
        _ if path.starts_with("sys/leases/") => vec!["update"],
        _ if is_of_token && has("lookup-self") => vec!["read"],
        _ if is_of_token || ASKED_BY_WRITING.iter().any(|word| has(word)) => vec!["update"],
        _ if has("data") => vec!["read"],
        _ if is_listed => vec!["list"],
        _ if has("metadata") || path.ends_with('*') => vec!["read", "list"],
        _ => vec!["read"],
    }
}

/// Whether what is read there may have a lease.
fn may_lease(path: &str) -> bool {
    let is_static = path.split('/').any(|part| matches!(part, "data" | "metadata" | "transit"));
    !is_static && !path.starts_with("sys/") && !path.starts_with("auth/") && !path.ends_with('/')
}

fn introduction(heading: &Heading<'_>, config: &VaultConfig) -> Vec<String> {
    let Heading { origin, source, name } = heading;
    let mut lines = vec![
        format!("The least policy for the source {source} of {origin}. To write it as {name}:"),
        format!("  squire policy -c {} --source {source} | bao policy write {} -", word(origin), word(name)),
        "It is whole without the policy `default`, so the login may have token_no_default_policy=true."
            .to_owned(),
    ];
    if let Some(namespace) = &config.namespace {
        lines.push(format!(
            "Its paths are those of the namespace {namespace}: write it there, with -namespace={namespace}."
        ));
    }
    lines
}

/// One stanza a path.
fn stanzas(rule: &Rule) -> String {
    let of_weight = match rule.weight {
        Weight::Needed => String::new(),
        Weight::Helps(without) => format!("; without it {without}"),
        Weight::Asks => "; the agent does not ask it".to_owned(),
    };
    let stanza = |(number, path): (usize, &String)| {
        let form = match (number, rule.paths.len()) {
            (_, 1) => "",
            (0, _) => ", if it is in KV v2",
            (_, _) => ", if it is not in KV v2",
        };
        let why = comment(&[format!("{}{form}{of_weight}", rule.why)]);
        format!("\n{why}path {} {{\n  capabilities = [\"{}\"]\n}}\n", quoted(path), rule.capability)
    };
    rule.paths.iter().enumerate().map(stanza).collect::<Vec<_>>().concat()
}

/// A string of HCL. A configuration lets no control character into a path.
fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', r"\\").replace('"', r#"\""#))
}

/// Why a policy cannot name this path alone.
fn pattern(path: &str) -> Option<String> {
    let what = if path.ends_with('*') {
        "ends with `*`, which is every path that begins so"
    } else if path.split('/').any(|part| part == "+") {
        "has a part `+`, which is any part"
    } else if path.contains("{{") || path.contains("${") {
        "has a template, which the server fills in"
    } else {
        return None;
    };
    Some(format!(
        "{path:?} {what} in a policy, and there is no way to name it alone: rename the secret, or write its policy by hand"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::tests::wanted;
    use super::*;
    use crate::config::SourceConfig;
    use crate::names::SourceName;

    #[test]
    fn a_path_of_the_proxy_needs_what_its_readers_need() {
        let cases: [(&str, &[&str], bool); 11] = [
            ("secret/data/app/*", &["read"], false),
            ("secret/metadata/app/*", &["read", "list"], false),
            ("secret/metadata/app/", &["list"], false),
            ("kv/app/*", &["read", "list"], true),
            ("database/creds/app", &["read"], true),
            ("transit/encrypt/app", &["update"], false),
            ("transit/+/app", &["read"], false),
            ("pki/issue/web", &["update"], true),
            ("auth/token/lookup-self", &["read"], false),
            ("auth/token/create", &["update"], false),
            ("sys/leases/renew", &["update"], false),
        ];
        for (path, expected, leased) in cases {
            assert_eq!((capabilities(path).as_slice(), may_lease(path)), (expected, leased), "{path}");
        }
        let (config, wants) = vault(&secret("path = \"secret/app/db\"\nkind = \"kv2\""));
        let source = SourceName::new("vault");
        let heading = Heading { origin: "squire.toml", source: &source, name: "app" };
        let paths = ["database/creds/app".to_owned(), "secret/data/\"x\"".to_owned()];
        let text = text(&heading, &config, (&wants, &paths), &Known::new()).unwrap().body;
        assert_eq!(text.matches("path \"sys/leases/revoke\"").count(), 1, "{text}");
        assert!(text.contains("path \"database/creds/app\" {\n  capabilities = [\"read\"]\n}"), "{text}");
        assert!(text.contains(r#"path "secret/data/\"x\"" {"#), "{text}");
    }

    const SOURCE: &str =
        "[source.vault]\naddress = \"https://a:8200\"\n[source.vault.auth.approle]\nrole_id = \"x\"\n";

    fn vault(rest: &str) -> (VaultConfig, Vec<Want>) {
        match wanted(&format!("{SOURCE}{rest}")).pop() {
            Some((_, SourceConfig::Vault(config), wants)) => (config, wants),
            other => panic!("{other:?}"),
        }
    }

    fn paths(rules: &[Rule]) -> Vec<String> {
        rules.iter().map(|rule| format!("{} {}", rule.capability, rule.paths.join(" | "))).collect()
    }

    const TOKEN: [&str; 5] = [
        "update auth/token/renew-self",
        "read auth/token/lookup-self",
        "update auth/token/revoke-self",
        "update sys/capabilities-self",
        "read sys/internal/ui/resultant-acl",
    ];
    const LEASES: [&str; 3] =
        ["update sys/leases/renew", "update sys/leases/lookup", "update sys/leases/revoke"];

    fn secret(rest: &str) -> String {
        format!("[secret.x]\n{rest}\n")
    }

    #[test]
    fn the_path_is_that_of_the_api_and_leases_are_for_what_may_be_leased() {
        for (rest, expected, leased) in [
            ("path = \"secret/app/db\"\nkind = \"kv2\"", "read secret/data/app/db", false),
            ("path = \"team/kv/data/app/db\"\nkind = \"kv2\"", "read team/kv/data/app/db", false),
            ("path = \"secret/app/db\"\nkind = \"kv1\"", "read secret/app/db", false),
            ("path = \"database/creds/app\"\nkind = \"other\"", "read database/creds/app", true),
            ("path = \"secret/data/app/db\"", "read secret/data/app/db", false),
            ("path = \"secret/app/db\"\nversion = 3", "read secret/data/app/db", false),
            ("path = \"secret/app/db\"", "read secret/data/app/db | secret/app/db", true),
            ("path = \"secret/x/data/y\"", "read secret/data/x/data/y | secret/x/data/y", true),
            ("path = \"auth/token/create\"\nparams = { ttl = \"1h\" }", "update auth/token/create", true),
            ("path = \"pki/issue/web\"\nparams = { common_name = \"a\" }", "update pki/issue/web", true),
            ("path = \"alone\"", "read alone", false),
        ] {
            let (config, wants) = vault(&secret(rest));
            let found = paths(&rules(&config, &wants, &Known::new(), None));
            let leases: &[&str] = if leased { &LEASES } else { &[] };
            assert_eq!(found, [&[expected], leases, &TOKEN].concat(), "{rest}");
        }
    }

    #[test]
    fn what_the_server_said_wins_over_a_guess_and_the_configuration_over_the_server() {
        let known = |mount: &str, kind| {
            Known::from([("team/kv/db".to_owned(), Mounted { path: mount.to_owned(), kind })])
        };
        let first = |rest: &str, known: &Known| {
            let (config, wants) = vault(&secret(rest));
            paths(&rules(&config, &wants, known, None))[0].clone()
        };
        let unsaid = "path = \"team/kv/db\"";
        assert_eq!(first(unsaid, &known("team/kv/", EngineKind::Kv2)), "read team/kv/data/db");
        assert_eq!(first(unsaid, &known("team/kv/", EngineKind::Kv1)), "read team/kv/db");
        let said = "path = \"team/kv/db\"\nkind = \"other\"";
        assert_eq!(first(said, &known("team/kv/", EngineKind::Kv2)), "read team/kv/db");
    }

    #[test]
    fn a_secret_that_two_names_have_is_one_line() {
        let (config, wants) = vault(
            "[secret.b]\npath = \"secret/data/x\"\n[secret.a]\npath = \"secret/data/x\"\nversion = 2\n",
        );
        let rules = rules(&config, &wants, &Known::new(), None);
        assert_eq!(rules[0].why, "the secrets a and b");
        assert_eq!(rules[1].paths, ["auth/token/renew-self"]);
    }

    #[test]
    fn what_the_token_cannot_do_is_not_asked_for() {
        use crate::secret::Secret;
        use crate::source::GrantLife;
        let (mut config, wants) = vault(&secret("path = \"database/creds/app\"\nkind = \"other\""));
        let life = GrantLife { ttl: None, renewable: false };
        let grant = Grant { token: Secret::new("t"), life, revocable: false, uses: Some(9) };
        let with = |config: &VaultConfig| paths(&rules(config, &wants, &Known::new(), Some(&grant)));
        let asked = ["update sys/capabilities-self", "read sys/internal/ui/resultant-acl"];
        let expected =
            [&["read database/creds/app", "update sys/leases/renew", "update sys/leases/revoke"], &asked[..]]
                .concat();
        assert_eq!(with(&config), expected);
        // A given token is looked up at its login.
        config.auth = AuthConfig::Token { from: crate::config::CredentialFrom::File("t".into()) };
        assert!(with(&config).contains(&"read auth/token/lookup-self".to_owned()));
        assert!(!with(&config).contains(&"update auth/token/revoke-self".to_owned()));
    }

    #[test]
    fn the_text_is_the_policy_and_nothing_breaks_out_of_it() {
        let source = SourceName::new("vault");
        let heading = Heading { origin: "a\npath \"*\" {}", source: &source, name: "app" };
        let (mut config, wants) = vault(&secret("path = 'secret/data/a\"b\\c'"));
        config.namespace = Some("team/a".to_owned());
        let Text { body, notes } = text(&heading, &config, (&wants, &[]), &Known::new()).unwrap();
        assert!(
            body.contains(
                "\n# the secret x\npath \"secret/data/a\\\"b\\\\c\" {\n  capabilities = [\"read\"]\n}\n"
            ),
            "{body}"
        );
        assert!(body.contains("with -namespace=team/a."), "{body}");
        assert!(body.lines().all(|line| !line.starts_with("path \"*\"")), "{body}");
        assert_eq!(notes, Vec::<String>::new());
    }

    #[test]
    fn a_folder_is_listed_and_what_is_in_it_is_read() {
        for (rest, expected) in [
            (
                "path = \"secret/team\"\nlist = true\nkind = \"kv2\"",
                ["list secret/metadata/team/", "read secret/data/team/+"],
            ),
            (
                "path = \"secret/team\"\nlist = \"tree\"\nkind = \"kv2\"",
                ["list secret/metadata/team/*", "read secret/data/team/*"],
            ),
            ("path = \"kv/team\"\nlist = true\nkind = \"kv1\"", ["list kv/team/", "read kv/team/+"]),
            (
                "path = \"team/kv/metadata/x\"\nlist = true\nkind = \"kv2\"",
                ["list team/kv/metadata/x/", "read team/kv/data/x/+"],
            ),
            (
                "path = \"secret/team\"\nlist = \"tree\"",
                ["list secret/metadata/team/* | secret/team/*", "read secret/data/team/* | secret/team/*"],
            ),
        ] {
            let (config, wants) = vault(&secret(rest));
            let found = paths(&rules(&config, &wants, &Known::new(), None));
            assert_eq!(found, [&expected[..], &TOKEN].concat(), "{rest}");
        }
        let source = SourceName::new("vault");
        let heading = Heading { origin: "squire.toml", source: &source, name: "app" };
        let (config, wants) = vault(&secret("path = 'secret/+/team'\nlist = true\nkind = 'kv2'"));
        assert!(
            text(&heading, &config, (&wants, &[]), &Known::new()).unwrap_err()[0].contains("is any part")
        );
    }

    #[test]
    fn whoever_names_a_secret_cannot_widen_the_policy() {
        let source = SourceName::new("vault");
        let heading = Heading { origin: "squire.toml", source: &source, name: "app" };
        for path in ["secret/*", "secret/data/app*", "secret/+/db", "secret/{{identity.entity.id}}/x"] {
            // A brace pair is no path of a configuration without quotes of TOML, so each is written as it would be.
            let (config, wants) = vault(&secret(&format!("path = '{path}'")));
            let problems = text(&heading, &config, (&wants, &[]), &Known::new()).unwrap_err();
            assert!(problems[0].contains("in a policy"), "{problems:?}");
        }
        let (config, wants) = vault(&secret("path = 'secret/data/a*b/c+d'"));
        assert!(text(&heading, &config, (&wants, &[]), &Known::new()).is_ok());
    }

    #[test]
    fn where_the_mount_is_not_known_both_forms_are_there_and_said() {
        let source = SourceName::new("vault");
        let heading = Heading { origin: "squire.toml", source: &source, name: "app" };
        let (config, wants) = vault(&secret("path = 'secret/app'"));
        let Text { body, notes } = text(&heading, &config, (&wants, &[]), &Known::new()).unwrap();
        assert!(body.contains("# the secret x, if it is in KV v2\npath \"secret/data/app\""), "{body}");
        assert!(body.contains("# the secret x, if it is not in KV v2\npath \"secret/app\""), "{body}");
        assert_eq!(notes.len(), 1);
    }
}
