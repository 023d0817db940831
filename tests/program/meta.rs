//! What is known of a secret beside its fields, in templates: from each source, over renewals and a new start.

use serde_json::{Value, json};

use crate::support::{Aws, Bao, Postgres, Rig, STORE_SOURCE, fresh, make_role, make_store, store};

/// A file that renders all of this as one JSON object.
fn file(asked: &[(&str, &str)]) -> String {
    let asked = asked.iter().map(|(name, value)| format!("\"{name}\": {{{{json ({value})}}}}"));
    let asked = asked.collect::<Vec<_>>().join(", ");
    format!("[[file]]\npath = \"known\"\non_change = \"none\"\ninline = '{{ {asked} }}'\n")
}

fn known(rig: &Rig) -> Value {
    serde_json::from_str(&rig.read("out/known")).unwrap()
}

#[track_caller]
fn time(value: &Value) -> std::time::SystemTime {
    humantime::parse_rfc3339(value.as_str().unwrap()).unwrap()
}

#[test]
fn a_version_of_kv_tells_its_number_its_time_and_what_its_owner_wrote() {
    let tenant = Bao::shared().tenant();
    for word in ["first", "second"] {
        tenant.write("db", &json!({"password": fresh(word), "version": "a field"}));
    }
    let path = format!("secret/metadata/{}/db", tenant.name());
    tenant.bao().api().post(&path, &json!({"custom_metadata": {"owner": "ann"}}));
    let rig = Rig::new(&tenant);
    let path = "[secret.db]\npath = \"secret/@tenant@/db\"\nrefresh = \"300ms\"\n";
    let asked = [
        ("version", "meta db \"version\""),
        ("field", "lookup db \"version\""),
        ("created", "meta db \"created_time\""),
        ("arrived", "meta db \"arrived\""),
        ("owner", "lookup (meta db \"custom_metadata\") \"owner\""),
        ("none", "default (meta db \"lease_id\") \"none\""),
    ];
    rig.config(&format!("{path}{}", file(&asked)));
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.path("out/known").exists());
    let first = known(&rig);
    assert_eq!(first["version"], 2);
    assert_eq!([&first["field"], &first["owner"], &first["none"]], ["a field", "ann", "none"]);
    let between = time(&first["arrived"]).duration_since(time(&first["created"])).unwrap_or_default();
    assert!(between.as_secs() < 3600, "{first}");
    // A new value has news of itself; what is written about it alone is none.
    tenant.bao().api().post(
        &format!("secret/metadata/{}/db", tenant.name()),
        &json!({"custom_metadata": {"owner": "bob"}}),
    );
    tenant.write("db", &json!({"password": fresh("third"), "version": "a field"}));
    squire.wait_until("the next version", || known(&rig)["version"] == 3);
    assert_eq!(known(&rig)["owner"], "bob");
    assert_eq!(squire.stop(), 0);
    rig.config(&format!("{path}[[file]]\npath = \"x\"\ninline = '{{{{meta db \"lease_id\"}}}}'\n"));
    rig.render_says("nothing `lease_id` is known of `db`; known is `arrived`, `created_time`, `custom_metadata`, `version`");
}

#[test]
fn a_lease_tells_its_first_end_and_neither_a_renewal_nor_a_new_start_changes_that() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    bao.connect_database(Postgres::shared(), "known", 20, 3600);
    let rig = Rig::new(&tenant);
    let asked = [
        ("id", "meta db \"lease_id\""),
        ("duration", "meta db \"lease_duration\""),
        ("end", "meta db \"lease_end\""),
        ("renewable", "meta db \"renewable\""),
        ("arrived", "meta db \"arrived\""),
        ("user", "lookup db \"username\""),
    ];
    let config = |more: &str| {
        rig.config(&format!(
            "[secret.db]\npath = \"database/creds/known\"\n{}{more}[agent]\nledger = \"@dir@/ledger\"\n",
            file(&asked)
        ));
    };
    config("");
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.path("out/known").exists());
    let first = known(&rig);
    assert_eq!([&first["duration"], &first["renewable"]], [&json!(20), &json!(true)]);
    assert_eq!(bao.leases("database/creds/known").len(), 1);
    assert!(first["id"].as_str().unwrap().starts_with("database/creds/known/"), "{first}");
    let lives = time(&first["end"]).duration_since(time(&first["arrived"])).unwrap();
    assert!((1..=20).contains(&lives.as_secs()), "{first}");
    squire.wait_until("it is renewed", || bao.count("update sys/leases/renew") > 0);
    assert_eq!(known(&rig), first);
    squire.kill();
    config("[[file]]\npath = \"end\"\ninline = '{{meta db \"lease_end\"}}'\n");
    let mut squire = rig.run();
    squire.wait_until("it is adopted and published", || rig.path("out/end").exists());
    assert!(squire.log().contains("lease of an earlier run adopted"));
    assert_eq!((json!(rig.read("out/end")), known(&rig)), (first["end"].clone(), first));
    assert_eq!(squire.stop(), 0);
}

