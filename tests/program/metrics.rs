//! Metrics: what Prometheus, its rules and its dashboards make of a real Squire; and who tries to hold a scrape up.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBuf;
use serde_json::{Value, json};

use crate::support::{
    Bao, Postgres, Prometheus, Rig, SOON, Squire, Tenant, database_file, free_port, fresh, make_role,
    make_store, prometheus_program, store, wait_until,
};

/// Two sources: a server, and a store whose rotation is due and that nobody may make. A value with the word `broken` does not pass.
const CONFIG: &str = r#"
    [source.vault]
    address = "@address@"
    refresh = "300ms"
    [source.vault.auth.approle]
    role_id_file   = "@dir@/vault-role-id"
    secret_id_file = "@dir@/secret-id"
    [source.store]
    file = "@dir@/app.store"
    role_id_file = "@dir@/role-id"
    secret_id_file = "@dir@/web.secret-id"
    [output]
    dir = "@dir@/out"
    [secret.kv]
    source = "vault"
    path = "secret/@tenant@/kv"
    [secret.planned]
    source = "store"
    path = "prod/app/db"
    [[file]]
    path   = "password"
    inline = "{{kv.password}}{{planned.password}}"
    on_change = "restart"
    [process]
    command = ["sleep", "1000"]
    [rollout]
    settle = "10ms"
    check = [["sh", "-c", "! grep -q broken {dir}/password"]]
    [agent]
    socket = "@dir@/socket"
"#;

fn rig(tenant: &Tenant<'_>, more: &str) -> (Rig, u16) {
    let (rig, port) = (Rig::new(tenant), free_port());
    for name in ["vault-role-id", "app.store", "app.store-wal", "app.store.key"] {
        rig.allow_secrets_in(name);
    }
    rig.write("vault-role-id", tenant.role_id());
    make_store(&rig);
    store(&rig, &["put", "prod/app/db"], &json!({ "password": fresh("planned") }).to_string());
    store(&rig, &["policy", "prod/app/db", "--generate", "hex:bytes=16", "--every", "1ms"], "");
    make_role(&rig, &["--read", "prod/app/*"]);
    tenant.write("kv", &json!({ "password": fresh("first") }));
    rig.whole_config(&format!("{CONFIG}listen = \"127.0.0.1:{port}\"\n{more}"));
    (rig, port)
}

/// The head and the body of an answer over a stream that was just opened.
fn exchange(mut stream: impl Read + Write, request: &str) -> (String, String) {
    let request = format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    // A connection that is closed, since there are too many, has no answer.
    drop(stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer)));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    (head.to_owned(), body.to_owned())
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), SOON)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.set_write_timeout(Some(SOON))?;
    Ok(stream)
}

#[track_caller]
fn scrape(port: u16) -> String {
    let (head, body) = exchange(connect(port).unwrap(), "GET /metrics");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    body
}

