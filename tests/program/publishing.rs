//! Published files: contents, modes, owners, places, and what is left of them afterwards.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::support::{Bao, Rig, SOON, Tmpfs, fresh, kv_file, rig_of_store, stays_true, store};

#[test]
fn every_kind_of_secret_reaches_its_file() {
    let tenant = Bao::shared().tenant();
    let (password, key) = (fresh("password"), fresh("key"));
    tenant.write("app/db", &json!({"user": "ann", "password": password, "port": 5432}));
    tenant.write_kv1("legacy", &json!({"key": key}));
    let rig = Rig::new(&tenant);
    rig.config(
        r#"
        [secret.db]
        path = "secret/@tenant@/app/db"
        [secret.legacy]
        path = "kv1/@tenant@/legacy"
        [secret.web]
        path   = "pki/issue/web"
        params = { common_name = "web.internal", ttl = "24h" }
        [[file]]
        path   = "db"
        inline = "{{db.user}}:{{db.password}}:{{db.port}}"
        [[file]]
        path   = "legacy/key"
        inline = "{{legacy.key}}"
        [[file]]
        path   = "tls.pem"
        inline = "{{web.certificate}}\n{{web.private_key}}\n"
        "#,
    );
    let outcome = rig.render();
    let pem = rig.read("out/tls.pem");
    pem.lines().filter(|line| !line.starts_with("--")).for_each(|line| rig.canaries().add(line));
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(rig.read("out/db"), format!("ann:{password}:5432"));
    assert_eq!(rig.read("out/legacy/key"), key);
    assert!(
        pem.contains("BEGIN CERTIFICATE") && pem.contains("PRIVATE KEY-----\n"),
        "not a certificate and a key"
    );
    assert_eq!(outcome.stdout, "");
}

