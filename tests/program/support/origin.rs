//! One secret in any of the three sources, so that one suite of tests can run with all of them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{Aws, Bao, Rig, Tenant};

/// A secret with the field `password`, and a rig whose configuration can refer to it.
pub(crate) struct Origin {
    pub(crate) rig: Rig,
    kind: Kind,
    /// The source with the secret.
    path: String,
}

enum Kind {
    Vault(Tenant<'static>),
    Store,
    Aws(&'static Aws),
}

impl Origin {
    /// In KV v2 of a server.
    pub(crate) fn vault() -> Self {
        let tenant = Bao::shared().tenant();
        let rig = Rig::new(&tenant);
        rig.set("VAULT_ADDR", tenant.bao().address());
        rig.set("VAULT_ROLE_ID", tenant.role_id());
        rig.set("VAULT_SECRET_ID_FILE", rig.path("secret-id").to_str().unwrap());
        let path = format!("secret/{}/db", tenant.name());
        Self { rig, kind: Kind::Vault(tenant), path }
    }

    /// In the embedded store.
    pub(crate) fn store() -> Self {
        let rig = Rig::at("http://127.0.0.1:1");
        let path = |name: &str| rig.path(name).to_str().unwrap().to_owned();
        make_store(&rig);
        rig.set("SQUIRE_STORE", &path("app.store"));
        rig.set("SQUIRE_STORE_KEY_FILE", &path("app.store.key"));
        Self { rig, kind: Kind::Store, path: "prod/app/db".to_owned() }
    }

    /// In AWS Secrets Manager.
    pub(crate) fn aws() -> Self {
        let aws = Aws::shared();
        let path = aws.secret(r#"{"password": "not yet"}"#);
        Self { rig: aws.rig(), kind: Kind::Aws(aws), path }
    }

    /// The name of the source.
    pub(crate) fn scheme(&self) -> &'static str {
        match self.kind {
            Kind::Vault(_) => "vault",
            Kind::Store => "store",
            Kind::Aws(_) => "aws",
        }
    }

    /// The path of the secret, as a configuration writes it.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The part of a configuration that names the source, and the secret as `db`. The rest comes from the environment.
    pub(crate) fn config(&self) -> String {
        let (scheme, path) = (self.scheme(), &self.path);
        format!(
            "[source.{scheme}]\nrefresh = \"300ms\"\n[secret.db]\npath = \"{path}\"\n[output]\ndir = \"@dir@/out\"\n"
        )
    }

    /// Writes a new version.
    pub(crate) fn write(&self, password: &str) {
        self.rig.canaries().add(password);
        let fields = json!({"password": password});
        match &self.kind {
            Kind::Vault(tenant) => tenant.write("db", &fields),
            Kind::Store => drop(store(&self.rig, &["put", &self.path], &fields.to_string())),
            Kind::Aws(aws) => aws.rotate(&self.path, &fields.to_string()),
        }
    }

    /// Removes it in a way that [`Self::bring_back`] can undo.
    pub(crate) fn take_away(&self) {
        match &self.kind {
            Kind::Vault(tenant) => tenant.delete("db"),
            Kind::Store => drop(store(&self.rig, &["rm", &self.path], "")),
            Kind::Aws(aws) => drop(aws.ask("secretsmanager", "delete_secret", &self.named())),
        }
    }

    /// Restores it with another value.
    pub(crate) fn bring_back(&self, password: &str) {
        if let Kind::Aws(aws) = &self.kind {
            aws.ask("secretsmanager", "restore_secret", &self.named());
        }
        self.write(password);
    }

    fn named(&self) -> Value {
        json!({"SecretId": self.path})
    }
}

/// Makes a store in a rig.
pub(crate) fn make_store(rig: &Rig) {
    for file in ["app.store", "app.store-wal", "app.store.key"] {
        rig.allow_secrets_in(file);
    }
    store(rig, &["init"], "");
}

/// The store of a rig as a source, with the login of its role.
pub(crate) const STORE_SOURCE: &str = r#"
    [source.store]
    file = "@dir@/app.store"
    role_id_file = "@dir@/role-id"
    secret_id_file = "@dir@/web.secret-id"
"#;

/// A rig with a store that has this secret as `prod/app/db`, which the configuration calls `db`, and a role that reads it.
pub(crate) fn rig_of_store(secret: &Value, rest: &str) -> Rig {
    let rig = Rig::at("http://127.0.0.1:1");
    make_store(&rig);
    store(&rig, &["put", "prod/app/db"], &secret.to_string());
    make_role(&rig, &["--read", "prod/app/*"]);
    configure_store(&rig, rest);
    rig
}

/// Writes the configuration of such a rig anew.
pub(crate) fn configure_store(rig: &Rig, rest: &str) {
    rig.whole_config(&format!("{STORE_SOURCE}\n[secret.db]\npath = \"prod/app/db\"\n{rest}"));
}

/// Makes a role of a rig's store, with its credential in `role-id` and `web.secret-id`.
pub(crate) fn make_role(rig: &Rig, rights: &[&str]) {
    rig.allow_secrets_in("web.secret-id");
    let made = [&["role", "add", "web", "--secret-id-to", "web.secret-id", "--json"], rights].concat();
    let made: Value = serde_json::from_str(&store(rig, &made, "")).unwrap();
    rig.write("role-id", made["role_id"].as_str().unwrap());
}

/// Runs `squire store` on the store of a rig, and returns its output.
pub(crate) fn store(rig: &Rig, arguments: &[&str], stdin: &str) -> String {
    store_at(rig, "app.store", arguments, stdin)
}

/// The same on the store in this file of the rig.
pub(crate) fn store_at(rig: &Rig, file: &str, arguments: &[&str], stdin: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squire"));
    command.arg("store").args(["--store", file]).args(arguments).current_dir(rig.directory());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
