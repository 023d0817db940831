//! Whole documents: their meaning, and every problem that they can have.
//!
//! *Invariant:* problems are compared as they are printed, so that a change of their text is noticed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use insta::assert_snapshot;
use nix::sys::signal::Signal;
use proptest::prelude::*;
use serde_json::json;

use super::*;

pub(super) const FULL: &str = r#"
startup_timeout = "2m"

[source.vault]
address   = "https://vault.internal:8200"
namespace = "team-a/"
ca_file   = "/etc/squire/ca.pem"
client_cert_file = "client.pem"
client_key_file = "client.key"
tls_server_name = "vault.internal"
refresh   = "10m"
[source.vault.auth.approle]
mount          = "/teams/approle/"
role_id_file   = "/etc/squire/role-id"
secret_id_file = "/run/squire-id/secret-id"
unwrap         = true

[source.other]
type = "vault"
addresses = ["http://[::1]:8200/", "HTTP://127.0.0.1"]
insecure_tls = true
allow_redirects = true
auth.token.file = "token"

[secret.db]
source = "vault"
path = "database/creds/vertice-readonly"
[secret.redis]
source = "vault"
path = "/secret/redis/main/"
refresh = "30s"
version = 3
[secret.web]
source = "other"
path   = "pki/issue/web"
params = { common_name = "${HOST}.internal", ttl = "24h", n = 0x10, x = 1.5, on = true, at = 2026-01-02, l = ["${HOST}"] }

[output]
dir   = "/run//secrets/./app/"
mode  = "440"
owner = "app"
group = 1000
dir_mode = "2750"
allow_disk = true

[[file]]
path      = "./tls//web.pem"
template  = "tls.pem.hbs"
on_change = "hup"

[[file]]
path     = "/etc/app/db.json"
inline   = '{"user": {{json db.username}}, "literal": "${HOST}" }'
mode     = "0600"
owner    = "1001"
group    = "staff"
on_change = { run = ["/bin/reload", ""], timeout = "1m30s" }

[process]
command   = ["/usr/local/bin/app", "--host", "${HOST}", "$${HOST}"]
env       = { DATABASE_URL = "postgres://{{db.username}}:{{url db.password}}@${HOST}:5432/app" }
on_change = "none"
stop_signal = "SIGINT"
stop_timeout = "1h"

[rollout]
settle = "0s"
grace  = "7d"

[agent]
ledger = "/run//squire/./ledger/"
ledger_key_file = "/etc/squire/${HOST}.key"
on_stop = "leave"

[audit]
file = "/var/log//squire/audit.jsonl"
anchor = "/var/lib/squire/${HOST}.anchor"
max_size = "1MiB"
keep = 3
on_failure = "stop"
"#;

fn parse_with(variables: &[(&str, &str)], text: &str) -> Result<Config, Vec<Problem>> {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    let environment = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    parse(Path::new("/etc/squire/squire.toml"), text, &environment)
}

fn problems_with(variables: &[(&str, &str)], text: &str) -> String {
    let problems = parse_with(variables, text).expect_err("the document has problems");
    let lines: Vec<_> =
        problems.iter().map(|problem| problem.to_string().replace("/etc/squire/squire.toml:", "")).collect();
    lines.join("\n")
}

fn problems(text: &str) -> String {
    problems_with(&[], text)
}

/// The only source of a document that would be valid without these lines.
fn vault_with(variables: &[(&str, &str)], lines: &str) -> Result<VaultConfig, String> {
    let text = format!("[source.vault]\n{lines}\nauth.token.file = '/token'");
    let config = parse_with(variables, &text).map_err(|problems| {
        problems.iter().map(|p| format!("{}: {}", p.place.key, p.message)).collect::<Vec<_>>().join("\n")
    })?;
    let SourceConfig::Vault(vault) = config.sources["vault"].clone() else { panic!("no vault") };
    Ok(vault)
}

#[test]
fn a_full_document_means_what_it_says() {
    let config = parse_with(&[("HOST", "web1")], FULL).unwrap();
    assert_eq!(config.startup_timeout, Some(Duration::from_mins(2)));

    let SourceConfig::Vault(vault) = &config.sources["vault"] else { panic!("no vault") };
    assert_eq!(vault.addresses, ["https://vault.internal:8200"]);
    assert_eq!(vault.namespace.as_deref(), Some("team-a"));
    assert_eq!(vault.authorities, Authorities::File("/etc/squire/ca.pem".into()));
    let identity = vault.client_identity.as_ref().unwrap();
    assert_eq!(identity.cert_file, Path::new("/etc/squire/client.pem"), "beside the configuration");
    assert_eq!(identity.key_file, Path::new("/etc/squire/client.key"));
    assert_eq!(vault.tls_server_name.as_deref(), Some("vault.internal"));
    assert!(!vault.insecure_tls);
    assert_eq!(vault.refresh, Duration::from_mins(10));
    let AuthConfig::AppRole(approle) = &vault.auth else { panic!("{:?}", vault.auth) };
    assert_eq!(approle.mount, "teams/approle");
    assert!(matches!(&approle.role_id, RoleId::File(file) if file == Path::new("/etc/squire/role-id")));
    let secret_id = approle.secret_id.as_ref().unwrap();
    assert_eq!(secret_id.from.file(), Some(Path::new("/run/squire-id/secret-id")));
    assert!(secret_id.unwrap && secret_id.delete, "what is wrapped is deleted");
    assert!(!vault.allow_redirects);

    let SourceConfig::Vault(other) = &config.sources["other"] else { panic!("no vault") };
    assert_eq!(other.addresses, ["http://[::1]:8200", "http://127.0.0.1"]);
    assert!(other.insecure_tls && other.allow_redirects);
    assert!(
        matches!(&other.auth, AuthConfig::Token { from } if from.file() == Some(Path::new("/etc/squire/token")))
    );

    let db = &config.secrets["db"];
    assert_eq!((db.source.as_str(), db.path.as_str()), ("vault", "database/creds/vertice-readonly"));
    assert_eq!(db.refresh, Duration::from_mins(10), "its source's");
    let redis = &config.secrets["redis"];
    assert_eq!((redis.path.as_str(), &redis.version), ("secret/redis/main", &Some(Version::Number(3))));
    assert_eq!(redis.refresh, Duration::from_secs(30));
    let web = &config.secrets["web"];
    let params = json!({"common_name": "web1.internal", "ttl": "24h", "n": 16, "x": 1.5, "on": true, "at": "2026-01-02", "l": ["web1"]});
    assert_eq!(web.params.as_ref(), params.as_object());
    assert_eq!(web.refresh, Duration::from_mins(5));

    assert_eq!(config.output.dir.as_deref(), Some(Path::new("/run/secrets/app")));
    assert_eq!(config.output.dir_mode, Mode::new(0o2750));
    assert!(config.output.allow_disk);
    let [tls, json] = config.files.as_slice() else { panic!("{:?}", config.files) };
    assert_eq!((tls.path.as_path(), tls.mode), (Path::new("tls/web.pem"), Mode::new(0o440)));
    assert!(
        matches!(&tls.template, TemplateSource::File(file) if file == Path::new("/etc/squire/tls.pem.hbs"))
    );
    assert_eq!((&tls.owner, &tls.group), (&Some(Account::Name("app".to_owned())), &Some(Account::Id(1000))));
    assert_eq!(tls.on_change, Some(Reaction::Signal(Signal::SIGHUP)));
    assert_eq!((tls.place.line, tls.place.key.as_str()), (46, "file[0]"));
    assert_eq!((json.path.as_path(), json.mode), (Path::new("/etc/app/db.json"), Mode::new(0o600)));
    assert!(matches!(&json.template, TemplateSource::Inline(text) if text.contains("${HOST}")));
    assert_eq!(
        (&json.owner, &json.group),
        (&Some(Account::Id(1001)), &Some(Account::Name("staff".to_owned())))
    );
    let run = RunCommand {
        command: vec!["/bin/reload".to_owned(), String::new()],
        timeout: Duration::from_secs(90),
    };
    assert_eq!(json.on_change, Some(Reaction::Act(Action { act: Act::Run(run), is_required: false })));

    let process = &config.process;
    assert_eq!(process.command.as_deref().unwrap(), ["/usr/local/bin/app", "--host", "web1", "${HOST}"]);
    assert!(process.env["DATABASE_URL"].template.ends_with("@${HOST}:5432/app"));
    assert_eq!(process.env["DATABASE_URL"].place.key, "process.env.DATABASE_URL");
    assert_eq!((&process.on_change, process.stop_signal), (&Reaction::Nothing, Signal::SIGINT));
    assert_eq!(process.stop_timeout, Duration::from_hours(1));
    assert_eq!(config.rollout.settle, Duration::ZERO);
    assert_eq!(config.rollout.grace, Duration::from_hours(168));

    let ledger = LedgerConfig {
        directory: PathBuf::from("/run/squire/ledger"),
        key_file: Some(PathBuf::from("/etc/squire/web1.key")),
    };
    assert_eq!((config.agent.ledger, config.agent.on_stop), (Some(ledger), Some(OnStop::Leave)));
    let audit = AuditConfig {
        file: "/var/log/squire/audit.jsonl".into(),
        anchor: "/var/lib/squire/web1.anchor".into(),
        max_size: 1 << 20,
        keep: 3,
        on_failure: OnFailure::Stop,
    };
    assert_eq!(config.audit, Some(audit));
}

#[test]
fn a_size_is_the_secrets_else_its_sources_else_a_mebibyte() {
    let size = |source: &str, secret: &str| {
        let text = format!(
            "[source.vault]\naddress = 'http://a'\nauth.approle.role_id = 'r'\n{source}\n[secret.a]\npath = 'b'\n{secret}\n\
             [output]\ndir = '/run/s'\n[[file]]\npath = 'a'\ninline = ''"
        );
        parse_with(&[], &text).unwrap().secrets["a"].max_size
    };
    assert_eq!(size("", ""), 1 << 20);
    assert_eq!(size("max_size = '2MiB'", ""), 2 << 20);
    assert_eq!(size("max_size = '2MiB'", "max_size = '64KiB'"), 64 << 10);
}

