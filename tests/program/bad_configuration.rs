//! Configurations with problems: each problem is named with its place, all in one run, before anything starts.

use std::path::Path;

use crate::support::{Outcome, Rig};

/// A rig without a server, since `check` needs none.
fn rig() -> Rig {
    Rig::at("http://127.0.0.1:1")
}

/// Checks a configuration, and that `run` and `render` refuse it with the same messages.
fn refused(rig: &Rig) -> Outcome {
    let outcome = rig.check();
    assert_eq!(outcome.code, 2, "check: {}", outcome.stderr);
    for command in ["run", "render"] {
        let arguments = [command, "-c", rig.path("squire.toml").to_str().unwrap()].map(str::to_owned);
        let other = rig.start(&arguments.each_ref().map(String::as_str)).outcome(crate::support::SOON);
        assert_eq!(other.code, 2, "{command}: {}", other.stderr);
    }
    outcome
}

/// The line, counted from 1, on which this text first occurs in a file of the rig.
fn line_of(rig: &Rig, file: &str, text: &str) -> usize {
    1 + rig.read(file).lines().position(|line| line.contains(text)).unwrap()
}

#[test]
fn each_mistake_is_named_with_file_line_and_key() {
    // The problem, the text on the line that it has to name, and words that say what to do.
    for (rest, at, key, words) in [
        ("[[file]]\npath = \"../x\"\ninline = \"x\"", "../x", "path", &[".."][..]),
        ("[[file]]\npath = \"a/../../x\"\ninline = \"x\"", "a/../../x", "path", &[][..]),
        ("[[file]]\npath = \"x\"\ninline = \"x\"\nmode = \"999\"", "999", "mode", &["999"]),
        ("[[file]]\npath = \"x\"\ninline = \"x\"\nmode = \"rw-\"", "rw-", "mode", &[]),
        ("[[file]]\npath = \"x\"", "[[file]]", "file", &["template", "inline"]),
        ("[[file]]\npath = \"x\"\ninline = \"x\"\ntemplate = \"y\"", "", "file", &["template", "inline"]),
        ("[[file]]\npath = \"x\"\ninline = \"x\"\non_chnage = \"none\"", "on_chnage", "", &["on_change"]),
        (
            "[[file]]\npath = \"x\"\ninline = \"x\"\non_change = \"SIGNOSE\"",
            "SIGNOSE",
            "on_change",
            &["SIGNOSE"],
        ),
        (
            "[[file]]\npath = \"x\"\ninline = \"x\"\nowner = \"no-such-user-here\"",
            "",
            "file",
            &["no-such-user-here"],
        ),
        ("[secret.db]\npth = \"secret/db\"", "pth", "", &["path"]),
        ("[secret.db]\nrefresh = \"5m\"", "[secret.db]", "path", &["path"]),
        ("[secret.db]\npath = \"secret/db\"\nrefresh = \"5 parsecs\"", "parsecs", "refresh", &["5 parsecs"]),
        ("[secret.db]\npath = \"secret/db\"\nsource = \"vualt\"", "vualt", "source", &["vault"]),
        ("[secret.db]\npath = \"secret/db\"\nversion = \"two\"", "two", "version", &[]),
        (
            "[process]\ncommand = [\"app\"]\nenv = { \"DB PASSWORD\" = \"x\" }",
            "DB PASSWORD",
            "DB PASSWORD",
            &["white space"],
        ),
        ("[process]\nstop_timeout = 30", "stop_timeout = 30", "stop_timeout", &["30s"]),
        (
            "[process]\ncommand = [\"app\"]\nrestart_mode = \"overlap\"",
            "[process]",
            "process",
            &["notify = true"],
        ),
        (
            "[process]\ncommand = [\"app\"]\nrestart_mode = \"overlap\"\nlisten = [\"tcp://0.0.0.0:8080\"]\n[rollout]\n\
             probe = { http = \"http://127.0.0.1:8080/\" }",
            "probe",
            "rollout.probe",
            &["process.listen", "notify = true"],
        ),
        ("[process]\nrestart_mode = \"both\"", "both", "restart_mode", &["overlap"]),
        ("[rollout]\nprobe = { notify = false }", "notify", "rollout.probe.notify", &["notify = true"]),
        ("[rollout]\nprobe = { notify = true }", "notify", "rollout.probe", &["process.command"]),
        ("[proces]\ncommand = [\"app\"]", "proces", "", &["process"]),
    ] {
        let rig = rig();
        rig.config(&format!("\n{rest}\n"));
        let outcome = refused(&rig);
        let line = line_of(&rig, "squire.toml", at);
        // If a key is missing, or two exclude each other, any line may be named.
        let place = if at.is_empty() || at.starts_with('[') { String::new() } else { format!("{line}: ") };
        let place = format!("{}:{place}", rig.path("squire.toml").display());
        let named = outcome.stderr.lines().any(|problem| {
            problem.starts_with(&place)
                && problem.contains(key)
                && words.iter().all(|word| problem.contains(word))
        });
        assert!(named, "{rest}: nothing at {place} with {key} and {words:?}:\n{}", outcome.stderr);
    }
}

