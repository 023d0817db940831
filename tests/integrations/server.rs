//! `deploy/server`: what it sets up, that it changes nothing twice, mends what drifted, and tells nobody a secret.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use postgres::{Client, NoTls};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::setup::{Setup, deployed, ended, record_arguments};
use crate::support::postgres::SUPERUSER;
use crate::support::{Api, Bao, Postgres, fresh, scratch};

/// A server and two databases for an application, nothing of which is set up. What is said of it is given with the name `shop`.
struct World {
    bao: Bao,
    postgres: &'static Postgres,
    app: String,
    directory: TempDir,
    setup: Setup,
    password: String,
}

impl World {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let app = format!("s{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let (bao, postgres) = (Bao::start(), Postgres::shared());
        postgres.execute(&format!("CREATE DATABASE {app}"));
        postgres.execute(&format!("CREATE DATABASE {app}_reports"));
        let directory = scratch::on_tmpfs("setup");
        let setup = Setup::new(directory.path(), &bao, Some(postgres), &app, &[]);
        setup.write_settings(
            &setup.settings().replace("name = \"reports\"", &format!("name = \"{app}_reports\"")),
        );
        let admin = json!({"username": SUPERUSER, "password": postgres.password()});
        let password = fresh("given");
        setup.give(
            &json!({"database": {"main": admin, "reports": admin}, "secret": {"redis": {"password": password}}}),
        );
        Self { bao, postgres, app, directory, setup, password }
    }

    fn set_up(&self) -> String {
        self.as_shop(&self.setup.succeed(&["--secrets", "{dir}/secrets.json"]))
    }

    /// What is said, of an application `shop`.
    fn as_shop(&self, said: &str) -> String {
        said.replace(&self.app, "shop")
    }

    /// A path of the server.
    fn at(&self, path: &str) -> String {
        path.replace("shop", &self.app)
    }

    /// Reads a path of the server, which has to be there.
    fn read(&self, path: &str) -> Value {
        self.bao.api().get(&self.at(path))["data"].clone()
    }

    /// Writes to a path of the server.
    fn write(&self, path: &str, fields: &Value) {
        self.bao.api().post(&self.at(path), fields);
    }

    /// Checks that this set-up is refused with these words, and says nothing of a change and no secret.
    #[track_caller]
    fn refuses(&self, setup: &Setup, token: &str, arguments: &[&str], why: &str) {
        let ended = setup.run_with_token(token, arguments);
        assert_eq!(ended.code, 2, "{why}: {ended:?}");
        assert!(ended.stderr.contains(why), "{why}: {}", ended.stderr);
        assert!(ended.stdout.is_empty(), "{why}: {}", ended.stdout);
        for secret in [self.postgres.password(), token, "hidden-secret"] {
            assert!(!ended.stderr.contains(secret), "{why}: a secret is said");
        }
    }