/// Each field is a file, in the same release as all else; fields come and go, and a name that leads elsewhere fails the release.
#[test]
fn a_secret_is_a_directory_of_its_fields() {
    let (first, second) = (fresh("first"), fresh("second"));
    let rig = rig_of_store(
        &json!({"password": first, "port": 5432, "hosts": ["a"], "user": "ann"}),
        r#"
        [process]
        command = ["sh", "-c", "trap 'echo heard >>@dir@/seen/heard' HUP; echo up >@dir@/seen/up; while :; do sleep 0.02; done"]
        [output]
        dir = "@dir@/out"
        [[file]]
        path      = "app/db"
        each      = "db"
        mode      = "0440"
        on_change = "SIGHUP"
        [[file]]
        path      = "url"
        inline    = "{{db.user}}:{{db.password}}"
        on_change = "none"
        "#,
    );
    let mut squire = rig.run();
    squire.wait_until("the process runs", || rig.path("seen/up").exists());
    let names = || {
        let entries = std::fs::read_dir(rig.path("out/app/db")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["hosts", "password", "port", "user"]);
    for (name, expected) in
        [("hosts", "[\"a\"]"), ("password", first.as_str()), ("port", "5432"), ("user", "ann")]
    {
        assert_eq!(rig.read(&format!("out/app/db/{name}")), expected);
        assert_eq!(std::fs::metadata(rig.path("out/app/db").join(name)).unwrap().mode() & 0o7777, 0o440);
    }
    store(
        &rig,
        &["put", "prod/app/db"],
        &json!({"password": second, "user": "ann", "extra": "x"}).to_string(),
    );
    squire.wait_until("the process was told", || rig.path("seen/heard").exists());
    assert_eq!(names(), ["extra", "password", "user"]);
    assert_eq!(rig.read("out/app/db/password"), second);
    assert_eq!(rig.read("out/url"), format!("ann:{second}"));

    store(
        &rig,
        &["put", "prod/app/db"],
        &json!({"password": second, "user": "ann", "../up": "x"}).to_string(),
    );
    squire.wait_until("it is refused", || {
        rig.read("stderr.1").contains("the field `../up` cannot be a file: its name has a slash")
    });
    assert_eq!(names(), ["extra", "password", "user"]);
    assert_eq!(squire.stop(), 143);
}

/// Each field is a variable; fields come and go with a restart, and who may write the secret cannot choose what the process loads.
#[test]
fn a_secret_is_variables_of_its_fields() {
    let (first, second) = (fresh("first"), fresh("second"));
    let rig = rig_of_store(
        &json!({"password": first, "db.port": 5432, "user": "ann"}),
        r#"
        [process]
        command  = ["sh", "-c", "env | grep ^DB_ | LC_ALL=C sort >@dir@/seen/env; exec sleep 1000"]
        env_from = [{ secret = "db", prefix = "db_", upper = true, sanitize = true }, { secret = "db", prefix = "DB_" , sanitize = true }]
        env      = { DB_USER = "{{db.user}}-by-name" }
        "#,
    );
    rig.allow_secrets_in("seen/env");
    let mut squire = rig.run();
    let seen = |password: &str| {
        format!("DB_PASSWORD={password}\nDB_USER=ann-by-name\nDB_password={password}\nDB_user=ann\n")
    };
    squire.wait_until("the process runs", || rig.read("seen/env").contains(&first));
    let expected = format!(
        "DB_DB_PORT=5432\nDB_PASSWORD={first}\nDB_USER=ann-by-name\nDB_db_port=5432\nDB_password={first}\nDB_user=ann\n"
    );
    assert_eq!(rig.read("seen/env"), expected);
    store(&rig, &["put", "prod/app/db"], &json!({"password": second, "user": "ann"}).to_string());
    squire.wait_until("it is started anew", || rig.read("seen/env") == seen(&second));

    store(
        &rig,
        &["put", "prod/app/db"],
        &json!({"password": second, "user": "ann", "a-b": "x", "a.b": "y"}).to_string(),
    );
    squire.wait_until("it is refused", || {
        rig.read("stderr.1").contains("the fields `a-b` and `a.b` would both be the variable `DB_A_B`")
    });
    assert_eq!(rig.read("seen/env"), seen(&second));
    assert_eq!(squire.stop(), 143);
}

/// A template includes a file: another content is another release of the same secrets, without a reload.
#[test]
fn an_included_file_that_changes_is_rendered_anew() {
    let password = fresh("password");
    let rig = rig_of_store(
        &json!({ "password": password }),
        r#"
        [process]
        command = ["sh", "-c", "trap 'echo heard >>@dir@/seen/heard' HUP; echo up >@dir@/seen/up; while :; do sleep 0.02; done"]
        [output]
        dir = "@dir@/out"
        [[file]]
        path      = "bundle"
        inline    = "{{file \"@dir@/ca.pem\"}}{{db.password}} {{default (file \"@dir@/more\") \"none\"}}"
        on_change = "SIGHUP"
        "#,
    );
    rig.allow_secrets_in("out");
    rig.write("ca.pem", "first\n");
    let mut squire = rig.run();
    squire.wait_until("the process runs", || rig.path("seen/up").exists());
    assert_eq!(rig.read("out/bundle"), format!("first\n{password} none"));
    rig.write("ca.pem", "second\n");
    squire.wait_until("it is rendered", || rig.read("out/bundle") == format!("second\n{password} none"));
    squire.wait_until("the process was told", || rig.read("seen/heard") == "heard\n");
    // By a rename, as a rotation of authorities does it, and a file that was not there.
    rig.write("new", "third\n");
    std::fs::rename(rig.path("new"), rig.path("ca.pem")).unwrap();
    squire.wait_until("it is rendered", || rig.read("out/bundle") == format!("third\n{password} none"));
    rig.write("more", "more");
    squire.wait_until("it is rendered", || rig.read("out/bundle") == format!("third\n{password} more"));
    assert_eq!(squire.log().matches("secret fetched").count(), 1);
    assert!(!squire.log().contains("reload"), "{}", squire.log());
    assert_eq!(squire.stop(), 143);
}

/// `{{timestamp}}` is when the value came: rendering again is no rotation, and nobody is told of one.
#[test]
fn a_timestamp_changes_with_the_value_only() {
    let rig = rig_of_store(
        &json!({ "password": fresh("first") }),
        r#"
        [process]
        command = ["sh", "-c", "trap 'echo heard >>@dir@/seen/heard' HUP; echo up >@dir@/seen/up; while :; do sleep 0.02; done"]
        [output]
        dir = "@dir@/out"
        [[file]]
        path      = "bundle"
        inline    = "{{file \"@dir@/ca.pem\"}} {{timestamp}} {{meta db \"arrived\"}}"
        on_change = "none"
        [[file]]
        path      = "stamp"
        inline    = "{{timestamp}} {{db.password}}"
        on_change = "SIGHUP"
        "#,
    );
    rig.write("ca.pem", "one");
    let mut squire = rig.run();
    squire.wait_until("the process runs", || rig.path("seen/up").exists());
    let stamp = || rig.read("out/stamp").split(' ').next().unwrap().to_owned();
    let first = stamp();
    let came = humantime::parse_rfc3339(&first).unwrap();
    assert_eq!(rig.read("out/bundle"), format!("one {first} {first}"));
    let stamped = rig.read("out/stamp");
    // A time of day would be another one from here on.
    let is_later = || SystemTime::now().duration_since(came).is_ok_and(|age| age > Duration::from_secs(1));
    squire.wait_until("it is a second later", is_later);
    for word in ["two", "three"] {
        rig.write("ca.pem", word);
        squire.wait_until("it is rendered", || rig.read("out/bundle") == format!("{word} {first} {first}"));
    }
    assert_eq!(rig.read("out/stamp"), stamped);
    assert!(!rig.path("seen/heard").exists(), "the process was told of a time");
    store(&rig, &["put", "prod/app/db"], &json!({ "password": fresh("second") }).to_string());
    squire.wait_until("the process was told", || rig.path("seen/heard").exists());
    let second = stamp();
    assert!(humantime::parse_rfc3339(&second).unwrap() > came, "{first} {second}");
    assert_eq!(rig.read("out/bundle"), format!("three {second} {second}"));
    assert_eq!(squire.stop(), 143);
}

#[test]
fn files_have_their_modes_and_owners() {
    let tenant = Bao::shared().tenant();
    tenant.write("db", &json!({"password": fresh("password")}));
    let rig = Rig::new(&tenant);
    rig.allow_secrets_in("elsewhere");
    std::fs::create_dir(rig.path("elsewhere")).unwrap();
    let root = nix::unistd::geteuid().is_root();
    // Only root can give files away; every user may name himself.
    let owner = if root { 65534 } else { nix::unistd::geteuid().as_raw() };
    rig.config(&format!(
        r#"
        [secret.db]
        path = "secret/@tenant@/db"
        [[file]]
        path   = "default"
        inline = "{{{{db.password}}}}"
        [[file]]
        path   = "group"
        inline = "{{{{db.password}}}}"
        mode   = "0440"
        [[file]]
        path   = "given"
        inline = "{{{{db.password}}}}"
        owner  = "{owner}"
        [[file]]
        path   = "@dir@/elsewhere/absolute"
        inline = "{{{{db.password}}}}"
        mode   = "0600"
        "#
    ));
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let own = nix::unistd::geteuid().as_raw();
    for (file, mode, uid) in [
        ("out/default", 0o400, own),
        ("out/group", 0o440, own),
        ("out/given", 0o400, owner),
        ("elsewhere/absolute", 0o600, own),
    ] {
        let metadata = std::fs::metadata(rig.path(file)).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.uid()), (mode, uid), "{file}");
    }
    assert!(!rig.path("elsewhere/absolute").is_symlink());
    let mut beside: Vec<_> =
        std::fs::read_dir(rig.path("elsewhere")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    beside.sort();
    assert_eq!(beside, [".absolute.squire", "absolute"], "a temporary file is left");
}