#[test]
fn two_files_with_one_path_are_refused() {
    for (one, other) in
        [("x", "x"), ("x", "./x"), ("a/b", "a//b"), ("/dev/shm/x", "/dev/shm/./x"), ("x", "x/y")]
    {
        let rig = rig();
        rig.config(&format!(
            "\n[[file]]\npath = \"{one}\"\ninline = \"1\"\n[[file]]\npath = \"{other}\"\ninline = \"2\"\n"
        ));
        let outcome = refused(&rig);
        assert!(outcome.stderr.contains("path"), "{one} and {other}: {}", outcome.stderr);
    }
}

#[test]
fn all_problems_are_reported_in_one_run() {
    let rig = rig();
    rig.whole_config(
        r#"
startup_timeout = "soon"
[source.vault]
adress = "http://127.0.0.1:1"
[source.vault.auth.approle]
role_id = "some-role"
[secret.db]
path = "secret/db"
versoin = 3
[output]
dir = "@dir@/out"
mode = "999"
[[file]]
path = "../x"
inline = "x"
"#,
    );
    let outcome = refused(&rig);
    for (line, word) in [(2, "startup_timeout"), (4, "address"), (9, "version"), (12, "999"), (14, "path")] {
        let place = format!("{}:{line}: ", rig.path("squire.toml").display());
        let problem = outcome.stderr.lines().find(|text| text.starts_with(&place));
        assert!(problem.is_some_and(|text| text.contains(word)), "line {line} ({word}):\n{}", outcome.stderr);
    }
}

#[test]
fn text_that_is_not_toml_is_refused_with_its_line() {
    let rig = rig();
    rig.whole_config("[source.vault]\naddress = \n");
    let outcome = refused(&rig);
    assert!(outcome.stderr.contains("squire.toml:2: "), "{}", outcome.stderr);
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let rig = rig();
    let outcome = refused(&rig);
    assert!(outcome.stderr.contains(rig.path("squire.toml").to_str().unwrap()), "{}", outcome.stderr);
}

#[test]
fn the_configuration_is_found_by_its_default_name_and_by_the_environment() {
    let rig = rig();
    rig.config("");
    assert_eq!(
        rig.start(&["check"]).outcome(crate::support::SOON).code,
        0,
        "squire.toml of the working directory"
    );
    rig.write("other.toml", "what is this");
    rig.set("SQUIRE_CONFIG", rig.path("other.toml").to_str().unwrap());
    let outcome = rig.start(&["check"]).outcome(crate::support::SOON);
    assert_eq!(outcome.code, 2);
    assert!(outcome.stderr.contains("other.toml"), "{}", outcome.stderr);
    assert_eq!(rig.check().code, 0, "-c wins over the environment");
}

