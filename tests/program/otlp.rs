//! Traces and metrics at a real collector; and collectors that are away, that hang, that lie, and that say back the key that they were given.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Bao, Impostor, Manners, Rig, Rotel, SOON, Squire, Tenant, field, free_port, fresh, status, wait_until,
};

const CONFIG: &str = r#"
    [secret.app]
    path = "secret/@tenant@/app"
    [[file]]
    path   = "password"
    inline = "{{app.password}}"
    on_change = "restart"
    [process]
    command = ["sh", "-c", "env > @dir@/seen/environment; exec sleep 1000"]
    [rollout]
    settle = "10ms"
    [agent]
    socket = "@dir@/socket"
"#;

fn rig(tenant: &Tenant<'_>, endpoint: &str) -> Rig {
    let rig = Rig::new(tenant);
    rig.config(CONFIG);
    rig.set("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    put(&rig, tenant);
    rig
}

fn put(rig: &Rig, tenant: &Tenant<'_>) -> String {
    let password = fresh("password");
    rig.canaries().add(&password);
    tenant.write("app", &json!({ "password": password }));
    password
}

/// Writes a value, and waits until it is live and proven.
#[track_caller]
fn rotate(rig: &Rig, tenant: &Tenant<'_>, squire: &mut Squire<'_>) {
    let password = put(rig, tenant);
    squire.wait_until("the value is there", || rig.read("out/password") == password);
    squire.wait_until("its rollout is over", || status(rig)["rollouts"][0]["ended"].is_string());
}

fn is_live(rig: &Rig, squire: &mut Squire<'_>) {
    squire.wait_until("the first rollout is over", || !squire_rollouts(rig).is_empty());
}

fn squire_rollouts(rig: &Rig) -> Vec<Value> {
    // Before the socket is there nobody answers.
    let asked = crate::support::ask(rig, &["status", "--json"]);
    let status: Value = serde_json::from_slice(&asked.stdout).unwrap_or_default();
    let rollouts = status["rollouts"].as_array().cloned().unwrap_or_default();
    rollouts.into_iter().filter(|rollout| rollout["ended"].is_string()).collect()
}

fn nanos(span: &str, name: &str) -> u128 {
    field(span, name).parse().unwrap_or_else(|_| panic!("no {name}: {span}"))
}

#[test]
fn a_rollout_is_a_trace_its_steps_are_spans_and_the_servers_request_id_leads_to_it() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let port = free_port();
    let rotel = Rotel::start(port);
    let rig = rig(&tenant, &format!("http://127.0.0.1:{port}"));
    rig.set("OTEL_SERVICE_NAME", "shop");
    let mut squire = rig.run();
    is_live(&rig, &mut squire);
    rotate(&rig, &tenant, &mut squire);
    let rollout = squire_rollouts(&rig).swap_remove(0);
    let trace = rollout["trace"].as_str().unwrap();
    squire.wait_until("the collector has it", || !rotel.spans(trace).is_empty());

    let spans = rotel.spans(trace);
    let whole = spans.iter().find(|span| field(span, "Name") == "rollout").unwrap();
    let times = |span: &str| (nanos(span, "Start time"), nanos(span, "End time"));
    let (began, ended) = times(whole);
    let names: Vec<_> =
        spans.iter().map(|span| field(span, "Name")).filter(|name| *name != "rollout").collect();
    let steps = rollout["steps"].as_array().unwrap().iter();
    let steps: Vec<_> = steps.map(|step| format!("rollout.{}", step["step"].as_str().unwrap())).collect();
    assert_eq!(names, steps, "{spans:?}");
    for step in spans.iter().filter(|span| field(span, "Name") != "rollout") {
        assert_eq!(field(step, "Parent ID"), field(whole, "ID"), "{step}");
        assert!(
            began <= times(step).0 && times(step).0 <= times(step).1 && times(step).1 <= ended,
            "{spans:?}"
        );
    }
    let since = humantime_of(&rollout["began"]);
    assert!(began.abs_diff(since) < 1_000_000_000, "{began} is not {since}");

    let path = format!("secret/{}/app", tenant.name());
    let asked = squire.events("source asked");
    let reads = asked.iter().filter(|line| line["kind"] == "fetch" && line["path"] == path);
    let requests: Vec<_> = reads.map(|line| line["request_id"].as_str().unwrap()).collect();
    let request = requests.iter().find(|request| whole.contains(**request));
    let request = request.unwrap_or_else(|| panic!("none of {requests:?} in {whole}"));
    let fetch = rotel.spans(&request.replace('-', ""));
    assert_eq!(fetch.iter().map(|span| field(span, "Name")).collect::<Vec<_>>(), ["fetch"]);
    assert!(fetch[0].contains(&path), "{fetch:?}");
    assert!(rotel.said().contains("service.name: Str(shop)"));
    assert_eq!(squire.stop(), 128 + 15);
    assert_eq!(rig.canaries().hunt().find(rotel.said().as_bytes()), None);
}

