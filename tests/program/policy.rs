//! `squire policy`: what it prints is applied to real servers, the agent lives under it, and without any line of it just that fails.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    Aws, Bao, Keys, Outcome, Postgres, Rig, SOON, Tenant, database_file, fresh, make_store, store,
    wait_until, works, write_profile,
};

/// The role of the database. Its credentials live for so many seconds, and at most for so many.
const ROLE: &str = "policed";
const TTL: (u32, u32) = (4, 3600);

/// The whole life of an agent with a short token: it needs nothing of the policy `default`.
const LOGIN: &str =
    r#"{"token_ttl": "6s", "token_no_default_policy": true, "token_bound_cidrs": ["127.0.0.1/32"]}"#;

/// How long it may take until everything of a life has happened at least once.
const LIFE: Duration = Duration::from_mins(1);

/// A server with a database for leases.
fn server() -> Bao {
    let bao = Bao::start();
    bao.connect_database(Postgres::shared(), ROLE, TTL.0, TTL.1);
    bao
}

fn tenant(bao: &Bao) -> Tenant<'_> {
    bao.tenant_with(&serde_json::from_str(LOGIN).unwrap())
}

/// One secret of each kind, and everything that is asked often asked each second.
fn rig(tenant: &Tenant<'_>) -> Rig {
    tenant.write("db", &json!({"password": fresh("versioned")}));
    tenant.write_kv1("db", &json!({"password": fresh("unversioned")}));
    let rig = Rig::new(tenant);
    let secret = |name: &str, rest: &str| {
        format!("[secret.{name}]\n{rest}\n[[file]]\npath = \"{name}\"\non_change = \"none\"\n")
    };
    rig.config_of_source(
        "address = \"@address@\"\nrefresh = \"1s\"\nlook_up_every = \"1s\"",
        &[
            secret("v2", "path = \"secret/@tenant@/db\"\nkind = \"kv2\""),
            "inline = \"{{v2.password}}\"\n".to_owned(),
            secret("v1", "path = \"kv1/@tenant@/db\"\nkind = \"kv1\""),
            "inline = \"{{v1.password}}\"\n".to_owned(),
            secret("web", "path = \"pki/issue/web\"\nkind = \"other\"\nparams = { common_name = \"web.internal\", ttl = \"1h\" }"),
            "inline = \"{{web.certificate}}\"\n".to_owned(),
            database_file(Postgres::shared(), ROLE).replace("[[file]]", "kind = \"other\"\n[[file]]"),
            "[rollout]\ngrace = \"1s\"\n[agent]\non_stop = \"give_back\"\n".to_owned(),
        ]
        .concat(),
    );
    rig
}

fn print(rig: &Rig, arguments: &[&str]) -> Outcome {
    let file = rig.path("squire.toml");
    rig.start(&[&["policy", "-c", file.to_str().unwrap()], arguments].concat()).outcome(SOON)
}

fn policy(rig: &Rig, arguments: &[&str]) -> String {
    let printed = print(rig, arguments);
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    printed.stdout
}

/// The stanzas of a policy, each as `capability path`.
fn stanzas(policy: &str) -> Vec<(String, String)> {
    let stanza = |text: &str| {
        let between = |from: &str| text.split_once(from).unwrap().1.split_once('"').unwrap().0.to_owned();
        (format!("{} {}", between("capabilities = [\""), between("path \"")), format!("\n{text}"))
    };
    policy.split("\n\n").filter(|text| text.contains("path \"")).map(stanza).collect()
}

/// What only the check asks.
fn is_of_the_check(stanza: &str) -> bool {
    stanza.ends_with(" sys/capabilities-self") || stanza.ends_with(" sys/internal/ui/resultant-acl")
}

fn learn(rig: &Rig) {
    if !rig.read(&format!("out/{ROLE}")).is_empty() {
        works(rig, &format!("out/{ROLE}"));
    }
}

