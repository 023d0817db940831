//! A store whose credentials are wrapped: no file beside it opens it, but a server or a TPM that unwraps them does.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Bao, Rig, SOON, Tenant, Tpm, fresh, make_role, make_store, store, wait_until};

/// A rig with a store, and the tenant's login in its variables.
fn rig(tenant: &Tenant<'_>) -> (Rig, String) {
    let rig = Rig::new(tenant);
    make_store(&rig);
    let first = fresh("first");
    rig.canaries().add(&first);
    store(&rig, &["put", "prod/app/db"], &first);
    rig.set("VAULT_ROLE_ID", tenant.role_id());
    rig.set("VAULT_SECRET_ID_FILE", rig.path("secret-id").to_str().unwrap());
    (rig, first)
}

/// Wraps a file of the rig with the tenant's own key, and removes it.
fn wrap(rig: &Rig, tenant: &Tenant<'_>, file: &str, to: &str) {
    rig.set("VAULT_ADDR", tenant.bao().address());
    let plain = rig.read(file);
    rig.canaries().add(plain.trim());
    let (code, said) = squire(rig, &["key", "wrap", file, "--transit", tenant.name(), "--to", to]);
    assert!(code == 0 && said.contains(&format!("{file} can be removed now")), "{said}");
    assert!(!rig.read(to).contains(plain.trim()), "{}", rig.read(to));
    assert_eq!(std::fs::metadata(rig.path(to)).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::remove_file(rig.path(file)).unwrap();
    rig.set("VAULT_ADDR", "");
}

/// `squire store …` on the rig's store; the exit code, and its output or its error.
fn squire(rig: &Rig, arguments: &[&str]) -> (i32, String) {
    let outcome = rig.start(&[&["store", "--store", "app.store"], arguments].concat()).outcome(SOON);
    (outcome.code, if outcome.code == 0 { outcome.stdout } else { outcome.stderr })
}

fn get(rig: &Rig, key: &str) -> (i32, String) {
    squire(rig, &["get", "prod/app/db", "--field", "value", "--key-file", key])
}

#[test]
fn a_wrapped_key_opens_the_store_where_the_server_unwraps_it() {
    let tenant = Bao::shared().tenant();
    let (rig, first) = rig(&tenant);
    rig.allow_secrets_in("stdout.2");
    wrap(&rig, &tenant, "app.store.key", "wrapped.key");
    // The address comes from the document, which has the server that wrapped it.
    assert_eq!(get(&rig, "wrapped.key"), (0, format!("{first}\n")));
    wait_until(SOON, "no token is left", || tenant.living_tokens() == 0);
    let (code, said) = squire(&rig, &["key", "wrap", "wrapped.key", "--transit", "x", "--to", "twice"]);
    assert!(code == 1 && said.contains("wrapped.key is wrapped already"), "{said}");
    let over = ["key", "wrap", "role-id", "--transit", "x", "--to", "wrapped.key"];
    assert!(squire(&rig, &over).1.contains("wrapped.key already"));
}

#[test]
fn what_stands_between_a_wrapped_key_and_the_store_is_said() {
    let tenant = Bao::shared().tenant();
    let (rig, _) = rig(&tenant);
    wrap(&rig, &tenant, "app.store.key", "wrapped.key");
    let document = rig.read("wrapped.key");
    rig.write("cut.key", &document[..document.len() / 2]);
    rig.write("edited.key", &document.replace("vault:v1:", "vault:v1:AAAA"));
    rig.write("away.key", &document.replace(tenant.bao().address(), "http://127.0.0.1:1"));
    rig.write("later.key", &document.replace("\"squire_credential\": 1", "\"squire_credential\": 2"));
    rig.write("long.key", &"0".repeat(5000));
    rig.write("empty.key", "\n");
    for (file, reason) in [
        ("cut.key", "cut.key is a wrapped credential that was cut or edited"),
        ("edited.key", "edited.key cannot be unwrapped: failed at the server"),
        ("away.key", "without it only the plain credential opens the store"),
        ("later.key", "use a newer one"),
        ("long.key", "long.key has more than 4096 bytes"),
        ("empty.key", "empty.key is empty"),
        ("no.key", "no.key cannot be read"),
    ] {
        let (code, said) = get(&rig, file);
        assert!(code == 1 && said.contains(reason), "{file}: {said}");
    }
    // Without the right to it, and without a login.
    tenant.set_policy("path \"elsewhere\" { capabilities = [\"read\"] }");
    let (code, said) = get(&rig, "wrapped.key");
    assert!(code == 1 && said.contains("permission denied on transit/decrypt/"), "{said}");
    rig.set("VAULT_ROLE_ID", "");
    let (code, said) = get(&rig, "wrapped.key");
    assert!(code == 1 && said.contains("wrapped.key cannot be unwrapped: no login"), "{said}");
}

#[test]
fn who_may_wrap_need_not_be_who_unwraps() {
    let tenant = Bao::shared().tenant();
    let (rig, first) = rig(&tenant);
    rig.allow_secrets_in("stdout.2");
    let encrypts =
        format!("path \"transit/encrypt/{}\" {{ capabilities = [\"create\", \"update\"] }}\n", tenant.name());
    tenant.set_policy(&encrypts);
    rig.set("VAULT_ADDR", tenant.bao().address());
    let wrap = ["key", "wrap", "app.store.key", "--transit", tenant.name(), "--to", "wrapped.key"];
    let (code, said) = squire(&rig, &wrap);
    assert!(code == 0 && said.contains("this login may not unwrap it"), "{said}");
    tenant.set_policy(&tenant.policy());
    assert_eq!(get(&rig, "wrapped.key"), (0, format!("{first}\n")));
}

const SOURCE: &str = r#"
    [source.store]
    file = "@dir@/app.store"
    role_id_file = "@dir@/web.role-id"
    secret_id_file = "@dir@/wrapped.secret-id"
    [secret.db]
    path = "prod/app/db"
    [output]
    dir = "@dir@/out"
    [[file]]
    path = "password"
    inline = "{{db.value}}"
    on_change = "none"
"#;

/// The rig's store, for an agent with the wrapped secret-id of a role.
fn rig_of_role(tenant: &Tenant<'_>, rights: &[&str]) -> (Rig, String) {
    let (rig, first) = rig(tenant);
    let own = rig.read("role-id");
    make_role(&rig, rights);
    rig.write("web.role-id", &rig.read("role-id"));
    rig.write("role-id", &own);
    wrap(&rig, tenant, "web.secret-id", "wrapped.secret-id");
    rig.whole_config(SOURCE);
    (rig, first)
}

#[test]
fn an_agent_opens_its_store_with_a_wrapped_secret_id() {
    let tenant = Bao::shared().tenant();
    let (rig, first) = rig_of_role(&tenant, &["--read", "prod/app/*"]);
    let document = rig.read("wrapped.secret-id");
    // The agent waits for it; every problem is logged, and can be corrected without a new start.
    rig.write("wrapped.secret-id", "");
    let mut squire = rig.run();
    let said = |words: &str| rig.read("stderr.2").contains(words);
    squire.wait_until("it is waited for", || said("it is empty"));
    rig.write("wrapped.secret-id", &document[..document.len() / 2]);
    squire.wait_until("half of it is no more", || said("it is a wrapped credential that was cut or edited"));
    rig.write("wrapped.secret-id", &document.replace("vault:v1:", "vault:v1:AAAA"));
    squire.wait_until("the server refuses what it did not seal", || {
        said("wrapped.secret-id cannot be unwrapped: failed at the server")
    });
    rig.write("wrapped.secret-id", &document);
    squire.wait_until("it is published", || rig.read("out/password") == first);
    wait_until(SOON, "no token is left", || tenant.living_tokens() == 0);
    assert_eq!(squire.stop(), 0);
}

#[test]
fn an_agent_whose_server_is_away_waits_for_it() {
    let tenant = Bao::shared().tenant();
    let (rig, first) = rig_of_role(&tenant, &["--read", "prod/app/*"]);
    let document = rig.read("wrapped.secret-id");
    rig.write("wrapped.secret-id", &document.replace(tenant.bao().address(), "http://127.0.0.1:1"));
    let mut squire = rig.run();
    squire.wait_until("it says so", || {
        rig.read("stderr.2").contains("cannot be reached: ")
            && rig.read("stderr.2").contains("cannot be unwrapped")
    });
    rig.write("wrapped.secret-id", &document);
    squire.wait_until("it is published", || rig.read("out/password") == first);
    assert_eq!(squire.stop(), 0);
}

#[test]
fn an_agent_with_a_wrapped_secret_id_rotates_and_its_hooks_do_not_get_the_login() {
    let tenant = Bao::shared().tenant();
    let (rig, first) = rig_of_role(&tenant, &["--read", "prod/app/*", "--rotate", "prod/app/*"]);
    let login = tenant.secret_id();
    rig.set("VAULT_SECRET_ID_FILE", "");
    rig.set("VAULT_SECRET_ID", &login);
    // The hook's own variables.
    rig.set("AWS_SECRET_ACCESS_KEY", "for-the-hook");
    // Squire is started with it; the hook checks what happened to it.
    rig.start_with_secrets_in_environment();
    rig.write("hook", "env > seen/hook.new; mv seen/hook.new seen/hook\n");
    let env = "env = [\"AWS_SECRET_ACCESS_KEY\", \"VAULT_SECRET_ID\"]";
    rig.write("hooks.toml", &format!("[hook.it]\npaths = [\"prod/**\"]\nset = [\"sh\", \"hook\"]\n{env}\n"));
    rig.whole_config(&SOURCE.replace("[source.store]", "[source.store]\nhooks = \"@dir@/hooks.toml\""));
    let policy = ["policy", "prod/app/db", "--generate", "uuid", "--every", "1s", "--hook", "it"];
    store(&rig, &policy, "");
    let mut squire = rig.run();
    squire.wait_until("it is rotated", || {
        let now = rig.read("out/password");
        !now.is_empty() && now != first
    });
    let seen = rig.read("seen/hook");
    assert!(seen.contains("SQUIRE_STEP=set") && !seen.contains(&login), "{seen}");
    assert!(seen.contains("AWS_SECRET_ACCESS_KEY=for-the-hook"), "{seen}");
    assert_eq!(squire.stop(), 0);
}

#[test]
fn an_agent_that_is_a_unit_of_systemd_takes_what_it_was_passed() {
    let tenant = Bao::shared().tenant();
    let (rig, first) = rig_of_role(&tenant, &["--read", "prod/app/*"]);
    rig.allow_secrets_in("passed");
    rig.set("CREDENTIALS_DIRECTORY", rig.path("passed").to_str().unwrap());
    // Wrapped or not, it is a file like any other.
    rig.write("passed/squire-secret-id", &rig.read("wrapped.secret-id"));
    rig.whole_config(&SOURCE.replace("secret_id_file = \"@dir@/wrapped.secret-id\"", ""));
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.read("out/password") == first);
    assert_eq!(squire.stop(), 0);

    rig.write("passed/squire-store-key", &rig.read("app.store.key"));
    std::fs::remove_dir_all(rig.path("out")).unwrap();
    let owner = SOURCE.lines().filter(|line| !line.contains("_file")).collect::<Vec<_>>().join("\n");
    rig.whole_config(&owner);
    let mut squire = rig.run();
    squire.wait_until("it is published again", || rig.read("out/password") == first);
    assert_eq!(squire.stop(), 0);
}

