//! What Squire asks the server, counted in the server's own audit log.

use std::fmt::Write;

use serde_json::json;

use crate::support::{Bao, Rig, fresh};

#[test]
fn a_hundred_secrets_cost_one_login_one_look_up_a_mount_and_a_hundred_reads() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let mut configuration = "\n".to_owned();
    for number in 0..100 {
        let name = format!("s{number}");
        // Half of them in each of two mounts.
        let mount = if number % 2 == 0 { "secret" } else { "kv1" };
        let fields = json!({"password": fresh("password")});
        if number % 2 == 0 {
            tenant.write(&name, &fields);
        } else {
            tenant.write_kv1(&name, &fields);
        }
        writeln!(
            configuration,
            "[secret.{name}]\npath = \"{mount}/@tenant@/{name}\"\nrefresh = \"10m\"\n\
             [[file]]\npath = \"{name}\"\ninline = \"{{{{{name}.password}}}}\""
        )
        .unwrap();
    }
    let rig = Rig::new(&tenant);
    rig.config(&configuration);
    let mut squire = rig.run_command(&["sh", "-c", "touch seen/started; exec sleep 1000"]);
    squire.wait_until("the child starts", || rig.path("seen/started").exists());
    assert_eq!(std::fs::read_dir(rig.path("out/..data/")).unwrap().count(), 100);
    let requests = bao.requests();
    let count = |beginning: &str| requests.iter().filter(|request| request.starts_with(beginning)).count();
    assert_eq!(count("update auth/approle/login"), 1, "{requests:#?}");
    assert_eq!(count("read sys/internal/ui/mounts/secret"), 1, "{requests:#?}");
    assert_eq!(count("read sys/internal/ui/mounts/kv1"), 1, "{requests:#?}");
    assert_eq!((count("read secret/data/"), count("read kv1/")), (50, 50), "{requests:#?}");
    assert_eq!(requests.len(), 103, "{requests:#?}");
}

#[test]
fn a_hundred_templates_on_one_secret_cost_one_read() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    tenant.write("db", &json!({"user": "ann", "password": fresh("password")}));
    let mut configuration = "\n[secret.db]\npath = \"secret/@tenant@/db\"\n".to_owned();
    for number in 0..99 {
        writeln!(configuration, "[[file]]\npath = \"f{number}\"\ninline = \"{{{{db.password}}}} {number}\"")
            .unwrap();
    }
    configuration += "[process]\ncommand = [\"true\"]\nenv = { DB = \"{{db.user}}\" }\n";
    let rig = Rig::new(&tenant);
    rig.config(&configuration);
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(rig.read("out/f98").ends_with(" 98"));
    assert_eq!(bao.count("read secret/data/"), 1, "{:#?}", bao.requests());
}

#[test]
fn every_request_goes_to_the_namespace() {
    let bao = Bao::start();
    bao.api().post("sys/namespaces/team-a", &json!({}));
    let team = bao.api().in_namespace("team-a");
    team.post("sys/mounts/kv1", &json!({"type": "kv", "options": {"version": "1"}}));
    let password = fresh("password");
    team.post("kv1/db", &json!({"password": password}));
    team.post("sys/policies/acl/reader", &json!({"policy": "path \"kv1/*\" { capabilities = [\"read\"] }"}));
    let token = team.post("auth/token/create", &json!({"policies": ["reader"], "ttl": "1h"}));
    let token = token["auth"]["client_token"].as_str().unwrap();
    let rig = Rig::at(bao.address());
    rig.canaries().add(token);
    rig.canaries().add(&password);
    rig.write("token", token);
    for (namespace, variable) in
        [("namespace = \"team-a\"", None), ("namespace = \"/team-a/\"", None), ("", Some("VAULT_NAMESPACE"))]
    {
        if let Some(variable) = variable {
            rig.set(variable, "team-a");
        }
        rig.whole_config(&format!(
            r#"
            [source.vault]
            address = "@address@"
            {namespace}
            [source.vault.auth.token]
            file = "@dir@/token"
            [secret.db]
            path = "kv1/db"
            [output]
            dir = "@dir@/out"
            [[file]]
            path   = "password"
            inline = "{{{{db.password}}}}"
            "#
        ));
        let outcome = rig.render();
        assert_eq!((outcome.code, rig.read("out/password")), (0, password.clone()), "{}", outcome.stderr);
    }
}