/// Lives until this holds, and ends. Once there is a release everything is fetched anew, so that a lease is replaced and revoked.
fn live(rig: &Rig, what: &str, mut until: impl FnMut() -> bool) {
    let mut squire = rig.run();
    let mut is_done = false;
    squire.wait_at_most(LIFE, what, || {
        is_done = until();
        is_done || works(rig, &format!("out/{ROLE}"))
    });
    if !is_done {
        squire.signal(Signal::SIGUSR1);
        squire.wait_at_most(LIFE, what, until);
    }
    learn(rig);
    squire.stop();
}

#[test]
fn an_agent_lives_under_the_printed_policy_and_uses_every_line_of_it() {
    let bao = server();
    let (tenant, other) = (tenant(&bao), tenant(&bao));
    let rig = rig(&tenant);
    let printed = policy(&rig, &[]);
    tenant.set_policy(&printed);
    let lines: BTreeSet<String> =
        stanzas(&printed).into_iter().map(|(line, _)| line).filter(|line| !is_of_the_check(line)).collect();
    assert_eq!(lines.len(), 10, "{printed}");
    let end = "update auth/token/revoke-self";
    let asked = || bao.asked_by(tenant.name()).into_iter().map(|(asked, _)| asked).collect::<Vec<_>>();
    live(&rig, "everything was asked, and a lease was replaced and revoked", || {
        let asked = asked();
        let replaced = asked.iter().filter(|asked| asked.contains("database/creds/")).count() > 1;
        replaced && lines.iter().all(|line| line == end || asked.contains(line))
    });
    wait_until(SOON, "the token is given back", || tenant.tokens().is_empty());
    let denied: Vec<_> = bao.asked_by(tenant.name()).into_iter().filter(|(_, allowed)| !allowed).collect();
    assert_eq!(denied, []);
    assert_eq!(asked().into_iter().collect::<BTreeSet<_>>(), lines, "the policy allows what nobody asks");
    assert_eq!(asked().last().map(String::as_str), Some(end));
    // The other one's secrets are not in it.
    assert!(!printed.contains(other.name()), "{printed}");
}

#[test]
fn without_any_line_of_it_just_that_fails() {
    let bao = server();
    let all = stanzas(&policy(&rig(&tenant(&bao)), &[])).len();
    assert_eq!(all, 12);
    let bao = &bao;
    // Four at once: a life takes seconds in which little happens.
    for first in (0..all).step_by(4) {
        std::thread::scope(|scope| {
            for number in first..all.min(first + 4) {
                scope.spawn(move || without(bao, number));
            }
        });
    }
}

/// Takes one stanza away.
fn without(bao: &Bao, number: usize) {
    let tenant = tenant(bao);
    let rig = rig(&tenant);
    let printed = policy(&rig, &[]);
    let (line, stanza) = stanzas(&printed).swap_remove(number);
    let reduced = printed.replace(&stanza, "\n");
    assert!(reduced.len() < printed.len(), "{line} is still there");
    tenant.set_policy(&reduced);
    check_says(&rig, &line);
    if is_of_the_check(&line) {
        return;
    }
    let before = bao.asked_by(tenant.name()).len();
    let since = || bao.asked_by(tenant.name()).into_iter().skip(before);
    let is_denied = || since().any(|asked| asked == (line.clone(), false));
    let is_at_end = line.ends_with("revoke-self");
    live(&rig, &format!("{line} is denied"), || {
        if is_at_end { since().any(|(asked, _)| asked.starts_with("read database/")) } else { is_denied() }
    });
    let denied: BTreeSet<_> = since().filter(|(_, allowed)| !allowed).map(|(asked, _)| asked).collect();
    assert_eq!(denied, BTreeSet::from([line.clone()]), "only {line} was taken away");
    let (capability, path) = line.split_once(' ').unwrap();
    if !path.starts_with("auth/") && !path.starts_with("sys/") {
        // The check was the second run after that of `squire policy`.
        let log = rig.read("stderr.3");
        assert!(log.contains(&format!("permission denied on {path}: needs {capability}")), "{line}");
    }
}

