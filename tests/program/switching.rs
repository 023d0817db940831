//! `squire import` and `squire run -c agent.hcl`, from the files of other agents to what is rendered, beside `bao agent` on the same server.
//!
//! *Invariant:* the same bytes; what is not taken over is said; nothing that was there is lost.

mod comparing;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Bao, Daemon, Rig, SOON, Tenant, bao_program, free_port, fresh, holds_within, on_disk, on_tmpfs,
};

/// An agent with a login by AppRole, KV v2, a certificate and reactions.
const AGENT: &str = r#"
    pid_file = "@dir@/pid"
    vault { address = "@address@" }
    auto_auth {
      method "approle" {
        mount_path = "auth/approle"
        config = {
          role_id_file_path                   = "@dir@/role-id"
          secret_id_file_path                 = "@dir@/secret-id"
          remove_secret_id_file_after_reading = false
        }
      }
    }
    template_config { static_secret_render_interval = "1s" }
    template {
      destination = "@dir@/files/app.env"
      perms       = "0640"
      command     = "echo reloaded >> @dir@/seen/reloads"
      contents    = <<EOF
# ${HOME "x"} \\ \"
{{ with secret "secret/data/@tenant@/app" -}}
{{ range $name, $value := .Data.data }}{{ $name | toUpper }}="{{ $value }}"
{{ end }}{{ index .Data.data "api-key" }}
{{- end }}
EOF
    }
    template {
      destination = "@dir@/files/app.json"
      contents    = "{{ with secret \"secret/@tenant@/app\" }}{{ .Data.data | toUnescapedJSON }} of version {{ .Data.metadata.version }}{{ end }}"
    }
"#;

/// The tenant with what the agent reads.
fn tenant(bao: &Bao) -> (Tenant<'_>, String) {
    let tenant = bao.tenant();
    let password = fresh("password");
    tenant.write("app", &json!({"user": "app", "password": password, "api-key": fresh("key"), "port": 5432}));
    (tenant, password)
}

/// A rig with the agent's configuration in `agent.hcl`.
fn rig(tenant: &Tenant<'_>, agent: &str) -> Rig {
    let rig = Rig::new(tenant);
    rig.allow_secrets_in("files");
    rig.write("agent.hcl", agent);
    rig
}

/// Lets `bao agent` render once.
fn bao_agent(rig: &Rig) {
    rig.write("once.hcl", &format!("exit_after_auth = true\n{}", rig.read("agent.hcl")));
    let mut command = Command::new(bao_program());
    command.arg("agent").arg("-config").arg(rig.path("once.hcl")).env("HOME", rig.directory());
    let mut agent = Daemon::start(&command, &rig.path("agent.log"), Signal::SIGTERM);
    assert!(
        holds_within(SOON, || agent.ended().is_some()),
        "the agent does not end: {}",
        rig.read("agent.log")
    );
}

/// The same for what Squire is given here, without a server.
fn squire(arguments: &[&str], stdin: &str) -> Output {
    let mut squire = Command::new(env!("CARGO_BIN_EXE_squire"));
    squire.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut squire = squire.spawn().unwrap();
    let mut input = squire.stdin.take().unwrap();
    // It may refuse before it has read everything.
    input.write_all(stdin.as_bytes()).ok();
    drop(input);
    squire.wait_with_output().unwrap()
}

fn texts(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// A directory with one file.
fn file(name: &str, contents: impl AsRef<[u8]>) -> (TempDir, String) {
    let directory = on_disk("switching");
    let path = directory.path().join(name);
    std::fs::write(&path, contents).unwrap();
    (directory, path.to_str().unwrap().to_owned())
}

#[test]
fn what_is_imported_renders_the_files_of_the_agent() {
    let (tenant, password) = tenant(Bao::shared());
    let rig = rig(&tenant, AGENT);
    bao_agent(&rig);
    let files = ["files/app.env", "files/app.json"].map(|name| (name, rig.read(name)));
    assert!(files[0].1.contains(&password), "{}", rig.read("agent.log"));
    std::fs::remove_dir_all(rig.path("files")).unwrap();
    let imported = rig.start(&["import", rig.path("agent.hcl").to_str().unwrap()]).outcome(SOON);
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    rig.whole_config(&imported.stdout);
    let checked = rig.check();
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    let rendered = rig.render();
    assert_eq!(rendered.code, 0, "{}", rendered.stderr);
    for (name, theirs) in files {
        assert!(rig.read(name) == theirs, "{name} differs");
    }
}

#[test]
fn the_configuration_of_an_agent_runs_rotates_and_is_read_anew() {
    let (tenant, password) = tenant(Bao::shared());
    let rig = rig(&tenant, AGENT);
    let configuration = rig.path("agent.hcl");
    let mut squire = rig.start(&["run", "-c", configuration.to_str().unwrap()]);
    squire.wait_until("the first file", || rig.read("files/app.env").contains(&password));
    let next = fresh("password");
    tenant.write("app", &json!({"user": "app", "password": next, "api-key": "k"}));
    squire.wait_until("the new value", || rig.read("files/app.env").contains(&next));
    squire.wait_until("the reaction", || rig.read("seen/reloads").contains("reloaded"));
    let more = "template {\n  destination = \"@dir@/files/user\"\n  contents = \"{{ with secret \\\"secret/@tenant@/app\\\" }}{{ .Data.data.user }}{{ end }}\"\n}\n";
    rig.write("agent.hcl", &format!("{AGENT}{more}"));
    squire.signal(Signal::SIGHUP);
    squire.wait_until("the new template", || rig.read("files/user") == "app");
    let log = squire.log();
    let is_json = |line: &&str| serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object());
    let notes: Vec<_> = log.lines().take_while(|line| !is_json(line)).collect();
    assert!(notes.iter().any(|note| note.contains("agent.hcl:2:5: note: pid_file:")), "{notes:?}");
    assert!(log.lines().skip(notes.len()).all(|line| is_json(&line)), "a note in the middle of the log");
    assert!(
        log.contains("the configuration of another agent is taken over"),
        "nothing is said at the reload"
    );
    assert_eq!(squire.stop(), 0);
}