    /// The users that the server has made for this application.
    fn users(&self) -> Vec<String> {
        self.postgres.roles(&format!("-{}-", self.app))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Logs in to a database with a credential of a role.
    fn log_in(&self, role: &str) -> Client {
        let data = self.read(&format!("database/creds/shop-{role}"));
        let text = |key: &str| data[key].as_str().unwrap().to_owned();
        self.connect(&self.postgres.url_for(&text("username"), &text("password")))
    }

    /// Connects to the first database.
    fn connect(&self, url: &str) -> Client {
        Client::connect(&url.replace("/postgres?", &format!("/{}?", self.app)), NoTls).unwrap()
    }
}

fn changed(output: &str) -> Vec<&str> {
    output.lines().filter(|line| line.starts_with("changed")).collect()
}

#[test]
fn the_second_run_changes_nothing_and_each_role_has_exactly_its_rights() {
    let world = World::new();
    let first = world.set_up();
    assert!(changed(&first).len() >= 20, "{first}");
    assert_eq!(first.matches("\ntried ").count(), 5, "{first}");
    let versions = || world.read("secret/data/shop/api");
    let before = versions();
    assert_eq!(before["data"]["key"].as_str().unwrap().len(), 40);
    let second = world.set_up();
    assert!(changed(&second).is_empty(), "{second}");
    assert!(second.ends_with("0 changed, 23 left as they are, 5 tried\n"), "{second}");
    assert_eq!(versions(), before);
    assert_eq!(world.setup.run(&["--secrets", "{dir}/secrets.json", "--dry-run"]).code, 0);
    let given = std::fs::read_to_string(world.path("secrets.json")).unwrap();
    let piped = world.setup.run_with_input(&given, &["--secrets", "/dev/stdin", "--dry-run"]);
    assert_eq!(piped.code, 0, "{piped:?}");
    assert!(world.users().is_empty(), "a credential of the trial was not given back");
    for said in [&first, &second] {
        for secret in [&world.password, world.postgres.password(), before["data"]["key"].as_str().unwrap()] {
            assert!(!said.contains(secret), "a secret is in what it says");
        }
    }
    check_rights(&world);
    check_lives(&world);
}

#[test]
fn two_applications_can_be_set_up_at_once_on_a_fresh_server() {
    let (bao, directory) = (Bao::start(), scratch::on_tmpfs("at-once"));
    let outputs = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8)
            .map(|number| {
                let (app, bao) = (format!("once{number}"), &bao);
                let directory = directory.path().join(&app);
                scope.spawn(move || Setup::new(&directory, bao, None, &app, &["approle.app"]).run(&[]))
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect::<Vec<_>>()
    });
    for ended in &outputs {
        assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    }
    let made = |mount: &str| outputs.iter().filter(|ended| ended.stdout.contains(mount)).count();
    assert_eq!(made("changed       sys/mounts/database/"), 1, "{outputs:?}");
}

fn check_rights(world: &World) {
    let mut admin = world.log_in("admin");
    admin.batch_execute("CREATE TABLE orders (id int); INSERT INTO orders VALUES (1)").unwrap();
    let may = |role: &str, statement: &str| {
        let mut client = world.log_in(role);
        client.batch_execute(statement).is_ok()
    };
    for (statement, who) in [
        ("SELECT * FROM orders", ["readonly", "readwrite", "admin"].as_slice()),
        ("INSERT INTO orders VALUES (2)", &["readwrite", "admin"]),
        ("UPDATE orders SET id = 3", &["readwrite", "admin"]),
        ("DELETE FROM orders WHERE id = 3", &["readwrite", "admin"]),
        ("ALTER TABLE orders ADD COLUMN more int", &["admin"]),
        ("CREATE TABLE other (id int)", &["admin"]),
        ("CREATE ROLE intruder", &[]),
    ] {
        for role in ["readonly", "readwrite", "admin"] {
            assert_eq!(may(role, statement), who.contains(&role), "{role}: {statement}");
        }
    }
    // A user of one database has no rights in the other one.
    let mut other = world.log_in("reports-readwrite");
    assert!(other.batch_execute("SELECT * FROM orders").is_err());
    // The users end, and what an administrator made stays.
    drop(admin);
    world.write("sys/leases/revoke-prefix/database/creds", &json!({"sync": true}));
    assert!(world.users().is_empty(), "{:?}", world.users());
    assert!(may("readonly", "SELECT * FROM orders"));
}

/// The times that `shop.toml` promises, as a lease has them.
fn check_lives(world: &World) {
    for (role, ttl, max_ttl) in [
        ("readonly", 1, 24),
        ("readwrite", 2, 8),
        ("admin", 4, 12),
        ("reports-readonly", 1, 24),
        ("reports-readwrite", 2, 8),
    ] {
        let made = world.read(&format!("database/roles/shop-{role}"));
        assert_eq!((&made["default_ttl"], &made["max_ttl"]), (&json!(ttl * 3600), &json!(max_ttl * 3600)));
        let lease = world.bao.api().get(&world.at(&format!("database/creds/shop-{role}")));
        assert_eq!(lease["lease_duration"], ttl * 3600, "{role}");
    }
}