#[test]
fn one_symlink_leads_to_the_whole_generation() {
    let tenant = Bao::shared().tenant();
    tenant.write("db", &json!({"user": "ann", "password": fresh("password")}));
    let rig = Rig::new(&tenant);
    rig.config(
        r#"
        [secret.db]
        path = "secret/@tenant@/db"
        [[file]]
        path   = "user"
        inline = "{{db.user}}"
        [[file]]
        path   = "deep/er/password"
        inline = "{{db.password}}"
        "#,
    );
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(rig.path("out/..data").is_symlink());
    for file in ["user", "deep/er/password"] {
        assert_eq!(
            std::fs::canonicalize(rig.path("out").join(file)).unwrap(),
            std::fs::canonicalize(rig.path("out/..data").join(file)).unwrap(),
        );
    }
}

#[test]
fn templates_come_from_files_beside_the_configuration_and_encode_values() {
    let tenant = Bao::shared().tenant();
    let password = fresh("a \"b\" & <c>");
    tenant.write("db", &json!({"user": "ann", "password": password}));
    let rig = Rig::new(&tenant);
    rig.write(
        "app.hbs",
        "{{#each db}}{{@key}}={{json this}}\n{{/each}}{{url db.password}}\n{{db.password}}\n",
    );
    rig.config(
        r#"
        [secret.db]
        path = "secret/@tenant@/db"
        [[file]]
        path     = "app"
        template = "app.hbs"
        "#,
    );
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let rendered = rig.read("out/app");
    let lines: Vec<_> = rendered.lines().collect();
    assert_eq!(lines[0], format!("password={}", json!(password)));
    assert_eq!(lines[1], "user=\"ann\"");
    assert_eq!(percent_encoding::percent_decode_str(lines[2]).decode_utf8().unwrap(), password);
    assert!(lines[2].contains("%20") && lines[2].contains("%26"), "the space and the ampersand are encoded");
    assert_eq!(lines[3], password);
}