#[test]
fn an_unknown_secret_in_a_template_is_found_without_a_server() {
    for template in [
        "{{redis.password}}",
        "{{#if redis.on}}x{{/if}}",
        "{{json (upper redis.password)}}",
        "{{#each redis}}{{this}}{{/each}}",
    ] {
        let rig = rig();
        rig.write("app.hbs", &format!("first line\n{template}\n"));
        rig.config(
            "
            [secret.db]
            path = \"secret/db\"
            [[file]]
            path = \"app\"
            template = \"app.hbs\"
            ",
        );
        let outcome = refused(&rig);
        assert!(
            outcome.stderr.contains("app.hbs") && outcome.stderr.contains("redis"),
            "{template}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn an_unknown_secret_in_the_environment_is_found_too() {
    let rig = rig();
    rig.config(
        "\n[secret.db]\npath = \"secret/db\"\n[process]\nenv = { PASSWORD = \"{{redis.password}}\" }\n",
    );
    let outcome = refused(&rig);
    let place = format!("squire.toml:{}: ", line_of(&rig, "squire.toml", "PASSWORD"));
    assert!(outcome.stderr.contains(&place), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("PASSWORD") && outcome.stderr.contains("redis"), "{}", outcome.stderr);
}

#[test]
fn an_unknown_helper_is_found_without_a_server() {
    let rig = rig();
    rig.write("app.hbs", "{{bse64 db.password}}\n");
    rig.config("\n[secret.db]\npath = \"secret/db\"\n[[file]]\npath = \"app\"\ntemplate = \"app.hbs\"\n");
    let outcome = refused(&rig);
    assert!(outcome.stderr.contains("app.hbs") && outcome.stderr.contains("bse64"), "{}", outcome.stderr);
}

#[test]
fn a_template_syntax_error_has_line_and_column() {
    let rig = rig();
    rig.write("app.hbs", "first\nsecond {{db.password}\nthird\n");
    rig.config("\n[secret.db]\npath = \"secret/db\"\n[[file]]\npath = \"app\"\ntemplate = \"app.hbs\"\n");
    let outcome = refused(&rig);
    let (_, place) = outcome.stderr.split_once("app.hbs:").unwrap_or_else(|| panic!("{}", outcome.stderr));
    let mut numbers = place.split(':').map(|part| part.trim().parse::<usize>());
    assert_eq!(numbers.next(), Some(Ok(2)), "the line: {}", outcome.stderr);
    assert!(numbers.next().is_some_and(|column| column.is_ok()), "no column: {}", outcome.stderr);
}

#[test]
fn a_template_that_is_not_there_is_named() {
    let rig = rig();
    rig.config("\n[[file]]\npath = \"app\"\ntemplate = \"missing.hbs\"\n");
    let outcome = refused(&rig);
    assert!(outcome.stderr.contains("missing.hbs"), "{}", outcome.stderr);
}

#[test]
fn a_signal_for_a_changed_environment_is_refused() {
    let rig = rig();
    rig.config(
        "\n[secret.db]\npath = \"secret/db\"\n[process]\non_change = \"SIGHUP\"\nenv = { A = \"{{db.a}}\" }\n",
    );
    let outcome = refused(&rig);
    assert!(outcome.stderr.contains("on_change") && outcome.stderr.contains("restart"), "{}", outcome.stderr);
}

#[test]
fn an_output_directory_on_disk_is_refused_unless_it_is_allowed() {
    // Beside the program, which is on a disk wherever the tests run.
    let disk = tempfile::tempdir_in(Path::new(env!("CARGO_BIN_EXE_squire")).parent().unwrap()).unwrap();
    let rig = rig();
    for (allowed, code) in [("", 2), ("allow_disk = true", 0)] {
        rig.whole_config(&format!(
            r#"
            [source.vault]
            address = "@address@"
            [source.vault.auth.approle]
            role_id = "some-role"
            [output]
            dir = "{}/out"
            {allowed}
            [[file]]
            path   = "x"
            inline = "x"
            "#,
            disk.path().display()
        ));
        let outcome = rig.check();
        assert_eq!(outcome.code, code, "{}", outcome.stderr);
        if code == 2 {
            assert!(
                outcome.stderr.contains("tmpfs") && outcome.stderr.contains("allow_disk"),
                "{}",
                outcome.stderr
            );
        }
    }
    assert_eq!(std::fs::read_dir(disk.path()).unwrap().count(), 0, "check wrote something");
}

#[test]
fn check_needs_no_server_and_only_warns_of_a_missing_command() {
    let rig = rig();
    rig.config("\n[secret.db]\npath = \"secret/db\"\n[[file]]\npath = \"a\"\ninline = \"{{db.a}}\"\n");
    let outcome = rig.check();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    rig.config("\n[process]\ncommand = [\"no-such-program-in-path\"]\n");
    let outcome = rig.check();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let said = outcome.stdout + &outcome.stderr;
    assert!(said.contains("no-such-program-in-path"), "no warning: {said}");
    assert!(!rig.path("out").exists(), "check wrote something");
}

#[test]
fn the_command_line_explains_itself() {
    let rig = rig();
    let run = |arguments: &[&str]| rig.start(arguments).outcome(crate::support::SOON);
    assert_eq!(run(&["--version"]).stdout.trim(), concat!("squire ", env!("CARGO_PKG_VERSION")));
    for arguments in [&["--help"][..], &["run", "--help"], &["render", "--help"], &["check", "--help"]] {
        let outcome = run(arguments);
        assert_eq!(outcome.code, 0);
        let help = outcome.stdout.to_lowercase();
        assert!(help.contains("example") && help.contains("squire "), "{arguments:?}: {help}");
    }
    for arguments in [&["rnder"][..], &["run", "--confg", "x"], &[]] {
        let outcome = run(arguments);
        assert_eq!(outcome.code, 2, "{arguments:?}: {}", outcome.stderr);
        assert!(outcome.stderr.to_lowercase().contains("usage"), "{arguments:?}: {}", outcome.stderr);
    }
}

#[test]
fn what_is_wrong_in_the_file_and_what_is_wrong_in_its_templates_is_said_in_one_run() {
    let rig = Rig::at("http://127.0.0.1:1");
    rig.config(
        r#"
        [secret.db]
        path = "secret/app/db"
        refresh = "often"
        [[file]]
        path   = "one"
        mode   = "0999"
        owner  = "nobody-of-this-name"
        inline = "{{db.password}} {{dbb.password}}"
        [[file]]
        path     = "../two"
        template = "missing.hbs"
        [[file]]
        path   = "three"
        inline = "{{nope x}} {{#if db.a}}"
        "#,
    );
    let outcome = rig.check();
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    let said = [
        "secret.db.refresh: \"often\"",
        "mode: \"0999\"",
        "there is no user `nobody-of-this-name`",
        "unknown secret `dbb`; did you mean `db`?",
        "file[1].path: leads out of `output.dir`",
        "missing.hbs",
        "file[2].inline:1:",
    ];
    for words in said {
        assert!(outcome.stderr.contains(words), "{words:?} is not in:\n{}", outcome.stderr);
    }
    assert_eq!(outcome.stderr.lines().count(), said.len(), "nothing else: {}", outcome.stderr);
}