#[test]
fn a_drift_is_reported_and_mended_and_nothing_else_is_touched() {
    let world = World::new();
    world.set_up();
    let key = world.read("secret/data/shop/api")["data"]["key"].clone();
    // What somebody may have done by hand.
    let policy = world.read("sys/policies/acl/shop-app")["policy"].as_str().unwrap().to_owned();
    let wider = policy.replace("[\"read\"]", "[\"read\", \"list\"]");
    world.write("sys/policies/acl/shop-app", &json!({"policy": wider}));
    world.write("auth/approle/role/shop-reports", &json!({"token_ttl": "9h"}));
    world.write("database/roles/shop-readonly", &drifted_role(&world));
    world.write(
        "secret/data/shop/redis",
        &json!({"data": {"username": world.app, "password": "changed-by-hand"}}),
    );
    world.write("secret/data/shop/api", &json!({"data": {"key": key, "note": "kept"}}));
    revoke_in_database(&world);

    let dry = world.setup.run(&["--secrets", "{dir}/secrets.json", "--dry-run"]);
    assert_eq!(dry.code, 3, "{dry:?}");
    let mended = world.set_up();
    let heads: Vec<_> = changed(&mended).iter().map(|line| line["changed".len()..].trim()).collect();
    let expected = [
        "policy shop-app: it was not as in policies/app.hcl",
        "auth/approle/role/shop-reports: token_ttl differed",
        "secret/shop/redis: fields password",
        "the groups shop_main_readonly, shop_main_readwrite, shop_main_admin in shop: made, or their rights differed",
        "database/roles/shop-readonly: default_ttl differed",
    ];
    assert_eq!(heads, expected, "{mended}");
    assert!(mended.contains("-  capabilities = [\"read\", \"list\"]"), "{mended}");
    assert!(mended.contains("+  capabilities = [\"read\"]"), "{mended}");
    assert!(!mended.contains("changed-by-hand"));
    assert_eq!(dry.stdout.matches("would change").count(), expected.len(), "{}", dry.stdout);

    assert_eq!(world.read("sys/policies/acl/shop-app")["policy"], policy);
    assert_eq!(world.read("secret/data/shop/redis")["data"]["password"], world.password.as_str());
    let kept = world.read("secret/data/shop/api")["data"].clone();
    assert_eq!(kept, json!({"key": key, "note": "kept"}));
    assert!(changed(&world.set_up()).is_empty());
}

fn drifted_role(world: &World) -> Value {
    json!({
        "db_name": world.at("shop-main"), "default_ttl": "23h", "max_ttl": "24h",
    })
}

fn revoke_in_database(world: &World) {
    let mut client = world.connect(&world.postgres.admin_url());
    client.batch_execute(&world.at("REVOKE USAGE ON SCHEMA public FROM shop_main_readonly")).unwrap();
}

#[test]
fn a_new_password_of_a_database_is_written_when_that_is_asked_for() {
    let world = World::new();
    let keeper = world.at("keeper_of_shop");
    let write = |password: &str| {
        world.postgres.execute(&format!("ALTER ROLE {keeper} PASSWORD '{password}'"));
        let admin = json!({"username": keeper, "password": password});
        world.setup.give(&json!({"database": {"main": admin, "reports": admin}}));
    };
    world.postgres.execute(&format!("CREATE ROLE {keeper} LOGIN SUPERUSER"));
    write("the-first-password");
    world.set_up();
    write("the-second-password");
    // The server still has the first one. Its connection that is there may hide that, so nothing is said of this run.
    world.setup.run(&["--secrets", "{dir}/secrets.json"]);
    let said = world.as_shop(&world.setup.succeed(&["--secrets", "{dir}/secrets.json", "--write-log-ins"]));
    let written = [
        "changed       database/config/shop-main: its log-in was written again",
        "changed       database/config/shop-reports: its log-in was written again",
    ];
    assert_eq!(changed(&said), written);
    assert!(!said.contains("second-password"), "{said}");
    let after = world.set_up();
    assert!(changed(&after).is_empty() && after.contains("5 tried"), "{after}");
}