#[test]
fn a_second_render_of_the_same_values_leaves_the_files_alone() {
    let tenant = Bao::shared().tenant();
    tenant.write("db", &json!({"password": fresh("password")}));
    let rig = Rig::new(&tenant);
    rig.config(
        r#"
        [secret.db]
        path = "secret/@tenant@/db"
        [[file]]
        path   = "password"
        inline = "{{db.password}}"
        "#,
    );
    let identity = || {
        let metadata = std::fs::metadata(rig.path("out/password")).unwrap();
        (metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
    };
    assert_eq!(rig.render().code, 0);
    let first = identity();
    assert_eq!(rig.render().code, 0);
    assert_eq!(identity(), first);
}

#[test]
fn at_the_end_the_files_and_the_token_are_gone() {
    let tenant = Bao::shared().tenant();
    tenant.write("db", &json!({"password": fresh("password")}));
    let rig = Rig::new(&tenant);
    rig.allow_secrets_in("absolute");
    rig.config(
        r#"
        [secret.db]
        path = "secret/@tenant@/db"
        [[file]]
        path   = "password"
        inline = "{{db.password}}"
        [[file]]
        path   = "@dir@/absolute"
        inline = "{{db.password}}"
        "#,
    );
    // With a child, the token is revoked at the end; without one, others may still use its leases.
    let mut squire = rig.run_command(&["sleep", "1000"]);
    squire.wait_until("both files are there", || {
        !rig.read("out/password").is_empty() && !rig.read("absolute").is_empty()
    });
    assert_eq!(tenant.living_tokens(), 1);
    assert_eq!(squire.stop(), 128 + 15);
    assert_eq!(tenant.living_tokens(), 0, "the token was not revoked");
    assert!(!rig.path("absolute").exists());
    let left: Vec<_> = std::fs::read_dir(rig.path("out")).into_iter().flatten().flatten().collect();
    assert!(left.is_empty(), "left in the output directory: {left:?}");
}

#[test]
fn without_a_child_files_outlive_the_stop_which_is_a_success() {
    let tenant = Bao::shared().tenant();
    tenant.write("db", &json!({"password": fresh("password")}));
    let rig = Rig::new(&tenant);
    rig.config(
        r#"
        [secret.db]
        path = "secret/@tenant@/db"
        [[file]]
        path   = "password"
        inline = "{{db.password}}"
        "#,
    );
    let mut squire = rig.run();
    squire.wait_until("the file is there", || !rig.read("out/password").is_empty());
    assert_eq!(squire.stop(), 0);
    // Others may still use them, so their leases stay valid too.
    assert!(!rig.read("out/password").is_empty());
    assert_eq!(tenant.living_tokens(), 1);
}

#[test]
fn a_second_squire_on_one_output_directory_is_refused_and_the_first_keeps_its_files() {
    let tenant = Bao::shared().tenant();
    tenant.write("db", &json!({"password": fresh("password")}));
    let rig = Rig::new(&tenant);
    rig.config(
        r#"
        [secret.db]
        path = "secret/@tenant@/db"
        [[file]]
        path   = "password"
        inline = "{{db.password}}"
        "#,
    );
    let mut squire = rig.run();
    squire.wait_until("the file is there", || !rig.read("out/password").is_empty());
    let second = rig.render();
    assert_eq!(second.code, 1, "{}", second.stderr);
    assert!(second.stderr.contains("another Squire publishes in"), "{}", second.stderr);
    assert!(!rig.read("out/password").is_empty());
    assert_eq!(squire.stop(), 0);
}

/// The published files stay whole and the process is left alone; when the fault is over, the pending release is published.
fn published_in_spite_of(fault: impl Fn(&Tmpfs), what_is_said: &str, repair: impl Fn(&Tmpfs)) {
    let tenant = Bao::shared().tenant();
    let first = fresh("first");
    tenant.write("db", &json!({"password": first}));
    let rig = Rig::new(&tenant);
    let output = Tmpfs::mount(&rig.path("out"));
    rig.config(&format!(
        "{}{}",
        kv_file("db"),
        r#"
        [[file]]
        path   = "again"
        inline = "{{db.password}}"
        on_change = "restart"
        [process]
        command = ["sh", "-c", "echo start >> seen/starts; exec sleep 1000"]
        "#
    ));
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.read("out/again") == first);
    squire.wait_until("the process runs", || rig.read("seen/starts").lines().count() == 1);
    fault(&output);
    let second = fresh("second");
    tenant.write("db", &json!({"password": second}));
    squire.wait_until("it is said", || rig.read("stderr.1").contains(what_is_said));
    stays_true(Duration::from_secs(2), "what is there stays, whole", || {
        ["out/..data/db", "out/..data/again", "out/again"].iter().all(|file| rig.read(file) == first)
    });
    assert_eq!(rig.read("seen/starts").lines().count(), 1);
    repair(&output);
    squire.wait_at_most(SOON * 2, "the new value comes", || rig.read("out/again") == second);
    squire.wait_until("and the process reacts", || rig.read("seen/starts").lines().count() == 2);
    assert_eq!(squire.stop(), 143);
    drop(squire);
}

#[test]
fn a_full_tmpfs_leaves_what_is_published_whole_and_the_process_alone() {
    published_in_spite_of(Tmpfs::fill, "No space left on device", Tmpfs::make_room);
}

#[test]
fn so_does_an_output_directory_that_turns_read_only() {
    published_in_spite_of(Tmpfs::turn_read_only, "Read-only file system", Tmpfs::turn_writable);
}
