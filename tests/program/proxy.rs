//! Programs that ask the server through Squire: what they get without a token, and what they do not get.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::{Value, json};

mod attacks;
mod scripted;
mod servers;

use crate::support::{
    Bao, Postgres, Rig, SOON, Squire, Tenant, bao_program, free_port, fresh, status, wait_until,
};

/// What an answer has.
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Answer {
    fn password(&self) -> &str {
        self.body["data"]["data"]["password"].as_str().unwrap_or_default()
    }
}

/// One request, with these header lines, and the whole answer.
fn asked(mut stream: impl Read + Write, request: &str, lines: &[&str], body: &str) -> Answer {
    let lines = lines.join("\r\n") + if lines.is_empty() { "" } else { "\r\n" };
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{lines}\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let whole = if head.contains("transfer-encoding: chunked") { joined(body) } else { body.to_owned() };
    Answer { status, head: head.to_owned(), body: serde_json::from_str(&whole).unwrap_or_default() }
}

/// A body that came in chunks.
fn joined(mut chunks: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        chunks = &rest[size + 2..];
    }
    whole
}

const SDK: &str = "X-Vault-Request: true";

fn get(rig: &Rig, path: &str) -> Answer {
    get_at(&rig.path("vault.sock"), path)
}

fn get_at(place: &Path, path: &str) -> Answer {
    asked(socket_at(place), &format!("GET /v1/{path}"), &[SDK], "")
}

fn socket(rig: &Rig) -> UnixStream {
    socket_at(&rig.path("vault.sock"))
}

fn socket_at(place: &Path) -> UnixStream {
    let stream = UnixStream::connect(place).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// A rig whose configuration has the secret `app`, which no template uses.
fn rig(tenant: &Tenant<'_>, proxy: &str, rest: &str) -> (Rig, String) {
    let password = fresh("proxied");
    tenant.write("app", &json!({ "password": password }));
    tenant.write("other", &json!({ "password": fresh("other") }));
    let rig = Rig::new(tenant);
    configure(&rig, proxy, rest);
    (rig, password)
}

fn configure(rig: &Rig, proxy: &str, rest: &str) {
    let listen = if proxy.contains("listen") { "" } else { "listen = \"unix:@dir@/vault.sock\"" };
    rig.config(&format!("[secret.app]\npath = \"secret/@tenant@/app\"\n[proxy]\n{listen}\n{proxy}\n{rest}"));
}

fn running(rig: &Rig) -> Squire<'_> {
    let mut squire = rig.run();
    squire.wait_until("it has a token", || rig.read("stderr.1").contains("logged in"));
    squire
}

