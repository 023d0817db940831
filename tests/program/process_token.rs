//! The token of a source in the environment of the process, and what a new login means for it.

use std::fs;

use crate::support::{Bao, Rig, SOON, Squire, Tenant};

/// Notes what it has of the server, at each start.
const READER: &str = r#"
    [process]
    command = ["sh", "-c", "echo $VAULT_ADDR $BAO_ADDR > seen/address; echo $VAULT_TOKEN $BAO_TOKEN >> seen/tokens; exec sleep 1000"]
    vault_token = "vault"
"#;

fn rig(tenant: &Tenant<'_>, rest: &str) -> Rig {
    let rig = Rig::new(tenant);
    // Nothing is fetched by whose denial the end of a token would be noticed.
    let source = "address = \"@address@\"\nlook_up_every = \"500ms\"";
    rig.config_of_source(source, &format!("{READER}{rest}"));
    rig
}

/// The token of each start, of which there have to be two names.
fn tokens(rig: &Rig) -> Vec<String> {
    let lines = rig.read("seen/tokens");
    let token = |line: &str| {
        let (vault, bao) = line.split_once(' ').unwrap();
        assert_eq!(vault, bao);
        rig.canaries().add(vault);
        vault.to_owned()
    };
    lines.lines().map(token).collect()
}

fn works(tenant: &Tenant<'_>, token: &str) -> bool {
    let api = tenant.bao().api().with_token(token);
    api.try_get("auth/token/lookup-self").is_some_and(|(status, _)| status == 200)
}

/// Revokes the token, once it is known that this one can look itself up: only such a token is known to be dead when it cannot.
fn revoke(rig: &Rig, squire: &mut Squire<'_>, tenant: &Tenant<'_>) {
    let looked_up = || {
        let log = rig.read("stderr.1");
        let since = log.rfind("\"logged in\"").unwrap_or_default();
        log[since..].contains("\"look_up\"")
    };
    squire.wait_until("the token is looked up", looked_up);
    tenant.revoke_tokens();
}

#[test]
fn a_process_has_token_and_address_and_a_new_login_is_said_and_touches_nothing() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant, "");
    let mut squire = rig.run();
    squire.wait_until("the process starts", || tokens(&rig).len() == 1);
    let address = tenant.bao().address();
    assert_eq!(rig.read("seen/address"), format!("{address} {address}\n"));
    assert!(works(&tenant, &tokens(&rig)[0]), "it is no token");
    revoke(&rig, &mut squire, &tenant);
    squire.wait_until("it is said", || {
        rig.read("stderr.1").contains("the token in the environment of the process is of a former login")
    });
    squire.wait_until("there is another token", || tenant.living_tokens() == 1);
    assert_eq!(tokens(&rig).len(), 1);
    assert_eq!(squire.stop(), 143);
    assert_eq!(tenant.living_tokens(), 0);
}

#[test]
fn a_process_is_restarted_for_a_new_token_where_that_is_asked_for() {
    let tenant = Bao::shared().tenant();
    // Whatever a change of a file asks for, this is a restart.
    let rig = rig(&tenant, "restart_on_new_token = true\non_change = \"none\"\n[rollout]\nsettle = \"0s\"\n");
    let mut squire = rig.run();
    squire.wait_until("the process starts", || tokens(&rig).len() == 1);
    squire.wait_until("it is committed", || rig.read("stderr.1").contains("generation committed"));
    for starts in 2..4 {
        revoke(&rig, &mut squire, &tenant);
        squire.wait_until("the process starts again", || tokens(&rig).len() == starts);
        let tokens = tokens(&rig);
        assert!(works(&tenant, &tokens[starts - 1]), "it is a former token");
        assert_ne!(tokens[starts - 1], tokens[starts - 2]);
        squire.wait_until("the restart is over", || {
            rig.read("stderr.1").matches("generation committed").count() >= starts
        });
    }
    assert_eq!(squire.stop(), 143);
}

#[test]
fn what_cannot_be_passed_on_is_refused_with_its_reason() {
    let tenant = Bao::shared().tenant();
    for (process, words) in [
        ("vault_token = \"other\"", "vault_token = \"other\" is no source of this configuration"),
        ("restart_on_new_token = true", "needs `vault_token` beside it"),
        (
            "vault_token = \"vault\"\nenv = { BAO_ADDR = \"x\" }",
            "sets BAO_ADDR, and `process.env` does so too",
        ),
    ] {
        let rig = Rig::new(&tenant);
        rig.config(&format!("[process]\ncommand = [\"sleep\", \"1000\"]\n{process}\n"));
        let checked = rig.check();
        assert!(checked.code != 0 && checked.stderr.contains(words), "{process}: {}", checked.stderr);
        let outcome = rig.run().outcome(SOON);
        assert!(outcome.code != 0 && outcome.stderr.contains(words), "{process}: {}", outcome.stderr);
    }
    let rig = Rig::new(&tenant);
    rig.config("[process]\nvault_token = \"vault\"\n[[file]]\npath = \"a\"\ninline = \"a\"\n");
    let checked = rig.check();
    assert!(checked.code != 0 && checked.stderr.contains("process"), "{}", checked.stderr);
    assert!(fs::read_dir(rig.path("out")).is_err(), "nothing is published");
}
