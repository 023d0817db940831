//! `deploy/nomad`: the configuration of the example as a task of Nomad has it. Only the address and the program are replaced; no Nomad runs.

use std::path::Path;

use crate::support::{Bao, Postgres, Rig, SOON, free_port, learn_password, log_in};

/// In the place of the program: notes its own words and what it finds at its start, and each SIGHUP.
const SHOP: &str = r#""sh", "-c", "echo $* >>@dir@/seen/words; cp $NOMAD_SECRETS_DIR/db.json @dir@/seen/db.json; trap 'echo heard >>@dir@/seen/heard' HUP; while :; do sleep 0.02; done", "shop""#;

#[test]
fn the_example_logs_in_with_the_token_of_nomad_renders_and_starts_the_program() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    // A credential that lives for seconds, so that the program is told of the next one.
    bao.connect_database(Postgres::shared(), "shop", 6, 6);
    let rig = Rig::new(&tenant);
    rig.allow_secrets_in("secrets");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nomad/squire.toml");
    let mut text = std::fs::read_to_string(example).unwrap();
    for (what, instead) in [("https://vault.service.consul:8200", bao.address()), ("\"/usr/bin/shop\"", SHOP)]
    {
        assert_eq!(text.matches(what).count(), 1, "{what} is not in the example");
        text = text.replace(what, instead);
    }
    rig.whole_config(&text);
    rig.write("secrets/vault_token", &tenant.token());
    let port = free_port().to_string();
    rig.set("NOMAD_SECRETS_DIR", rig.path("secrets").to_str().unwrap());
    rig.set("NOMAD_PORT_http", &port);
    let checked = rig.check();
    assert_eq!(checked.code, 0, "{checked:?}");

    let mut squire = rig.run();
    squire.wait_until("the program starts", || rig.path("seen/db.json").exists());
    assert_eq!(rig.read("seen/words"), format!("--port {port}\n"));
    let database = || -> serde_json::Value { serde_json::from_str(&rig.read("secrets/db.json")).unwrap() };
    let first = database();
    let works = |credential: &serde_json::Value| {
        let [user, password] = ["user", "password"].map(|name| credential[name].as_str().unwrap());
        let url = Postgres::shared().url_for(user, password);
        learn_password(&url, rig.canaries());
        log_in(&url).is_ok()
    };
    assert!(works(&first), "the first credential does not log in");
    squire.wait_until("the program is told of the next credential", || rig.path("seen/heard").exists());
    let second = database();
    assert!(second["user"] != first["user"] && works(&second), "the next credential does not log in");

    // Nomad writes another token before the end of the one before.
    let logged_in = squire.events("logged in").len();
    rig.write("secrets/vault_token", &tenant.token());
    squire.wait_until("it takes the next token", || {
        rig.read("stderr.2").matches("\"logged in\"").count() > logged_in
    });
    squire.wait_at_most(SOON, "a credential by that token", || database()["user"] != second["user"]);
    assert_eq!(rig.read("seen/words").lines().count(), 1, "the program was started again");
    assert_eq!(squire.stop(), 143);
    assert!(rig.path("secrets/vault_token").exists(), "it is Nomad's");
}