#[test]
fn what_is_not_said_has_a_default() {
    let config = parse_with(
        &[],
        "[source.vault]\naddress = 'http://a'\nauth.approle.role_id = 'r'\n[secret.a]\npath = 'b'\n\
         [output]\ndir = '/run/s'\n[[file]]\npath = 'a'\ninline = ''",
    )
    .unwrap();
    let SourceConfig::Vault(vault) = &config.sources["vault"] else { panic!("no vault") };
    let AuthConfig::AppRole(approle) = &vault.auth else { panic!("{:?}", vault.auth) };
    assert!(approle.mount == "approle" && approle.secret_id.is_none());
    assert!(matches!(&approle.role_id, RoleId::Inline(id) if id == "r"));
    assert!(
        vault.namespace.is_none()
            && vault.authorities == Authorities::System
            && vault.client_identity.is_none()
    );
    assert!(vault.tls_server_name.is_none() && !vault.insecure_tls && !vault.allow_redirects);
    assert_eq!((vault.refresh, vault.look_up_every), (Duration::from_mins(5), Duration::from_mins(1)));
    assert_eq!(config.secrets["a"].source.as_str(), "vault", "the only one");
    assert_eq!(config.secrets["a"].refresh, Duration::from_mins(5));
    assert_eq!((config.output.dir_mode, config.output.allow_disk), (Mode::new(0o755), false));
    assert_eq!((config.files[0].mode, &config.files[0].on_change), (Mode::new(0o400), &None));
    assert_eq!((&config.files[0].owner, &config.files[0].group), (&None, &None));

    let empty = parse_with(&[], "").unwrap();
    assert!(empty.sources.is_empty() && empty.secrets.is_empty() && empty.files.is_empty());
    assert_eq!((empty.startup_timeout, empty.output.dir), (None, None));
    assert_eq!((empty.process.command, empty.process.on_change), (None, Reaction::Restart));
    assert_eq!(
        (empty.process.stop_signal, empty.process.stop_timeout),
        (Signal::SIGTERM, Duration::from_secs(30))
    );
    assert_eq!(empty.rollout.settle, Duration::from_millis(100));
    assert_eq!(empty.rollout.grace, Duration::from_secs(30));
    assert_eq!((empty.agent.ledger, empty.agent.on_stop), (None, None));
}

#[test]
fn the_environment_fills_in_what_the_table_leaves_out() {
    let of = |variables: &[(&str, &str)], lines: &str| vault_with(variables, lines).unwrap();
    let all = of(
        &[
            ("VAULT_ADDR", "https://v:8200/"),
            ("BAO_ADDR", "https://b"),
            ("VAULT_NAMESPACE", ""),
            ("BAO_NAMESPACE", "/ns/"),
            ("VAULT_CACERT", "ca.pem"),
            ("BAO_CLIENT_CERT", "c.pem"),
            ("VAULT_CLIENT_KEY", "k.pem"),
            ("BAO_TLS_SERVER_NAME", "name"),
            ("BAO_SKIP_VERIFY", "true"),
        ],
        "",
    );
    assert_eq!(all.addresses, ["https://v:8200"], "VAULT_ wins over BAO_");
    assert_eq!(all.namespace.as_deref(), Some("ns"), "an empty variable is not set");
    assert_eq!(all.authorities, Authorities::File("ca.pem".into()));
    let identity = all.client_identity.unwrap();
    assert_eq!((identity.cert_file, identity.key_file), (PathBuf::from("c.pem"), PathBuf::from("k.pem")));
    assert_eq!(all.tls_server_name.as_deref(), Some("name"));
    assert!(all.insecure_tls);

    let variables = [("VAULT_ADDR", "https://v"), ("VAULT_NAMESPACE", "ns"), ("VAULT_SKIP_VERIFY", "1")];
    let said = of(&variables, "addresses = ['http://a']\nnamespace = ''\ninsecure_tls = false");
    assert_eq!(
        (said.addresses.as_slice(), said.namespace, said.insecure_tls),
        (&["http://a".to_owned()][..], None, false)
    );
}

