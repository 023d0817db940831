//! `squire check --online`: what it finds with real servers, what it leaves behind, and that it reads no secret.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{
    Aws, Bao, Keys, Outcome, Rig, SOON, STORE_SOURCE, Tenant, free_port, fresh, kv_file, make_role,
    make_store, store, wait_until, write_profile,
};

fn check(rig: &Rig, arguments: &[&str]) -> Outcome {
    let file = rig.path("squire.toml");
    rig.start(&[&["check", "--online", "-c", file.to_str().unwrap()], arguments].concat()).outcome(SOON * 2)
}

#[track_caller]
fn says(outcome: &Outcome, code: i32, lines: &[&str]) {
    assert_eq!(outcome.code, code, "{outcome:?}");
    for line in lines {
        assert!(
            outcome.stdout.contains(line) || outcome.stderr.contains(line),
            "{line:?} is not in {outcome:?}"
        );
    }
}

/// A rig with one KV secret, which is there.
fn rig(tenant: &Tenant<'_>) -> Rig {
    tenant.write("db", &json!({"password": fresh("password")}));
    let rig = Rig::new(tenant);
    rig.config(&kv_file("db"));
    rig
}

#[test]
fn it_asks_for_every_path_reads_none_and_gives_its_token_back() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant);
    let outcome = check(&rig, &[]);
    let allowed = format!("  allowed  read secret/data/{}/db: the secret db", tenant.name());
    says(
        &outcome,
        0,
        &[
            "no problems",
            &allowed,
            "everything that it needs is allowed",
            "only a read tells",
            "this log-in was one use of the secret-id",
        ],
    );
    let asked: BTreeSet<String> = bao.asked_by(tenant.name()).into_iter().map(|(asked, _)| asked).collect();
    let mount = format!("read sys/internal/ui/mounts/secret/{}/db", tenant.name());
    let expected = [
        "read auth/token/lookup-self",
        mount.as_str(),
        "read sys/internal/ui/resultant-acl",
        "update auth/token/revoke-self",
        "update sys/capabilities-self",
    ];
    assert_eq!(asked.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_eq!(tenant.living_tokens(), 0);
    assert!(!rig.path("out").exists(), "a check publishes nothing");
}

