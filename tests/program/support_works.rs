//! Tests of the support itself: servers start as the tests need them, and a planted leak is found.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Api, Bao, Impostor, Manners, Postgres, Raft, Rig, SOON, fresh, log_in, wait_until};

#[test]
fn a_tenant_can_log_in_and_reads_only_its_own_secrets() {
    let bao = Bao::shared();
    let (tenant, other) = (bao.tenant(), bao.tenant());
    tenant.write("db", &json!({"password": fresh("password")}));
    let login = json!({"role_id": tenant.role_id(), "secret_id": tenant.secret_id()});
    let answer = bao.api().post("auth/approle/login", &login);
    let token = answer["auth"]["client_token"].as_str().unwrap();
    let api = bao.api().with_token(token);
    assert_eq!(api.try_get(&format!("secret/data/{}/db", tenant.name())).unwrap().0, 200);
    assert_eq!(api.try_get(&format!("secret/data/{}/db", other.name())).unwrap().0, 403);
    assert_eq!(api.try_post("pki/issue/web", &json!({"common_name": "web.internal"})).unwrap().0, 200);
    assert_eq!((tenant.living_tokens(), other.living_tokens()), (1, 0));
}

#[test]
fn the_audit_log_counts_what_others_than_the_test_ask_for() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    assert_eq!(bao.requests(), Vec::<String>::new());
    let login = json!({"role_id": tenant.role_id(), "secret_id": tenant.secret_id()});
    bao.api().with_token("").post("auth/approle/login", &login);
    assert_eq!(bao.requests(), ["update auth/approle/login"]);
}

#[test]
fn database_credentials_log_in_and_vanish_after_their_ttl() {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    bao.connect_database(postgres, "brief", 2, 4);
    let secret = bao.api().get("database/creds/brief")["data"].clone();
    let (user, password) = (secret["username"].as_str().unwrap(), secret["password"].as_str().unwrap());
    let url = postgres.url_for(user, password);
    assert_eq!(log_in(&url).unwrap(), user);
    assert_eq!(postgres.roles(user), [user]);
    wait_until(SOON, "the role is gone", || postgres.roles(user).is_empty());
    assert!(log_in(&url).is_err());
}

#[test]
fn a_sealed_server_answers_503_until_it_is_unsealed() {
    let raft = Raft::start(false);
    raft.seal();
    wait_until(SOON, "reads are refused", || {
        raft.bao().api().try_get("secret/data/ready").is_some_and(|(status, _)| status == 503)
    });
    raft.unseal();
    assert_eq!(raft.bao().api().try_get("secret/data/ready").unwrap().0, 200);
}

#[test]
fn an_impostor_answers_and_counts() {
    let impostor = Impostor::start(Manners::Html);
    let (status, body) = Api::new(&impostor.address(), "").try_get("sys/health").unwrap();
    assert_eq!((status, body.as_str().map(|text| text.contains("<h1>"))), (200, Some(true)));
    assert_eq!(impostor.visitors(), 1);
}

#[test]
fn a_secret_on_the_command_line_is_found() {
    let rig = Rig::at("http://127.0.0.1:1");
    let planted = fresh("planted");
    rig.canaries().add(&planted);
    // It waits for the server for ever, so there is time to look at it.
    rig.config(
        "\n[secret.db]\npath = \"secret/db\"\n[[file]]\npath = \"db\"\ninline = \"{{db.password}}\"\n",
    );
    let mut squire = rig.run_command(&["sleep", &planted]);
    squire.wait_until("it has said something", || !rig.read("stderr.1").is_empty());
    squire.signal(Signal::SIGTERM);
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(squire)));
    assert!(found.is_err(), "the canary check did not find a secret in the arguments");
}

#[test]
fn a_secret_in_a_stray_file_is_found_and_one_in_an_output_is_not() {
    let rig = Rig::at("http://127.0.0.1:1");
    let planted = fresh("planted");
    rig.canaries().add(&planted);
    rig.write("out/password", &planted);
    rig.write("seen/password", &planted);
    assert_eq!(rig.leak(&rig.canaries().hunt()), None);
    rig.write("deep/below/stray", &format!("…{planted}…"));
    assert!(rig.leak(&rig.canaries().hunt()).is_some_and(|leak| leak.ends_with("deep/below/stray")));
}

#[test]
fn processes_of_a_rig_end_with_it() {
    let rig = Rig::at("http://127.0.0.1:1");
    let marked = rig.environment().swap_remove(0);
    let mut child = std::process::Command::new("sleep").arg("1000").envs([marked]).spawn().unwrap();
    wait_until(SOON, "it is seen", || rig.processes() == [child.id()]);
    drop(rig);
    assert!(!child.wait().unwrap().success());
}