/// What a template writes beside its own file: every field, also of every secret of a folder, and one file in two parts.
#[test]
fn the_files_that_a_template_writes_are_those_of_the_agent() {
    let (tenant, password) = tenant(Bao::shared());
    tenant.write("strings", &json!({"user": "app", "password": password, "a-b.c": "line\n"}));
    tenant.write("team/ann", &json!({"key": fresh("ann")}));
    tenant.write("team/bob", &json!({"key": fresh("bob")}));
    let below = tenant.name();
    let list = format!("path \"secret/metadata/{below}/team/*\" {{ capabilities = [\"list\"] }}\n");
    tenant.set_policy(&(list + &tenant.policy()));
    let written = r#"
    template {
      destination = "@dir@/files/done"
      contents    = <<EOF
{{ with secret "secret/data/@tenant@/strings" }}{{ range $k, $v := .Data.data -}}
{{ $v | writeToFile (printf "@dir@/files/app/%s" $k) "" "" "0440" }}{{ end }}
{{- .Data.data.user | writeToFile "@dir@/files/one" "" "" "0400" "newline" }}
{{- .Data.data.password | writeToFile "@dir@/files/one" "" "" "0400" "append" }}{{ end }}
{{- range $name := secrets "secret/metadata/@tenant@/team" }}{{ with secret (printf "secret/data/@tenant@/team/%s" $name) -}}
{{ range $k, $v := .Data.data }}{{ $v | writeToFile (printf "@dir@/files/team/%s/%s" $name $k) "" "" "0400" }}{{ end }}{{ end }}{{ end }}
EOF
    }
"#;
    let (before, _) = AGENT.split_once("    template {").unwrap();
    let rig = rig(&tenant, &format!("{before}{written}"));
    bao_agent(&rig);
    let names = ["app/user", "app/password", "app/a-b.c", "one", "team/ann/key", "team/bob/key"];
    let files = names.map(|name| format!("files/{name}"));
    let theirs = files.clone().map(|name| rig.read(&name));
    assert!(theirs[3] == format!("app\n{password}"), "{}", rig.read("agent.log"));
    std::fs::remove_dir_all(rig.path("files")).unwrap();
    let imported = rig.start(&["import", rig.path("agent.hcl").to_str().unwrap(), "--strict"]).outcome(SOON);
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    rig.whole_config(&imported.stdout);
    let rendered = rig.render();
    assert_eq!(rendered.code, 0, "{}", rendered.stderr);
    for (name, theirs) in files.iter().zip(theirs) {
        assert!(rig.read(name) == theirs, "{name} differs");
    }
}

#[test]
fn what_asked_the_agent_asks_squire() {
    let (tenant, password) = tenant(Bao::shared());
    tenant.write("other", &json!({"password": fresh("other")}));
    let port = free_port();
    let listener = format!(
        "api_proxy {{ use_auto_auth_token = true }}\nlistener \"tcp\" {{ address = \"127.0.0.1:{port}\" tls_disable = true }}\n"
    );
    let rig = rig(&tenant, &format!("{AGENT}{listener}"));
    let configuration = rig.path("agent.hcl");
    let mut squire = rig.start(&["run", "-c", configuration.to_str().unwrap()]);
    squire.wait_until("the first file", || rig.read("files/app.env").contains(&password));
    let asked = |path: &str| {
        let mut bao = Command::new(bao_program());
        bao.args(["read", "-format=json", path]).env_clear().env("HOME", rig.directory());
        bao.env("BAO_ADDR", format!("http://127.0.0.1:{port}")).output().unwrap()
    };
    let (code, stdout, stderr) = texts(&asked(&format!("secret/data/{}/app", tenant.name())));
    assert!(code == 0 && stdout.contains(&password), "{stderr}");
    let (code, _, stderr) = texts(&asked(&format!("secret/data/{}/other", tenant.name())));
    assert!(code != 0 && stderr.contains("squire: "), "{stderr}");
    assert_eq!(squire.stop(), 0);
}

