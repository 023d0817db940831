//! Where the server is: the configuration, the environment, and more than one address.

use serde_json::json;

use crate::support::{Bao, Impostor, Manners, Rig, fresh};

/// Renders one secret from a source with these lines for an address.
fn renders(address: &str, variables: &[(&str, &str)]) {
    let tenant = Bao::shared().tenant();
    let password = fresh("password");
    tenant.write("db", &json!({"password": password}));
    let rig = Rig::new(&tenant);
    for (name, value) in variables {
        rig.set(name, value);
    }
    rig.whole_config(&format!(
        r#"
        startup_timeout = "15s"
        [source.vault]
        {address}
        [source.vault.auth.approle]
        role_id_file   = "${{CREDENTIALS}}/role-id"
        secret_id_file = "${{CREDENTIALS}}/secret-id"
        [secret.db]
        path = "secret/@tenant@/db"
        [output]
        dir = "@dir@/out"
        [[file]]
        path   = "password"
        inline = "{{{{db.password}}}}"
        "#
    ));
    rig.set("CREDENTIALS", rig.directory().to_str().unwrap());
    let outcome = rig.render();
    assert_eq!((outcome.code, rig.read("out/password")), (0, password), "{address}: {}", outcome.stderr);
}

#[test]
fn the_address_comes_from_the_configuration_or_the_environment() {
    let there = Bao::shared().address();
    renders("address = \"@address@\"", &[]);
    renders("address = \"@address@/\"", &[]);
    renders("address = \"${SERVER}\"", &[("SERVER", there)]);
    renders("", &[("VAULT_ADDR", there)]);
    renders("", &[("BAO_ADDR", there)]);
    renders("address = \"@address@\"", &[("VAULT_ADDR", "http://127.0.0.1:1")]);
}

#[test]
fn addresses_fail_over_in_order() {
    let gone = Impostor::start(Manners::HangsUp).address();
    let rude = Impostor::start(Manners::HangsUp);
    renders(&format!("addresses = [\"{gone}\", \"{}\", \"@address@\"]", rude.address()), &[]);
    assert!(rude.visitors() > 0, "the second address was passed over");
}
