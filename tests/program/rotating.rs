//! Rotations by policy with a running agent: it rotates by itself, and the process gets the new values.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    Bao, Postgres, Rig, fresh, log_in, make_role, make_store, stays_true, store, wait_until,
};

/// Alters the role in the database. It reads one line of JSON, in `python3`, which every test machine has.
const SET: &str = r#"
import json, os, subprocess, sys
told = json.load(sys.stdin)
user, password = told["fields"]["username"], told["fields"]["password"]
sql = f"ALTER ROLE \"{user}\" PASSWORD '{password}'"
sys.exit(subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", os.environ["ADMIN_URL"]], input=sql, text=True).returncode)
"#;

const TEST: &str = r#"
import json, os, subprocess, sys
told = json.load(sys.stdin)
url = f"postgresql://{told['fields']['username']}@{os.environ['DATABASE']}/postgres"
environment = dict(os.environ, PGPASSWORD=told["fields"]["password"])
sys.exit(subprocess.run(["psql", "-q", "-c", "SELECT 1", url], env=environment, stdout=subprocess.DEVNULL).returncode)
"#;

/// Records the password of each start.
const CHILD: &str = "[process]\ncommand = [\"sh\", \"-c\", \"echo $DB_PASSWORD >> seen/passwords; exec sleep 1000\"]\nenv = { DB_PASSWORD = \"{{db.password}}\" }\n";

const SOURCE: &str = r#"
    [source.store]
    file = "@dir@/app.store"
    role_id_file = "@dir@/role-id"
    secret_id_file = "@dir@/web.secret-id"
    [secret.db]
    path = "prod/app/db"
    [output]
    dir = "@dir@/out"
    [[file]]
    path = "password"
    inline = "{{db.password}}"
    on_change = "none"
"#;

fn rig(rights: &[&str]) -> Rig {
    let rig = Rig::at("http://127.0.0.1:1");
    make_store(&rig);
    let first = json!({"username": "app", "password": fresh("first")});
    store(&rig, &["put", "prod/app/db"], &first.to_string());
    make_role(&rig, rights);
    rig
}

/// The hook `it` of the agent, with these commands.
fn hooks(rig: &Rig, commands: &str) {
    rig.write("hooks.toml", &format!("[hook.it]\npaths = [\"prod/app/*\"]\n{commands}"));
}

/// The source with its hooks.
fn with_hooks() -> String {
    SOURCE.replace("[source.store]", "[source.store]\nhooks = \"@dir@/hooks.toml\"")
}

fn passwords(rig: &Rig) -> Vec<String> {
    rig.read("seen/passwords").lines().map(str::to_owned).collect()
}

#[test]
fn a_role_of_postgresql_is_rotated_and_the_process_gets_what_works() {
    let postgres = Postgres::shared();
    let rig = rig(&["--read", "prod/app/*", "--rotate", "prod/app/*"]);
    let user = format!("app_{:08x}", fastrand::u32(..));
    let first = fresh("first").replace('/', "-");
    postgres.execute(&format!("CREATE ROLE \"{user}\" LOGIN PASSWORD '{first}'"));
    store(&rig, &["put", "prod/app/db"], &json!({"username": user, "password": first}).to_string());
    rig.write("set.py", SET);
    rig.write("test.py", TEST);
    let env = "env = [\"ADMIN_URL\", \"DATABASE\"]\n";
    hooks(&rig, &format!("set = [\"python3\", \"set.py\"]\ntest = [\"python3\", \"test.py\"]\n{env}"));
    rig.set("ADMIN_URL", &postgres.admin_url());
    rig.set("DATABASE", &postgres.address());
    // The administrator's URL is in Squire's environment on purpose: the hooks need it.
    rig.start_with_secrets_in_environment();
    let policy =
        ["policy", "prod/app/db", "--generate", "password:length=24", "--every", "2s", "--grace", "1h"];
    store(&rig, &[&policy[..], &["--hook", "it"]].concat(), "");
    rig.whole_config(&format!("{}{CHILD}", with_hooks()));
    let mut squire = rig.run();
    squire.wait_until("it was rotated three times, and the process with it", || passwords(&rig).len() >= 4);
    squire.wait_until("what is published works", || {
        log_in(&postgres.url_for(&user, &rig.read("out/password"))).is_ok()
    });
    let all = passwords(&rig);
    assert_eq!(all[0], first);
    assert!(all[1..].iter().all(|password| password.len() == 24), "{all:?}");
    assert!(log_in(&postgres.url_for(&user, &first)).is_err(), "the first one still works");
    assert_eq!(squire.stop(), 143);
    assert!(store(&rig, &["verify"], "").contains("all is as it should be"));
}

#[test]
fn an_agent_without_the_right_rotates_nothing_and_sees_what_another_rotates() {
    let rig = rig(&["--read", "prod/app/*"]);
    store(&rig, &["policy", "prod/app/db", "--generate", "uuid", "--every", "1ms"], "");
    rig.whole_config(&format!("{SOURCE}{CHILD}"));
    let mut squire = rig.run();
    squire.wait_until("the process runs", || passwords(&rig).len() == 1);
    stays_true(Duration::from_secs(3), "nothing is rotated", || passwords(&rig).len() == 1);
    store(&rig, &["rotate", "--due"], "");
    squire.wait_until("it has the new one", || passwords(&rig).len() == 2);
    assert_eq!(passwords(&rig)[1].len(), 36);
    assert_eq!(squire.stop(), 143);
}

#[test]
fn a_rotation_that_fails_changes_nothing_for_the_process() {
    let rig = rig(&["--read", "prod/app/*", "--rotate", "prod/app/*"]);
    hooks(&rig, "test = [\"false\"]\n");
    store(&rig, &["policy", "prod/app/db", "--generate", "uuid", "--every", "1s", "--hook", "it"], "");
    rig.whole_config(&format!("{}{CHILD}", with_hooks()));
    let mut squire = rig.run();
    let failed = || rig.read("stderr.1").matches("the step test failed with exit status: 1").count() >= 2;
    squire.wait_until("it failed twice", failed);
    assert_eq!(passwords(&rig).len(), 1);
    assert_eq!(rig.read("out/password"), passwords(&rig)[0]);
    store(&rig, &["policy", "prod/app/db", "--generate", "uuid", "--every", "1s"], "");
    squire.wait_until("and then it did not", || passwords(&rig).len() >= 2);
    assert_eq!(squire.stop(), 143);
}

#[test]
fn a_kv_mount_is_imported_with_all_its_folders() {
    let tenant = Bao::shared().tenant();
    tenant.write("db", &json!({"username": "alice", "password": "sesame"}));
    let lists = format!("path \"secret/metadata/{}/*\" {{ capabilities = [\"list\"] }}\n", tenant.name());
    tenant.set_policy(&(tenant.policy() + &lists));
    tenant.write("deep/er/token", &json!({"value": 17}));
    let rig = Rig::new(&tenant);
    make_store(&rig);
    rig.set("VAULT_ADDR", tenant.bao().address());
    rig.set("VAULT_ROLE_ID", tenant.role_id());
    rig.set("VAULT_SECRET_ID_FILE", rig.path("secret-id").to_str().unwrap());
    let path = format!("secret/{}", tenant.name());
    let import = ["store", "--store", "app.store", "import", "--vault", &path, "--under", "prod/taken"];
    let outcome = rig.start(&import).outcome(crate::support::SOON);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stdout.ends_with("2 imported, 0 were the same already\n"), "{}", outcome.stdout);
    let taken = store(&rig, &["get", "prod/taken/db"], "");
    assert_eq!(taken, "password=sesame\nusername=alice\n");
    assert_eq!(store(&rig, &["get", "prod/taken/deep/er/token", "--field", "value"], ""), "17\n");
    wait_until(Duration::from_secs(20), "its token is given back", || tenant.living_tokens() == 0);
}
