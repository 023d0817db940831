//! `squire import --compare`: `bao agent` and Squire beside each other, with nothing changed and nothing shown.

use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::json;

use super::{AGENT, rig, tenant};
use crate::support::{Bao, Rig, SOON, bao_program, fresh};

/// A rig with a directory of its own for what is compared.
fn private(rig: &Rig) {
    std::fs::create_dir(rig.path("private")).unwrap();
    rig.set("XDG_RUNTIME_DIR", rig.path("private").to_str().unwrap());
    rig.set("HOME", rig.directory().to_str().unwrap());
}

fn is_clean(rig: &Rig) -> bool {
    std::fs::read_dir(rig.path("private")).unwrap().next().is_none()
}

/// The arguments for a program.
fn arguments(rig: &Rig, program: &str) -> Vec<String> {
    let configuration = rig.path("agent.hcl").to_str().unwrap().to_owned();
    ["import", &configuration, "--compare", program, "--timeout", "15s"].map(str::to_owned).to_vec()
}

fn compare(rig: &Rig, program: &str) -> crate::support::Outcome {
    let arguments = arguments(rig, program);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    rig.start(&arguments).outcome(2 * SOON)
}

fn bao_agent() -> String {
    format!("{} agent", bao_program().display())
}

#[test]
fn the_same_is_the_same_and_nothing_is_changed() {
    let (tenant, _) = tenant(Bao::shared());
    // It is removed after reading, if nobody says otherwise.
    let text = AGENT.replace("remove_secret_id_file_after_reading = false", "");
    let sink =
        "sink \"file\" { config = { path = \"@dir@/token-of-the-sink\" } }\n    }\n    template_config";
    let text = text.replacen("}\n    template_config", sink, 1);
    let rig = rig(&tenant, &text);
    private(&rig);
    let secret_id = rig.read("secret-id");
    let outcome = compare(&rig, &bao_agent());
    let expected = ["app.env", "app.json"]
        .map(|name| format!("same          {}\n", rig.path(&format!("files/{name}")).display()));
    assert_eq!((outcome.code, outcome.stdout), (0, expected.concat()), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("secret-id with counted uses"), "{}", outcome.stderr);
    assert!(rig.read("secret-id") == secret_id && is_clean(&rig));
    for name in ["files", "seen/reloads", "token-of-the-sink", "pid"] {
        assert!(!rig.path(name).exists(), "{name} was made");
    }
}

#[test]
fn what_differs_is_said_without_a_value() {
    let (tenant, password) = tenant(Bao::shared());
    let (less, shell) = (format!("<{}>", fresh("value")), fresh("shell"));
    tenant.write("odd", &json!({"less": less, "shell": shell}));
    let more = r#"
        template {
          destination = "@dir@/files/odd.json"
          contents    = "first\nless={{ with secret \"secret/@tenant@/odd\" }}{{ .Data.data.less | toJSON }}{{ end }};\n"
        }
        template {
          destination = "@dir@/files/tls.pem"
          contents    = "{{ with secret \"pki/issue/web\" \"common_name=web.internal\" }}key: {{ .Data.private_key }}{{ end }}"
        }
    "#;
    let rig = rig(&tenant, &format!("{AGENT}{more}"));
    private(&rig);
    let outcome = compare(&rig, &bao_agent());
    let said = &outcome.stdout;
    assert_eq!(outcome.code, 1, "{said}{}", outcome.stderr);
    let odd = format!(
        "differs       {}\n    from line 2 on (2 lines there, 2 here)\n    there: less=***;\n    here:  less=***;\n",
        rig.path("files/odd.json").display()
    );
    assert!(said.contains(&odd), "{said}");
    assert!(said.contains("pki/issue/web makes something of its own for each reader"), "{said}");
    assert!(!said.contains(&password) && !said.contains("BEGIN") && !said.contains("value"), "{said}");
    assert!(is_clean(&rig));
}

#[test]
fn an_agent_that_fails_or_hangs_is_told_and_ended() {
    let (tenant, password) = tenant(Bao::shared());
    let rig = rig(&tenant, AGENT);
    private(&rig);
    let failing = "sh -c 'echo it is broken; exit 7'";
    let outcome = compare(&rig, failing);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("exit status: 7") && outcome.stderr.contains("it is broken"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stdout.contains("only here") && !outcome.stdout.contains(&password),
        "{}",
        outcome.stdout
    );
    // It prints a secret, of which Squire knows the value.
    let telling = format!("sh -c 'echo the password is {password}; exit 1'");
    let mut squire = Command::new(env!("CARGO_BIN_EXE_squire"));
    squire
        .args(arguments(&rig, &telling))
        .env_clear()
        .envs(rig.environment())
        .env("PATH", std::env::var_os("PATH").unwrap());
    let output = squire.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let shown = stderr.replace(&password, "THE PASSWORD");
    assert!(shown.contains(" is ***") && shown == stderr, "{shown}");
    let hanging = arguments(&rig, "sh -c 'sleep 600'").join("\n").replace("15s", "300ms");
    let hanging: Vec<&str> = hanging.split('\n').collect();
    let outcome = rig.start(&hanging).outcome(2 * SOON);
    assert!(outcome.code == 1 && outcome.stderr.contains("--timeout"), "{}", outcome.stderr);
    assert!(is_clean(&rig));
}