#[test]
fn files_are_written_beside_each_other_and_none_is_lost() {
    let long = "a line\n".repeat(20);
    let template =
        format!("template {{\n destination = \"/run/a/long.conf\"\n contents = <<EOF\n{long}EOF\n}}\n");
    let (directory, agent) = file("agent.hcl", format!("auto_auth {{}}\n{template}"));
    let to = directory.path().join("to");
    let arguments = ["import", &agent, "--to", to.to_str().unwrap()];
    let (code, stdout, _) = texts(&squire(&arguments, ""));
    assert_eq!((code, stdout.as_str()), (0, ""));
    let read = |name: &str| std::fs::read_to_string(to.join(name)).unwrap();
    assert!(read("squire.toml").contains("template = \"long.conf.hbs\""), "{}", read("squire.toml"));
    assert_eq!(read("long.conf.hbs"), long);
    std::fs::write(to.join("squire.toml"), "mine").unwrap();
    let (code, _, stderr) = texts(&squire(&arguments, ""));
    assert!(code == 1 && stderr.contains("--force") && stderr.contains("squire.toml is there"), "{stderr}");
    assert_eq!(read("squire.toml"), "mine");
    assert_eq!(texts(&squire(&[&arguments[..], &["--force"]].concat(), "")).0, 0);
    assert!(read("squire.toml").contains("long.conf.hbs"));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&to.join("squire.toml")), 0o644);
    std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(texts(&squire(&[&arguments[..], &["--force"]].concat(), "")).0, 0);
    assert_eq!(["squire.toml", "long.conf.hbs"].map(|name| mode(&to.join(name))), [0o600; 2]);
}

#[test]
fn strict_fails_if_something_is_left() {
    let all = "auto_auth {}\ntemplate {\n contents = \"x\"\n destination = \"/run/a\"\n}\n";
    let left = format!("{all}listener \"tcp\" {{ address = \"127.0.0.1:8100\" }}\n");
    for (text, strict, expected) in [(all, true, 0), (left.as_str(), false, 0), (left.as_str(), true, 1)] {
        let flags: &[&str] = if strict { &["--strict"] } else { &[] };
        let (code, stdout, stderr) = texts(&squire(&[&["import", "-"], flags].concat(), text));
        assert_eq!(code, expected, "{stderr}");
        assert!(stdout.contains("[[file]]"), "what could be taken over is written all the same: {stdout}");
        assert_eq!(stdout.contains("LEFT OUT"), text == left, "{stdout}");
    }
}

#[test]
fn every_kind_is_taken_over_through_standard_input() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/import/entry/golden");
    let original = |name: &str| {
        let text = std::fs::read_to_string(golden.join(name)).unwrap();
        text.split("================").next().unwrap().to_owned()
    };
    for (name, expected) in [
        ("ct-child.hcl", "[process]"),
        ("envconsul.hcl", "env_from"),
        ("envconsul-line.sh", "env_from"),
        ("pod.yaml", "kind: ConfigMap"),
        ("job.nomad.hcl", "NOMAD_SECRETS_DIR"),
        ("bank-vaults.env", "[process.env]"),
    ] {
        let (code, stdout, stderr) = texts(&squire(&["import", "-"], &original(name)));
        assert_eq!(code, 0, "{name}: {stderr}");
        assert!(stdout.contains(expected), "{name}: {stdout}");
    }
    let (code, stdout, stderr) = texts(&squire(&["import", "-"], &original("helm.yaml")));
    assert!(
        code == 2 && stdout.is_empty() && stderr.contains("helm template NAME CHART | squire import -"),
        "{stderr}"
    );
}

#[test]
fn a_file_that_is_none_is_refused_in_one_line_with_its_name() {
    let directory = on_tmpfs("switching");
    let write = |name: &str, contents: &[u8]| std::fs::write(directory.path().join(name), contents).unwrap();
    write("binary.hcl", &[0x7f, b'E', b'L', b'F', 0xff, 0xfe, 0]);
    write("zeros.hcl", &[0; 100]);
    write("empty.hcl", b"");
    write("large.hcl", &vec![b'#'; 5 << 20]);
    write("words.txt", b"hello\n");
    std::fs::create_dir(directory.path().join("directory.hcl")).unwrap();
    for name in
        ["binary.hcl", "zeros.hcl", "empty.hcl", "large.hcl", "words.txt", "directory.hcl", "missing.hcl"]
    {
        let path = directory.path().join(name);
        let (code, stdout, stderr) = texts(&squire(&["import", path.to_str().unwrap()], ""));
        assert_eq!((code, stdout.as_str()), (2, ""), "{name}: {stderr}");
        assert!(stderr.lines().count() == 1 && stderr.contains(name), "{name}: {stderr}");
    }
}