#[test]
fn a_variable_that_is_wrong_is_named() {
    let variables = [
        ("BAO_ADDR", "vault:8200"),
        ("VAULT_NAMESPACE", "a b"),
        ("VAULT_TLS_SERVER_NAME", "https://v"),
        ("VAULT_SKIP_VERIFY", "yes"),
        ("VAULT_CLIENT_CERT", "c.pem"),
    ];
    assert_snapshot!(vault_with(&variables, "").unwrap_err(), @r#"
    source.vault: the environment variable BAO_ADDR has to begin with https:// or http://; write for example "https://vault.internal:8200"
    source.vault: the environment variable VAULT_NAMESPACE is not a namespace; it may have neither spaces nor anything outside ASCII
    source.vault: the environment variable VAULT_CLIENT_CERT is set without VAULT_CLIENT_KEY; set both or neither
    source.vault: the environment variable VAULT_TLS_SERVER_NAME is not a host name; write it without scheme and port, for example "vault.internal"
    source.vault: the environment variable VAULT_SKIP_VERIFY is neither "true" nor "false"
    "#);
}

#[test]
fn addresses_name_a_server_and_nothing_else() {
    let of = |address: &str| match vault_with(&[], &format!("address = {address:?}")) {
        Ok(vault) => vault.addresses.concat(),
        Err(problem) => problem.replace("source.vault.address: ", "! "),
    };
    let table = [
        "https://vault.internal:8200",
        "https://vault.internal/",
        "http://10.0.0.1:1",
        "https://[fe80::1]:8200",
        "",
        "vault.internal",
        "vault.internal:8200",
        "unix:///run/vault",
        "unix://vault",
        "ftp://vault",
        "https://",
        "https://:8200",
        "https://v:0",
        "https://v:99999",
        "https://v:",
        "https://v:80a",
        "https://user:pw@v",
        "https://v/v1",
        "https://v/a/b/",
        "https://v?a=b",
        "https://v#a",
        "https://v v",
        "https://v//",
    ];
    let lines: Vec<_> = table.iter().map(|address| format!("{address} → {}", of(address))).collect();
    assert_snapshot!(lines.join("\n"), @r#"
    https://vault.internal:8200 → https://vault.internal:8200
    https://vault.internal/ → https://vault.internal
    http://10.0.0.1:1 → http://10.0.0.1:1
    https://[fe80::1]:8200 → https://[fe80::1]:8200
     → ! is not an address; write for example "https://vault.internal:8200"
    vault.internal → ! has to begin with https:// or http://; write for example "https://vault.internal:8200"
    vault.internal:8200 → ! has to begin with https:// or http://; write for example "https://vault.internal:8200"
    unix:///run/vault → unix:///run/vault
    unix://vault → ! is not the address of a socket; write for example "unix:///run/vault.sock", with at most 107 bytes behind unix://
    ftp://vault → ! has to begin with https:// or http://; write for example "https://vault.internal:8200"
    https:// → ! is not an address; write for example "https://vault.internal:8200"
    https://:8200 → ! names no host; write for example "https://vault.internal:8200"
    https://v:0 → ! has a port that is not a number from 1 to 65535
    https://v:99999 → ! has a port that is not a number from 1 to 65535
    https://v: → ! has a port that is not a number from 1 to 65535
    https://v:80a → ! has a port that is not a number from 1 to 65535
    https://user:pw@v → ! contains a user name or password; the login goes into [source.NAME.auth.…]
    https://v/v1 → ! ends in /v1, which every request has by itself; leave that out
    https://v/a/b/ → https://v/a/b
    https://v?a=b → ! ends in `?…` or `#…`; write for example "https://vault.internal:8200"
    https://v#a → ! ends in `?…` or `#…`; write for example "https://vault.internal:8200"
    https://v v → ! is not an address; write for example "https://vault.internal:8200"
    https://v// → https://v
    "#);
}

#[test]
fn proxies_are_named_without_a_login_and_variables_with_one() {
    let show = |proxy: &Secret<str>| proxy.expose().to_owned();
    let of = |variables: &[(&str, &str)], lines: &str| {
        let lines = format!("address = 'https://v'\n{lines}");
        match vault_with(variables, &lines).map(|vault| vault.proxy) {
            Ok(Proxy::None) => "none".to_owned(),
            Ok(Proxy::Always(proxy)) => show(&proxy),
            Ok(Proxy::Environment { https, http, except }) => {
                let [https, http] = [https, http].map(|proxy| proxy.as_ref().map_or("-".to_owned(), show));
                format!("https by {https}, http by {http}, not to {except:?}")
            }
            Err(problem) => problem,
        }
    };
    let environment =
        [("HTTPS_PROXY", "http://a:b@p:1"), ("https_proxy", "x"), ("http_proxy", "p"), ("no_proxy", ".b, c")];
    for (variables, lines, expected) in [
        (&environment[..], "", "https by http://a:b@p:1, http by p, not to \".b, c\""),
        (&environment, "proxy = 'none'", "none"),
        (&environment, "proxy = 'https://p:3128'", "https://p:3128"),
        (&[("NO_PROXY", "a")], "", "none"),
        (
            &[("BAO_PROXY_ADDR", "http://p"), ("VAULT_HTTP_PROXY", "http://q"), ("HTTPS_PROXY", "http://r")],
            "",
            "http://p",
        ),
    ] {
        assert_eq!(of(variables, lines), expected, "{variables:?} {lines}");
    }
    for (variables, lines, part) in [
        (&[("HTTPS_PROXY", "socks5://p")][..], "", "variable HTTPS_PROXY is a proxy of a kind"),
        (
            &[("HTTPS_PROXY", "http://squire:word/x@p:1")],
            "",
            "variable HTTPS_PROXY goes on behind host and port",
        ),
        (
            &[("HTTPS_PROXY", "http://squire:1/x@p:1")],
            "",
            "variable HTTPS_PROXY goes on behind host and port",
        ),
        (
            &[],
            "proxy = 'http://squire:word@p:1'",
            "proxy: contains a user name or password; leave `proxy` out",
        ),
        (&[], "proxy = 'http://p:99999'", "proxy: goes on behind host and port"),
        (&[], "proxy = ''", "proxy: is not the address of a proxy"),
    ] {
        let problem = of(variables, lines);
        assert!(problem.contains(part) && !problem.contains("word/"), "{variables:?} {lines}: {problem}");
    }
}

#[test]
fn authorities_come_from_the_first_that_says_any() {
    let of = |variables: &[(&str, &str)], lines: &str| {
        vault_with(variables, &format!("address = 'https://v'\n{lines}")).unwrap().authorities
    };
    let all = [("VAULT_CAPATH", "/d"), ("BAO_CACERT_BYTES", "text"), ("VAULT_CACERT", "/f")];
    assert_eq!(of(&all, "ca_file = '/k'"), Authorities::File("/k".into()));
    assert_eq!(of(&all, ""), Authorities::File("/f".into()));
    assert_eq!(of(&all[..2], ""), Authorities::Text("text".into()));
    assert_eq!(of(&all[..1], ""), Authorities::Directory("/d".into()));
}

#[test]
fn what_is_dangerous_or_means_nothing_is_a_caution() {
    let of = |variables: &[(&str, &str)], lines: &str| vault_with(variables, lines).unwrap().cautions;
    for (address, clear) in [
        ("http://vault.internal:8200", true),
        ("http://10.0.0.1", true),
        ("http://[fe80::1]", true),
        ("http://localhost:8200", false),
        ("http://127.0.0.2", false),
        ("http://[::1]:8200", false),
        ("https://vault.internal", false),
        ("unix:///run/vault.sock", false),
    ] {
        assert_eq!(!of(&[], &format!("address = '{address}'")).is_empty(), clear, "{address}");
    }
    assert_eq!(of(&[("VAULT_MAX_RETRIES", "3"), ("BAO_HEADERS", "")], "address = 'https://v'").len(), 1);
    assert_eq!(of(&[("VAULT_SKIP_VERIFY", "true")], "address = 'https://v'").len(), 1);
}

#[test]
fn problems_of_sources() {
    assert_snapshot!(problems(r#"
[source.vault]
address = "https://a"
addresses = ["https://b"]
namespace = 7
client_cert_file = "c.pem"
tls_server_name = "https://vault"
insecure_tls = "yes"
refresh = "0s"
unwrap = true
[source.vault.auth.approle]
mount = "/"
secret_id = "5f1c"
secret_id_fil = "x"
[source.two]
type = "vault"
addresses = []
[source.two.auth.token]
token = "hvs.x"
[source.three]
type = "vualt"
nonsense = 1
[source.aws]
[source.valt]
[source.openbao]
address = "https://b"
[source."a b"]
type = "vault"
addresses = ["https://a", "https://u:p@b", 3]
client_key_file = ""
[source."a b".auth]
[source.four]
type = "vault"
[source.four.auth]
approl = { role_id = "x" }
[source.five]
type = "store"
[source.six]
type = "vault"
address = "http://a"
[source.six.auth.approle]
role_id = ""
role_id_file = "x"
[source.six.auth.token]
file = ""
[source.seven]
type = "vault"
address = "http://a"
auth = "token"
[source]
eight = "vault"
"#), @r#"
    4: source.vault.addresses: `address` is there too; keep one of the two
    5: source.vault.namespace: expected a namespace in quotes, found the number 7
    6: source.vault.client_cert_file: needs `client_key_file` beside it
    7: source.vault.tls_server_name: "https://vault" is not a host name; write it without scheme and port, for example "vault.internal"
    8: source.vault.insecure_tls: expected true or false, found text in quotes
    9: source.vault.refresh: "0s" has to be longer than zero
    10: source.vault.unwrap: unknown key; known here: type, max_size, address, addresses, namespace, ca_file, proxy, client_cert_file, client_key_file, tls_server_name, insecure_tls, refresh, look_up_every, allow_redirects, auth, token_file
    11: source.vault.auth.approle: no role; write role_id_file = "/etc/squire/role-id" or role_id = "…"
    12: source.vault.auth.approle.mount: "/" names nothing
    13: source.vault.auth.approle.secret_id: a secret id is a secret, and no secret is written in the configuration; put it into a file and name that with `secret_id_file`
    14: source.vault.auth.approle.secret_id_fil: unknown key; did you mean `secret_id_file`?
    17: source.two.addresses: is empty; name at least one server
    18: source.two.auth.token: `file` is missing; write file = "/run/squire-id/token"
    19: source.two.auth.token.token: a token is a secret, and no secret is written in the configuration; put it into a file and name that with `file`
    21: source.three.type: "vualt" is not a type; did you mean "vault"?
    24: source.valt: `type` is missing, and the table's name, "valt", is not a type; did you mean "vault"?
    25: source.openbao: `type` is missing, and the table's name, "openbao", is not a type; write type = "vault", which is OpenBao's too
    27: source."a b": is not a name for a source; use letters, digits, `_` and `-`
    29: source."a b".addresses[1]: contains a user name or password; the login goes into [source.NAME.auth.…]
    29: source."a b".addresses[2]: expected an address in quotes, such as "https://vault.internal:8200", found the number 3
    30: source."a b".client_key_file: needs `client_cert_file` beside it
    31: source."a b".auth: no login; add [source."a b".auth.approle] with role_id_file and secret_id_file, or a table of another method: token, jwt, kubernetes, cert, userpass, ldap, aws, gcp, azure; or set VAULT_ROLE_ID and VAULT_SECRET_ID, or VAULT_TOKEN
    32: source.four: no address; write address = "https://vault.internal:8200" or addresses = ["…", "…"], or set the environment variable VAULT_ADDR or BAO_ADDR
    35: source.four.auth.approl: unknown login method; did you mean `approle`?
    36: source.five: no store; write file = "/var/lib/squire/app.store", or set the environment variable SQUIRE_STORE
    36: source.five: no login; write role_id and secret_id_file of a role (`squire store role add` makes one), or the owner's key_file
    43: source.six.auth.approle.role_id_file: `role_id` is there too; keep one of the two
    44: source.six.auth.token: `approle` is there too; a source logs in one way, so keep one of them
    45: source.six.auth.token.file: is empty
    49: source.seven.auth: expected a table of a login method, such as [source.NAME.auth.approle], found text in quotes
    51: source.eight: expected a table: [source.NAME], found text in quotes
    "#);
}

/// The login of a document's only source.
fn login(lines: &str) -> AuthConfig {
    let text = format!("[source.vault]\naddress = 'https://a'\n{lines}");
    let config = parse_with(&[], &text).unwrap();
    let SourceConfig::Vault(vault) = config.sources["vault"].clone() else { panic!("no vault") };
    vault.auth
}

#[test]
fn each_login_method_means_what_it_says() {
    let shown = |lines| format!("{:?}", login(lines)).replace("/etc/squire/", "");
    let identity = "client_cert_file = 'c'\nclient_key_file = 'k'";
    let lines = [
        shown("auth.approle = { role_id = 'r', secret_id_file = 's' }"),
        shown("auth.approle = { role_id = 'r', secret_id_file = 's', unwrap = true }"),
        shown(
            "auth.approle = { role_id = 'r', secret_id_file = 's', unwrap = true, delete_secret_id = false }",
        ),
        shown("auth.approle = { role_id = 'r', secret_id_file = 's', delete_secret_id = true }"),
        shown(
            "auth.approle = { role_id = 'r', secret_id_file = 's', unwrap = true, keep_secret_id = false }",
        ),
        shown("auth.approle = { role_id = 'r', secret_id_file = 's', keep_secret_id = true }"),
        shown("auth.jwt = { role = 'app', jwt_file = 'jwt' }"),
        shown("auth.jwt = { mount = 'ci/jwt', role = 'app', jwt_file = '/run/jwt' }"),
        shown("auth.kubernetes = { role = 'app' }"),
        shown("auth.kubernetes = { mount = 'k8s', role = 'app', token_file = 'token' }"),
        shown(&format!("{identity}\n[source.vault.auth.cert]")),
        shown(&format!("{identity}\nauth.cert = {{ mount = 'tls', name = 'web' }}")),
        shown("auth.userpass = { username = 'app', password_file = 'p' }"),
        shown("auth.ldap = { mount = 'corp/ldap', username = 'a@b', password_file = '/run/p' }"),
        shown("auth.gcp = { role = 'app' }"),
        shown(
            "auth.azure = { role = 'app', resource = 'https://vault', client_id = 'c', metadata = 'http://10.0.0.1' }",
        ),
    ];
    assert_snapshot!(lines.join("\n"), @r#"
    AppRole(AppRoleConfig { mount: "approle", role_id: Inline("r"), secret_id: Some(SecretIdConfig { from: File("s"), unwrap: false, delete: false, keep: false }) })
    AppRole(AppRoleConfig { mount: "approle", role_id: Inline("r"), secret_id: Some(SecretIdConfig { from: File("s"), unwrap: true, delete: true, keep: true }) })
    AppRole(AppRoleConfig { mount: "approle", role_id: Inline("r"), secret_id: Some(SecretIdConfig { from: File("s"), unwrap: true, delete: false, keep: true }) })
    AppRole(AppRoleConfig { mount: "approle", role_id: Inline("r"), secret_id: Some(SecretIdConfig { from: File("s"), unwrap: false, delete: true, keep: true }) })
    AppRole(AppRoleConfig { mount: "approle", role_id: Inline("r"), secret_id: Some(SecretIdConfig { from: File("s"), unwrap: true, delete: true, keep: false }) })
    AppRole(AppRoleConfig { mount: "approle", role_id: Inline("r"), secret_id: Some(SecretIdConfig { from: File("s"), unwrap: false, delete: false, keep: true }) })
    Jwt(JwtConfig { mount: "jwt", role: "app", file: "jwt" })
    Jwt(JwtConfig { mount: "ci/jwt", role: "app", file: "/run/jwt" })
    Kubernetes(JwtConfig { mount: "kubernetes", role: "app", file: "/var/run/secrets/kubernetes.io/serviceaccount/token" })
    Kubernetes(JwtConfig { mount: "k8s", role: "app", file: "token" })
    Cert(CertConfig { mount: "cert", name: None })
    Cert(CertConfig { mount: "tls", name: Some("web") })
    Password(PasswordConfig { kind: Userpass, mount: "userpass", username: "app", file: "p" })
    Password(PasswordConfig { kind: Ldap, mount: "corp/ldap", username: "a@b", file: "/run/p" })
    Gcp(GcpLoginConfig { mount: "gcp", role: "app", metadata: "http://metadata.google.internal" })
    Azure(AzureLoginConfig { mount: "azure", role: "app", resource: "https://vault", client_id: Some("c"), metadata: "http://10.0.0.1" })
    "#);
}

#[test]
fn problems_of_logins() {
    assert_snapshot!(problems(r#"
[source.a]
type = "vault"
address = "https://a"
[source.a.auth.approle]
role_id = "r"
unwrap = true
delete_secret_id = "yes"
[source.b]
type = "vault"
address = "https://a"
[source.b.auth.approle]
role_id = "r"
secret_id_file = ""
unwrapped = true
[source.c]
type = "vault"
address = "https://a"
allow_redirects = 1
[source.c.auth.jwt]
mount = ""
jwt = "eyJ"
[source.d]
type = "vault"
address = "https://a"
[source.d.auth.kubernetes]
rule = "app"
token = "eyJ"
token_file = 3
[source.e]
type = "vault"
address = "https://a"
[source.e.auth.cert]
name = 7
[source.f]
type = "vault"
address = "https://a"
client_cert_file = "c"
[source.f.auth.cert]
role = "web"
[source.g]
type = "vault"
address = "https://a"
auth.kubernetes.role = "app"
auth.jwt = { role = "app", jwt_file = "" }
auth.token = "hvs.x"
[source.h]
type = "vault"
address = "https://a"
auth.kubernets.role = "app"
auth.radius.user = "x"
[source.i]
type = "vault"
address = "https://a"
auth.approle = { role_id = "r", keep_secret_id = true }
"#), @r#"
    7: source.a.auth.approle.unwrap: needs `secret_id_file` beside it
    8: source.a.auth.approle.delete_secret_id: needs `secret_id_file` beside it
    8: source.a.auth.approle.delete_secret_id: expected true or false, found text in quotes
    14: source.b.auth.approle.secret_id_file: is empty
    15: source.b.auth.approle.unwrapped: unknown key; did you mean `unwrap`?
    19: source.c.allow_redirects: expected true or false, found the number 1
    20: source.c.auth.jwt: `role` is missing; write role = "app"
    20: source.c.auth.jwt: `jwt_file` is missing; write jwt_file = "/run/squire-id/jwt"
    21: source.c.auth.jwt.mount: "" names nothing
    22: source.c.auth.jwt.jwt: a JWT is a secret, and no secret is written in the configuration; put it into a file and name that with `jwt_file`
    26: source.d.auth.kubernetes: `role` is missing; write role = "app"
    27: source.d.auth.kubernetes.rule: unknown key; did you mean `role`?
    28: source.d.auth.kubernetes.token: a token is a secret, and no secret is written in the configuration; leave it out, or name a file that holds it with `token_file`
    29: source.d.auth.kubernetes.token_file: expected a path in quotes, found the number 3
    30: source.e: `auth.cert` has no certificate to show; write client_cert_file and client_key_file
    34: source.e.auth.cert.name: expected text in quotes, found the number 7
    38: source.f.client_cert_file: needs `client_key_file` beside it
    40: source.f.auth.cert.role: unknown key; known here: mount, name
    44: source.g.auth.kubernetes: `token` is there too; a source logs in one way, so keep one of them
    45: source.g.auth.jwt: `token` is there too; a source logs in one way, so keep one of them
    45: source.g.auth.jwt.jwt_file: is empty
    46: source.g.auth.token: expected a table: [source.NAME.auth.token], found text in quotes
    50: source.h.auth.kubernets: unknown login method; did you mean `kubernetes`?
    51: source.h.auth.radius: unknown login method; known here: approle, token, jwt, kubernetes, cert, userpass, ldap, aws, gcp, azure
    55: source.i.auth.approle.keep_secret_id: needs `secret_id_file` beside it
    "#);
}

#[test]
fn problems_of_logins_of_users_and_machines() {
    assert_snapshot!(problems(r#"
[source.a]
type = "vault"
address = "https://a"
[source.a.auth.userpass]
username = "a/b"
password = "no"
[source.b]
type = "vault"
address = "https://a"
[source.b.auth.ldap]
password_file = "/p"
user = "x"
[source.d]
type = "vault"
address = "https://a"
[source.d.auth.azure]
role = "app"
metadata = "169.254.169.254"
resource = ""
"#), @r#"
    5: source.a.auth.userpass: `password_file` is missing; write password_file = "/run/squire-id/password"
    6: source.a.auth.userpass.username: "a/b" is no name of a user; it may have no slash in it
    7: source.a.auth.userpass.password: no password is written in the configuration; put it into a file and name that with `password_file`
    11: source.b.auth.ldap: `username` is missing; write username = "app"
    13: source.b.auth.ldap.user: unknown key; did you mean `username`?
    19: source.d.auth.azure.metadata: has to begin with https:// or http://; write for example "https://vault.internal:8200"
    20: source.d.auth.azure.resource: is empty
    "#);
}

#[test]
fn problems_of_token_files() {
    assert_snapshot!(problems(r#"
[source.a]
type = "vault"
address = "https://a"
auth.token = { file = "/t" }
token_file = "/run/token"
[source.b]
type = "vault"
address = "https://a"
auth.token = { file = "/t" }
[[source.b.token_file]]
path = "token"
mode = "04755"
wrap_ttl = "9s"
[[source.b.token_file]]
file = "/run/token"
make_dir = "yes"
[process]
command = ["a"]
restart_on_new_token = true
"#), @r#"
    6: source.a.token_file: expected [[source.NAME.token_file]] for each file, with two brackets on each side, found text in quotes
    12: source.b.token_file[0].path: is not an absolute path; begin it with `/`
    13: source.b.token_file[0].mode: "04755" is not a mode; write three or four digits from 0 to 7, such as "0400"
    14: source.b.token_file[0].wrap_ttl: "9s" is too short to be of use; write "10s" or more
    15: source.b.token_file[1]: `path` is missing; write path = "/run/app/token"
    16: source.b.token_file[1].file: unknown key; known here: path, mode, owner, group, make_dir, wrap_ttl
    17: source.b.token_file[1].make_dir: expected true, or a table such as { mode = "0750", owner = "app" }, found text in quotes
    20: process.restart_on_new_token: needs `vault_token` beside it, which says whose token the process gets
    "#);
}

#[cfg(feature = "aws")]
#[test]
fn a_login_by_aws_has_the_keys_of_the_environment_and_none_of_the_configuration() {
    let text = "[source.vault]\naddress = 'https://a'\n[source.vault.auth.aws]\nrole = 'app'\n";
    let variables =
        [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "canary"), ("AWS_REGION", "eu-west-1")];
    let config = parse_with(&variables, text).unwrap();
    let SourceConfig::Vault(vault) = &config.sources["vault"] else { panic!("no vault") };
    let AuthConfig::Aws(login) = &vault.auth else { panic!("{:?}", vault.auth) };
    assert_eq!((login.region.as_str(), login.account.region.as_deref()), ("us-east-1", Some("eu-west-1")));
    let keys = login.account.keys.as_ref().unwrap();
    assert_eq!((keys.id.as_str(), keys.key.expose()), ("AKID", "canary"));
    assert!(!format!("{config:?}").contains("canary"));
    let wrong = problems(&format!("{text}secret_access_key = 'x'\nserver_id = 'a b'\nregion = 'Here'\n"));
    assert_eq!(wrong.lines().count(), 3, "{wrong}");
}

#[test]
fn a_certificate_from_the_environment_is_one_to_log_in_with() {
    let text = "[source.vault]\naddress = 'https://a'\n[source.vault.auth.cert]";
    let variables = [("VAULT_CLIENT_CERT", "c"), ("VAULT_CLIENT_KEY", "k")];
    parse_with(&variables, text).unwrap();
    let half = problems_with(&variables[..1], text);
    assert_eq!(half.lines().count(), 1, "one mistake, one problem: {half}");
}

#[test]
fn problems_of_aws() {
    insta::assert_snapshot!(problems(r#"
[source.aws]
region = "Frankfurt"
endpoint = "localhost:4566"
secret_access_key = "no"
[source.aws.assume_role]
arn = "app"
session_name = "x y"
"#), @r#"
    3: source.aws.region: "Frankfurt" is not a region; write for example "eu-central-1"
    4: source.aws.endpoint: has to begin with https:// or http://; write for example "https://vault.internal:8200"
    5: source.aws.secret_access_key: no key is written in the configuration; give it in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in a profile, or leave it to the role of the machine or container
    7: source.aws.assume_role.arn: "app" is not the ARN of a role; write for example "arn:aws:iam::123456789012:role/app"
    8: source.aws.assume_role.session_name: "x y" is not a name for a session; it has 2 to 64 letters, digits and `_=,.@-`
    "#);
}

#[test]
fn problems_of_versions() {
    insta::assert_snapshot!(problems(r#"
[source.aws]
[source.vault]
address = "http://127.0.0.1:1"
auth.token = { file = "/token" }
[secret.numbered]
source = "aws"
path = "/prod/db"
version = 3
[secret.staged]
source = "vault"
path = "secret/db"
version_stage = "AWSPREVIOUS"
[secret.two]
source = "aws"
path = "a b"
version_stage = "AWSPREVIOUS"
version_id = "x"
"#), @r#"
    9: secret.numbered.version: AWS does not number its versions; write version_stage or version_id
    13: secret.staged.version_stage: is of AWS Secrets Manager; here versions have numbers, such as version = 3
    16: secret.two.path: "a b" is no name of a secret in AWS; it has letters, digits and `/_+=.@-`, or is an ARN
    18: secret.two.version_id: another version is named too; keep one of the two
    "#);
}

#[test]
fn tags_choose_among_the_secrets_of_aws() {
    let of = |rest: &str| format!("[source.aws]\nregion = \"eu-west-1\"\n[secret.team]\n{rest}");
    let read = |rest: &str| parse(Path::new("squire.toml"), &of(rest), &|_| None);
    let secret = read("list = true\ntags = { team = \"shop\", empty = \"\" }")
        .unwrap()
        .secrets
        .into_values()
        .next()
        .unwrap();
    assert_eq!((secret.path.as_str(), secret.list), (EVERYWHERE, Some(Listing::Level)));
    assert!(
        secret
            .tags
            .into_iter()
            .eq([("empty".to_owned(), String::new()), ("team".to_owned(), "shop".to_owned())])
    );
    let secret = read("path = \"prod\"\nlist = \"tree\"\ntags = { a = \"b\" }")
        .unwrap()
        .secrets
        .into_values()
        .next()
        .unwrap();
    assert_eq!((secret.path.as_str(), secret.list), ("prod", Some(Listing::Tree)));
    for (rest, expected) in [
        ("tags = { team = \"shop\" }", "write list = true beside it"),
        ("list = true\ntags = {}", "chooses nothing"),
        ("list = true", "`path` is missing"),
        ("path = \"*\"\nlist = true", "path"),
        ("list = true\ntags = { team = 3 }", "text"),
        ("list = true\ntags = \"team\"", "a table such as"),
        ("list = true\ntags = { \"\" = \"x\" }", "AWS has no such tag"),
    ] {
        let problems = format!("{:?}", read(rest).unwrap_err());
        assert!(problems.contains(expected), "{rest}: {problems}");
    }
    let vault = "[source.vault]\naddress = \"http://127.0.0.1\"\nauth.token.file = \"/t\"\n[secret.a]\npath = \"a/b\"\nlist = true\ntags = { a = \"b\" }";
    let problems = format!("{:?}", parse(Path::new("squire.toml"), vault, &|_| None).unwrap_err());
    assert!(problems.contains("only secrets of AWS have tags"), "{problems}");
}

#[test]
fn problems_of_folders() {
    insta::assert_snapshot!(problems(r#"
[source.aws]
[source.vault]
address = "http://127.0.0.1:1"
auth.token = { file = "/token" }
[secret.written]
source = "vault"
path = "secret/team"
list = true
params = { a = 1 }
[secret.pinned]
source = "vault"
path = "secret/team"
list = "tree"
version = 3
[secret.made]
source = "vault"
path = "secret/team"
list = true
kind = "other"
[secret.arn]
source = "aws"
path = "arn:aws:secretsmanager:eu-west-1:1:secret:prod/team"
list = true
[secret.deep]
source = "vault"
path = "secret/team"
list = "deep"
[secret.number]
source = "vault"
path = "secret/team"
list = 2
[secret.one]
source = "vault"
path = "secret/team"
list = false
version = 3
"#), @r#"
    9: secret.written.list: `params` is there too, which is about one secret; a folder has many, so keep one of the two
    14: secret.pinned.list: `version` is there too, which is about one secret; a folder has many, so keep one of the two
    19: secret.made.list: `kind` says that it is no KV, and nothing else can be listed; remove one of the two
    24: secret.arn.list: the path is an ARN, which is that of one secret; write the beginning of names, such as "prod/team"
    28: secret.deep.list: "deep" is none of true, false and "tree"
    32: secret.number.list: expected true or false, or "tree", found the number 2
    "#);
}

#[test]
fn problems_of_secrets() {
    assert_snapshot!(problems(r#"
[source.vault]
address = "http://a"
auth.token.file = "f"
[source.bao]
type = "vault"
address = "http://a"
auth.token.file = "f"
[secret.db-main]
source = "vault"
path = "database/creds/app"
[secret.else]
source = "vault"
path = "secret//app"
[secret.json]
source = "vualt"
path = "secret/../app"
[secret.a]
path = "secret/app?version=3"
version = 0
[secret.b]
source = "consul"
path = "/"
version = 2
params = { a = "b" }
[secret.c]
source = ""
refresh = 30
version = "3"
[secret.d]
source = "vault"
path = "a\u0007"
params = { n = nan, deep = { big = 99999999999999999999999999 , unset = ["${UNSET_ONE}", "\u0000"] } }
[secret.e]
source = "vault"
paht = "secret/app"
colour = "red"
refresh = "5 min"
[secret]
f = "secret/app"
"#), @r#"
    9: secret.db-main: the name cannot be a variable in templates; use letters, digits and `_`, not beginning with a digit, such as [secret.app_db]
    12: secret.else: `else` is a word of the template language; choose another name, such as `else_secret`
    14: secret.else.path: "secret//app" has an empty part, `.` or `..` between its slashes; write the path that is meant
    15: secret.json: `json` is a word of the template language; choose another name, such as `json_secret`
    16: secret.json.source: there is no such source; did you mean "vault"?
    17: secret.json.path: "secret/../app" has an empty part, `.` or `..` between its slashes; write the path that is meant
    18: secret.a: `source` is missing, and there are several to choose from: bao, vault
    19: secret.a.path: "secret/app?version=3" contains `?` or `#`; a version is chosen with `version = 3`, and parameters go into `params`
    20: secret.a.version: expected a version number from 1 on, such as version = 3, found the number 0
    22: secret.b.source: there is no such source; the sources are: bao, vault
    23: secret.b.path: "/" names nothing
    24: secret.b.version: `params` is there too, which makes it a write; a version is only for reading, so keep one of the two
    26: secret.c: `path` is missing; write path = "secret/app/db"
    27: secret.c.source: is empty
    28: secret.c.refresh: expected a duration in quotes, such as "30s" or "5m", found the number 30
    29: secret.c.version: expected a version number from 1 on, such as version = 3, found text in quotes
    32: secret.d.path: "a\u{7}" contains a control character
    33: secret.d.params.deep.unset[0]: needs the environment variable UNSET_ONE, which is not set; set it for squire, or write `$${UNSET_ONE}` for the characters themselves
    33: secret.d.params.deep.unset[1]: contains a NUL character, which neither paths nor arguments can carry; take it out
    33: secret.d.params.n: is a number that JSON does not have; write it in quotes
    34: secret.e: `path` is missing; write path = "secret/app/db"
    36: secret.e.paht: unknown key; did you mean `path`?
    37: secret.e.colour: unknown key; known here: source, path, params, version, version_stage, version_id, kind, list, tags, refresh, max_size
    38: secret.e.refresh: "5 min" is not a duration; write whole numbers with d, h, m, s or ms, the longest first: "30s", "1h30m"
    40: secret.f: expected a table: [secret.NAME], found text in quotes
    "#);
    assert_snapshot!(problems("[secret.a]\npath = 'b'\n[secret.b]\npath = 'b'\nsource = 'vault'"), @r#"
    1: secret: secrets need a source to come from; add [source.vault]
    5: secret.b.source: there is no such source; add its [source.…] table
    "#);
}

#[test]
fn problems_of_outputs() {
    assert_snapshot!(problems(r#"
[output]
dir = "run/secrets"
mode = "0999"
dir_mode = "0644"
owner = -1
group = 4294967295
allow_disk = "true"
mount = "tmpfss"
[[file]]
path = "a"
[[file]]
path = "../a"
template = "t"
inline = "t"
mode = 400
[[file]]
path = "..data/a"
template = ""
mode = "4400"
owner = ""
group = true
[[file]]
path = "./"
inline = 3
mode = "40"
[[file]]
inline = "a\u0000b"
mode = "0o400"
[[file]]
path = "/"
inline = ""
[[file]]
path = "/etc/../a"
inline = ""
"#), @r#"
    3: output.dir: is not an absolute path; begin it with `/`
    4: output.mode: "0999" is not a mode; write three or four digits from 0 to 7, such as "0400"
    5: output.dir_mode: "0644" locks its owner out; the owner's digit has to be 7, as in "0755"
    6: output.owner: is not the number of a user or group; they go from 0 to 4294967294
    7: output.group: is not the number of a user or group; they go from 0 to 4294967294
    8: output.allow_disk: expected true or false, found text in quotes
    9: output.mount: "tmpfss" is unknown; write "none", "tmpfs" or "private"
    10: file[0]: nothing to render; write template = "FILE", inline = "{{secret.field}}" or each = "secret"
    13: file[1].path: leads out of `output.dir`; leave out `..`
    15: file[1].inline: another of `template`, `inline`, `base64` and `each` is there too; keep one of them
    16: file[1].mode: expected a mode in quotes, such as "0400", found the number 400
    18: file[2].path: has a part that begins with `..`; such names are squire's own in `output.dir`
    19: file[2].template: is empty
    20: file[2].mode: "4400" has a setuid, setgid or sticky bit, which a file of secrets never needs; write "0400"
    21: file[2].owner: "" names nobody
    22: file[2].group: expected a name in quotes or a number, found true
    24: file[3].path: names no file
    25: file[3].inline: expected a template in quotes, found the number 3
    26: file[3].mode: "40" is not a mode; write three or four digits from 0 to 7, such as "0400"
    27: file[4]: `path` is missing; write path = "tls.pem"
    28: file[4].inline: contains a NUL character, which neither paths nor arguments can carry; take it out
    29: file[4].mode: "0o400" is not a mode; write three or four digits from 0 to 7, such as "0400"
    31: file[5].path: is the root directory
    34: file[6].path: contains `..`; write the path that is meant
    "#);
    assert_snapshot!(problems("[[file]]\npath = 'a'\ninline = ''\n[output]\ndir = '/a/../b'\n"), @r#"5: output.dir: contains `..`; write the path that is meant"#);
    assert_snapshot!(problems("[[file]]\npath = 'a'\ninline = ''\n[[file]]\npath = '/a'\ninline = ''"), @r#"2: file[0].path: is relative, and there is no directory to hold it; write [output] with dir = "/run/secrets/app", or an absolute path"#);
    assert_snapshot!(problems("[file]\npath = 'a'"), @r#"1: file: expected [[file]] for each file, with two brackets on each side, found a table"#);
    assert_snapshot!(problems("file = ['a']\noutput = '/run'"), @r#"
    1: file[0]: expected [[file]] for each file, with two brackets on each side, found text in quotes
    2: output: expected a table: [output], found text in quotes
    "#);
}

#[test]
fn files_that_get_in_each_others_way() {
    assert_snapshot!(problems(r#"
[output]
dir = "/run/secrets/app"
[[file]]
path = "a/b"
inline = ""
[[file]]
path = "./a//b/"
inline = ""
mode = "9"
[[file]]
path = "a"
inline = ""
[[file]]
path = "a/b/c"
inline = ""
[[file]]
path = "/run/secrets/app/x y"
inline = ""
[[file]]
path = "/run/secrets/app"
inline = ""
[[file]]
path = "/run/secrets"
inline = ""
[[file]]
path = "/run/secrets/apple"
inline = ""
"#), @r#"
    5: file[0].path: needs `a` to be a directory of its own, but line 12 has this path
    8: file[1].path: another file has this path; see line 5
    8: file[1].path: needs `a` to be a directory of its own, but line 12 has this path
    10: file[1].mode: "9" is not a mode; write three or four digits from 0 to 7, such as "0400"
    15: file[3].path: needs `a/b` to be a directory of its own, but line 5 has this path
    15: file[3].path: needs `a` to be a directory of its own, but line 12 has this path
    18: file[4].path: is inside `output.dir`; write it relative: path = "x y"
    21: file[5].path: is `output.dir` itself; name a file in it
    24: file[6].path: has to be a directory, because `output.dir` is below it
    27: file[7].path: needs `/run/secrets` to be a directory of its own, but line 24 has this path
    "#);
}

#[test]
fn a_directory_of_fields_is_below_the_output_and_belongs_to_itself() {
    assert_snapshot!(problems(r#"
[source.vault]
address = "https://v:8200"
auth.token.file = "/t"
[secret.db]
path = "secret/db"
[output]
dir = "/run/secrets/app"
[[file]]
path = "db"
each = "db"
[[file]]
path = "db/password"
inline = ""
[[file]]
path = "/run/db"
each = "db"
[[file]]
path = "other"
each = ""
[[file]]
path = "both"
each = "db"
inline = ""
"#), @r#"
    13: file[1].path: needs `db` to be a directory of its own, but line 10 has this path
    16: file[2].path: is absolute, and `each` makes a directory that changes as a whole: write a path below `output.dir`, such as "app"
    20: file[3].each: is empty
    23: file[4].each: another of `template`, `inline`, `base64` and `each` is there too; keep one of them
    "#);
}

#[test]
fn problems_of_variables_of_fields() {
    assert_snapshot!(problems(r#"
[source.vault]
address = "https://v:8200"
auth.token.file = "/t"
[secret.db]
path = "secret/db"
[process]
command = ["app"]
on_change = "SIGHUP"
env_from = ["db", 3, { prefix = "A_" }, { secret = "db", upper = "yes", case = "x" }]
"#), @r#"
    9: process.on_change: `process.env_from` is set, and a running process cannot be given a new environment; write "restart", or "none" to let changes wait for the next start
    10: process.env_from[1]: expected a list of secrets, such as ["app"] or [{ secret = "db", prefix = "DB_" }], found the number 3
    10: process.env_from[2]: `secret` is missing; write secret = "app"
    10: process.env_from[3].upper: expected true or false, found text in quotes
    10: process.env_from[3].case: unknown key; known here: secret, prefix, suffix, upper, sanitize
    "#);
}

#[test]
fn problems_of_the_process_and_rollout() {
    assert_snapshot!(problems(r#"
[process]
command = "/usr/local/bin/app --port 8080"
on_change = "SIGHOP"
stop_signal = "SIGKILL"
stop_timeout = "0s"
restart = "sometimes"
restart_limit = 0
restart_period = "0s"
[process.env]
"A=B" = ""
"" = ""
"C\u0000" = ""
D = 1
E = "a\u0000"
[rollout]
settle = 100
grace = "30"
check = [["true"], ["app", "{dir}"], { run = [] }, "true"]
probe = { http = "https://localhost/", tcp = "localhost:80" }
startup_timeout = "5m"
[agnet]
ledger = "/run/squire/ledger"
[[file]]
path = "/a"
inline = ""
on_change = "sigkill"
[[file]]
path = "/b"
inline = ""
on_change = "reload"
[[file]]
path = "/c"
inline = ""
on_change = 1
[[file]]
path = "/d"
inline = ""
on_change = { rum = ["a"], timeout = "0ms" }
[[file]]
path = "/e"
inline = ""
on_change = { run = [] }
[[file]]
path = "/f"
inline = ""
on_change = { run = ["", 1] }
[[file]]
path = "/g"
inline = ""
on_change = "restrat"
"#), @r#"
    3: process.command: expected a list of the program and each argument, such as ["/usr/local/bin/app", "--port", "8080"], found text in quotes
    4: process.on_change: "SIGHOP" is no signal; did you mean "SIGHUP"?
    5: process.stop_signal: "SIGKILL" gives the process no chance to stop; leave it out, and say with `stop_timeout` when to kill
    6: process.stop_timeout: "0s" has to be longer than zero
    7: process.restart: "sometimes" is unknown; write "never", "on-failure" or "always"
    8: process.restart_limit: has to be between 1 and 4294967295
    9: process.restart_period: "0s" has to be longer than zero
    11: process.env."A=B": is not a name for an environment variable; it may not be empty nor contain `=`, white space or a control character
    12: process.env."": is not a name for an environment variable; it may not be empty nor contain `=`, white space or a control character
    13: process.env."C\0": is not a name for an environment variable; it may not be empty nor contain `=`, white space or a control character
    14: process.env.D: expected a template in quotes, found the number 1
    15: process.env.E: contains a NUL character, which neither paths nor arguments can carry; take it out
    17: rollout.settle: expected a duration in quotes, such as "30s" or "5m", found the number 100
    18: rollout.grace: "30" has no unit; write for example "30s", "5m" or "100ms"
    19: rollout.check[1]: asks for the staged files with `{dir}`, and there are none; write [output] with dir = "/run/secrets/app"
    19: rollout.check[2].run: names no program; write it first, such as ["/usr/local/bin/app"]
    19: rollout.check[3]: expected a command such as ["/usr/local/bin/app", "--check", "{dir}"], found text in quotes
    20: rollout.probe.tcp: asks a second thing; a probe asks one: `http`, `tcp`, `command`, `alive` or `notify`
    21: rollout.startup_timeout: unknown key; `startup_timeout` belongs at the top of the file, before the first [table]
    22: agnet: unknown key; did you mean `agent`?
    27: file[0].on_change: "sigkill" cannot be a reaction, because no process can handle SIGKILL; write "restart" to begin anew
    31: file[1].on_change: "reload" is unknown; write "restart", "none", a signal such as "SIGHUP", or { run = ["/path/to/command"] }
    35: file[2].on_change: expected "restart", "none", a signal such as "SIGHUP", or { run = ["/path/to/command"] }, found the number 1
    39: file[3].on_change: `run` is missing; write run = ["/path/to/command"]
    39: file[3].on_change.timeout: "0ms" has to be longer than zero
    39: file[3].on_change.rum: unknown key; did you mean `run`?
    43: file[4].on_change.run: names no program; write it first, such as ["/usr/local/bin/app"]
    47: file[5].on_change.run[1]: expected text in quotes, found the number 1
    51: file[6].on_change: "restrat" is unknown; did you mean "restart"?
    "#);
    // A shell could not use some of these names, but programs do.
    assert_snapshot!(problems("[process.env]\n'A B' = ''\n\"C\\n\" = ''\n\"\\u00a0\" = ''\n'D.e-f' = ''\n'é' = ''\n'1' = ''\n"), @r#"
    2: process.env."A B": is not a name for an environment variable; it may not be empty nor contain `=`, white space or a control character
    3: process.env."C\n": is not a name for an environment variable; it may not be empty nor contain `=`, white space or a control character
    4: process.env."\u{a0}": is not a name for an environment variable; it may not be empty nor contain `=`, white space or a control character
    "#);
    assert_snapshot!(problems("startup_timeout = '0s'\n[process]\ncommand = []\nstop_signal = 'STOP'\n"), @r#"
    1: startup_timeout: "0s" has to be longer than zero
    3: process.command: names no program; write it first, such as ["/usr/local/bin/app"]
    4: process.stop_signal: "STOP" only suspends a process; write a signal that ends it, such as "SIGTERM"
    "#);
    assert_snapshot!(problems("[process]\ncommand = ['']\nstop_signal = 'x'\n"), @r#"
    2: process.command: names no program; write it first, such as ["/usr/local/bin/app"]
    3: process.stop_signal: "x" is no signal; write for example "SIGTERM" or "SIGINT"
    "#);
}

#[test]
fn how_often_to_look_up_is_longer_than_zero() {
    let of = |lines: &str| {
        let lines = format!("address = 'http://a'\n{lines}");
        vault_with(&[], &lines).map(|vault| vault.look_up_every)
    };
    assert_eq!(of("look_up_every = '1s'"), Ok(Duration::from_secs(1)));
    assert_snapshot!(of("look_up_every = '0s'").unwrap_err(), @r#"source.vault.look_up_every: "0s" has to be longer than zero"#);
    assert_snapshot!(of("look_up_every = 60").unwrap_err(), @r#"source.vault.look_up_every: expected a duration in quotes, such as "30s" or "5m", found the number 60"#);
}

#[test]
fn the_audit_has_defaults_and_its_anchor_may_be_in_the_ledger() {
    let config = |text: &str| parse_with(&[], text).unwrap().audit;
    let with_ledger = config("[agent]\nledger = '/run/squire/ledger'\n[audit]\nfile = '/var/log/a'").unwrap();
    let expected = AuditConfig {
        file: "/var/log/a".into(),
        anchor: "/run/squire/ledger/audit.anchor".into(),
        max_size: 16 << 20,
        keep: 8,
        on_failure: OnFailure::Refuse,
    };
    assert_eq!((with_ledger, config("")), (expected, None));
    let go_on = config("[audit]\nfile = '/a/b'\nanchor = '/c/d'\non_failure = 'go_on'").unwrap();
    assert_eq!(go_on.on_failure, OnFailure::GoOn);
}

#[test]
fn problems_of_the_audit() {
    assert_snapshot!(problems("[audit]\nkeep = 0\nmax_size = '1'\non_failure = 'ignore'\nsize = 1"), @r#"
    1: audit: `file` is missing; write file = "/var/log/squire/audit.jsonl"
    1: audit: `anchor` is missing, and there is no ledger to keep it in; write anchor = "/var/lib/squire/audit.anchor"
    2: audit.keep: expected how many full files are kept, from 1 to 10000, found the number 0
    3: audit.max_size: "1" is not a size; write a whole number with KiB, MiB or GiB, such as "1MiB"
    4: audit.on_failure: "ignore" is unknown; write "refuse" to renew leases and fetch nothing until it can be written again, "go_on" or "stop"
    5: audit.size: unknown key; known here: file, anchor, max_size, keep, on_failure
    "#);
    assert_snapshot!(problems("[audit]\nfile = '/run/s/a'\nanchor = '/run/s/b'\n[output]\ndir = '/run/s'"), @r#"
    2: audit.file: is in `output.dir`, which is emptied at the stop; write it somewhere else
    3: audit.anchor: is in the directory of `audit.file`: whoever can change the one could change the other; put it where only squire writes
    "#);
    assert_snapshot!(problems("audit = '/var/log/a'"), @r#"1: audit: expected a table: [audit], found text in quotes"#);
}

#[test]
fn problems_of_the_agent() {
    assert_snapshot!(problems(r#"
[agent]
ledger = "run/ledger"
ledger_key_file = "key"
on_stop = "give-back"
sokcet = "/run/squire/squire.sock"
"#), @r#"
    3: agent.ledger: is not an absolute path; begin it with `/`
    4: agent.ledger_key_file: is not an absolute path; begin it with `/`
    5: agent.on_stop: "give-back" is unknown; write "give_back" to end the token and its leases and to remove the files, or "leave"
    6: agent.sokcet: unknown key; did you mean `socket`?
    "#);
    assert_snapshot!(problems("[agent]\nledger_key_file = '/k'\non_stop = true"), @r#"
    2: agent.ledger_key_file: there is no ledger to seal; write ledger = "/run/squire/ledger" beside it
    3: agent.on_stop: expected "give_back" or "leave", found true
    "#);
    assert_snapshot!(problems("[agent]\nledger = 1\nledger_key_file = '/a/../k'\n[output]\ndir = '/run/s'"), @r#"
    2: agent.ledger: expected a path in quotes, found the number 1
    3: agent.ledger_key_file: contains `..`; write the path that is meant
    "#);
    assert_snapshot!(problems("[agent]\nreload = 'always'"), @r#"2: agent.reload: "always" is unknown; write "asked" to read the configuration anew when somebody asks for it, or "watch" to do so when a file of it changes, too"#);
    assert_snapshot!(problems("agent = 'leave'"), @r#"1: agent: expected a table: [agent], found text in quotes"#);
    for ledger in ["/run/s", "/run/s/ledger", "/run", "/run/./s/"] {
        let problem = problems(&format!("[agent]\nledger = '{ledger}'\n[output]\ndir = '/run/s'"));
        assert!(problem.starts_with("2: agent.ledger: is, or is above or below, `output.dir`"), "{problem}");
    }
    let beside =
        parse_with(&[], "[agent]\nledger = '/run/sq'\non_stop = 'give_back'\n[output]\ndir = '/run/s'")
            .unwrap();
    assert_eq!(beside.agent.on_stop, Some(OnStop::GiveBack));
    assert_eq!(
        beside.agent.ledger,
        Some(LedgerConfig { directory: PathBuf::from("/run/sq"), key_file: None })
    );
}

#[test]
fn a_new_environment_needs_a_new_process() {
    let with = |on_change: &str| {
        parse_with(&[], &format!("[process]\non_change = {on_change}\nenv = {{ A = 'b' }}"))
    };
    for allowed in ["'restart'", "'none'"] {
        assert!(with(allowed).is_ok(), "{allowed}");
    }
    assert_snapshot!(with("'SIGHUP'").unwrap_err()[0], @r#"/etc/squire/squire.toml:2: process.on_change: `process.env` is set, and a running process cannot be given a new environment; write "restart", or "none" to let changes wait for the next start"#);
    assert_eq!(with("{ run = ['a'] }").unwrap_err().len(), 1);
    assert!(parse_with(&[], "[process]\non_change = 'HUP'\nenv = {}").is_ok());
}

#[test]
fn variables_are_filled_in_everywhere_but_in_templates() {
    let command = |text: &str| {
        let document = format!("[process]\ncommand = ['app', '{text}']");
        let config = parse_with(&[("A", "1"), ("_b2", "${A}"), ("EMPTY", "")], &document);
        config
            .map(|config| config.process.command.unwrap()[1].clone())
            .map_err(|problems| problems[0].message.clone())
    };
    let table = [
        ("${A}", "1"),
        ("x${A}y${A}z", "x1y1z"),
        ("${_b2}", "${A}"),
        ("${EMPTY}", ""),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$A $ {A} $", "$A $ {A} $"),
        ("$${", "${"),
    ];
    for (written, meant) in table {
        assert_eq!(command(written).as_deref(), Ok(meant), "{written}");
    }
    assert_snapshot!(command("${UNSET}").unwrap_err(), @r#"needs the environment variable UNSET, which is not set; set it for squire, or write `$${UNSET}` for the characters themselves"#);
    let malformed = "has a `${` without a variable's name and `}`; write `$${` for the characters themselves";
    for broken in ["${", "${A", "${}", "${A B}", "${1}", "${A:-x}"] {
        assert_eq!(command(broken).unwrap_err(), malformed, "{broken}");
    }
    let message = problems_with(&[("MODE", "hunter2")], "[output]\nmode = '${MODE}'");
    assert_snapshot!(message, @r#"2: output.mode: "${MODE}" is not a mode; write three or four digits from 0 to 7, such as "0400""#);
}

#[test]
fn broken_values_do_not_hide_other_problems() {
    assert_snapshot!(problems(r#"
startup_timeout = 5m
[output]
dir = /run/secrets
mode = 0400
owner =
dir = "/run/again"
colour = "red"
[rollout]
settle = "5"
[output]
grace = "x
"#), @r#"
    2: not TOML: text has to be in quotes
    4: not TOML: text has to be in quotes
    5: not TOML: a number cannot begin with 0; a mode is written in quotes, such as "0400"
    6: not TOML: the value is missing
    7: the key `dir` is there already in this table; keep one of the two
    8: output.colour: unknown key; known here: dir, mode, dir_mode, owner, group, allow_disk, mount, mount_size
    10: rollout.settle: "5" has no unit; write for example "30s", "5m" or "100ms"
    11: the table [output] is there already; put its keys together in one place
    12: not TOML: invalid basic string, expected `"`
    "#);
}

#[test]
fn broken_brackets_are_reported_alone() {
    assert_snapshot!(problems("[output\ndir = '/run'\n[rollout]\nsettle = 5\n"), @r#"1: not TOML: unclosed table, expected `]`"#);
    assert_snapshot!(problems("[process]\ncommand = ['a',\n'b'\n[rollout]\nsettle = 5\n"), @r#"
    4: not TOML: missing comma between array elements, expected `,`; the value opens on line 2
    5: not TOML: missing comma between array elements, expected `,`; the value opens on line 2
    "#);
    assert_snapshot!(problems("[rollout]\ngrace '5s'\nsettle = 5\n"), @r#"2: not TOML: key with no value, expected `=`"#);
    assert_snapshot!(problems("[[file]]\ninline = '''\n{{a.b}}\n"), @r#"4: not TOML: invalid multi-line literal string, expected `'`; the value opens on line 2"#);
}

#[test]
fn a_place_has_file_line_and_key() {
    let problems =
        parse(Path::new("squire.toml"), "\r\n\r\n[output]\r\n\"a b\" = 1\r\n", &|_| None).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_snapshot!(problems[0], @r#"squire.toml:4: output."a b": unknown key; known here: dir, mode, dir_mode, owner, group, allow_disk, mount, mount_size"#);
    let bare = parse(Path::new("squire.toml"), "[[file]]\npath = '/a'\ntemplate = 't'", &|_| None).unwrap();
    assert!(matches!(&bare.files[0].template, TemplateSource::File(file) if file == Path::new("t")));
}

proptest! {
    #[test]
    fn any_text_gives_a_configuration_or_problems(text in "\\PC{0,80}") {
        check(&text);
    }

    #[test]
    fn a_mutated_document_gives_a_configuration_or_problems(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "[\\[\\]{}=\"'.,\n\\\\$a0 #]{0,3}"), 1..6),
    ) {
        let mut text: Vec<char> = FULL.chars().collect();
        for (at, length, replacement) in cuts {
            let start = at.index(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, replacement.chars());
        }
        check(&text.into_iter().collect::<String>());
    }
}

fn check(text: &str) {
    let lines = text.split('\n').count();
    if let Err(problems) = parse(Path::new("squire.toml"), text, &|_| Some("x".to_owned())) {
        assert!(!problems.is_empty());
        assert!(problems.is_sorted_by_key(|problem| problem.place.line));
        assert!(problems.iter().all(|problem| (1..=lines).contains(&problem.place.line)));
    }
}

#[test]
fn problems_of_a_probe() {
    let table = [
        ("{}", "asks nothing"),
        ("{ http = \"https://localhost/\" }", "is no address that can be asked"),
        ("{ http = \"http://user@localhost/\" }", "is no address that can be asked"),
        ("{ http = \"http:///healthz\" }", "is no address that can be asked"),
        ("{ tcp = \"localhost\" }", "is not a host and a port"),
        ("{ tcp = \"localhost:0\" }", "is not a host and a port"),
        ("{ tcp = \"a:1\", command = [\"b\"] }", "asks a second thing"),
        ("{ command = [] }", "names no program"),
        ("{ alive = \"0s\" }", "has to be longer than zero"),
        ("{ alive = \"1s\", status = 200 }", "is about the answer to `http`"),
        ("{ http = \"http://a/\", status = 42 }", "is no status of HTTP"),
        ("{ http = \"http://a/\", successes = 0 }", "has to be between 1 and"),
        ("{ http = \"http://a/\", retries = 1 }", "unknown key"),
        ("\"http://a/\"", "write \"none\", or a table such as"),
        ("1", "expected \"none\", or a table such as"),
    ];
    for (probe, problem) in table {
        let found = problems(&format!("[rollout]\nprobe = {probe}\n"));
        assert!(found.contains(problem) && found.lines().count() == 1, "{probe}: {found}");
    }
}

#[test]
fn a_probe_says_what_is_asked_and_when() {
    let probe = |text: &str| {
        let config = format!("[process]\ncommand = [\"app\"]\n[rollout]\nprobe = {text}\n");
        parse(Path::new("squire.toml"), &config, &|_| None).unwrap().rollout.proof.probe().cloned().unwrap()
    };
    let http = probe(
        "{ http = \"http://127.0.0.1:8080/healthz\", status = 204, body = \"ok\", period = \"2s\", timeout = \"1m\", \
         attempt_timeout = \"3s\", successes = 2, failures = 4 }",
    );
    let (url, status, body) = ("http://127.0.0.1:8080/healthz".to_owned(), Some(204), Some("ok".to_owned()));
    assert_eq!(http.kind, ProbeKind::Http(HttpProbe { url, status, body }));
    assert_eq!((http.successes, http.failures), (2, Some(4)));
    let times = [http.period, http.attempt_timeout, http.timeout].map(|time| time.as_secs());
    assert_eq!(times, [2, 3, 60]);
    assert_eq!(probe("{ tcp = \"[::1]:5432\" }").kind, ProbeKind::Tcp("[::1]:5432".to_owned()));
    assert_eq!(probe("{ alive = \"5s\" }").kind, ProbeKind::Alive(Duration::from_secs(5)));
    assert_eq!(probe("{ command = [\"a\"] }").kind, ProbeKind::Command(vec!["a".to_owned()]));
}

#[test]
fn problems_of_how_a_process_stands() {
    let table = [
        ("user = 4294967295", "is not the number of a user"),
        ("groups = \"daemon\"", "expected a list of groups"),
        ("working_dir = \"app\"", "is not an absolute path"),
        ("umask = \"9\"", "is not a mask"),
        ("umask = \"1777\"", "is not a mask"),
        ("env_pass = [\"\"]", "is empty"),
        ("env_clear = \"yes\"", "expected true or false"),
        ("limits = { nofiles = 1 }", "did you mean `nofile`?"),
        ("limits = { nofile = -1 }", "expected a number from 0 up"),
        ("limits = { nofile = \"many\" }", "is no limit"),
        ("limits = { nofile = { soft = 2, hard = 1 } }", "a soft limit above the hard one"),
        ("limits = { nofile = { soft = 2 } }", "`hard` is missing"),
        ("listen = [\"127.0.0.1:80\"]", "is no socket"),
        ("listen = [\"tcp://127.0.0.1\"]", "names no host and port"),
        ("listen = [\"unix:app.sock\"]", "is not an absolute path"),
    ];
    for (line, problem) in table {
        let found = problems(&format!("[process]\n{line}\n"));
        assert!(found.contains(problem) && found.lines().count() == 1, "{line}: {found}");
    }
}

#[test]
fn problems_of_reactions_and_windows() {
    let table = [
        ("on_change = { run = [\"a\"], http = \"http://a/\" }", "more than one thing"),
        ("on_change = { signal = \"HUP\" }", "does not say whom to signal"),
        ("on_change = { signal = \"HUP\", pid_file = \"a.pid\" }", "is not an absolute path"),
        ("on_change = { signal = \"HUP\", pid_file = \"/a\", process = \"a\" }", "keep one of the two"),
        ("on_change = { signal = \"KILL\", process = \"a\" }", "cannot be a reaction"),
        ("on_change = { signal = \"HUP\", process = \"\" }", "is empty"),
        ("on_change = { http = \"https://a/\" }", "is no address that can be asked"),
        ("on_change = { http = \"http://a/\", method = \"post it\" }", "is no method"),
    ];
    for (line, problem) in table {
        let found = problems(&format!("[[file]]\npath = \"/a\"\ninline = \"\"\n{line}\n"));
        assert!(found.contains(problem) && found.lines().count() == 1, "{line}: {found}");
    }
    for (window, problem) in [
        ("\"02:00-04:00\"", "is no window"),
        ("\"02:00-04:00 CET\"", "is no window"),
        ("[]", "would never open"),
        ("2", "expected a window"),
    ] {
        let found = problems(&format!("[rollout]\nwindow = {window}\n"));
        assert!(found.contains(problem) && found.lines().count() == 1, "{window}: {found}");
    }
}

#[test]
fn what_is_mounted() {
    let mount = |output: &str| {
        let text = format!("[output]\ndir = '/run/secrets/app'\n{output}\n");
        parse(Path::new("squire.toml"), &text, &|_| None).map(|config| config.mount)
    };
    let config =
        |kind, size: &str| Some(MountConfig { kind, dir: "/run/secrets/app".into(), size: size.to_owned() });
    assert_eq!(mount("").unwrap(), None);
    assert_eq!(mount("mount = 'none'").unwrap(), None);
    assert_eq!(mount("mount = 'tmpfs'").unwrap(), config(MountKind::Tmpfs, "16m"));
    assert_eq!(mount("mount = 'private'\nmount_size = '64K'").unwrap(), config(MountKind::Private, "64k"));
    for (output, expected) in [
        ("mount = 'tmpfs'\nmount_size = '1t'", "output.mount_size: \"1t\" is no size"),
        ("mount = 'tmpfs'\nmount_size = '0'", "output.mount_size: \"0\" is no size"),
        ("mount_size = '1m'", "output.mount_size: nothing is mounted that could have a size"),
    ] {
        let problems = mount(output).unwrap_err();
        assert!(problems[0].to_string().contains(expected), "{problems:?}");
    }
    let problems = parse(Path::new("squire.toml"), "[output]\nmount = 'tmpfs'", &|_| None).unwrap_err();
    assert!(problems[0].to_string().contains("says how to mount `output.dir`"), "{problems:?}");
}

#[test]
fn what_systemd_passed_to_the_unit_opens_a_store_where_nothing_else_is_said() {
    let login = |table: &str, variables: &[(&str, &str)]| {
        let variable = |name: &str| {
            let passed = [("CREDENTIALS_DIRECTORY", "/run/credentials/app.service")];
            let all = variables.iter().chain(&passed);
            all.into_iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let text = format!("[source.store]\nfile = '/s'\n{table}\n");
        let config =
            parse(Path::new("squire.toml"), &text, &variable).map_err(|problems| problems[0].to_string())?;
        let SourceConfig::Store(store) = &config.sources["store"] else { panic!("no store") };
        Ok::<_, String>(format!("{:?}", store.login))
    };
    let key = "Owner { key_file: \"/run/credentials/app.service/squire-store-key\" }";
    let role =
        "Role { id: Inline(\"r\"), secret_id_file: \"/run/credentials/app.service/squire-secret-id\" }";
    assert_eq!(login("", &[]).unwrap(), key);
    assert_eq!(login("role_id = 'r'", &[]).unwrap(), role);
    assert_eq!(login("", &[("SQUIRE_STORE_ROLE_ID", "r")]).unwrap(), role);
    // Whatever is set is a decision of the user.
    assert_eq!(login("key_file = '/k'", &[]).unwrap(), "Owner { key_file: \"/k\" }");
    assert_eq!(login("", &[("SQUIRE_STORE_KEY_FILE", "/k")]).unwrap(), "Owner { key_file: \"/k\" }");
    let said = "Role { id: Inline(\"r\"), secret_id_file: \"/i\" }";
    assert_eq!(login("role_id = 'r'\nsecret_id_file = '/i'", &[]).unwrap(), said);
    assert!(login("secret_id_file = '/i'", &[]).is_err());
    assert!(login("", &[("CREDENTIALS_DIRECTORY", "")]).is_err());
    assert!(login("role_id = ''", &[]).is_err());
}

#[test]
fn where_no_login_is_written_the_variables_of_the_servers_tools_are_taken() {
    let login = |variables: &[(&str, &str)]| {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let text = "[source.vault]\naddress = 'http://a'\n";
        let config =
            parse(Path::new("squire.toml"), text, &variable).map_err(|problems| problems[0].to_string())?;
        let SourceConfig::Vault(vault) = &config.sources["vault"] else { panic!("no vault") };
        Ok::<_, String>(format!("{:?}", vault.auth))
    };
    for (variables, expected) in [
        (
            &[("VAULT_ROLE_ID", "r"), ("VAULT_SECRET_ID", " s\n"), ("VAULT_TOKEN", "t")][..],
            "AppRole(AppRoleConfig { mount: \"approle\", role_id: Inline(\"r\"), secret_id: Some(SecretIdConfig { from: \
             Variable(\"VAULT_SECRET_ID\", Secret(…)), unwrap: false, delete: false, keep: false }) })",
        ),
        (
            &[("BAO_ROLE_ID_FILE", "/r"), ("VAULT_SECRET_ID_FILE", "/s")],
            "AppRole(AppRoleConfig { mount: \"approle\", role_id: File(\"/r\"), secret_id: Some(SecretIdConfig { from: File(\"/s\"), \
             unwrap: false, delete: false, keep: false }) })",
        ),
        (
            &[("VAULT_ROLE_ID", "r")],
            "AppRole(AppRoleConfig { mount: \"approle\", role_id: Inline(\"r\"), secret_id: None })",
        ),
        (&[("BAO_TOKEN", "t")], "Token { from: Variable(\"BAO_TOKEN\", Secret(…)) }"),
        (&[("VAULT_TOKEN_FILE", "/t")], "Token { from: File(\"/t\") }"),
    ] {
        assert_eq!(login(variables).unwrap(), expected);
    }
    assert!(login(&[]).unwrap_err().contains("VAULT_ROLE_ID and VAULT_SECRET_ID, or VAULT_TOKEN"));
    assert!(login(&[("VAULT_TOKEN", " ")]).is_err());
}

#[test]
fn what_is_mounted_can_be_said_of_a_vault_alone() {
    let config = |source: &str, kind: &str| {
        format!("[source.{source}\n[secret.db]\npath = \"a/b\"\nkind = \"{kind}\"\n")
    };
    let vault = "vault]\naddress = \"http://127.0.0.1:1\"\nauth.token.file = \"/t\"";
    for (kind, expected) in [("kv1", EngineKind::Kv1), ("kv2", EngineKind::Kv2), ("other", EngineKind::Other)]
    {
        let parsed = parse(Path::new("squire.toml"), &config(vault, kind), &|_| None).unwrap();
        assert_eq!(parsed.secrets.values().next().unwrap().kind, Some(expected));
    }
    assert!(problems(&config(vault, "kv3")).contains("write \"kv1\", \"kv2\" or \"other\""));
    let store = "store]\nfile = \"/s\"\nkey_file = \"/k\"";
    assert!(problems(&config(store, "kv2")).contains("remove it"));
}

#[test]
fn problems_of_files_that_need_more() {
    assert_snapshot!(problems(r#"
[output]
dir = "/run/app"
[[file]]
path = "a"
base64 = "{{a.b}}"
inline = "t"
[[file]]
path = "b"
base64 = 3
[[file]]
path = "c"
inline = "t"
make_dir = true
[[file]]
path = "/etc/app/d"
inline = "t"
make_dir = "0755"
[[file]]
path = "/etc/app/e"
inline = "t"
make_dir = { mode = "0055", user = "app" }
"#), @r#"
    6: file[0].base64: another of `template`, `inline`, `base64` and `each` is there too; keep one of them
    10: file[1].base64: expected a template in quotes, found the number 3
    14: file[2].make_dir: is for an absolute `path`; directories below `output.dir` are made in any case, with its `dir_mode`
    18: file[3].make_dir: expected true, or a table such as { mode = "0750", owner = "app" }, found text in quotes
    22: file[4].make_dir.mode: "0055" locks its owner out; the owner's digit has to be 7, as in "0755"
    22: file[4].make_dir.user: unknown key; known here: mode, owner, group
    "#);
}