#[test]
fn a_store_tells_the_version_and_when_it_was_written_and_a_folder_that_of_each_entry() {
    let rig = Rig::at("http://127.0.0.1:1");
    make_store(&rig);
    for password in ["one", "two"] {
        store(&rig, &["put", "prod/team/db"], &json!({ "password": password }).to_string());
    }
    make_role(&rig, &["--read", "prod/team/*"]);
    let asked = [
        ("version", "meta db \"version\""),
        ("created", "meta db \"created_time\""),
        ("arrived", "meta db \"arrived\""),
        ("entries", "meta team \"entries\""),
    ];
    let team = "[secret.team]\npath = \"prod/team\"\nlist = true\n";
    let secrets = format!("[secret.db]\npath = \"prod/team/db\"\n{team}[output]\ndir = \"@dir@/out\"\n");
    rig.whole_config(&format!("{STORE_SOURCE}{secrets}{}", file(&asked)));
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let known = known(&rig);
    assert_eq!(known["version"], 2);
    assert!(time(&known["created"]) <= time(&known["arrived"]), "{known}");
    assert_eq!(known["entries"], json!({"db": {"created_time": known["created"], "version": 2}}));
}

#[test]
fn a_folder_of_kv_tells_the_version_of_each_entry_as_it_changes() {
    let tenant = Bao::shared().tenant();
    let name = tenant.name();
    tenant.set_policy(&format!(
        "path \"secret/metadata/{name}/team/*\" {{ capabilities = [\"list\"] }}\npath \"secret/data/{name}/team/*\" {{ capabilities = \
         [\"read\"] }}\n"
    ));
    for (entry, word) in [("ann", "first"), ("ann", "second"), ("bob", "first")] {
        tenant.write(&format!("team/{entry}"), &json!({ "password": fresh(word) }));
    }
    let api = tenant.bao().api();
    api.post(&format!("secret/metadata/{name}/team/bob"), &json!({"custom_metadata": {"owner": "eve"}}));
    let rig = Rig::new(&tenant);
    let team = "[secret.team]\npath = \"secret/@tenant@/team\"\nlist = true\nrefresh = \"300ms\"\n";
    rig.config(&format!("{team}{}", file(&[("entries", "meta team \"entries\"")])));
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.path("out/known").exists());
    let created = |entry: &str| {
        api.get(&format!("secret/data/{name}/team/{entry}"))["data"]["metadata"]["created_time"].clone()
    };
    let ann =
        |version: u32| json!({ "version": version, "created_time": created("ann"), "custom_metadata": {} });
    let bob = json!({"version": 1, "created_time": created("bob"), "custom_metadata": {"owner": "eve"}});
    assert_eq!(known(&rig)["entries"], json!({ "ann": ann(2), "bob": bob }));
    tenant.write("team/ann", &json!({ "password": fresh("third") }));
    squire.wait_until("the next version of one", || known(&rig)["entries"]["ann"]["version"] == 3);
    assert_eq!(known(&rig)["entries"], json!({ "ann": ann(3), "bob": bob }));
    tenant.delete("team/bob");
    squire.wait_until("one is gone", || known(&rig)["entries"] == json!({ "ann": ann(3) }));
    assert_eq!(squire.stop(), 0);
}

#[test]
fn a_folder_of_aws_tells_the_version_of_each_entry() {
    let aws = Aws::shared();
    let rig = aws.rig();
    let path = format!("team/{:016x}", fastrand::u64(..));
    for entry in ["ann", "bob"] {
        aws.again(&format!("{path}/{entry}"), &json!({ "password": fresh(entry) }).to_string());
    }
    aws.rotate(&format!("{path}/ann"), &json!({ "password": fresh("second") }).to_string());
    rig.whole_config(&format!(
        "[source.aws]\n[secret.team]\npath = \"{path}\"\nlist = true\n[output]\ndir = \"@dir@/out\"\n{}",
        file(&[("entries", "meta team \"entries\"")])
    ));
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let entries = known(&rig)["entries"].clone();
    let names: Vec<&String> = entries.as_object().unwrap().keys().collect();
    assert_eq!(names, ["ann", "bob"]);
    for (name, entry) in entries.as_object().unwrap() {
        let asked = json!({ "SecretId": format!("{path}/{name}") });
        let described = aws.ask("secretsmanager", "get_secret_value", &asked);
        assert_eq!(
            [&entry["version_id"], &entry["version_stages"]],
            [&described["VersionId"], &json!(["AWSCURRENT"])],
            "{name} {entries}"
        );
        time(&entry["created_time"]);
    }
    assert_ne!(entries["ann"]["version_id"], entries["bob"]["version_id"]);
}

#[test]
fn aws_tells_the_id_of_the_version_its_stages_and_its_time() {
    let aws = Aws::shared();
    let rig = aws.rig();
    let name = aws.secret(r#"{"password": "x"}"#);
    let described = aws.ask("secretsmanager", "get_secret_value", &json!({ "SecretId": name }));
    let asked = [
        ("id", "meta db \"version_id\""),
        ("stages", "meta db \"version_stages\""),
        ("created", "meta db \"created_time\""),
    ];
    rig.whole_config(&format!(
        "[source.aws]\n[secret.db]\npath = \"{name}\"\n[output]\ndir = \"@dir@/out\"\n{}",
        file(&asked)
    ));
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let known = known(&rig);
    assert_eq!([&known["id"], &known["stages"]], [&described["VersionId"], &json!(["AWSCURRENT"])]);
    time(&known["created"]);
}
