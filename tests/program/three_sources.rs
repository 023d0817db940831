//! What a template and a process may expect of a source, with all three: a move from one to another changes nothing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Aws, Bao, NOTING, Origin, Squire, fresh, make_store, notes, stays_true, store};

macro_rules! over_all_sources {
    ($($test:ident),* $(,)?) => {
        mod vault { $(#[test] fn $test() { super::$test(&crate::support::Origin::vault()); })* }
        mod store { $(#[test] fn $test() { super::$test(&crate::support::Origin::store()); })* }
        mod aws { $(#[test] fn $test() { super::$test(&crate::support::Origin::aws()); })* }
    };
}

over_all_sources!(
    a_new_value_is_in_the_file_and_the_environment_of_a_new_process,
    a_signal_tells_the_process_and_it_reads_the_file,
    what_fails_its_check_is_never_seen,
    a_process_that_is_not_well_goes_back_to_the_value_before,
    what_was_taken_away_stays_in_use_until_there_is_another,
    what_is_not_there_at_the_start_is_said_with_its_path,
    without_a_file_the_environment_refers_to_it,
    a_template_is_rendered_to_stdout,
);

fn configured(origin: &Origin, rest: &str) -> String {
    let first = fresh("first");
    origin.write(&first);
    origin.rig.write("child", NOTING);
    let file = "[[file]]\npath = \"password\"\ninline = \"{{db.password}}\"\n";
    origin.rig.whole_config(&format!("{}{file}{rest}", origin.config()));
    first
}

fn started(origin: &Origin) -> Squire<'_> {
    let mut squire = origin.rig.run();
    squire.wait_until("the child has started", || notes(&origin.rig).len() == 1);
    squire
}

fn written(origin: &Origin, word: &str) -> String {
    let password = fresh(word);
    origin.write(&password);
    password
}

fn a_new_value_is_in_the_file_and_the_environment_of_a_new_process(origin: &Origin) {
    let rest = "[process]\ncommand = [\"sh\", \"child\"]\nenv = { DB_PASSWORD = \"{{db.password}}\" }\n";
    let first = configured(origin, &format!("on_change = \"none\"\n{rest}"));
    let mut squire = started(origin);
    assert_eq!(notes(&origin.rig), [format!("start {first} {first}")]);
    for count in 2..4 {
        let next = written(origin, "next");
        squire.wait_until("the next process has it", || notes(&origin.rig).len() == count);
        assert_eq!(notes(&origin.rig)[count - 1], format!("start {next} {next}"));
    }
    assert_eq!(squire.stop(), 0);
}

fn a_signal_tells_the_process_and_it_reads_the_file(origin: &Origin) {
    let first = configured(origin, "on_change = \"SIGHUP\"\n[process]\ncommand = [\"sh\", \"child\"]\n");
    let mut squire = started(origin);
    let next = written(origin, "next");
    squire.wait_until("it is told", || notes(&origin.rig).len() == 2);
    assert_eq!(notes(&origin.rig), [format!("start {first} "), format!("HUP {next} ")]);
    assert_eq!(squire.stop(), 0);
}

fn what_fails_its_check_is_never_seen(origin: &Origin) {
    let rest = r#"
        on_change = "SIGHUP"
        [process]
        command = ["sh", "child"]
        [rollout]
        check = [["sh", "-c", "! grep -q bad {dir}/password"]]
    "#;
    let first = configured(origin, rest);
    let mut squire = started(origin);
    written(origin, "bad");
    squire.wait_until("it is refused", || squire_said(origin, "generation failed its check"));
    stays_true(Duration::from_secs(1), "the first value stays", || origin.rig.read("out/password") == first);
    let good = written(origin, "good");
    squire.wait_until("the next is live", || origin.rig.read("out/password") == good);
    squire.wait_until("and told", || notes(&origin.rig).len() == 2);
    assert_eq!(squire.stop(), 0);
}

fn squire_said(origin: &Origin, beginning: &str) -> bool {
    said(origin).iter().any(|message| message.starts_with(beginning))
}

fn said(origin: &Origin) -> Vec<String> {
    let log = origin.rig.read("stderr.1");
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| line["message"].as_str().map(str::to_owned)).collect()
}

/// The database accepts only the previous value, as while a rotation is not finished.
fn a_process_that_is_not_well_goes_back_to_the_value_before(origin: &Origin) {
    let rest = r#"
        [process]
        command = ["sh", "child"]
        env = { DB_PASSWORD = "{{db.password}}" }
        [rollout]
        probe = { command = ["sh", "-c", "! grep -q bad out/password"], period = "100ms", timeout = "1500ms" }
    "#;
    let first = configured(origin, rest);
    let mut squire = started(origin);
    let bad = written(origin, "bad");
    squire.wait_until("it was tried and taken back", || {
        notes(&origin.rig).len() == 3 && origin.rig.read("out/password") == first
    });
    let expected = [first.clone(), bad, first.clone()].map(|password| format!("start {password} {password}"));
    assert_eq!(notes(&origin.rig), expected);
    stays_true(Duration::from_secs(1), "it is not tried in a loop", || notes(&origin.rig).len() == 3);
    let good = written(origin, "good");
    squire.wait_until("the next is live", || notes(&origin.rig).len() == 4);
    assert_eq!(notes(&origin.rig)[3], format!("start {good} {good}"));
    assert_eq!(squire.stop(), 0);
}

fn what_was_taken_away_stays_in_use_until_there_is_another(origin: &Origin) {
    let first = configured(origin, "on_change = \"SIGHUP\"\n[process]\ncommand = [\"sh\", \"child\"]\n");
    let mut squire = started(origin);
    origin.take_away();
    squire.wait_until("it is said", || squire_said(origin, "secret not fetched"));
    stays_true(Duration::from_secs(1), "what was there stays", || {
        origin.rig.read("out/password") == first && notes(&origin.rig).len() == 1
    });
    let next = fresh("next");
    origin.bring_back(&next);
    squire.wait_until("the next is live", || origin.rig.read("out/password") == next);
    assert_eq!(squire.stop(), 0);
}

fn what_is_not_there_at_the_start_is_said_with_its_path(origin: &Origin) {
    configured(origin, "");
    origin.take_away();
    origin.rig.render_says("secret not fetched");
    let log = origin.rig.read("stderr.1");
    let line = log.lines().find(|line| line.contains("secret not fetched")).unwrap();
    assert!(line.contains(origin.path()), "{line}");
    assert!(!origin.rig.path("out/password").exists());
}

fn without_a_file_the_environment_refers_to_it(origin: &Origin) {
    let first = written(origin, "first");
    let (rig, reference) = (&origin.rig, format!("{}:{}", origin.scheme(), origin.path()));
    rig.set("SQUIRE_REFRESH", "300ms");
    rig.set("DB_PASSWORD", &format!("{reference}#password"));
    rig.set("DB_URL", &format!("db://app:${{{reference}}}@host/"));
    let mut squire =
        rig.start(&["run", "--", "sh", "-c", "env > seen/new; mv seen/new seen/env; exec sleep 1000"]);
    let has = |line: &str| rig.read("seen/env").lines().any(|there| there == line);
    squire.wait_until("the process has it", || has(&format!("DB_PASSWORD={first}")));
    assert!(has(&format!("DB_URL=db://app:{first}@host/")), "only in part");
    let next = written(origin, "next");
    squire.wait_until("and the next", || has(&format!("DB_PASSWORD={next}")));
    assert!(has(&format!("DB_URL=db://app:{next}@host/")), "only in part");
    assert_eq!(squire.stop(), 143);
}

fn a_template_is_rendered_to_stdout(origin: &Origin) {
    let first = written(origin, "first");
    let (rig, reference) = (&origin.rig, format!("{}:{}", origin.scheme(), origin.path()));
    rig.write("t.hbs", &format!("password = ${{{reference}#password}}\n"));
    rig.allow_secrets_in("stdout.1");
    let outcome = rig.start(&["render", "--template", "t.hbs"]).outcome(crate::support::SOON);
    assert_eq!((outcome.code, outcome.stdout), (0, format!("password = {first}\n")), "{}", outcome.stderr);
}

#[test]
fn one_agent_uses_several_sources_also_several_of_a_kind_with_other_identities() {
    let (bao, aws) = (Bao::shared(), Aws::shared());
    let (one, other) = (bao.tenant(), bao.tenant());
    let rig = aws.rig();
    for (tenant, name) in [(&one, "one"), (&other, "other")] {
        tenant.write("db", &json!({"password": fresh(name)}));
        rig.write(&format!("{name}.role-id"), tenant.role_id());
        rig.write(&format!("{name}.secret-id"), &tenant.secret_id());
        rig.allow_secrets_in(&format!("{name}.secret-id"));
    }
    make_store(&rig);
    store(&rig, &["put", "prod/app/db"], r#"{"password": "of-the-store"}"#);
    let name = aws.secret(r#"{"password": "of-aws"}"#);
    let vault = |name: &str, path: &str| {
        format!(
            r#"
            [source.{name}]
            type = "vault"
            address = "{}"
            refresh = "300ms"
            auth.approle = {{ role_id_file = "@dir@/{name}.role-id", secret_id_file = "@dir@/{name}.secret-id" }}
            [secret.{name}]
            source = "{name}"
            path = "secret/{path}/db"
            "#,
            bao.address()
        )
    };
    rig.whole_config(&format!(
        r#"
        {}
        {}
        [source.local]
        type = "store"
        file = "@dir@/app.store"
        key_file = "@dir@/app.store.key"
        [secret.local]
        source = "local"
        path = "prod/app/db"
        [source.cloud]
        type = "aws"
        [secret.cloud]
        source = "cloud"
        path = "{name}"
        [output]
        dir = "@dir@/out"
        [[file]]
        path = "all"
        inline = "{{{{one.password}}}} {{{{other.password}}}} {{{{local.password}}}} {{{{cloud.password}}}}"
        "#,
        vault("one", one.name()),
        vault("other", other.name()),
    ));
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let all = rig.read("out/all");
    let words: Vec<_> = all.split(' ').collect();
    assert!(words[0].starts_with("one/") && words[1].starts_with("other/"), "{words:?}");
    assert_eq!(words[2..], ["of-the-store", "of-aws"]);
    // Each identity sees only its own secrets.
    let swapped = rig.read("squire.toml").replacen("source = \"one\"", "source = \"other\"", 1);
    rig.whole_config(&swapped);
    rig.render_says(&format!("permission denied on secret/data/{}/db", one.name()));
}