/// The figures of a metric, as the collector wrote them, newest last.
fn figures(rotel: &Rotel, metric: &str) -> Vec<String> {
    let said = rotel.said();
    let name = format!("Name: {metric}\n");
    let metrics = said.split("Metric #").filter(|text| text.replace("-> ", "").contains(&name));
    metrics.map(|text| text.split("ResourceMetrics #").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_collector_gets_the_metrics_of_a_scrape_again_and_again_and_once_more_at_the_end() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let port = free_port();
    let rotel = Rotel::start(port);
    let rig = rig(&tenant, &format!("http://127.0.0.1:{port}"));
    rig.set("OTEL_TRACES_EXPORTER", "none");
    rig.set("OTEL_METRIC_EXPORT_INTERVAL", "100");
    let mut squire = rig.run();
    is_live(&rig, &mut squire);
    let committed = |value: &str| {
        let figures = figures(&rotel, "squire_rollouts");
        let points = figures.iter().flat_map(|text| text.split("NumberDataPoints #"));
        points.filter(|point| point.contains("committed") && point.contains(value)).count()
    };
    squire.wait_until("the first rollout is counted", || committed("Value: 1") > 0);
    squire.wait_until("the gauges come, too", || !figures(&rotel, "squire_secret_state").is_empty());
    squire.wait_until("and the histograms", || {
        let figures = figures(&rotel, "squire_rollout_duration_seconds");
        figures.iter().any(|text| text.contains("CUMULATIVE"))
    });
    rotate(&rig, &tenant, &mut squire);
    squire.wait_until("the next is counted", || committed("Value: 2") > 0);
    assert!(!rotel.said().contains("rollout.publish"), "nobody asked for traces");
    assert_eq!(squire.stop(), 128 + 15);

    // Nothing is sent for an hour, but at the end.
    rig.set("OTEL_METRIC_EXPORT_INTERVAL", "3600000");
    let before = committed("Value: 1");
    let mut squire = rig.run();
    is_live(&rig, &mut squire);
    assert_eq!(squire.stop(), 128 + 15);
    wait_until(SOON, "the end is counted", || committed("Value: 1") > before);
}

#[test]
fn what_cannot_be_exported_is_said_and_the_rest_is_exported() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let port = free_port();
    let rotel = Rotel::start(port);
    let rig = rig(&tenant, &format!("http://127.0.0.1:{port}"));
    rig.set("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta");
    let mut squire = rig.run();
    is_live(&rig, &mut squire);
    squire.wait_until("traces come", || rotel.said().contains("rollout.publish"));
    let said = squire_says(&rig, "metrics are not exported");
    assert_eq!(said.len(), 1);
    assert!(said[0]["error"].as_str().unwrap().contains("cumulative"), "{said:?}");
    assert!(!rotel.said().contains("squire_rollouts"));
}

