//! Reloads: the configuration changes under a running Squire.
//!
//! With a process, SIGHUP is the process's, so there the configuration is watched; without one, SIGHUP reloads.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    Bao, CHILD, Gate, NOTING, Postgres, Rig, SOON, Squire, Tenant, database_file, fresh, kv_file, notes,
    stays_true, wait_until, works,
};

/// What asks for a reload as soon as a file changes, and lets a test see soon that something was given back.
const WATCHED: &str = "[agent]\nreload = \"watch\"\n[rollout]\ngrace = \"1s\"\n";

fn write(tenant: &Tenant<'_>, name: &str, word: &str) -> String {
    let password = fresh(word);
    tenant.write(name, &json!({"password": password}));
    password
}

/// How often each was said.
fn said(squire: &Squire<'_>, words: &str) -> usize {
    squire.events(words).len()
}

const RELOADED: &str = "configuration reloaded";
const REFUSED: &str = "configuration not reloaded, the one before holds";
const WAITS: &str = "new configuration waits for its secrets, the one before holds meanwhile";
const SAME: &str = "configuration read anew, nothing differs";

fn is_reloaded(squire: &mut Squire<'_>, rig: &Rig, times: usize) {
    let count = || rig.read("stderr.1").matches(&format!("\"{RELOADED}\"")).count();
    squire.wait_until("it is reloaded", || count() == times);
}

fn is_refused(squire: &mut Squire<'_>, rig: &Rig) {
    squire.wait_until("it is refused", || rig.read("stderr.1").contains(REFUSED));
}