#[test]
fn a_program_needs_no_token_and_gets_what_the_configuration_names() {
    let tenant = Bao::shared().tenant();
    let (rig, password) = rig(&tenant, "", "");
    let mut squire = running(&rig);
    let name = tenant.name();
    let answer = get(&rig, &format!("secret/data/{name}/app"));
    assert_eq!((answer.status, answer.password()), (200, password.as_str()), "{}", answer.head);
    assert!(!answer.head.contains("stale"), "{}", answer.head);
    // The server's own command line, which asks first what is mounted there.
    for words in [
        vec!["kv".to_owned(), "get".into(), "-field=password".into(), format!("secret/{name}/app")],
        vec![
            "kv".to_owned(),
            "get".into(),
            "-field=password".into(),
            "-mount=secret".into(),
            format!("{name}/app"),
        ],
    ] {
        let mut bao = Command::new(bao_program());
        bao.args(&words).env_clear().env("HOME", rig.path("seen"));
        bao.env("BAO_ADDR", format!("unix://{}", rig.path("vault.sock").display()));
        let output = bao.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), password, "{words:?} {output:?}");
    }
    assert_eq!(fs::metadata(rig.path("vault.sock")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(status(&rig)["sources"][0]["client_leases"], 0);
    squire.stop();
    assert!(!rig.path("vault.sock").exists());
}

#[test]
fn what_is_not_allowed_is_refused_in_every_disguise() {
    let tenant = Bao::shared().tenant();
    let (rig, password) = rig(&tenant, "", "");
    let mut squire = running(&rig);
    let name = tenant.name();
    let before = tenant.bao().asked_by(name).len();
    let app = format!("/v1/secret/data/{name}/app");
    let other = format!("/v1/secret/data/{name}/other");
    let cases = [
        (format!("GET {app}"), vec![], 412),
        (format!("GET {app}"), vec!["X-Vault-Request: no"], 412),
        (format!("GET {other}"), vec![SDK], 403),
        (format!("GET {app}/../other"), vec![SDK], 400),
        (format!("GET {app}/%2e%2e/other"), vec![SDK], 400),
        (format!("GET {app}%2f..%2fother"), vec![SDK], 400),
        (format!("GET {app}%252f..%252fother"), vec![SDK], 400),
        (format!("GET /v1//secret/data/{name}/app"), vec![SDK], 400),
        (format!("GET http://localhost{other}"), vec![SDK], 400),
        (format!("GET {app}?list=true"), vec![SDK], 403),
        (format!("LIST {app}"), vec![SDK], 403),
        (format!("LIST /v1/secret/metadata/{name}"), vec![SDK], 403),
        (format!("POST {app}"), vec![SDK], 403),
        (format!("DELETE {app}"), vec![SDK], 403),
        (format!("OPTIONS {app}"), vec![SDK], 405),
        ("GET /v1/sys/internal/ui/mounts/".to_owned(), vec![SDK], 403),
        ("GET /v1/auth/token/lookup-self".to_owned(), vec![SDK], 403),
        ("POST /v1/auth/token/create".to_owned(), vec![SDK], 403),
        ("POST /v1/sys/wrapping/wrap".to_owned(), vec![SDK], 403),
        (format!("GET {app}"), vec![SDK, "X-Vault-Namespace: team"], 403),
    ];
    for (request, lines, expected) in cases {
        let answer = asked(socket(&rig), &request, &lines, "");
        assert_eq!(answer.status, expected, "{request} {lines:?} {}", answer.head);
        assert!(answer.body["errors"][0].as_str().unwrap().starts_with("squire: "), "{request}");
    }
    // A client's own token is dropped, good or bad, and so is what one connection is told.
    let bad = fresh("token");
    rig.canaries().add(&bad);
    let token = format!("X-Vault-Token: {bad}");
    let answer = asked(socket(&rig), &format!("GET {app}"), &[SDK, &token, "X-Forwarded-For: 10.0.0.1"], "");
    assert_eq!(answer.password(), password);
    let asked_for: BTreeSet<_> =
        tenant.bao().asked_by(name).into_iter().skip(before).map(|(path, _)| path).collect();
    assert!(
        asked_for.iter().all(|path| !path.contains("other") && !path.contains("metadata")),
        "{asked_for:?}"
    );
    squire.stop();
}

/// `if_missing`: the client's own token counts, and only where there is none it is Squire's.
#[test]
fn a_client_may_bring_its_own_token_where_the_configuration_says_so() {
    let tenant = Bao::shared().tenant();
    let (rig, password) =
        rig(&tenant, "auto_auth = \"if_missing\"\npaths = [\"secret/data/@tenant@/+\"]", "");
    let mut squire = running(&rig);
    let request = format!("GET /v1/secret/data/{}/app", tenant.name());
    let own = format!("X-Vault-Token: {}", tenant.token());
    let bad = fresh("bad");
    rig.canaries().add(&bad);
    let bad = format!("X-Vault-Token: {bad}");
    let ask = |line: &str| asked(socket(&rig), &request, &[SDK, line], "");
    assert_eq!(ask(&own).password(), password);
    assert_eq!(ask(&bad).status, 403);
    assert_eq!(ask("X-Other: x").password(), password);
    squire.stop();
}

#[test]
fn another_user_is_refused_unless_it_is_named() {
    let tenant = Bao::shared().tenant();
    let (rig, password) = rig(&tenant, "users = [65534]", "");
    fs::set_permissions(rig.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let mut squire = running(&rig);
    let script = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
                  s.sendall(('GET '+sys.argv[2]+' HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\nx-vault-request: true\\r\\n\\r\\n').encode())\n\
                  d=b''\nwhile True:\n b=s.recv(9999)\n if not b: break\n d+=b\nprint(d.decode())";
    let as_user = |user: u32| {
        let mut python = Command::new("python3");
        let path = format!("/v1/secret/data/{}/app", tenant.name());
        let output =
            python.args(["-c", script]).arg(rig.path("vault.sock")).arg(path).uid(user).gid(user).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    assert!(as_user(65534).contains(&password));
    assert!(!as_user(65533).contains("HTTP/1.1 200"));
    squire.wait_until("it is said", || rig.read("stderr.1").contains("user 65533 is neither root"));
    squire.stop();
}

#[test]
fn a_loopback_address_answers_under_no_name_that_others_made() {
    let tenant = Bao::shared().tenant();
    let port = free_port();
    let (rig, password) = rig(&tenant, &format!("listen = \"127.0.0.1:{port}\""), "");
    let mut squire = running(&rig);
    let path = format!("/v1/secret/data/{}/app", tenant.name());
    let stream = || TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(asked(stream(), &format!("GET {path}"), &[SDK], "").password(), password);
    let mut rebound = stream();
    rebound
        .write_all(
            format!("GET {path} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n{SDK}\r\n\r\n")
                .as_bytes(),
        )
        .unwrap();
    let mut answer = String::new();
    rebound.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    squire.stop();
}

/// A token that somebody revoked is found to be dead by the first who is refused, and a new one answers that request.
#[test]
fn a_dead_token_costs_a_client_nothing() {
    let tenant = Bao::shared().tenant();
    let (rig, password) = rig(&tenant, "", "");
    let mut squire = running(&rig);
    // The first look comes five seconds after the login, and proves that the token could look itself up.
    squire.wait_until("the token was looked at", || rig.read("stderr.1").contains("\"look_up\""));
    tenant.revoke_tokens();
    let answer = get(&rig, &format!("secret/data/{}/app", tenant.name()));
    assert_eq!((answer.status, answer.password()), (200, password.as_str()), "{}", answer.head);
    squire.stop();
}

#[test]
fn a_refusal_by_the_policy_is_passed_on_soon() {
    let tenant = Bao::shared().tenant();
    let (rig, _) = rig(&tenant, "paths = [\"secret/*\"]", "");
    let mut squire = running(&rig);
    let begun = Instant::now();
    for _ in 0..5 {
        let answer = get(&rig, "secret/data/nobody/may");
        let says = answer.body["errors"][0].as_str().unwrap();
        assert!(answer.status == 403 && says.contains("permission denied"), "{}", answer.head);
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    squire.stop();
}

#[test]
fn a_value_is_cached_and_served_stale_in_an_outage_for_as_long_as_is_said() {
    let mut bao = Bao::start();
    let tenant = bao.tenant();
    let (rig, password) = rig(&tenant, "cache = \"2s\"\nstale = \"4s\"", "");
    let path = format!("secret/data/{}/app", tenant.name());
    let mut squire = running(&rig);
    assert_eq!(get(&rig, &path).password(), password);
    let cached = get(&rig, &path);
    assert!(cached.head.contains("\r\nage: "), "{}", cached.head);
    drop(tenant);
    bao.stop();
    let mut seen_stale = false;
    wait_until(SOON, "it ends", || {
        let answer = get(&rig, &path);
        let is_stale = answer.head.contains("x-squire-stale: true") && answer.head.contains("warning: 110");
        seen_stale |= is_stale;
        assert!(answer.status == 503 || answer.password() == password, "{}", answer.head);
        answer.status == 503 && answer.head.contains("retry-after: ")
    });
    assert!(seen_stale);
    squire.stop();
}

#[test]
fn equal_reads_at_the_same_time_are_one_request() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let (rig, password) = rig(&tenant, "", "");
    let mut squire = running(&rig);
    let path = format!("secret/data/{}/app", tenant.name());
    let open = || fs::read_dir(format!("/proc/{}/fd", squire.id())).unwrap().count();
    let (before_all, place) = (open(), rig.path("vault.sock"));
    let count = || tenant.bao().asked_by(tenant.name()).iter().filter(|(asked, _)| *asked == path).count();
    let before = count();
    tenant.bao().halt();
    thread::scope(|scope| {
        let answers: Vec<_> =
            (0..20).map(|_| scope.spawn(|| get_at(&place, &path).password().to_owned())).collect();
        wait_until(SOON, "all are connected", || open() >= before_all + 20);
        tenant.bao().go_on();
        for answer in answers {
            assert_eq!(answer.join().unwrap(), password);
        }
    });
    let asked = count() - before;
    assert!(asked <= 3, "{asked} requests for 20 clients");
    squire.stop();
}

#[test]
fn a_lease_is_renewed_while_its_client_lives_and_ends_with_it_or_with_squire() {
    let bao = Bao::shared();
    bao.connect_database(Postgres::shared(), "proxied", 4, 600);
    let tenant = bao.tenant();
    tenant.set_policy(&format!(
        "{}\npath \"database/creds/proxied\" {{ capabilities = [\"read\"] }}\npath \"sys/leases/*\" {{ capabilities = [\"update\"] }}",
        tenant.policy()
    ));
    let (rig, _) = rig(&tenant, "paths = [\"database/creds/proxied\"]", "");
    let mut squire = running(&rig);
    let place = rig.path("vault.sock");
    let client = || Client::start(&rig, &place, "database/creds/proxied");
    let lives = |lease: &str| {
        let looked = bao.api().try_post("sys/leases/lookup", &json!({ "lease_id": lease }));
        looked.is_some_and(|(status, _)| status == 200)
    };
    let (one, two) = (client(), client());
    let [first, second] = [&one, &two].map(|client| client.lease.clone());
    assert_ne!(first, second, "each client has its own");
    assert_eq!(status(&rig)["sources"][0]["client_leases"], 2);
    squire.wait_until("both are renewed past their first life", || squire_renewals(&rig) >= 4);
    assert!(lives(&first) && lives(&second));
    drop(one);
    wait_until(SOON, "the lease of the client that is gone is gone", || !lives(&first));
    assert!(lives(&second));
    wait_until(SOON, "it is not counted any more", || status(&rig)["sources"][0]["client_leases"] == 1);
    squire.stop();
    wait_until(SOON, "with squire all end", || !lives(&second));
    drop(two);
}

/// A process that gets a lease, and lives until it is dropped.
struct Client {
    child: Child,
    lease: String,
}

impl Client {
    fn start(rig: &Rig, place: &Path, path: &str) -> Self {
        let script = "import socket,sys,time\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
                      s.sendall(('GET /v1/'+sys.argv[2]+' HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\nx-vault-request: true\\r\\n\\r\\n').encode())\n\
                      d=b''\nwhile True:\n b=s.recv(9999)\n if not b: break\n d+=b\nprint(d.split(b'\"lease_id\":\"')[1].split(b'\"')[0].decode(),flush=True)\n\
                      print(d.split(b'\"password\":\"')[1].split(b'\"')[0].decode(),flush=True)\ntime.sleep(1000)";
        let (child, mut lines) = spawn_python(script, place, &[path], Stdio::inherit());
        let [lease, password] = [(); 2].map(|()| lines.next().unwrap().unwrap());
        rig.canaries().add(&password);
        Self { child, lease }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A program at the socket, and what it prints.
fn spawn_python(
    script: &str,
    place: &Path,
    words: &[&str],
    stderr: Stdio,
) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(place).args(words).stdout(Stdio::piped()).stderr(stderr);
    let mut child = python.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

fn squire_renewals(rig: &Rig) -> usize {
    let log = rig.read("stderr.1");
    log.lines().filter(|line| line.contains("\"renew\"") && line.contains("database/creds/proxied")).count()
}

#[test]
fn a_flood_is_slowed_down_and_holds_up_nobody_else() {
    let tenant = Bao::shared().tenant();
    let (rig, password) = rig(&tenant, "rate = 5", "");
    let mut squire = running(&rig);
    let path = format!("secret/data/{}/app", tenant.name());
    let answers: Vec<_> = (0..40).map(|_| get(&rig, &path).status).collect();
    let slowed = answers.iter().filter(|status| **status == 429).count();
    assert!(slowed >= 20 && answers[0] == 200, "{answers:?}");
    // Connections that say nothing, a head without end, and a body that is too long.
    let silent: Vec<_> = (0..300).filter_map(|_| UnixStream::connect(rig.path("vault.sock")).ok()).collect();
    let mut endless = UnixStream::connect(rig.path("vault.sock")).unwrap();
    let line = format!("x-header: {}\r\n", "x".repeat(1000));
    endless.write_all(b"GET /v1/x HTTP/1.1\r\n").ok();
    drop((0..1000).try_for_each(|_| endless.write_all(line.as_bytes())));
    // Another process has a rate of its own.
    let mut bao = Command::new(bao_program());
    bao.args(["read", "-field=data", &path]).env_clear().env("HOME", rig.path("seen"));
    bao.env("BAO_ADDR", format!("unix://{}", rig.path("vault.sock").display()));
    let output = bao.output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains(&password), "{output:?}");
    drop(silent);
    assert!(squire.is_running());
    squire.stop();
}

#[test]
fn a_body_beyond_its_limit_is_refused_and_one_within_arrives() {
    let tenant = Bao::shared().tenant();
    tenant.set_policy(&format!(
        "{}\npath \"secret/data/{}/*\" {{ capabilities = [\"create\", \"update\", \"read\"] }}",
        tenant.policy(),
        tenant.name()
    ));
    let (rig, _) = rig(&tenant, "paths = [\"secret/data/@tenant@/*\"]", "");
    let mut squire = running(&rig);
    let path = format!("/v1/secret/data/{}/large", tenant.name());
    let large = fresh("large") + &"x".repeat(500 << 10);
    let body = json!({ "data": { "password": large } }).to_string();
    let written = asked(socket(&rig), &format!("POST {path}"), &[SDK], &body);
    assert_eq!(written.status, 200, "{}", written.head);
    let read = asked(socket(&rig), &format!("GET {path}"), &[SDK], "");
    assert_eq!(read.password(), large, "an answer that is longer than what is read whole is whole");
    let mut stream = socket(&rig);
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\n{SDK}\r\nconnection: close\r\ncontent-length: 40000000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    squire.stop();
}

/// The printed policy is enough for what the proxy passes on, and `check` says which users are not there.
#[test]
fn the_policy_has_the_proxys_paths_and_the_check_its_users() {
    let tenant = Bao::shared().tenant();
    let proxy = "paths = [\"secret/data/@tenant@/app\", \"auth/token/lookup-self\"]";
    let (rig, password) =
        rig(&tenant, &format!("{proxy}\nusers = [\"nobody\", \"nobody-has-this-name\"]"), "");
    let checked = rig.check();
    let says = "proxy.users: there is no user nobody-has-this-name on this machine";
    assert!(checked.code == 0 && checked.stderr.contains(says), "{}", checked.stderr);
    assert_eq!(checked.stderr.matches("proxy.users").count(), 1, "{}", checked.stderr);
    configure(&rig, proxy, "");
    let file = rig.path("squire.toml");
    let printed = rig.start(&["policy", "-c", file.to_str().unwrap()]).outcome(SOON);
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    tenant.set_policy(&printed.stdout);
    let mut squire = rig.run();
    squire.wait_until("it has a token", || rig.read("stderr.3").contains("logged in"));
    let path = format!("secret/data/{}/app", tenant.name());
    assert_eq!(get(&rig, &path).password(), password, "{}", printed.stdout);
    assert_eq!(get(&rig, "auth/token/lookup-self").status, 200);
    let other = format!("secret/data/{}/other", tenant.name());
    assert_eq!(get(&rig, &other).status, 403);
    squire.stop();
    // Without a list it is the policy for every secret of the configuration.
    configure(&rig, "", "");
    let printed = rig.start(&["policy", "-c", file.to_str().unwrap()]).outcome(SOON);
    assert!(printed.code == 0 && printed.stdout.contains(&format!("path \"{path}\"")), "{}", printed.stderr);
}