fn humantime_of(moment: &Value) -> u128 {
    let time = humantime::parse_rfc3339(moment.as_str().unwrap()).unwrap();
    time.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
}

#[test]
fn what_a_collector_misses_while_it_is_away_for_a_moment_it_gets_later() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let port = free_port();
    let rig = rig(&tenant, &format!("http://127.0.0.1:{port}"));
    let mut squire = rig.run();
    is_live(&rig, &mut squire);
    squire.wait_until("it is said", || !squire_says(&rig, "traces cannot be exported").is_empty());
    // At once, since the spans of the first rollout are kept for 21 seconds.
    let rotel = Rotel::start(port);
    rotate(&rig, &tenant, &mut squire);
    let traces: Vec<_> = squire_rollouts(&rig).iter().map(|rollout| rollout["trace"].clone()).collect();
    assert_eq!(traces.len(), 2);
    squire.wait_at_most(Duration::from_mins(1), "the collector has both", || {
        traces.iter().all(|trace| !rotel.spans(trace.as_str().unwrap()).is_empty())
    });
    squire.wait_until("it is said", || !squire_says(&rig, "traces can be exported again").is_empty());
    assert_eq!(squire_says(&rig, "traces cannot be exported").len(), 1, "once, not for each try");
}

fn squire_says(rig: &Rig, message: &str) -> Vec<Value> {
    let log = rig.read("stderr.1");
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

#[test]
fn a_collector_that_hangs_or_lies_holds_up_neither_a_rotation_nor_the_end() {
    let bao = Bao::start();
    for manners in [Manners::Silent, Manners::Endless, Manners::Continues, Manners::Html, Manners::HangsUp] {
        let tenant = bao.tenant();
        let collector = Impostor::start(manners);
        let rig = rig(&tenant, &collector.address());
        let mut squire = rig.run();
        is_live(&rig, &mut squire);
        squire.wait_until("it was asked", || collector.visitors() > 0);
        rotate(&rig, &tenant, &mut squire);
        let started = Instant::now();
        assert_eq!(squire.stop(), 128 + 15);
        // One request alone might take ten seconds.
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        if matches!(manners, Manners::Silent) {
            let lost = squire_says(&rig, "traces were not exported");
            assert!(lost.len() == 1 && lost[0]["spans"].as_u64() >= Some(2), "{lost:?}");
        }
    }
}

/// The attacker is the collector, or who reads what the log says of its answers.
#[test]
fn the_key_of_a_collector_is_sent_to_it_alone() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let rig = rig(&tenant, &format!("http://{}", listener.local_addr().unwrap()));
    let key = fresh("collector-key");
    rig.canaries().add(&key);
    rig.start_with_secrets_in_environment();
    rig.set("OTEL_EXPORTER_OTLP_HEADERS", &format!("authorization=Bearer%20{key}"));
    let mut squire = rig.run();
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = vec![0; 64 << 10];
    let length = stream.read(&mut request).unwrap();
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    assert!(request.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("authorization: Bearer {key}\r\n")), "{request}");
    // Once more, as its reason and its body.
    let answer = format!(
        "HTTP/1.1 401 {key}\r\nwww-authenticate: {key}\r\ncontent-length: {}\r\n\r\n{key}",
        key.len()
    );
    stream.write_all(answer.as_bytes()).unwrap();
    squire.wait_until("the refusal is said", || !squire_says(&rig, "traces cannot be exported").is_empty());
    let said = squire_says(&rig, "traces cannot be exported");
    assert_eq!(said[0]["error"], "the collector answered 401 Unauthorized");

    let environment = rig.read("seen/environment");
    assert!(environment.contains("OTEL_EXPORTER_OTLP_ENDPOINT=") && !environment.contains("OTLP_HEADERS"));
    let shown = std::fs::read(format!("/proc/{}/environ", squire.id())).unwrap();
    assert!(!String::from_utf8_lossy(&shown).contains(&key), "it is forgotten");
}