/// Every reason that was said.
fn problems(squire: &Squire<'_>) -> Vec<String> {
    let refusals = squire.events(REFUSED);
    refusals.iter().map(|event| event["problem"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_stays_keeps_its_lease_and_what_goes_is_given_back() {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    for role in ["stays", "goes"] {
        bao.connect_database(postgres, role, 600, 3600);
    }
    let tenant = bao.tenant();
    let added = write(&tenant, "web", "added");
    let rig = Rig::new(&tenant);
    let (stays, goes) = (database_file(postgres, "stays"), database_file(postgres, "goes"));
    rig.config(&format!("{WATCHED}{CHILD}{stays}{goes}"));
    let mut squire = rig.run();
    squire.wait_until("both work", || works(&rig, "out/stays") && works(&rig, "out/goes"));
    squire.wait_until("the process runs", || rig.read("seen/starts") == "start\n");
    let leases = bao.leases("database/creds/stays");
    assert_eq!((leases.len(), bao.leases("database/creds/goes").len()), (1, 1));
    rig.config(&format!("{WATCHED}{CHILD}{stays}{}", kv_file("web")));
    squire.wait_until("the new file is there", || rig.read("out/web") == added);
    squire.wait_until("the old one is gone", || !rig.path("out/goes").exists());
    wait_until(SOON, "its lease is revoked", || bao.leases("database/creds/goes").is_empty());
    assert_eq!(bao.leases("database/creds/stays"), leases, "the lease of what stays");
    assert!(works(&rig, "out/stays"));
    assert_eq!(bao.count("update auth/approle/login"), 1, "it logged in anew");
    assert_eq!(rig.read("seen/starts"), "start\n", "the process was touched");
    let event = squire.events(RELOADED)[0].clone();
    assert_eq!(
        (&event["added"], &event["removed"]),
        (&json!("secret web, file web"), &json!("secret goes, file goes"))
    );
    squire.stop();
}

#[test]
fn a_template_that_changes_has_its_reaction_and_one_that_only_moves_has_none() {
    let tenant = Bao::shared().tenant();
    let first = write(&tenant, "db", "first");
    let rig = Rig::new(&tenant);
    rig.write("child", NOTING);
    rig.write("template.hbs", "{{db.password}}");
    let config = format!(
        r#"{WATCHED}
        [secret.db]
        path = "secret/@tenant@/db"
        [[file]]
        path = "password"
        template = "@dir@/template.hbs"
        on_change = "SIGHUP"
        [process]
        command = ["sh", "child"]
        "#
    );
    rig.config(&config);
    let mut squire = rig.run();
    squire.wait_until("the child has started", || notes(&rig).len() == 1);
    rig.config(&format!("# a remark\n\n{config}"));
    squire.wait_until("it is read anew", || rig.read("stderr.1").contains(SAME));
    rig.write("template.hbs", "{{db.password}}-and-more");
    let changed = format!("{first}-and-more");
    squire.wait_until("the file is another", || rig.read("out/password") == changed);
    squire.wait_until("the process was told", || notes(&rig).len() == 2);
    assert!(notes(&rig)[1].starts_with("HUP"), "{:?}", notes(&rig));
    is_reloaded(&mut squire, &rig, 1);
    assert_eq!(squire.stop(), 0);
}

#[test]
fn bad_configurations_are_refused_with_all_their_problems_and_good_ones_work_again() {
    let tenant = Bao::shared().tenant();
    let first = write(&tenant, "db", "first");
    let rig = Rig::new(&tenant);
    rig.config(&kv_file("db"));
    let mut squire = rig.run();
    squire.wait_until("it is there", || rig.read("out/db") == first);
    rig.config(&format!(
        "{}[[file]]\npath = \"x\"\ntemplate = \"@dir@/none.hbs\"\n[[file]]\npath = \"y\"\ninline = \"{{{{nobody.x}}}}\"\n[rollout]\nsettle = 7\n",
        kv_file("db")
    ));
    squire.signal(Signal::SIGHUP);
    is_refused(&mut squire, &rig);
    let said = problems(&squire).join("\n");
    for part in ["none.hbs", "nobody", "rollout.settle", "squire.toml:"] {
        assert!(said.contains(part), "{part} is not said: {said}");
    }
    let second = write(&tenant, "db", "second");
    squire.wait_until("the one before goes on", || rig.read("out/db") == second);
    rig.config(&kv_file("db").replace("path   = \"db\"", "path   = \"other\""));
    squire.signal(Signal::SIGHUP);
    squire.wait_until("a good one is taken", || rig.read("out/other") == second);
    squire.wait_until("the file has another name", || !rig.path("out/db").exists());
    assert_eq!(squire.stop(), 0);
}

#[test]
fn what_only_a_restart_changes_is_named_and_nothing_is_touched() {
    let tenant = Bao::shared().tenant();
    let first = write(&tenant, "db", "first");
    let rig = Rig::new(&tenant);
    let absolute =
        |place: &str| format!("[[file]]\npath = \"@dir@/{place}/key\"\ninline = \"{{{{db.password}}}}\"\n");
    rig.write("place/x", "");
    rig.write("elsewhere/x", "");
    rig.allow_secrets_in("place");
    rig.config(&format!("{}{}", kv_file("db"), absolute("place")));
    let mut squire = rig.run();
    squire.wait_until("it is there", || rig.read("place/key") == first);
    let before = rig.read("squire.toml");
    rig.whole_config(&before.replace("/out\"", "/next\"").replace("/place/", "/elsewhere/"));
    rig.whole_config(&format!(
        "{}[agent]\nmlock = true\nledger = \"@dir@/ledger\"\n",
        rig.read("squire.toml")
    ));
    squire.signal(Signal::SIGHUP);
    is_refused(&mut squire, &rig);
    let said = problems(&squire).join("\n");
    for part in
        ["output.dir", "agent.ledger", "agent.mlock", "/elsewhere: squire has not been able to write there"]
    {
        assert!(said.contains(part), "{part} is not said: {said}");
    }
    let second = write(&tenant, "db", "second");
    squire.wait_until("the one before goes on", || rig.read("place/key") == second);
    assert!(!rig.path("next").exists() && !rig.path("elsewhere/key").exists());
    // What was there before Squire is nobody's to replace, after a reload as little as at a start.
    rig.write("place/theirs", "theirs");
    rig.whole_config(&before.replace("/place/key", "/place/theirs"));
    squire.signal(Signal::SIGHUP);
    squire.wait_until("somebody else's file is refused", || rig.read("stderr.1").contains("place/theirs"));
    rig.whole_config(&before.replace("/place/key", "/place/lock"));
    squire.signal(Signal::SIGHUP);
    squire.wait_until("another name in the same place is taken", || rig.read("place/lock") == second);
    squire.wait_until("and the former file is gone", || !rig.path("place/key").exists());
    assert_eq!(rig.read("place/theirs"), "theirs");
    assert_eq!(squire.stop(), 0);
}

#[test]
fn a_changed_command_starts_the_process_anew_and_one_that_cannot_be_started_does_not() {
    let tenant = Bao::shared().tenant();
    write(&tenant, "db", "first");
    let rig = Rig::new(&tenant);
    rig.write("child", "echo \"$1\" >> seen/starts; exec sleep 1000");
    let config = |program: &str, word: &str| {
        let process =
            format!("[process]\ncommand = [\"{program}\", \"child\", \"{word}\"]\non_change = \"none\"\n");
        rig.config(&format!("{WATCHED}{}{process}", kv_file("db")));
    };
    config("sh", "one");
    let mut squire = rig.run();
    squire.wait_until("it has started", || rig.read("seen/starts") == "one\n");
    config("/no/such/program", "two");
    is_refused(&mut squire, &rig);
    assert!(problems(&squire)[0].contains("/no/such/program"), "{:?}", problems(&squire));
    config("sh", "three");
    squire.wait_until("it is started anew", || rig.read("seen/starts") == "one\nthree\n");
    is_reloaded(&mut squire, &rig, 1);
    assert_eq!(squire.stop(), 128 + 15);
}

#[test]
fn a_source_at_another_address_is_logged_in_to_anew_and_the_former_token_ends() {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    bao.connect_database(postgres, "moved", 600, 3600);
    let tenant = bao.tenant();
    let rig = Rig::new(&tenant);
    let gate = Gate::before(bao.address());
    let rest = format!("{WATCHED}{CHILD}{}", database_file(postgres, "moved"));
    rig.config(&rest);
    let mut squire = rig.run();
    squire.wait_until("it works", || works(&rig, "out/moved"));
    squire.wait_until("the process runs", || rig.read("seen/starts") == "start\n");
    let (token, lease, first) = (tenant.tokens(), bao.leases("database/creds/moved"), rig.read("out/moved"));
    rig.config_of_source(&format!("address = \"{}\"\nlook_up_every = \"1s\"", gate.address()), &rest);
    squire.wait_until("there is another one", || rig.read("out/moved") != first && works(&rig, "out/moved"));
    wait_until(SOON, "the former lease is revoked", || {
        let leases = bao.leases("database/creds/moved");
        leases.len() == 1 && leases != lease
    });
    wait_until(SOON, "the former token is revoked", || {
        let tokens = tenant.tokens();
        tokens.len() == 1 && tokens != token
    });
    assert_eq!(rig.read("seen/starts"), "start\n", "the process was touched");
    // The other way is the one that is used now.
    gate.shut();
    squire.wait_until("the way to it is shut", || rig.read("stderr.1").contains("source does not answer"));
    gate.open();
    squire.stop();
    wait_until(SOON, "nothing is left", || tenant.tokens().is_empty());
}

#[test]
fn a_secret_that_nobody_may_read_yet_holds_up_nothing() {
    let (bao, tenant) = (Bao::shared(), Bao::shared().tenant());
    let (first, denied) = (write(&tenant, "db", "first"), fresh("denied"));
    bao.api()
        .post(&format!("secret/data/elsewhere/{}", tenant.name()), &json!({"data": {"password": denied}}));
    tenant.canaries().add(&denied);
    let rig = Rig::new(&tenant);
    rig.config(&kv_file("db"));
    let mut squire = rig.run();
    squire.wait_until("it is there", || rig.read("out/db") == first);
    let denied_file = kv_file("web").replace("@tenant@/web", "elsewhere/@tenant@");
    rig.config(&format!("{}{denied_file}", kv_file("db")));
    squire.signal(Signal::SIGHUP);
    squire.wait_until("it says what it waits for", || rig.read("stderr.1").contains(WAITS));
    let waits = squire.events(WAITS)[0].clone();
    assert_eq!(waits["missing"], "web");
    assert!(waits["errors"].as_str().unwrap().contains("elsewhere"), "{waits}");
    let second = write(&tenant, "db", "second");
    squire.wait_until("the one before rotates", || rig.read("out/db") == second);
    let (code, said) = ask(&rig, &["refresh", "web", "--wait", "--timeout", "300ms"]);
    assert!(code == 1 && said.contains("web: permission denied"), "{code} {said}");
    let allowed =
        format!("{}path \"secret/data/elsewhere/*\" {{ capabilities = [\"read\"] }}", tenant.policy());
    tenant.set_policy(&allowed);
    // Whoever has put the policy right need not wait for the next try.
    assert_eq!(ask(&rig, &["refresh", "other"]).0, 1);
    let (code, said) = ask(&rig, &["refresh", "web", "--wait"]);
    assert!(code == 0 && said.contains("web changed"), "{said}");
    assert_eq!(rig.read("out/web"), denied);
    assert_eq!(squire.stop(), 0);
}

/// The status is of the configuration that holds, and does not know the secret.
#[test]
fn a_refresh_of_what_only_a_waiting_source_has_does_not_say_that_nothing_changed() {
    let tenant = Bao::shared().tenant();
    let first = write(&tenant, "db", "first");
    let rig = Rig::new(&tenant);
    rig.config(&kv_file("db"));
    let mut squire = rig.run();
    squire.wait_until("it is there", || rig.read("out/db") == first);
    let other = r#"
        [source.other]
        type = "vault"
        address = "@address@"
        [source.other.auth.approle]
        role_id_file   = "@dir@/role-id"
        secret_id_file = "@dir@/secret-id"
        [secret.web]
        source = "other"
        path = "secret/elsewhere/@tenant@"
        [[file]]
        path = "web"
        inline = "{{web.password}}"
        on_change = "none"
    "#;
    rig.config(&format!(
        "{}{other}",
        kv_file("db").replace("path = \"secret", "source = \"vault\"\npath = \"secret")
    ));
    squire.signal(Signal::SIGHUP);
    squire.wait_until("it says what it waits for", || rig.read("stderr.1").contains(WAITS));
    let (code, said) = ask(&rig, &["refresh", "web", "--wait", "--timeout", "300ms"]);
    assert!(code == 1 && said.contains("web: only a new configuration has it"), "{code} {said}");
    assert_eq!(squire.stop(), 0);
}

#[test]
fn a_release_that_the_process_is_not_well_with_takes_its_configuration_back() {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    bao.connect_database(postgres, "tried", 600, 3600);
    let tenant = bao.tenant();
    let first = write(&tenant, "db", "first");
    let rig = Rig::new(&tenant);
    rig.write("child", NOTING);
    let config = |template: &str, more: &str| {
        rig.config(&format!(
            r#"[agent]
            reload = "watch"
            [rollout]
            grace = "1s"
            probe = {{ command = ["sh", "-c", "! grep -q broken out/password"], period = "50ms", timeout = "1s" }}
            [secret.db]
            path = "secret/@tenant@/db"
            [[file]]
            path = "password"
            inline = "{template}"
            on_change = "SIGHUP"
            [process]
            command = ["sh", "child"]
            {more}"#
        ));
    };
    config("{{db.password}}", "");
    let mut squire = rig.run();
    squire.wait_until("the child has started", || notes(&rig).len() == 1);
    config("broken {{db.password}}", &database_file(postgres, "tried"));
    is_refused(&mut squire, &rig);
    squire.wait_until("it has what it had", || rig.read("out/password") == first);
    squire.wait_until("it was told both", || notes(&rig).len() == 3);
    assert!(!rig.path("out/tried").exists(), "a file of the bad configuration is left");
    wait_until(SOON, "what was leased for it is given back", || {
        bao.leases("database/creds/tried").is_empty()
    });
    let second = write(&tenant, "db", "second");
    squire.wait_until("the one before rotates", || rig.read("out/password") == second);
    config("mended {{db.password}}", "");
    squire.wait_until("a good one is taken", || rig.read("out/password") == format!("mended {second}"));
    assert_eq!(said(&squire, "process started"), 1, "the process was started anew");
    assert_eq!(squire.stop(), 0);
}

#[test]
fn a_reload_during_a_rollout_on_trial_waits_for_its_end() {
    let tenant = Bao::shared().tenant();
    write(&tenant, "db", "first");
    let rig = Rig::new(&tenant);
    rig.write("child", NOTING);
    rig.write("seen/well", "");
    let config = |template: &str| {
        rig.config(&format!(
            r#"[agent]
            reload = "watch"
            [rollout]
            probe = {{ command = ["test", "-e", "seen/well"], period = "50ms", timeout = "60s" }}
            [secret.db]
            path = "secret/@tenant@/db"
            [[file]]
            path = "password"
            inline = "{template}"
            on_change = "SIGHUP"
            [process]
            command = ["sh", "child"]
            "#
        ));
    };
    config("{{db.password}}");
    let mut squire = rig.run();
    squire.wait_until("the first release is live", || said_committed(&rig, 1));
    fs::remove_file(rig.path("seen/well")).unwrap();
    let second = write(&tenant, "db", "second");
    squire.wait_until("it is on trial", || rig.read("out/password") == second && notes(&rig).len() == 2);
    for word in ["one", "two", "three"] {
        config(&format!("{word} {{{{db.password}}}}"));
        stays_true(Duration::from_millis(500), "it waits", || rig.read("out/password") == second);
    }
    rig.write("seen/well", "");
    squire.wait_until("then it is tried", || rig.read("out/password") == format!("three {second}"));
    squire.wait_until("and told", || notes(&rig).len() == 3);
    is_reloaded(&mut squire, &rig, 1);
    assert_eq!(squire.stop(), 0);
}

fn said_committed(rig: &Rig, times: usize) -> bool {
    rig.read("stderr.1").matches("\"generation committed\"").count() >= times
}

#[test]
fn a_secret_whose_server_hangs_can_be_taken_out() {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    bao.connect_database(postgres, "hangs", 600, 3600);
    let tenant = bao.tenant();
    let first = write(&tenant, "db", "first");
    write(&tenant, "slow", "slow");
    let rig = Rig::new(&tenant);
    let gate = Gate::before(bao.address());
    let slow = format!(
        r#"
        [source.slow]
        type = "vault"
        address = "{}"
        refresh = "100ms"
        [source.slow.auth.approle]
        role_id_file   = "@dir@/role-id"
        secret_id_file = "@dir@/secret-id"
        {}"#,
        gate.address(),
        kv_file("slow").replace("path = \"secret", "source = \"slow\"\npath = \"secret")
    );
    let quick = kv_file("db").replace("path = \"secret", "source = \"vault\"\npath = \"secret");
    rig.config(&format!("{quick}{slow}"));
    let mut squire = rig.run();
    squire.wait_until("both are there", || rig.path("out/slow").exists() && rig.read("out/db") == first);
    gate.jam();
    let asked = bao.count(&format!("read secret/data/{}/slow", tenant.name()));
    assert!(asked > 0);
    let dynamic =
        database_file(postgres, "hangs").replace("path = \"database", "source = \"slow\"\npath = \"database");
    rig.config(&format!("{quick}{slow}{dynamic}"));
    squire.signal(Signal::SIGHUP);
    squire.wait_until("it waits for what hangs", || rig.read("stderr.1").contains(WAITS));
    rig.config(&quick);
    squire.signal(Signal::SIGHUP);
    is_reloaded(&mut squire, &rig, 1);
    squire.wait_until("its file is gone", || !rig.path("out/slow").exists());
    let second = write(&tenant, "db", "second");
    squire.wait_until("the other one goes on", || rig.read("out/db") == second);
    gate.shut();
    assert_eq!(squire.stop(), 0);
}

#[test]
fn ten_reloads_a_second_are_few_and_the_last_one_counts() {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    bao.connect_database(postgres, "often", 600, 3600);
    let tenant = bao.tenant();
    let rig = Rig::new(&tenant);
    let config = |number: usize| {
        let remark =
            format!("[[file]]\npath = \"number\"\ninline = \"{number}\"\n[rollout]\ngrace = \"1s\"\n");
        rig.config(&format!("{}{remark}", database_file(postgres, "often")));
    };
    config(0);
    let mut squire = rig.run();
    squire.wait_until("it works", || works(&rig, "out/often"));
    let leases = bao.leases("database/creds/often");
    for number in 1..=30 {
        config(number);
        squire.signal(Signal::SIGHUP);
        std::thread::sleep(Duration::from_millis(50));
    }
    squire.wait_until("the last one counts", || rig.read("out/number") == "30");
    assert_eq!(bao.leases("database/creds/often"), leases, "a lease was touched");
    assert_eq!(bao.count("update auth/approle/login"), 1, "it logged in anew");
    assert_eq!(problems(&squire), Vec::<String>::new());
    let count = said(&squire, RELOADED) + said(&squire, SAME);
    assert!(count <= 30, "{count} reloads");
    assert_eq!(squire.stop(), 0);
}

#[test]
fn a_configuration_that_kubernetes_exchanges_is_noticed() {
    let tenant = Bao::shared().tenant();
    let first = write(&tenant, "db", "first");
    let rig = Rig::new(&tenant);
    let volume = |number: usize, template: &str, more: &str| {
        let directory = format!("volume/..v{number}");
        rig.config(&format!(
            r#"[agent]
            reload = "watch"
            [secret.db]
            path = "secret/@tenant@/db"
            [[file]]
            path = "password"
            template = "@dir@/volume/template.hbs"
            {more}"#
        ));
        rig.write(&format!("{directory}/template.hbs"), template);
        fs::rename(rig.path("squire.toml"), rig.path(&format!("{directory}/squire.toml"))).unwrap();
        symlink(format!("..v{number}"), rig.path("volume/..data_tmp")).unwrap();
        fs::rename(rig.path("volume/..data_tmp"), rig.path("volume/..data")).unwrap();
    };
    volume(1, "one {{db.password}}", "");
    for name in ["squire.toml", "template.hbs"] {
        symlink(format!("..data/{name}"), rig.path(&format!("volume/{name}"))).unwrap();
    }
    let file = rig.path("volume/squire.toml");
    let mut squire = rig.start(&["run", "-c", file.to_str().unwrap()]);
    squire.wait_until("it is there", || rig.read("out/password") == format!("one {first}"));
    volume(2, "two {{db.password}}", "");
    squire.wait_until("another template", || rig.read("out/password") == format!("two {first}"));
    volume(3, "two {{db.password}}", "[[file]]\npath = \"other\"\ninline = \"{{db.password}}\"\n");
    squire.wait_until("another file", || rig.read("out/other") == first);
    volume(4, "two {{nobody.password}}", "");
    is_refused(&mut squire, &rig);
    volume(5, "five {{db.password}}", "");
    squire.wait_until("a good one again", || rig.read("out/password") == format!("five {first}"));
    squire.wait_until("the file is gone", || !rig.path("out/other").exists());
    assert_eq!(squire.stop(), 0);
}

#[test]
fn with_a_process_sighup_is_the_processes() {
    let tenant = Bao::shared().tenant();
    write(&tenant, "db", "first");
    let rig = Rig::new(&tenant);
    rig.write("child", NOTING);
    rig.config(&format!("{}[process]\ncommand = [\"sh\", \"child\"]\n", kv_file("db")));
    let mut squire = rig.run();
    squire.wait_until("the child has started", || notes(&rig).len() == 1);
    rig.config(&format!("{}[process]\ncommand = [\"sh\", \"child\", \"x\"]\n", kv_file("db")));
    squire.signal(Signal::SIGHUP);
    squire.wait_until("it got the signal", || notes(&rig).len() == 2);
    assert!(notes(&rig)[1].starts_with("HUP"), "{:?}", notes(&rig));
    stays_true(Duration::from_secs(1), "nothing is reloaded", || {
        said(&squire, RELOADED) + said(&squire, REFUSED) == 0
    });
    assert_eq!(squire.stop(), 0);
}

/// Runs `squire` with this verb: its exit code and what it said.
fn ask(rig: &Rig, words: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squire"));
    let (verb, rest) = words.split_first().unwrap();
    // Wide enough for whole problems.
    command.env("COLUMNS", "1000").arg(verb).arg("-c").arg(rig.path("squire.toml"));
    let output = command.args(rest).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[test]
fn whoever_asks_for_a_reload_is_told_what_came_of_it() {
    let tenant = Bao::shared().tenant();
    let first = write(&tenant, "db", "first");
    let rig = Rig::new(&tenant);
    let config = |files: &str, argument: &str| {
        let process = format!("[process]\ncommand = [\"sh\", \"child\", \"{argument}\"]\n");
        rig.config(&format!("{files}{process}"));
    };
    rig.write("child", "echo start >> seen/starts; exec sleep 1000");
    config(&kv_file("db"), "");
    let mut squire = rig.run();
    squire.wait_until("it can be asked", || {
        rig.read("out/db") == first && ask(&rig, &["status", "--ready"]).0 == 0
    });
    assert_eq!(ask(&rig, &["reload"]), (0, "nothing differs\n".to_owned()));
    let other = kv_file("db").replace("path   = \"db\"", "path   = \"other\"");
    config(&other, "");
    let told = "added: file other\nremoved: file db\n";
    assert_eq!(ask(&rig, &["reload"]), (0, told.to_owned()));
    assert_eq!(rig.read("out/other"), first, "it was told before it was true");
    config(&format!("{other}[[file]]\npath = \"x\"\ninline = \"{{{{nobody.x}}}}\"\n"), "");
    let (code, said) = ask(&rig, &["reload"]);
    assert!(code == 1 && said.contains("nobody") && said.contains("squire.toml:"), "{code} {said}");
    let status: Value = serde_json::from_str(&ask(&rig, &["status", "--json"]).1).unwrap();
    assert_eq!(status["configuration"]["is_former"], true, "{status}");
    let (_, shown) = ask(&rig, &["status"]);
    assert!(shown.contains("the one before holds") && shown.contains("nobody"), "{shown}");
    config(&other, "another");
    let (code, said) = ask(&rig, &["reload"]);
    assert_eq!((code, said.as_str()), (0, "changed: process\n"));
    assert_eq!(rig.read("seen/starts"), "start\nstart\n");
    let status: Value = serde_json::from_str(&ask(&rig, &["status", "--json"]).1).unwrap();
    assert_eq!(status["configuration"], json!({"is_former": false, "problems": []}));
    assert_eq!(squire.stop(), 128 + 15);
}

#[test]
fn a_reload_on_hold_waits_until_rollouts_are_released() {
    let tenant = Bao::shared().tenant();
    let first = write(&tenant, "db", "first");
    let rig = Rig::new(&tenant);
    rig.config(&kv_file("db"));
    let mut squire = rig.run();
    squire.wait_until("it can be asked", || {
        rig.read("out/db") == first && ask(&rig, &["status", "--ready"]).0 == 0
    });
    assert_eq!(ask(&rig, &["hold"]).0, 0);
    rig.config(&kv_file("db").replace("path   = \"db\"", "path   = \"other\""));
    squire.signal(Signal::SIGHUP);
    squire.wait_until("it says that it waits", || rig.read("stderr.1").contains(WAITS));
    assert!(!rig.path("out/other").exists(), "it was rolled out on hold");
    assert_eq!(ask(&rig, &["release"]).0, 0);
    squire.wait_until("then it is", || rig.read("out/other") == first);
    is_reloaded(&mut squire, &rig, 1);
    assert_eq!(squire.stop(), 0);
}

#[test]
fn credentials_that_were_in_the_environment_are_known_to_a_reload() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let first = write(&tenant, "db", "first");
    let rig = Rig::new(&tenant);
    let secret_id = fs::read_to_string(rig.path("secret-id")).unwrap();
    fs::remove_file(rig.path("secret-id")).unwrap();
    rig.start_with_secrets_in_environment();
    rig.set("BAO_ROLE_ID", tenant.role_id());
    rig.set("BAO_SECRET_ID", secret_id.trim());
    let config = |rest: &str| {
        let source =
            "[source.vault]\naddress = \"@address@\"\nrefresh = \"1s\"\n[output]\ndir = \"@dir@/out\"\n";
        rig.whole_config(&format!("{source}{}{rest}", kv_file("db")));
    };
    config("");
    let mut squire = rig.run();
    squire.wait_until("it is there", || rig.read("out/db") == first);
    config("[[file]]\npath = \"other\"\ninline = \"{{db.password}}\"\n");
    squire.signal(Signal::SIGHUP);
    squire.wait_until("another file", || rig.read("out/other") == first);
    assert_eq!(bao.count("update auth/approle/login"), 1, "the login was taken for another one");
    assert_eq!(problems(&squire), Vec::<String>::new());
    assert_eq!(squire.stop(), 0);
}