/// What the check says of a policy without this line.
fn check_says(rig: &Rig, line: &str) {
    let file = rig.path("squire.toml");
    let checked = rig.start(&["check", "--online", "-c", file.to_str().unwrap()]).outcome(SOON);
    let words: Vec<&str> = checked.stdout.lines().filter(|said| !said.starts_with("  allowed")).collect();
    let said = |beginning: &str| words.iter().filter(|word| word.starts_with(beginning)).count();
    let has = |beginning: &str| words.iter().any(|word| word.starts_with(&format!("  {beginning}  {line}")));
    let counts = ["  MISSING", "  without", "  UNKNOWN"].map(said);
    let expected = match line.rsplit('/').next().unwrap() {
        "capabilities-self" => {
            assert!(has("MISSING"), "{checked:?}");
            return assert_eq!(checked.code, 1);
        }
        "lookup" | "revoke" | "lookup-self" | "resultant-acl" => ([0, 1, 0], "without", 0),
        _ => ([1, 0, 0], "MISSING", 1),
    };
    assert_eq!((counts, checked.code), (expected.0, expected.2), "{line}: {checked:?}");
    assert!(has(expected.1), "{line}: {checked:?}");
}

#[test]
fn where_the_kind_of_a_mount_is_not_said_both_forms_work_and_the_server_leaves_one() {
    let bao = Bao::start();
    let tenant = tenant(&bao);
    tenant.write("db", &json!({"password": "versioned"}));
    tenant.write_kv1("db", &json!({"password": "unversioned"}));
    let rig = Rig::new(&tenant);
    rig.config(
        "[secret.v2]\npath = \"secret/@tenant@/db\"\n[secret.v1]\npath = \"kv1/@tenant@/db\"\n[[file]]\npath = \"both\"\ninline = \
         \"{{v2.password}} {{v1.password}}\"\n",
    );
    let printed = print(&rig, &[]);
    let name = tenant.name();
    let guessed = format!("read secret/data/{name}/db,read secret/{name}/db");
    let lines = |text: &str| stanzas(text).into_iter().map(|(line, _)| line).collect::<Vec<_>>().join(",");
    assert!(lines(&printed.stdout).contains(&guessed), "{printed:?}");
    assert_eq!(printed.stderr.matches("it is not known what is mounted there").count(), 2, "{printed:?}");
    tenant.set_policy(&printed.stdout);
    assert_eq!(rig.render().code, 0);
    assert_eq!(rig.read("out/both"), "versioned unversioned");
    // The policies of an operator allow to ask before the role has any.
    rig.write("operator", Bao::root_token());
    rig.allow_secrets_in("operator");
    let asked = print(&rig, &["--online", "--token-file", rig.path("operator").to_str().unwrap()]);
    let expected = format!("read kv1/{name}/db,read secret/data/{name}/db,update auth/token/renew-self");
    assert!(lines(&asked.stdout).starts_with(&expected), "{asked:?}");
    assert!(!asked.stdout.contains("sys/leases/"), "{asked:?}");
    assert_eq!(asked.stderr.lines().filter(|line| line.starts_with("note:")).count(), 0, "{asked:?}");
    tenant.set_policy(&asked.stdout);
    std::fs::remove_dir_all(rig.path("out")).unwrap();
    assert_eq!(rig.render().code, 0);
    assert_eq!(rig.read("out/both"), "versioned unversioned");
}

#[test]
fn two_servers_may_have_something_else_at_the_same_path() {
    let (one, other) = (Bao::shared(), Bao::start());
    other.api().delete("sys/mounts/kv1");
    other.api().post("sys/mounts/kv1", &json!({"type": "kv", "options": {"version": "2"}}));
    let rig = Rig::at(one.address());
    rig.write("token", Bao::root_token());
    let source = |name: &str, address: &str| {
        format!(
            "[source.{name}]\ntype = \"vault\"\naddress = \"{address}\"\n[source.{name}.auth.token]\nfile = \"@dir@/token\"\n\
             [secret.{name}]\nsource = \"{name}\"\npath = \"kv1/x\"\n[[file]]\npath = \"{name}\"\ninline = \"{{{{{name}.y}}}}\"\n"
        )
    };
    let output = "[output]\ndir = \"@dir@/out\"\n";
    rig.whole_config(
        &[source("one", one.address()), source("other", other.address()), output.to_owned()].concat(),
    );
    let printed = policy(&rig, &["--online"]);
    let lines: Vec<String> =
        stanzas(&printed).into_iter().map(|(line, _)| line).filter(|line| line.contains("kv1")).collect();
    assert_eq!(lines, ["read kv1/x", "read kv1/data/x"], "{printed}");
}

