//! A login with a name and a password, by the whole program.

use serde_json::json;

use crate::support::{Bao, CHILD, Rig, fresh};

#[test]
fn a_refused_password_is_sent_once_and_again_when_its_file_changes() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let (right, wrong, secret) = (fresh("password"), fresh("wrong"), fresh("secret"));
    for word in [&right, &wrong] {
        tenant.canaries().add(word);
    }
    tenant.write("db", &json!({"password": secret}));
    bao.api().post("sys/auth/people", &json!({"type": "userpass"}));
    let user = json!({"password": right, "token_policies": [tenant.name()], "token_ttl": "1h"});
    bao.api().post("auth/people/users/app", &user);
    let rig = Rig::new(&tenant);
    rig.allow_secrets_in("password");
    rig.whole_config(&format!(
        r#"
        [source.vault]
        address = "@address@"
        [source.vault.auth.userpass]
        mount = "people"
        username = "app"
        password_file = "@dir@/password"
        [secret.db]
        path = "secret/@tenant@/db"
        [output]
        dir = "@dir@/out"
        [[file]]
        path = "db"
        inline = "{{{{db.password}}}}"
        {CHILD}"#
    ));
    rig.write("password", &format!("{wrong}\n"));
    let logins = || bao.count("update auth/people/login/app");
    let mut squire = rig.run();
    squire.wait_until("it is refused", || rig.read("stderr.1").contains("check username and password"));
    // The same words, written again, are no reason to lock somebody out.
    rig.write("password", &format!("{wrong}\n"));
    squire.wait_until("it says what it waits for", || rig.read("stderr.1").contains("\"waiting"));
    assert_eq!(logins(), 1);
    rig.write("password", &format!("{right}\n"));
    squire.wait_until("the process starts", || rig.read("seen/starts") == "start\n");
    assert_eq!(rig.read("out/db"), secret);
    assert_eq!(logins(), 2);
    assert_eq!(squire.stop(), 143);
    assert_eq!(bao.count("update auth/token/revoke-self"), 1);
}