#[test]
fn an_agent_opens_its_store_with_what_the_tpm_sealed_and_rotates() {
    let tpm = Tpm::start();
    let rig = Rig::at("http://127.0.0.1:1");
    make_store(&rig);
    let first = fresh("first");
    rig.canaries().add(&first);
    store(&rig, &["put", "prod/app/db"], &first);
    make_role(&rig, &["--read", "prod/app/*", "--rotate", "prod/app/*"]);
    rig.write("web.role-id", &rig.read("role-id"));
    rig.canaries().add(rig.read("web.secret-id").trim());
    let device = tpm.device();
    let wrap =
        ["key", "wrap", "web.secret-id", "--tpm", device.to_str().unwrap(), "--to", "wrapped.secret-id"];
    store(&rig, &wrap, "");
    std::fs::remove_file(rig.path("web.secret-id")).unwrap();
    rig.whole_config(SOURCE);
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.read("out/password") == first);
    store(&rig, &["policy", "prod/app/db", "--generate", "uuid", "--every", "1s"], "");
    squire.wait_until("it is rotated", || rig.read("out/password").len() == 36);
    assert_eq!(squire.stop(), 0);

    // While the TPM is off, the agent waits for it.
    drop(tpm);
    std::fs::remove_dir_all(rig.path("out")).unwrap();
    let mut squire = rig.run();
    let said = format!("there is no TPM at {}", device.display());
    squire.wait_until("it says so", || rig.read("stderr.2").contains(&said));
    squire.stop();
}