#[test]
fn whoever_interrupts_it_leaves_nothing() {
    let (tenant, _) = tenant(Bao::shared());
    let rig = rig(&tenant, AGENT);
    private(&rig);
    let script = format!("sh -c 'echo > {}/seen/began; sleep 600'", rig.directory().display());
    let arguments = arguments(&rig, &script);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut squire = rig.start(&arguments);
    squire.wait_until("the agent runs", || rig.path("seen/began").exists());
    assert!(!is_clean(&rig));
    squire.signal(Signal::SIGINT);
    assert_eq!(squire.wait_for_end(SOON), 130);
    assert!(is_clean(&rig));
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let (tenant, _) = tenant(Bao::shared());
    let wrapped = AGENT.replace(
        "remove_secret_id_file_after_reading",
        "secret_id_response_wrapping_path = \"auth/approle/role/x/secret-id\"\n remove_secret_id_file_after_reading",
    );
    for (text, program, expected) in [
        (wrapped.as_str(), "bao agent", "wrapping token"),
        ("vault {}\nsecret {\n path = \"x\"\n}\n", "bao agent", "--compare runs"),
        ("auto_auth {}\nexit_after_auth = true\n", "bao agent", "nothing to compare"),
        (AGENT, "", "is no command"),
        (AGENT, "'", "is no command"),
    ] {
        let rig = rig(&tenant, text);
        private(&rig);
        let outcome = compare(&rig, program);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{expected}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(expected), "{expected}: {}", outcome.stderr);
        assert!(is_clean(&rig));
    }
    let rig = rig(&tenant, AGENT);
    private(&rig);
    let outcome = compare(&rig, "/nothing/there agent");
    assert!(outcome.code == 1 && outcome.stderr.contains("cannot run"), "{}", outcome.stderr);
}

/// There is no consul-template to be had here. In its place stands `bao agent`, which has its templates; a script gives it the login and what
/// ends it, and fails for what it would not be given.
const STAND_IN: &str = r#"#!/usr/bin/env python3
import json, os, sys
once, flag, path = sys.argv[1:]
assert (once, flag) == ("-once", "-config"), sys.argv
asked = json.load(open(path))
assert set(asked) == {"vault", "template"}, sorted(asked)
vault = asked["vault"][0]
assert vault["renew_token"] is False
login = {"type": "token_file", "config": [{"token_file_path": vault["vault_agent_token_file"]}]}
asked["vault"] = [{"address": vault["address"]}]
asked.update(auto_auth=[{"method": [login]}], exit_after_auth=True)
made = path + ".agent.json"
json.dump(asked, open(made, "w"))
os.execv("@bao@", ["bao", "agent", "-config", made])
"#;

#[test]
fn a_configuration_of_consul_template_is_compared_without_its_command_and_process() {
    let (tenant, password) = tenant(Bao::shared());
    let text = r#"
        vault { address = "@address@" vault_agent_token_file = "@dir@/token" renew_token = true }
        consul { address = "127.0.0.1:1" }
        exec { command = "touch @dir@/seen/started" }
        template {
          destination = "@dir@/files/app.env"
          command     = "touch @dir@/seen/reloaded"
          contents    = "{{ with secret \"secret/data/@tenant@/app\" }}P={{ .Data.data.password }}\n{{ end }}"
        }
        template { destination = "@dir@/files/other" contents = "{{ range service \"db\" }}x{{ end }}" }
    "#;
    let rig = rig(&tenant, text);
    private(&rig);
    rig.write("token", &tenant.token());
    rig.write("consul-template", &STAND_IN.replace("@bao@", bao_program().to_str().unwrap()));
    let stand_in = format!("python3 {}", rig.path("consul-template").display());
    let outcome = compare(&rig, &stand_in);
    let (env, other) = (rig.path("files/app.env"), rig.path("files/other"));
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_eq!(lines[0], format!("same          {}", env.display()), "{outcome:?}");
    assert_eq!(lines[1], format!("not compared  {}", other.display()), "{outcome:?}");
    assert!(!outcome.stdout.contains(&password) && !outcome.stderr.contains(&password), "{outcome:?}");
    assert!(is_clean(&rig) && !env.exists() && !rig.path("seen/started").exists());
    assert!(!rig.path("seen/reloaded").exists());
}