#[test]
fn several_sources_are_sections_and_one_is_what_another_program_takes() {
    let rig = Rig::at("http://127.0.0.1:1");
    rig.set("AWS_REGION", "eu-west-1");
    let file = |name: &str, source: &str, path: &str| {
        format!(
            "[secret.{name}]\nsource = \"{source}\"\npath = \"{path}\"\n[[file]]\npath = \"{name}\"\ninline = \"{{{{only {name}}}}}\"\n"
        )
    };
    rig.whole_config(&format!(
        "[source.vault]\naddress = \"@address@\"\n[source.vault.auth.token]\nfile = \"@dir@/token\"\n[source.aws]\n[source.store]\nfile = \
         \"@dir@/app.store\"\nkey_file = \"@dir@/key\"\n[source.unused]\ntype = \"aws\"\n[output]\ndir = \"@dir@/out\"\n{}{}{}",
        file("a", "vault", "kv1/x"),
        file("b", "aws", "prod/x"),
        file("c", "store", "prod/x")
    ));
    let all = print(&rig, &[]);
    let sections: Vec<&str> = all.stdout.lines().filter(|line| line.starts_with("# ---- ")).collect();
    assert_eq!(
        sections,
        ["# ---- source aws ----", "# ---- source store ----", "# ---- source vault ----"],
        "{all:?}"
    );
    let json: Value = serde_json::from_str(&policy(&rig, &["--source", "aws"])).unwrap();
    assert_eq!(
        json["Statement"][0]["Resource"],
        json!(["arn:aws:secretsmanager:eu-west-1:*:secret:prod/x-??????"])
    );
    // A token that is given is not given back.
    assert!(!policy(&rig, &["--source", "vault"]).contains("revoke-self"));
    for (source, code, words) in [
        ("nobody", 2, "there is no source \"nobody\"; the configuration has: aws, store, unused, vault"),
        ("unused", 2, "no template refers to"),
    ] {
        let refused = print(&rig, &["--source", source]);
        assert_eq!((refused.code, refused.stdout.as_str()), (code, ""), "{refused:?}");
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
}

/// The adversary writes configurations, and an operator makes policies from them.
#[test]
fn a_configuration_cannot_widen_the_policy_that_is_made_from_it() {
    let rig = Rig::at("http://127.0.0.1:1");
    for path in ["secret/*", "secret/data/+/db", "secret/{{identity.entity.id}}"] {
        rig.config(&format!(
            "[secret.x]\npath = '{path}'\n[[file]]\npath = \"x\"\ninline = \"{{{{x.y}}}}\"\n"
        ));
        let refused = print(&rig, &[]);
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{refused:?}");
        assert!(refused.stderr.contains("there is no way to name it alone"), "{refused:?}");
    }
    rig.config(
        "[secret.x]\npath = 'secret/data/a\"]}path\"*'\n[[file]]\npath = \"x\"\ninline = \"{{x.y}}\"\n",
    );
    assert!(print(&rig, &[]).stderr.contains("there is no way"));
    let bao = Bao::shared();
    let tenant = bao.tenant();
    rig.config("[secret.x]\npath = 'secret/data/a\" { capabilities = [\"sudo\"] } path \"b'\n[[file]]\npath = \"x\"\ninline = \"{{x.y}}\"\n");
    tenant.set_policy(&policy(&rig, &[]));
    let token = bao.api().with_token(&tenant.token());
    let asked =
        token.post("sys/capabilities-self", &json!({"paths": ["secret/data/a", "b", "secret/data/b"]}));
    assert_eq!(asked["data"], json!({"secret/data/a": ["deny"], "b": ["deny"], "secret/data/b": ["deny"]}));
}

#[test]
fn the_printed_role_of_a_store_is_enough_and_no_more() {
    let rig = Rig::at("http://127.0.0.1:1");
    make_store(&rig);
    rig.allow_secrets_in("web.secret-id");
    let value = fresh("value");
    rig.canaries().add(&value);
    store(&rig, &["put", "prod/app/db"], &value);
    store(&rig, &["put", "prod/app/other"], "x");
    let file = |name: &str| {
        format!(
            "[secret.{name}]\npath = \"prod/app/{name}\"\n[[file]]\npath = \"{name}\"\ninline = \"{{{{{name}.value}}}}\"\n"
        )
    };
    let source = crate::support::STORE_SOURCE;
    let config = |more: &str| {
        rig.whole_config(&format!("{source}{}{more}[output]\ndir = \"@dir@/out\"\n", file("db")));
    };
    config("");
    let command = policy(&rig, &[]);
    let made = sh(&rig, &command);
    let id = made.lines().find_map(|line| line.strip_prefix("role id")).unwrap().trim();
    rig.write("role-id", id);
    assert_eq!(rig.render().code, 0);
    assert_eq!(rig.read("out/db"), value);
    config(&file("other"));
    rig.render_says("permission denied on prod/app/other: needs read");
}

/// Runs what was printed, with the program under its name.
fn sh(rig: &Rig, command: &str) -> String {
    let program = env!("CARGO_BIN_EXE_squire");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("squire() {{ {program} \"$@\"; }}\n{command}")]).current_dir(rig.directory());
    let output = shell.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_printed_policy_of_aws_is_enough_and_without_any_action_of_it_just_that_is_denied() {
    let aws = Aws::shared();
    let rig = aws.rig_of_nobody();
    let (one, two, other) = (aws.secret("one"), aws.secret("two"), aws.secret("other"));
    let file = |name: &str, path: &str| {
        format!(
            "[secret.{name}]\npath = \"{path}\"\n[[file]]\npath = \"{name}\"\ninline = \"{{{{{name}.value}}}}\"\n"
        )
    };
    let config = |more: &str| {
        let source = "[source.aws]\nrefresh = \"300ms\"\n[output]\ndir = \"@dir@/out\"\n";
        rig.whole_config(&format!("{source}{}{}{more}", file("one", &one), file("two", &two)));
    };
    config("");
    let printed: Value = serde_json::from_str(&policy(&rig, &[])).unwrap();
    let become_user = |statements: &Value| {
        let (id, key) = aws.user(statements);
        write_profile(&rig, Keys { id: &id, key: &key });
    };
    become_user(&printed["Statement"]);
    let outcome = rig.render();
    assert_eq!(
        (outcome.code, rig.read("out/one"), rig.read("out/two")),
        (0, "one".to_owned(), "two".to_owned()),
        "{outcome:?}"
    );
    assert!(!outcome.stderr.contains("not allowed"), "something was denied: {}", outcome.stderr);
    for action in ["GetSecretValue", "DescribeSecret", "BatchGetSecretValue"] {
        let action = format!("secretsmanager:{action}");
        let mut statements = printed["Statement"].clone();
        for statement in statements.as_array_mut().unwrap() {
            statement["Action"].as_array_mut().unwrap().retain(|allowed| *allowed != action);
        }
        statements.as_array_mut().unwrap().retain(|statement| statement["Action"] != json!([]));
        become_user(&statements);
        if action.ends_with(":GetSecretValue") {
            rig.render_says(&format!("needs {action}"));
            continue;
        }
        // The agent does without.
        let outcome = rig.render();
        assert_eq!(outcome.code, 0, "{action}");
        let denied: Vec<&str> =
            outcome.stderr.lines().filter(|line| line.contains("is not allowed")).collect();
        assert!(
            !denied.is_empty() && denied.iter().all(|line| line.contains(&action)),
            "{action}: {denied:#?}"
        );
    }
    become_user(&printed["Statement"]);
    config(&file("other", &other));
    rig.render_says("needs secretsmanager:GetSecretValue");
}