#[test]
fn what_a_reviewer_should_worry_about_is_said_and_is_no_failure() {
    let tenant = Bao::shared().tenant();
    let (rig, name) = (rig(&tenant), tenant.name().to_owned());
    let may = |path: &str, what: &str| format!("path \"{path}\" {{ capabilities = [{what}] }}\n");
    tenant.set_policy(
        &[
            may(&format!("secret/data/{name}/db"), r#""read", "update", "delete", "sudo""#),
            may("secret/data/+/db", r#""list""#),
            may("kv1/*", r#""read""#),
            may("sys/policies/acl/x", r#""read""#),
        ]
        .concat(),
    );
    says(
        &check(&rig, &[]),
        0,
        &[
            &format!(
                "  review   secret/data/{name}/db: also allows delete, sudo, update, which nothing here needs"
            ),
            // The server leaves patterns with + out of its list, so only a probe finds this one.
            "  review   secret/data/*/db: list is allowed for any name",
            "  review   kv1/*: read is allowed, and nothing here needs it",
            "  review   sys/policies/acl/x: read is allowed, and nothing here needs it",
            "  review   the token is bound to no address",
        ],
    );
    tenant.set_policy(&may("*", r#""read""#));
    let everywhere = check(&rig, &[]);
    says(&everywhere, 0, &["  review   *: read is allowed for any name"]);
    assert_eq!(everywhere.stdout.matches("for any name").count(), 1, "{everywhere:?}");
    rig.write("root", Bao::root_token());
    rig.allow_secrets_in("root");
    let by_root = check(&rig, &["--token-file", rig.path("root").to_str().unwrap()]);
    says(&by_root, 0, &["the token may do everything: it is a root token", "the token has no end"]);
    wait_until(SOON, "root still lives", || {
        Bao::shared().api().try_get("auth/token/lookup-self").is_some_and(|(status, _)| status == 200)
    });
}

#[test]
fn what_is_missing_wrong_or_not_there_is_told_apart() {
    let tenant = Bao::shared().tenant();
    tenant.write("db", &json!({"password": fresh("password")}));
    let rig = Rig::new(&tenant);
    let name = tenant.name();
    rig.config(&format!(
        "{}{}[secret.theirs]\npath = \"secret/other/db\"\n[secret.numbered]\npath = \"kv1/@tenant@/x\"\nversion = 2\n[secret.nowhere]\npath \
         = \"nowhere/x\"\n[[file]]\npath = \"all\"\ninline = \"{{{{theirs.x}}}} {{{{numbered.x}}}} {{{{nowhere.x}}}}\"\n",
        kv_file("db"),
        kv_file("absent"),
    ));
    let outcome = check(&rig, &[]);
    says(
        &outcome,
        1,
        &[
            &format!("  allowed  read secret/data/{name}/db: the secret db"),
            // Nobody wrote it, and that is no matter of rights.
            &format!("  allowed  read secret/data/{name}/absent: the secret absent"),
            "  MISSING  read secret/data/other/db: the secret theirs; nothing is allowed there",
            "  MISSING  read nowhere/data/x or nowhere/x: the secret nowhere; nothing is allowed there",
            &format!("  WRONG    the secret numbered: unexpected answer: kv1/{name}/x has no versions"),
            "does not say that something is there",
            "3 rights are missing or not known, 0 sources could not be asked",
        ],
    );
}

#[test]
fn policies_that_do_not_allow_to_ask_are_no_answer() {
    let bao = Bao::shared();
    let tenant = bao.tenant_with(&json!({"token_ttl": "1h", "token_no_default_policy": true}));
    let rig = rig(&tenant);
    let outcome = check(&rig, &[]);
    says(
        &outcome,
        1,
        &[
            "  UNKNOWN  read secret/data/",
            "  MISSING  update sys/capabilities-self",
            "what else the token may do is not known",
            "what the token is bound to is not known",
            // It may not be given back either, and who reads this has to know.
            "the token of this check could not be given back, and it ends in 1h",
        ],
    );
    tenant.revoke_tokens();
}

#[test]
fn a_credential_that_a_login_uses_up_is_left_alone() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant);
    let wrapping = tenant.wrapped_secret_id();
    let table = "[source.vault.auth.approle]";
    let plain = rig.read("squire.toml");
    for (setting, credential, why) in [
        ("unwrap = true", wrapping.clone(), "holds a wrapping token, and a login would use it up"),
        ("delete_secret_id = true", tenant.secret_id(), "is for one login, after which its file is deleted"),
    ] {
        rig.write("secret-id", &credential);
        rig.whole_config(&plain.replace(table, &format!("{table}\n{setting}")));
        says(&check(&rig, &[]), 1, &[why, "--token-file", "1 sources could not be asked"]);
        assert_eq!(rig.read("secret-id"), credential);
        // What to do instead does it.
        rig.write("token", &tenant.token());
        let by_token = check(&rig, &["--token-file", rig.path("token").to_str().unwrap()]);
        says(&by_token, 0, &["everything that it needs is allowed"]);
    }
    // Nobody has unwrapped it.
    let looked_up = Bao::shared().api().post("sys/wrapping/lookup", &json!({"token": wrapping}));
    assert!(looked_up["data"]["creation_path"].is_string(), "{looked_up}");
    assert_eq!(tenant.living_tokens(), 0);
}

#[test]
fn a_server_that_cannot_be_asked_is_said_with_its_reason() {
    let tenant = Bao::shared().tenant();
    let rig = Rig::new(&tenant).through(&format!("http://127.0.0.1:{}", free_port()));
    rig.config(&kv_file("db"));
    says(&check(&rig, &[]), 1, &["source vault: cannot be reached", "1 sources could not be asked"]);
    let own = Bao::start();
    let of_own = own.tenant();
    let rig = self::rig(&of_own);
    rig.write("secret-id", "nonsense");
    says(&check(&rig, &[]), 1, &["source vault: login refused"]);
    own.api().post("sys/seal", &json!({}));
    says(&check(&rig, &[]), 1, &["source vault: cannot be reached", "sealed"]);
    std::fs::remove_file(rig.path("secret-id")).unwrap();
    says(&check(&rig, &[]), 1, &["source vault: waiting for"]);
    // Problems of the configuration come first, and another exit code with them.
    rig.config("[secret.x]\npath = \"\"\n");
    assert_eq!(check(&rig, &[]).code, 2);
    rig.config(&kv_file("db"));
    assert_eq!(check(&rig, &["--source", "nobody"]).code, 2);
    let file = rig.path("squire.toml");
    let alone = rig.start(&["check", "-c", file.to_str().unwrap(), "--source", "vault"]).outcome(SOON);
    assert_eq!(alone.code, 2, "{alone:?}");
}

#[test]
fn the_rights_of_a_role_of_a_store_and_what_is_there() {
    let rig = Rig::at("http://127.0.0.1:1");
    make_store(&rig);
    let value = fresh("value");
    rig.canaries().add(&value);
    store(&rig, &["put", "prod/app/db"], &value);
    store(&rig, &["put", "prod/other/db"], &value);
    make_role(&rig, &["--read", "prod/app/*", "--write", "prod/app/*"]);
    let file = |name: &str, path: &str| {
        format!(
            "[secret.{name}]\npath = \"{path}\"\n[[file]]\npath = \"{name}\"\ninline = \"{{{{{name}.value}}}}\"\n"
        )
    };
    let config = |more: &str| {
        rig.whole_config(&format!(
            "{STORE_SOURCE}{}{more}[output]\ndir = \"@dir@/out\"\n",
            file("db", "prod/app/db")
        ));
    };
    config("");
    let worries = [
        "  allowed  read prod/app/db",
        "  review   read prod/app/*: is more than",
        "  review   write prod/app/*: is a right that no agent needs",
        "  review   the role has no end",
    ];
    says(&check(&rig, &[]), 0, &worries);
    config(&[file("theirs", "prod/other/db"), file("absent", "prod/app/absent")].concat());
    let missing = [
        "  MISSING  read prod/other/db: the secret theirs; the role has no such right",
        "  MISSING  read prod/app/absent: the secret absent; the role may read it, and there is no such secret",
    ];
    says(&check(&rig, &[]), 1, &missing);
    let reads = store(&rig, &["audit", "--who", "web", "--action", "read", "--json"], "");
    assert_eq!(reads.lines().filter(|line| line.contains("prod/")).count(), 0, "it read: {reads}");
}

#[test]
fn the_rights_of_credentials_of_aws_are_found_without_a_read() {
    let aws = Aws::shared();
    let rig = aws.rig_of_nobody();
    let value = fresh("value");
    rig.canaries().add(&value);
    let (mine, theirs) = (aws.secret(&value), aws.secret(&value));
    let said = Arc::default();
    let address = wire(aws.endpoint(), None, &Arc::default(), &said);
    let file = |name: &str, path: &str| {
        format!(
            "[secret.{name}]\npath = \"{path}\"\n[[file]]\npath = \"{name}\"\ninline = \"{{{{{name}.value}}}}\"\n"
        )
    };
    let config = |more: &str| {
        rig.whole_config(&format!(
            "[source.aws]\nendpoint = \"{address}\"\n[output]\ndir = \"@dir@/out\"\n{}{more}",
            file("mine", &mine)
        ));
    };
    let become_user = |actions: &[&str], names: &[&str]| {
        let arn = |name: &&str| format!("arn:aws:secretsmanager:*:*:secret:{name}-??????");
        let resources: Vec<_> = names.iter().map(arn).collect();
        let (id, key) = aws.user(&json!([{"Effect": "Allow", "Action": actions, "Resource": resources}]));
        write_profile(&rig, Keys { id: &id, key: &key });
    };
    config("");
    become_user(&["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"], &[&mine]);
    let outcome = check(&rig, &[]);
    says(
        &outcome,
        0,
        &[
            &format!("  allowed  secretsmanager:GetSecretValue {mine}"),
            "  review   the credentials are a key without end",
        ],
    );
    become_user(&["secretsmanager:GetSecretValue"], &[&mine]);
    says(
        &check(&rig, &[]),
        0,
        &["  without  secretsmanager:DescribeSecret", &format!("whether {mine} is there is not known")],
    );
    config(&file("theirs", &theirs));
    let denied =
        format!("  MISSING  secretsmanager:GetSecretValue {theirs}: the secret theirs; AWS denies it");
    says(&check(&rig, &[]), 1, &[&denied, "  without  secretsmanager:BatchGetSecretValue *"]);
    config(&file("absent", "prod/absent"));
    become_user(&["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"], &[&mine, "prod/absent"]);
    // Without its six characters it is another name, so the policy says nothing of what is not there.
    let absent = check(&rig, &[]);
    assert_eq!(absent.code, 1, "{absent:?}");
    assert!(absent.stdout.contains("  MISSING  secretsmanager:GetSecretValue prod/absent"), "{absent:?}");
    write_profile(&rig, Keys { id: "AKIANOBODY0000000000", key: "nothing" });
    says(&check(&rig, &[]), 1, &["source aws: login refused"]);
    let said = String::from_utf8_lossy(&said.lock().unwrap()).into_owned();
    assert!(said.contains(&mine) && !said.contains(&value), "a value was read: {said}");
}

#[test]
fn a_server_that_does_not_answer_does_not_hold_it_for_ever() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant);
    bao.halt();
    let file = rig.path("squire.toml");
    let outcome = rig.start(&["check", "--online", "-c", file.to_str().unwrap()]).outcome(SOON * 5);
    bao.go_on();
    says(&outcome, 1, &["source vault:", "1 sources could not be asked"]);
}

#[test]
fn a_token_whose_uses_are_counted_is_not_used_up() {
    let bao = Bao::shared();
    let counted = bao.tenant_with(&json!({"token_ttl": "1h", "token_num_uses": 3}));
    let by_login = rig(&counted);
    says(
        &check(&by_login, &[]),
        1,
        &["the login gives a token for 3 requests, and this takes 6", "--token-file"],
    );
    assert_eq!(counted.living_tokens(), 0);
    let tenant = bao.tenant();
    let rig = rig(&tenant);
    let made = bao
        .api()
        .post("auth/token/create", &json!({"policies": [tenant.name()], "num_uses": 20, "ttl": "1h"}));
    let token = made["auth"]["client_token"].as_str().unwrap();
    rig.canaries().add(token);
    rig.write("token", token);
    says(
        &check(&rig, &["--token-file", rig.path("token").to_str().unwrap()]),
        1,
        &["may be used 19 more times"],
    );
    let accessor = json!({"accessor": made["auth"]["accessor"]});
    let left = bao.api().post("auth/token/lookup-accessor", &accessor);
    assert_eq!(left["data"]["num_uses"], 19, "the login's own look-up is the only use");
}

/// Whoever is impatient ends the check in the middle of its questions.
#[test]
fn a_signal_ends_it_and_the_token_is_given_back_all_the_same() {
    let tenant = Bao::shared().tenant();
    let held = Arc::new(AtomicBool::new(false));
    let address = wire(Bao::shared().address(), Some("sys/capabilities-self"), &held, &Arc::default());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        held.store(false, Ordering::Relaxed);
        let rig = Rig::new(&tenant).through(&address);
        rig.config(&kv_file("db"));
        let mut squire = rig.start(&["check", "--online", "-c", rig.path("squire.toml").to_str().unwrap()]);
        squire.wait_until("it asks, and gets no answer", || held.load(Ordering::Relaxed));
        assert_eq!(tenant.living_tokens(), 1);
        squire.signal(signal);
        let outcome = squire.outcome(SOON);
        assert_eq!(outcome.code, 128 + signal as i32, "{outcome:?}");
        assert_eq!(tenant.living_tokens(), 0, "{signal}");
    }
}

/// A network before the server, which keeps what the server says. It loses what is sent after these words, and nothing on other connections.
fn wire(
    server: &str,
    words: Option<&'static str>,
    held: &Arc<AtomicBool>,
    said: &Arc<Mutex<Vec<u8>>>,
) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (server, held, said) =
        (server.trim_start_matches("http://").to_owned(), Arc::clone(held), Arc::clone(said));
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(host) = TcpStream::connect(&server) else { continue };
            let (back, to) = (host.try_clone().unwrap(), client.try_clone().unwrap());
            let (held, said) = (Arc::clone(&held), Arc::clone(&said));
            std::thread::spawn(move || carry(back, to, None, |bytes| said.lock().unwrap().extend(bytes)));
            std::thread::spawn(move || carry(client, host, words, |_| held.store(true, Ordering::Relaxed)));
        }
    });
    address
}

/// Passes bytes on. With words, what comes after them is lost and told; without, everything is told.
fn carry(mut from: TcpStream, mut to: TcpStream, words: Option<&str>, tell: impl Fn(&[u8])) {
    let mut bytes = [0; 16 * 1024];
    let mut is_lost = false;
    while let Ok(length) = from.read(&mut bytes) {
        let bytes = &bytes[..length];
        is_lost = is_lost || words.is_some_and(|words| String::from_utf8_lossy(bytes).contains(words));
        if is_lost || words.is_none() {
            tell(bytes);
        }
        if length == 0 || (!is_lost && to.write_all(bytes).is_err()) {
            return;
        }
    }
}