#[test]
fn a_secret_id_is_wrapped_and_opens_what_its_policy_names() {
    let world = World::new();
    std::fs::create_dir(world.path("id")).unwrap();
    let said =
        world.setup.succeed(&["--secrets", "{dir}/secrets.json", "--issue", "{dir}/id", "--wrap-ttl", "90s"]);
    for (approle, own, other) in [
        ("app", "secret/data/shop/kafka", "database/creds/shop-admin"),
        ("reports", "secret/data/shop/reports", "secret/data/shop/api"),
        ("migrate", "database/creds/shop-admin", "secret/data/shop/postgres"),
    ] {
        let read = |what: &str| {
            std::fs::read_to_string(world.path(&world.at(&format!("id/shop-{approle}.{what}")))).unwrap()
        };
        let (role_id, wrapped) = (read("role-id"), read("wrapped-secret-id"));
        assert!(!said.contains(&wrapped));
        let wrapping = world.bao.api().post("sys/wrapping/lookup", &json!({"token": wrapped}));
        assert_eq!(wrapping["data"]["creation_ttl"], 90);
        assert_eq!(
            wrapping["data"]["creation_path"],
            world.at(&format!("auth/approle/role/shop-{approle}/secret-id"))
        );
        let unwrapped = Api::new(world.bao.address(), &wrapped).post("sys/wrapping/unwrap", &json!({}));
        let login = json!({"role_id": role_id, "secret_id": unwrapped["data"]["secret_id"]});
        let token = world.bao.api().post("auth/approle/login", &login);
        let api = Api::new(world.bao.address(), token["auth"]["client_token"].as_str().unwrap());
        assert!(api.try_get(&world.at(own)).is_some_and(|(status, _)| status == 200), "{approle}: {own}");
        assert!(api.try_get(&world.at(other)).is_some_and(|(status, _)| status == 403), "{approle}: {other}");
    }
}

#[test]
fn the_policies_are_what_squire_prints_for_the_examples() {
    for name in ["app", "reports", "migrate"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_squire"));
        command.args(["policy", "-c", &format!("{name}.toml")]).current_dir(deployed("server"));
        let printed = ended(&command.output().unwrap());
        let written = std::fs::read_to_string(deployed(&format!("server/policies/{name}.hcl"))).unwrap();
        assert_eq!(printed.stdout, written, "{name}: squire policy -c {name}.toml > policies/{name}.hcl");
    }
}

