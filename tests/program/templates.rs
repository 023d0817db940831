//! The templates that come with Squire: the binary prints them, renders them of a store with ugly values, and the programs that they are for
//! read those values back.
//!
//! *Invariant:* what a reader reads is what the store holds, to the byte.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::support::certificates::signed;
use crate::support::{Postgres, Rig, make_role, make_store, prometheus_program, skipped, store};

mod random;

/// A path of the repository.
fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// What `squire template` prints.
fn printed(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_squire")).arg("template").args(arguments).output().unwrap()
}

fn text(arguments: &[&str]) -> String {
    let output = printed(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn names() -> Vec<String> {
    let first = |line: &str| line.split("  ").next().unwrap().to_owned();
    text(&["list"]).lines().map(first).collect()
}

/// The ugly secrets, by path.
fn secrets() -> Value {
    serde_json::from_str(include_str!("../templates/secrets.json")).unwrap()
}

/// Renders these templates, each by a `squire render` of its own, of a store with these secrets.
fn rig_of(names: &[&str], secrets: &Value) -> Rig {
    let rig = Rig::at("http://127.0.0.1:1");
    make_store(&rig);
    for (path, fields) in secrets.as_object().unwrap() {
        rig.canaries().add_all(&json!({"password": fields["password"]}));
        store(&rig, &["put", &path.replace(' ', "-")], &fields.to_string());
    }
    let read = ["--read", "secret/app/*", "--read", "pki/issue/*", "--read", "aws/creds/*"];
    make_role(&rig, &read);
    for name in names {
        rig.write(&format!("{name}.hbs"), &text(&["show", name]));
        rig.whole_config(&format!(
            "{}\n[output]\ndir = \"@dir@/out/{name}\"\n{}",
            crate::support::STORE_SOURCE,
            tables(name, secrets)
        ));
        let outcome = rig.render();
        assert_eq!(outcome.code, 0, "{name}: {}", outcome.stderr);
    }
    rig
}

/// The tables for a template, with the secret that is its own where it has one. A store has no parameters.
fn tables(name: &str, secrets: &Value) -> String {
    let of_store = |line: &str| {
        let path = line.strip_prefix("path = ").map(|path| path.trim_matches('"'));
        let own = path.map(|path| format!("{path} for {name}")).filter(|own| secrets.get(own).is_some());
        own.map_or(line.to_owned(), |own| format!("path = \"{}\"", own.replace(' ', "-")))
    };
    let tables = text(&["show", name, "--config"]);
    let lines = tables.lines().filter(|line| !line.starts_with("params"));
    lines.map(|line| of_store(line) + "\n").collect()
}

/// The one file of a template in a directory of outputs.
fn file(out: &Path, name: &str) -> PathBuf {
    let tables = text(&["show", name, "--config"]);
    let line = tables.lines().find(|line| line.starts_with("path  ")).unwrap();
    out.join(name).join(line.split('"').nth(1).unwrap())
}

/// What all of them render of the ugly secrets.
fn ugly(name: &str) -> PathBuf {
    static RENDERED: OnceLock<PathBuf> = OnceLock::new();
    let out = RENDERED.get_or_init(|| {
        let names = names();
        let rig = rig_of(&names.iter().map(String::as_str).collect::<Vec<_>>(), &secrets());
        // It stays until the tests end, whose scratch directories are removed then.
        Box::leak(Box::new(rig)).path("out")
    });
    file(out, name)
}

/// What the reader of a template reads; nothing where this machine has no such reader.
fn read(name: &str, file: &Path) -> Option<Value> {
    let mut reader = Command::new(place("target/test-venv/bin/python"));
    reader.arg(place("tests/templates/readers.py")).arg(name).arg(file).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = reader.output().expect("start the tests with tests/run");
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) {
        skipped(&format!("the template {name} is not read: {}", said.trim()));
        return None;
    }
    assert!(output.status.success(), "{name}: {said}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// The reader of each reads this.
#[track_caller]
fn assert_reads(table: &[(&str, Value)]) {
    for (name, expected) in table {
        if let Some(read) = read(name, &ugly(name)) {
            assert_eq!(read, *expected, "{name}");
        }
    }
}

/// These fields of a secret, under other names.
fn fields(path: &str, named: &[(&str, &str)]) -> Value {
    let secret = secrets()[path].take();
    named
        .iter()
        .map(|(name, field)| ((*name).to_owned(), secret[field].clone()))
        .collect::<Map<_, _>>()
        .into()
}

/// All scalars as text.
fn texts(secret: &Value) -> Value {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields = secret.as_object().unwrap().iter();
    fields.map(|(name, value)| (name.clone(), Value::from(text(value)))).collect::<Map<_, _>>().into()
}

const LOG_IN: [(&str, &str); 2] = [("username", "username"), ("password", "password")];

#[test]
fn the_binary_has_every_template_with_its_configuration() {
    let names = names();
    assert_eq!(names.len(), fs::read_dir(place("templates")).unwrap().count());
    for name in &names {
        let file = fs::read_to_string(place(&format!("templates/{name}.hbs"))).unwrap();
        let tables = text(&["show", name, "--config"]);
        assert_eq!(text(&["show", name]), file);
        assert!(
            tables.starts_with("[secret.") && tables.contains("[[file]]") && file.contains(&tables),
            "{tables}"
        );
    }
    for (wrong, near) in [("kafk", "kafka"), ("haproxy", "haproxy-pem"), ("pgpas", "pgpass")] {
        let refused = printed(&["show", wrong]);
        assert_eq!(refused.status.code(), Some(2));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.stdout.is_empty() && said.contains(&format!("did you mean `{near}`?")), "{said}");
    }
    // Whoever reads only the beginning is no error.
    let mut list = Command::new(env!("CARGO_BIN_EXE_squire"));
    let mut list = list.args(["template", "list"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(list.stdout.take());
    assert!(matches!(list.wait().unwrap().code(), Some(0 | 141)));
}

#[test]
fn the_binary_renders_what_the_unit_tests_compare() {
    for name in names() {
        let path = ugly(&name);
        let golden = fs::read(place("tests/templates/golden").join(&name)).unwrap();
        assert!(fs::read(&path).unwrap() == golden, "{name}");
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        let is_open = ["nginx-cert", "ssh-known-hosts"].contains(&name.as_str());
        assert_eq!(mode, if is_open { 0o444 } else { 0o400 }, "{name}");
    }
}

#[test]
fn variables_are_read_by_compose_by_shells_and_by_systemd() {
    let expected = texts(&secrets()["secret/app/env"]);
    assert_reads(&["compose-env", "bash-env", "systemd-env"].map(|name| (name, expected.clone())));
}

#[test]
fn settings_are_read_by_libraries() {
    let secrets = secrets();
    assert_reads(&["json", "yaml", "toml"].map(|name| (name, secrets["secret/app/config"].clone())));
    assert_reads(
        &["ini", "java-properties"]
            .map(|name| (name, texts(&secrets[format!("secret/app/config for {name}")]))),
    );
}

#[test]
fn databases_and_brokers_get_what_the_secret_has() {
    let db = texts(&secrets()["secret/app/db"]);
    let my_cnf = [("host", "host"), ("port", "port"), ("user", "username"), ("password", "password")];
    let kafka = secrets()["secret/app/kafka"].take();
    let module = "org.apache.kafka.common.security.scram.ScramLoginModule";
    let jaas = [module.to_owned(), "required".to_owned()]
        .into_iter()
        .chain(["username", "password"].map(|field| format!("{field}={}", kafka[field].as_str().unwrap())));
    let rabbit = secrets()["secret/app/rabbit"].take();
    assert_reads(&[
        ("pgpass", db.clone()),
        ("postgres-url", db.clone()),
        ("pg-service", texts(&secrets()["secret/app/db for pg-service"])),
        ("my-cnf", texts(&fields("secret/app/db", &my_cnf))),
        ("redis-acl", json!({"right": "+OK", "wrong": "-WRONGPASS", "nobody": "-NOAUTH"})),
        (
            "kafka",
            json!({
                "security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.jaas.config": jaas.collect::<Vec<_>>(),
            }),
        ),
        ("rabbitmq-url", rabbit.clone()),
        (
            "rabbitmq-definitions",
            json!({
                "vhosts": [{"name": rabbit["vhost"]}],
                "users": [{"name": rabbit["username"], "password": rabbit["password"], "tags": []}],
                "permissions": [
                    {"user": rabbit["username"], "vhost": rabbit["vhost"], "configure": ".*", "write": ".*", "read": ".*"}
                ],
            }),
        ),
    ]);
}

#[test]
fn credentials_are_read_by_the_programs_that_they_are_for() {
    let pypi = [LOG_IN[0], LOG_IN[1], ("host", "host")];
    let kube = secrets()["secret/app/kube"].take();
    let user = secrets()["secret/app/web"]["username"].as_str().unwrap().to_owned();
    assert_reads(&[
        ("aws-credentials", secrets()["aws/creds/app"].take()),
        ("docker-config", fields("secret/app/registry", &LOG_IN)),
        ("npmrc", fields("secret/app/npm", &[("token", "token")])),
        ("pip-conf", fields("secret/app/pypi", &pypi)),
        ("netrc", fields("secret/app/web", &[("login", "login"), ("password", "password")])),
        ("git-credentials", fields("secret/app/git", &LOG_IN)),
        ("htpasswd", json!({(user.clone()): [true, false]})),
        ("prometheus-web", json!({(user): [true, false]})),
    ]);
    let read = read("kubeconfig", &ugly("kubeconfig")).unwrap();
    assert_eq!(read["users"][0]["user"]["token"], kube["token"]);
    let cluster = &read["clusters"][0]["cluster"];
    assert_eq!(cluster["server"], kube["server"]);
    let ca = STANDARD.decode(cluster["certificate-authority-data"].as_str().unwrap()).unwrap();
    assert_eq!(String::from_utf8(ca).unwrap(), kube["ca"].as_str().unwrap().trim());
    let mut promtool = Command::new(prometheus_program("promtool"));
    finishes(promtool.args(["check", "web-config"]).arg(ugly("prometheus-web")));
}

/// Its output, both streams.
#[track_caller]
fn finishes(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// A program of Debian that `tests/run` has unpacked.
fn unpacked(program: &str) -> Command {
    let mut command = Command::new(place("target/readers").join(program));
    command.env("LD_LIBRARY_PATH", place("target/readers/usr/lib/x86_64-linux-gnu"));
    command
}

#[test]
fn a_certificate_its_chain_and_its_key_serve_nginx_and_haproxy() {
    let (authority, server) = signed("web.example.com");
    let authority = authority.pem();
    let tls = json!({"pki/issue/web": {
        // As on Windows, and as people put them into one line.
        "certificate": server.certificate.pem().replace('\n', "\r\n"),
        "private_key": server.key.serialize_pem().trim().replace('\n', "\\n"),
        "ca_chain": [authority, authority],
    }});
    let rig = rig_of(&["nginx-cert", "nginx-key", "haproxy-pem"], &tls);
    let out = rig.path("out");
    let path = |name: &str| file(&out, name).display().to_string();
    let chain = fs::read_to_string(path("nginx-cert")).unwrap();
    assert_eq!(chain.matches("-----BEGIN CERTIFICATE-----\n").count(), 3, "{chain}");
    assert_eq!(fs::read_to_string(path("haproxy-pem")).unwrap().matches("-----BEGIN ").count(), 4);

    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path seen/{kind};"));
    rig.write(
        "nginx.conf",
        &format!(
            "pid seen/pid; events {{}} http {{ access_log off; {} server {{ listen unix:@dir@/seen/nginx ssl; ssl_certificate {}; \
             ssl_certificate_key {}; }} }}",
            temporary.join(" "),
            path("nginx-cert"),
            path("nginx-key")
        ),
    );
    let mut nginx = unpacked("usr/sbin/nginx");
    let said =
        finishes(nginx.arg("-p").arg(rig.directory()).args(["-e", "stderr", "-t", "-c", "nginx.conf"]));
    assert!(said.contains("test is successful"), "{said}");
    rig.write(
        "haproxy.cfg",
        &format!(
            "defaults\n mode http\n timeout client 1s\n timeout connect 1s\n timeout server 1s\nfrontend f\n bind unix@@dir@/seen/haproxy ssl crt {}\n",
            path("haproxy-pem")
        ),
    );
    finishes(unpacked("usr/sbin/haproxy").args(["-c", "-f", "haproxy.cfg"]).current_dir(rig.directory()));
}

#[test]
fn a_keystore_is_published_to_the_byte() {
    let rig = Rig::at("http://127.0.0.1:1");
    let (_, server) = signed("app");
    rig.write("seen/pair.pem", &(server.key.serialize_pem() + &server.certificate.pem()));
    let seen = |name: &str| rig.path("seen").join(name);
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs12", "-export", "-passout", "pass:changeit", "-in"]).arg(seen("pair.pem"));
    finishes(openssl.arg("-out").arg(seen("keystore.p12")));
    let bytes = fs::read(seen("keystore.p12")).unwrap();
    // In lines, as `base64` prints it.
    let encoded = STANDARD
        .encode(&bytes)
        .as_bytes()
        .chunks(76)
        .map(|line| String::from_utf8_lossy(line) + "\n")
        .collect::<String>();
    let rendered = rig_of(&["java-keystore"], &json!({"secret/app/java": {"keystore": encoded}}));
    let keystore = file(&rendered.path("out"), "java-keystore");
    assert!(fs::read(&keystore).unwrap() == bytes);
    let mut openssl = Command::new("openssl");
    let shown =
        finishes(openssl.args(["pkcs12", "-nokeys", "-passin", "pass:changeit", "-in"]).arg(keystore));
    assert!(shown.contains("-----BEGIN CERTIFICATE-----"), "{shown}");
}

#[test]
fn openssh_takes_a_key_and_finds_a_host() {
    let rig = Rig::at("http://127.0.0.1:1");
    let key = rig.path("seen/key");
    finishes(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&key));
    let public = rig.read("seen/key.pub");
    let ssh = json!({
        "private_key": rig.read("seen/key").replace('\n', "\r\n"), "host": "[git.example.com]:2222", "host_key": format!(" {public}"),
    });
    let rendered = rig_of(&["ssh-key", "ssh-known-hosts"], &json!({"secret/app/ssh": ssh}));
    let out = rendered.path("out");
    let shown = finishes(Command::new("ssh-keygen").arg("-y").arg("-f").arg(file(&out, "ssh-key")));
    assert_eq!(shown.trim(), public.trim());
    let mut find = Command::new("ssh-keygen");
    let found =
        finishes(find.args(["-F", "[git.example.com]:2222", "-f"]).arg(file(&out, "ssh-known-hosts")));
    assert!(found.contains(public.trim()), "{found}");
}

#[test]
fn psql_logs_in_by_the_password_file_the_service_file_and_the_url() {
    let postgres = Postgres::shared();
    let password = "p:w\\'\"$% #=!é😀\\";
    postgres.execute(&format!("CREATE ROLE \"u:\\#*\" LOGIN PASSWORD '{}'", password.replace('\'', "''")));
    let address = postgres.address();
    let (_, port) = address.split_once(':').unwrap();
    let db = json!({"host": "db #1", "port": port, "database": "postgres", "username": "u:\\#*", "password": password});
    let rig = rig_of(&["pgpass", "pg-service", "postgres-url"], &json!({"secret/app/db": db}));
    let out = rig.path("out");
    let psql = |variable: &str, value: &Path, connection: &str| {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-w", "-A", "-t", "-c", "SELECT current_user"]).arg("-d").arg(connection);
        finishes(psql.env(variable, value).env("PGSSLMODE", "disable").env_remove("PGPASSWORD"))
    };
    let wanted = format!("host='db #1' hostaddr=127.0.0.1 port={port} dbname=postgres user='u:\\\\#*'");
    let url = fs::read_to_string(file(&out, "postgres-url")).unwrap() + "?hostaddr=127.0.0.1";
    let nothing = Path::new("/nonexistent");
    assert_eq!(psql("PGPASSFILE", &file(&out, "pgpass"), &wanted), "u:\\#*\n");
    assert_eq!(
        psql("PGSERVICEFILE", &file(&out, "pg-service"), "service=app hostaddr=127.0.0.1"),
        "u:\\#*\n"
    );
    assert_eq!(psql("PGPASSFILE", nothing, &url), "u:\\#*\n");
}