/// The value of the one series that begins with this.
fn value(scrape: &str, series: &str) -> Option<f64> {
    let line = scrape.lines().find(|line| line.starts_with(series))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

fn is_live(port: u16) -> bool {
    connect(port).is_ok_and(|stream| exchange(stream, "GET /readyz").0.starts_with("HTTP/1.1 200"))
}

/// Writes a value, and waits until it is live.
#[track_caller]
fn rotate(tenant: &Tenant<'_>, rig: &Rig, squire: &mut Squire<'_>) {
    let password = fresh("next");
    tenant.canaries().add(&password);
    tenant.write("kv", &json!({ "password": password }));
    squire.wait_until("the value is live", || rig.read("out/password").starts_with(&password));
}

fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Every query of the dashboard, with what Grafana writes for its variables.
fn dashboard() -> Vec<String> {
    let board: Value = serde_json::from_str(&read("deploy/grafana/squire.json")).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let queries = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
    queries.map(|query| query.replace("$__rate_interval", "30s").replace("$instance", ".*")).collect()
}

fn alerts() -> Vec<String> {
    let rules: Value = serde_norway::from_str(&read("deploy/prometheus/alerts.yml")).unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap().iter();
    rules.map(|rule| rule["expr"].as_str().unwrap().to_owned()).collect()
}

/// The words in a text that are names of metrics.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words
        .filter(|word| word.starts_with("squire_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// The names of what was scraped, and those of the series of its histograms.
fn shown(scrape: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let types = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let (mut names, mut series) = (BTreeSet::new(), BTreeSet::new());
    for (name, kind) in types {
        names.insert(name.to_owned());
        let ends: &[&str] = if kind == "histogram" { &["_bucket", "_count", "_sum"] } else { &[""] };
        series.extend(ends.iter().map(|end| format!("{name}{end}")));
    }
    (names, series)
}

/// What a Squire to which nothing bad happens does not show, the uses of a token, which this one's are not counted, and the leases of a
/// proxy's clients.
const RARE: [&str; 11] = [
    "squire_breaker_openings_total",
    "squire_client_leases",
    "squire_credential_end_time_seconds",
    "squire_credential_uses_left",
    "squire_leases_lost_total",
    "squire_leases_not_revoked_total",
    "squire_ledger_failures_total",
    "squire_secret_expirations_total",
    "squire_store_rotation_next_time_seconds",
    "squire_token_deaths_total",
    "squire_token_uses_left",
];

#[test]
fn every_query_of_the_dashboard_and_every_alert_is_answered_under_a_real_rotation() {
    let (bao, postgres) = (Bao::shared(), Postgres::shared());
    let tenant = bao.tenant();
    bao.connect_database(postgres, "metrics", 20, 3600);
    let leased = database_file(postgres, "metrics")
        .replace("[secret.metrics]", "[secret.metrics]\nsource = \"vault\"");
    let (rig, port) = rig(&tenant, &leased);
    let mut squire = rig.run();
    squire.wait_until("it is ready", || is_live(port));
    let prometheus = Prometheus::scraping(port, &deployed("prometheus/alerts.yml"));
    wait_until(SOON, "it was scraped", || !prometheus.query("squire_info").is_empty());
    for _ in 0..2 {
        rotate(&tenant, &rig, &mut squire);
    }
    tenant.write("kv", &json!({ "password": "broken" }));
    let failed = "squire_rollouts_total{outcome=\"not_passed\"}";
    squire.wait_until("a rollout failed", || value(&scrape(port), failed) >= Some(1.0));
    rotate(&tenant, &rig, &mut squire);

    for query in dashboard() {
        wait_until(SOON, &format!("an answer to {query}"), || !prometheus.query(&query).is_empty());
    }
    for query in alerts() {
        prometheus.query(&query);
    }
    wait_until(SOON, "the alert of the rollout", || {
        let rules = prometheus.rules();
        assert!(rules.iter().all(|rule| rule["health"] != "err"), "{rules:#?}");
        rules.iter().any(|rule| rule["name"] == "SquireRolloutFailed" && rule["state"] == "firing")
    });
    let firing = "ALERTS{alertstate=\"firing\"}";
    let names: BTreeSet<_> =
        prometheus.query(firing).iter().map(|alert| alert["metric"]["alertname"].to_string()).collect();
    assert_eq!(names, BTreeSet::from(["\"SquireRolloutFailed\"".to_owned()]), "and no other");
    squire.wait_until("all is live", || {
        let scrape = scrape(port);
        value(&scrape, "squire_generation_live ") == value(&scrape, "squire_generation_wanted ")
    });
    names_are_true(&scrape(port));
    numbers_are_true(&scrape(port), &squire);
    squire.stop();
}

/// Rules, dashboard and documentation name what there is, and the documentation names all of it.
fn names_are_true(scrape: &str) {
    let (shown, series) = shown(scrape);
    for query in alerts().into_iter().chain(dashboard()) {
        let missing: Vec<_> = names(&query).into_iter().filter(|name| !series.contains(name)).collect();
        assert!(missing.is_empty(), "{missing:?}, which {query} names, are not in\n{scrape}");
    }
    let told = read("docs/metrics.md");
    let told = told.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let told: BTreeSet<_> = told.map(|(name, _)| name.to_owned()).collect();
    let rare = RARE.map(str::to_owned);
    let expected: BTreeSet<_> = shown.into_iter().chain(rare).collect();
    assert_eq!(told, expected);
}

fn numbers_are_true(scrape: &str, squire: &Squire<'_>) {
    let is = |series: &str, range: std::ops::RangeInclusive<f64>| {
        let value = value(scrape, series);
        assert!(value.is_some_and(|value| range.contains(&value)), "{series}: {value:?} in\n{scrape}");
    };
    is("squire_ready ", 1.0..=1.0);
    is("squire_rollouts_total{outcome=\"committed\"}", 4.0..=100.0);
    is("squire_child_restarts_total{reason=\"rotation\"}", 3.0..=100.0);
    is("squire_store_rotations_overdue{source=\"store\"}", 1.0..=1.0);
    is("squire_secret_state{secret=\"kv\",source=\"vault\",state=\"fresh\"}", 1.0..=1.0);
    // The server says to the microsecond when a version was made, and this machine has one clock.
    is("squire_change_to_live_seconds_count", 3.0..=100.0);
    is("squire_change_to_live_seconds_sum", 0.001..=600.0);
    let memory = std::fs::read_to_string(format!("/proc/{}/statm", squire.id())).unwrap();
    let pages: f64 = memory.split(' ').nth(1).unwrap().parse().unwrap();
    is("process_resident_memory_bytes", pages * 2048.0..=pages * 8192.0);
}

fn promtool(directory: &Path, arguments: &[&str], stdin: &str) -> String {
    let mut command = Command::new(prometheus_program("promtool"));
    command
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

#[test]
fn promtool_finds_no_fault_in_metrics_and_rules() {
    let tenant = Bao::shared().tenant();
    let (rig, port) = rig(&tenant, "");
    let mut squire = rig.run();
    squire.wait_until("it is ready", || is_live(port));
    rotate(&tenant, &rig, &mut squire);
    assert_eq!(promtool(rig.directory(), &["check", "metrics"], &scrape(port)), "");
    // The listener's answer may be a moment older, and the process starts anew meanwhile.
    squire.wait_until("the socket has the same", || {
        let by_socket = exchange(UnixStream::connect(rig.path("socket")).unwrap(), "GET /metrics").1;
        shown(&by_socket) == shown(&scrape(port))
    });
    squire.stop();
    promtool(&deployed("prometheus"), &["check", "rules", "alerts.yml"], "");
    promtool(&deployed("prometheus"), &["test", "rules", "alerts.test.yml"], "");
}

/// Who asks for ever, and never reads an answer: on all places but one.
#[test]
fn a_scrape_that_is_never_read_holds_up_nobody() {
    let tenant = Bao::shared().tenant();
    let (rig, port) = rig(&tenant, "");
    let mut squire = rig.run();
    squire.wait_until("it is ready", || is_live(port));
    // As many as one address may have, but for one.
    let mut deaf: Vec<_> = (0..31).map(|_| Deaf::new(connect(port).unwrap())).collect();
    wait_until(SOON, "nothing more fits between any two", || {
        deaf.iter_mut().map(Deaf::is_full).min() == Some(true)
    });
    assert!(value(&scrape(port), "squire_ready ").is_some(), "another scrape is answered");
    rotate(&tenant, &rig, &mut squire);
    squire.wait_until("the rotation is counted", || {
        value(&scrape(port), "squire_rollouts_total{outcome=\"committed\"}") >= Some(2.0)
    });
    wait_until(Duration::from_mins(1), "they were cut off", || deaf.iter_mut().all(Deaf::is_cut_off));
    squire.stop();
}

/// A client that takes next to nothing.
struct Deaf {
    stream: TcpStream,
    /// So much of its present request was sent.
    sent: usize,
}

impl Deaf {
    const REQUEST: &str = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";

    fn new(stream: TcpStream) -> Self {
        setsockopt(&stream, RcvBuf, &4096).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self { stream, sent: 0 }
    }

    /// Asks once more; tells whether the other side takes no more, since its answer is not taken.
    fn is_full(&mut self) -> bool {
        let asked = Self::REQUEST.repeat(200);
        match self.stream.write(&asked.as_bytes()[self.sent..]) {
            Ok(wrote) => {
                self.sent = (self.sent + wrote) % Self::REQUEST.len();
                false
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                true
            }
        }
    }

    fn is_cut_off(&mut self) -> bool {
        self.stream.write(b"x").is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
    }
}

/// Whoever can write the audit, and cuts off its last line while Squire does not run.
#[test]
fn an_audit_that_was_cut_is_counted_in_the_first_scrape() {
    let tenant = Bao::shared().tenant();
    let audit = "[audit]\nfile = \"@dir@/log/audit.jsonl\"\nanchor = \"@dir@/state/audit.anchor\"\n";
    let (rig, port) = rig(&tenant, audit);
    for breaks in [0.0, 1.0] {
        let mut squire = rig.run();
        squire.wait_until("it is ready", || is_live(port));
        let scrape = scrape(port);
        assert_eq!(value(&scrape, "squire_audit_breaks_total "), Some(breaks));
        assert_eq!(value(&scrape, "squire_audit_failing "), Some(0.0));
        squire.stop();
        let written = rig.read("log/audit.jsonl");
        let cut = written.trim_end().rfind('\n').unwrap();
        std::fs::write(rig.path("log/audit.jsonl"), &written[..=cut]).unwrap();
    }
}

#[test]
fn a_thousand_connections_at_once_hold_up_no_rotation() {
    let tenant = Bao::shared().tenant();
    let (rig, port) = rig(&tenant, "");
    let mut squire = rig.run();
    squire.wait_until("it is ready", || is_live(port));
    let crowd: Vec<_> = thread::scope(|scope| {
        let each = |_| scope.spawn(move || (0..100).map(|_| connect(port)).collect::<Vec<_>>());
        (0..10).map(each).collect::<Vec<_>>().into_iter().flat_map(|many| many.join().unwrap()).collect()
    });
    rotate(&tenant, &rig, &mut squire);
    let crowd: Vec<_> = crowd.into_iter().map(Result::unwrap).collect();
    wait_until(SOON, "nearly all of them are closed", || {
        crowd.iter().filter(|stream| is_open(stream)).count() <= 64
    });
    drop(crowd);
    squire.wait_until("a scrape works", || {
        connect(port).is_ok_and(|stream| exchange(stream, "GET /metrics").0.starts_with("HTTP/1.1 200"))
    });
    let descriptors = value(&scrape(port), "process_open_fds").unwrap();
    assert!(descriptors < 200.0, "{descriptors} are still open");
    squire.stop();
}

fn is_open(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Whoever sends without end costs neither memory nor time: a body that nobody asked for is not read, a head has a limit.
#[test]
fn a_request_of_a_gibibyte_is_cut_off_and_costs_no_memory() {
    let tenant = Bao::shared().tenant();
    let (rig, port) = rig(&tenant, "");
    let mut squire = rig.run();
    squire.wait_until("it is ready", || is_live(port));
    let before = value(&scrape(port), "process_resident_memory_bytes").unwrap();
    let heads = [
        "POST /metrics HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1073741824\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1073741824\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nhost: localhost\r\nx: ",
        "GET /metrics?",
    ];
    for head in heads {
        let sent = pour(connect(port).unwrap(), head);
        assert!(sent < 1 << 28, "{sent} bytes were taken of {head:?}");
    }
    rotate(&tenant, &rig, &mut squire);
    let after = value(&scrape(port), "process_resident_memory_bytes").unwrap();
    assert!(after < before + f64::from(16 << 20), "{before} bytes before, {after} after");
    squire.stop();
}

/// Sends a gibibyte behind this, as far as it is taken; how many bytes were.
fn pour(mut stream: TcpStream, head: &str) -> usize {
    let (mut sent, more) = (0, vec![b'x'; 1 << 16]);
    if stream.write_all(head.as_bytes()).is_err() {
        return 0;
    }
    while sent < 1 << 30 {
        match stream.write(&more) {
            Ok(wrote) => sent += wrote,
            Err(_) => break,
        }
    }
    sent
}