/// Who sees the arguments of programs, as every user of a machine does, sees no secret. psql is the only program that it starts.
#[test]
fn no_secret_is_an_argument() {
    let world = World::new();
    let (programs, seen) = (world.path("programs"), world.path("arguments"));
    record_arguments(&programs, "psql", &seen);
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let setup = world.setup.with("PATH", &path);
    setup.succeed(&["--secrets", "{dir}/secrets.json"]);
    let arguments = std::fs::read_to_string(seen).unwrap();
    // Twice for each database, and once for each role.
    assert_eq!(arguments.lines().count(), 9, "{arguments}");
    assert!(arguments.lines().all(|line| line.starts_with("-XAtq -v ON_ERROR_STOP=1")), "{arguments}");
    assert!(!arguments.contains(world.postgres.password()));
    let known = |word: &str| {
        let value = word.rsplit('=').next().unwrap();
        value.starts_with(&world.app) || ["-XAtq", "-v", "1"].contains(&value)
    };
    let strange: Vec<_> = arguments.split_whitespace().filter(|word| !known(word)).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

/// What is refused, with words that say why, and without a change.
#[test]
fn what_is_wrong_is_refused_before_anything_is_changed() {
    let world = World::new();
    let settings = world.setup.settings();
    let root = Bao::root_token();
    let given = ["--secrets", "{dir}/secrets.json"];
    world.refuses(&world.setup, root, &["--issue", "{dir}/nowhere"], "there is no directory");
    world.refuses(&world.setup, root, &["--wrap-ttl", "soon"], "is no time");
    world.refuses(&world.setup, root, &["--unknown"], "unrecognized arguments");
    world.refuses(&world.setup, root, &["--secrets", "{dir}/missing.json"], "cannot read");
    world.refuses(&world.setup, root, &[], "--secrets has no database.main");
    world.refuses(&world.setup, "s.nobody", &given, "does not take the token");
    let powerless = world.bao.api().post("auth/token/create", &json!({"policies": ["default"]}));
    let powerless = powerless["auth"]["client_token"].as_str().unwrap();
    world.refuses(&world.setup, powerless, &given, "permission denied");
    world.refuses(&world.setup.at("http://127.0.0.1:9"), root, &given, "does not answer");
    world.refuses(&world.setup.at("ftp://127.0.0.1"), root, &given, "has to name the server");
    for (from, to, why) in [
        ("ttl = \"1h\"\nmax_ttl", "ttl = \"90h\"\nmax_ttl", "ttl is longer than max_ttl"),
        ("token_ttl = \"15m\"", "token_ttl = \"15d\"", "token_ttl is longer than token_max_ttl"),
        ("rights = \"admin\"", "rights = \"all\"", "role.admin.rights has a value"),
        ("database = \"reports\"", "database = \"other\"", "is none of the databases"),
        ("token_ttl = \"15m\"", "token_tll = \"15m\"", "approle.migrate.token_tll is not known"),
        ("policies/app.hcl", "policies/none.hcl", "cannot read"),
        ("[approle.app]", "[approle.app", "settings.toml"),
        ("{ generate = 40 }", "{ generate = 4 }", "secret.api.key has to be"),
        ("_reports\"", "_nowhere\"", "does not exist"),
    ] {
        assert!(settings.contains(from), "{from}");
        world.setup.write_settings(&settings.replacen(from, to, 1));
        world.refuses(&world.setup, root, &given, why);
    }
    world.setup.write_settings(&settings);
    world.setup.give(&json!({"database": {"main": {"username": SUPERUSER, "password": "wrong"}}}));
    world.refuses(&world.setup, root, &given, "password authentication failed");
    std::fs::write(world.path("secrets.json"), "{\"database\": {\"main\": hidden-secret").unwrap();
    world.refuses(&world.setup, root, &given, "line 1: this is no JSON");
    set_mode(&world.path("secrets.json"), 0o644);
    world.refuses(&world.setup, root, &given, "can be read by others");
    refused_by_the_server(&world);
    nothing_was_made(&world);
}

fn refused_by_the_server(world: &World) {
    let admin = json!({"username": SUPERUSER, "password": world.postgres.password()});
    world.setup.give(&json!({"database": {"main": admin, "reports": admin}}));
    let given = ["--secrets", "{dir}/secrets.json"];
    world.postgres.execute("CREATE ROLE plain LOGIN PASSWORD 'plain-password'");
    let plain = json!({"username": "plain", "password": "plain-password"});
    world.setup.give(&json!({"database": {"main": plain, "reports": admin}}));
    world.refuses(&world.setup, Bao::root_token(), &given, "may not make users");
    world.setup.give(&json!({"database": {"main": admin, "reports": admin}}));
    world.bao.api().post("sys/mounts/database", &json!({"type": "kv"}));
    world.refuses(&world.setup, Bao::root_token(), &given, "database/ is mounted as kv");
    world.bao.api().delete("sys/mounts/database");
    world.bao.api().post("sys/seal", &json!({}));
    world.refuses(&world.setup, Bao::root_token(), &given, "is sealed");
}

fn nothing_was_made(world: &World) {
    let mut client = Client::connect(&world.postgres.admin_url(), NoTls).unwrap();
    let groups = client.query(&world.at("SELECT 1 FROM pg_roles WHERE rolname LIKE 'shop_%'"), &[]).unwrap();
    assert!(groups.is_empty());
    for entry in world.bao.entries() {
        let request = &entry["request"];
        let is_about_it = request["path"].as_str().is_some_and(|path| path.contains(&world.app));
        assert!(
            !is_about_it || request["operation"] == "read",
            "{} {}",
            request["operation"],
            request["path"]
        );
    }
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
