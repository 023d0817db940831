//! Clients that want more than they may: what goes wrong on the wire, what is Squire's own, what is another client's.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::json;

use super::scripted::{Scripted, json};
use super::{Answer, Client, SDK, asked, get, rig, running, socket, socket_at};
use crate::support::{Bao, Postgres, Rig, SOON, Tenant, bao_program, free_port, fresh, status, wait_until};

/// What comes back of these bytes, as far as it comes before the other side is silent.
fn wired(rig: &Rig, bytes: &[u8]) -> String {
    let mut stream = socket_at(&rig.path("vault.sock"));
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    // Who is refused early may find the other side closed.
    drop(stream.write_all(bytes));
    let (mut answer, mut part) = (Vec::new(), vec![0; 65536]);
    while let Ok(length) = stream.read(&mut part)
        && length > 0
    {
        answer.extend_from_slice(&part[..length]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Every status of what came back.
fn statuses(answer: &str) -> Vec<u16> {
    answer.split("HTTP/1.").skip(1).filter_map(|one| one.get(2..5)?.parse().ok()).collect()
}

#[test]
fn what_is_wrong_on_the_wire_brings_no_more_than_what_is_right() {
    let tenant = Bao::shared().tenant();
    let (rig, password) = rig(&tenant, "", "");
    let secret = fresh("other");
    tenant.write("other", &json!({ "password": secret }));
    let mut squire = running(&rig);
    let (app, other) = (
        format!("/v1/secret/data/{}/app", tenant.name()),
        format!("/v1/secret/data/{}/other", tenant.name()),
    );
    let many = "x: x\r\n".repeat(10_000);
    let long = format!("x: {}\r\n", "x".repeat(64 << 10));
    let hidden = format!("GET {other} HTTP/1.1\r\nhost: x\r\n{SDK}\r\n\r\n");
    let size = hidden.len();
    let cases: Vec<(String, &[u16])> = vec![
        (format!("GET {app} HTTP/1.0\r\n{SDK}\r\n\r\n"), &[200]),
        (format!("GET {app} HTTP/1.1\r\nhost: x\r\n{SDK}\r\n{many}\r\n"), &[431]),
        (format!("GET {app} HTTP/1.1\r\nhost: x\r\n{SDK}\r\n{long}\r\n"), &[431]),
        (format!("CONNECT other:443 HTTP/1.1\r\nhost: x\r\n{SDK}\r\n\r\n"), &[400]),
        (format!("GET http://evil{app} HTTP/1.1\r\nhost: x\r\n{SDK}\r\n\r\n"), &[400]),
        (format!("GET http://evil{other} HTTP/1.1\r\nhost: x\r\n{SDK}\r\n\r\n"), &[400]),
        (format!("OPTIONS * HTTP/1.1\r\nhost: x\r\n{SDK}\r\n\r\n"), &[405]),
        (format!("HEAD {app} HTTP/1.1\r\nhost: x\r\n{SDK}\r\n\r\n"), &[405]),
        (format!("GET {app};x HTTP/1.1\r\nhost: x\r\n{SDK}\r\n\r\n"), &[403]),
        (
            format!(
                "GET {app} HTTP/1.1\r\nhost: x\r\n{SDK}\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"
            ),
            &[200],
        ),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &[]),
        // The method is the one of the request line.
        (format!("GET {app} HTTP/1.1\r\nhost: x\r\n{SDK}\r\nx-http-method-override: DELETE\r\n\r\n"), &[200]),
        (
            format!(
                "POST {app} HTTP/1.1\r\nhost: x\r\n{SDK}\r\nx-http-method-override: GET\r\ncontent-length: 0\r\n\r\n"
            ),
            &[403],
        ),
        // Requests one after the other: each is judged.
        (format!("GET {app} HTTP/1.1\r\nhost: x\r\n{SDK}\r\n\r\n{hidden}"), &[200, 403]),
        (
            format!(
                "GET {app} HTTP/1.1\r\nhost: x\r\n{SDK}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
            ),
            &[200, 403],
        ),
        (
            format!(
                "GET {app} HTTP/1.1\r\nhost: x\r\n{SDK}\r\ncontent-length: {size}\r\ncontent-length: 0\r\n\r\n{hidden}"
            ),
            &[400],
        ),
        (
            format!(
                "GET {app} HTTP/1.1\r\nhost: x\r\n{SDK}\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n"
            ),
            &[400],
        ),
        (format!("GET {app} HTTP/1.1\r\nhost: x\r\n{SDK}\r\ncontent-length: +5\r\n\r\nhello"), &[400]),
        (
            format!(
                "GET {app} HTTP/1.1\r\nhost: x\r\n{SDK}\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-vault-token: x\r\n\r\n"
            ),
            &[200],
        ),
        (format!("GET {app} HTTP/1.1\r\nhost: x\r\n{SDK}\r\nx-vault-namespace: \r\n folded\r\n\r\n"), &[400]),
        // Who is refused is not told to go on.
        (
            format!(
                "POST {other} HTTP/1.1\r\nhost: x\r\n{SDK}\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n"
            ),
            &[403],
        ),
        (format!("GET {app} HTTP/1.1\r\nhost: x\r\n{SDK}\r\norigin: http://localhost:3000\r\n\r\n"), &[403]),
    ];
    for (request, expected) in cases {
        let answer = wired(&rig, request.as_bytes());
        let shown = &request[..request.len().min(200)];
        assert_eq!(statuses(&answer), expected, "{shown}\n{answer}");
        assert!(!answer.contains(&secret), "{shown}");
    }
    // A length that is no length, beside chunks: the chunks count, and what is behind them is a request of its own, or nothing.
    let both = format!(
        "GET {app} HTTP/1.1\r\nhost: x\r\n{SDK}\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
    );
    let answer = wired(&rig, both.as_bytes());
    assert!(!answer.contains(&secret) && statuses(&answer).iter().all(|status| *status != 500), "{answer}");
    assert_eq!(get(&rig, app.trim_start_matches("/v1/")).password(), password);
    let asked: Vec<_> = tenant.bao().asked_by(tenant.name()).into_iter().map(|(path, _)| path).collect();
    assert!(!asked.iter().any(|path| path.ends_with("/other")), "{asked:?}");
    squire.stop();
}

#[test]
fn squires_token_is_shown_to_nobody_and_ended_by_nobody() {
    let tenant = Bao::shared().tenant();
    let (rig, password) = rig(&tenant, "paths = [\"auth/token/*\", \"secret/data/@tenant@/app\"]", "");
    let mut squire = running(&rig);
    let looked = get(&rig, "auth/token/lookup-self");
    assert_eq!(
        (looked.status, &looked.body["data"]["id"]),
        (200, &json!("hidden-by-squire")),
        "{}",
        looked.head
    );
    assert_eq!(looked.body["data"]["meta"]["role_name"], tenant.name());
    for (request, line) in [
        ("GET /v1/auth/token/lookup-self", "X-Vault-Wrap-TTL: 60"),
        ("POST /v1/auth/token/renew-self", "x: x"),
        ("POST /v1/auth/token/revoke-self", "x: x"),
        ("PUT /v1/auth/token/revoke-self/", "x: x"),
    ] {
        let answer = asked(socket(&rig), request, &[SDK, line], "{}");
        assert_eq!(answer.status, 403, "{request}");
        assert!(answer.body["errors"][0].as_str().unwrap().starts_with("squire: "), "{request}");
    }
    let in_path = asked(socket(&rig), "POST /v1/auth/token/lookup/s.some-token", &[SDK], "{}");
    assert_eq!(in_path.status, 400);
    assert!(
        !rig.read("stderr.1").contains("s.some-token"),
        "what stands in a path that is refused is in no log"
    );
    assert_eq!(get(&rig, &format!("secret/data/{}/app", tenant.name())).password(), password);
    squire.stop();
}

fn leasing<'a>(bao: &'a Bao, role: &str) -> Tenant<'a> {
    bao.connect_database(Postgres::shared(), role, 600, 3600);
    let tenant = bao.tenant();
    tenant.set_policy(&format!(
        "{}\npath \"database/creds/{role}\" {{ capabilities = [\"read\"] }}\npath \"sys/leases/*\" {{ capabilities = [\"update\", \"list\", \"sudo\"] }}",
        tenant.policy()
    ));
    tenant
}

fn of_lease(rig: &Rig, what: &str, body: &str) -> Answer {
    asked(socket(rig), &format!("PUT /v1/sys/leases/{what}"), &[SDK], body)
}

#[test]
fn a_lease_is_for_the_client_that_got_it() {
    let bao = Bao::shared();
    let tenant = leasing(bao, "owned");
    let (rig, _) = rig(&tenant, "paths = [\"database/creds/owned\", \"sys/*\"]", "");
    let mut squire = running(&rig);
    let lives = |lease: &str| {
        let looked = bao.api().try_post("sys/leases/lookup", &json!({ "lease_id": lease }));
        looked.is_some_and(|(status, _)| status == 200)
    };
    let other = Client::start(&rig, &rig.path("vault.sock"), "database/creds/owned");
    let theirs = json!({ "lease_id": other.lease }).to_string();
    let own = get(&rig, "database/creds/owned");
    rig.canaries().add(own.body["data"]["password"].as_str().unwrap());
    let lease = own.body["lease_id"].as_str().unwrap().to_owned();
    let disguised = json!({ "lease_id": lease, "url_lease_id": other.lease }).to_string();
    let both = format!("{{\"lease_id\":\"{lease}\",\"lease_id\":\"{}\"}}", other.lease);
    for (what, body) in [
        ("renew", theirs.as_str()),
        ("lookup", &theirs),
        ("revoke", &theirs),
        ("revoke", &both),
        ("revoke", "{}"),
        ("revoke", &json!({ "lease_id": "", "url_lease_id": other.lease }).to_string()),
        (&format!("revoke/{}", other.lease), "{}"),
        (&format!("renew/{}", other.lease), "{}"),
        ("revoke-prefix/database/creds/owned", "{}"),
        ("revoke-force/database/creds/owned", "{}"),
    ] {
        let answer = of_lease(&rig, what, body);
        assert_eq!(answer.status, 403, "{what} {body} {}", answer.head);
        assert!(answer.body["errors"][0].as_str().unwrap().starts_with("squire: "), "{what}");
    }
    let listed = asked(socket(&rig), "LIST /v1/sys/leases/lookup/database/creds/owned", &[SDK], "");
    assert_eq!(listed.status, 403);
    // Its own it may renew, look up and end; what is not judged does not go on.
    let renewed = of_lease(&rig, "renew", &json!({ "lease_id": lease, "increment": 900 }).to_string());
    assert_eq!((renewed.status, &renewed.body["lease_duration"]), (200, &json!(900)), "{}", renewed.head);
    assert_eq!(of_lease(&rig, "lookup", &disguised).body["data"]["id"], json!(lease));
    assert_eq!(status(&rig)["sources"][0]["client_leases"], 2);
    assert_eq!(of_lease(&rig, "revoke", &disguised).status, 204);
    wait_until(SOON, "it is not counted any more", || status(&rig)["sources"][0]["client_leases"] == 1);
    assert!(!lives(&lease) && lives(&other.lease));
    drop(other);
    squire.stop();
}

/// By TCP nobody is told apart and nobody ends. The lease lives as the server said, or as its client renews it, and ends with Squire.
#[test]
fn a_lease_by_tcp_lives_as_long_as_its_client_says_and_ends_with_squire() {
    let bao = Bao::shared();
    let tenant = leasing(bao, "by-tcp");
    let port = free_port();
    let proxy = format!("listen = \"127.0.0.1:{port}\"\npaths = [\"database/creds/by-tcp\"]");
    let (rig, _) = rig(&tenant, &proxy, "");
    let mut squire = running(&rig);
    let stream = || TcpStream::connect(("127.0.0.1", port)).unwrap();
    let made = asked(stream(), "GET /v1/database/creds/by-tcp", &[SDK], "");
    rig.canaries().add(made.body["data"]["password"].as_str().unwrap());
    let lease = made.body["lease_id"].as_str().unwrap().to_owned();
    // Its connection has ended, and it lives on.
    let body = json!({ "lease_id": lease, "increment": 1200 }).to_string();
    let renewed = asked(stream(), "PUT /v1/sys/leases/renew", &[SDK], &body);
    assert_eq!((renewed.status, &renewed.body["lease_duration"]), (200, &json!(1200)), "{}", renewed.head);
    assert_eq!(status(&rig)["sources"][0]["client_leases"], 1);
    squire.stop();
    let looked = || bao.api().try_post("sys/leases/lookup", &json!({ "lease_id": lease }));
    wait_until(SOON, "it ends with squire", || looked().is_some_and(|(status, _)| status != 200));
}

/// A token of a client's own opens what it may, for that client. What Squire's token got is not for a token that may less.
#[test]
fn what_is_read_with_a_token_of_its_own_is_nobody_elses() {
    let (tenant, other) = (Bao::shared().tenant(), Bao::shared().tenant());
    let proxy = "auto_auth = \"if_missing\"\npaths = [\"secret/data/*\"]\ncache = \"60s\"";
    let audit = "[audit]\nfile = \"@dir@/audit/audit.jsonl\"\nanchor = \"@dir@/anchor/audit.anchor\"\n";
    let (rig, password) = rig(&tenant, proxy, audit);
    for place in ["audit", "anchor"] {
        fs::create_dir(rig.path(place)).unwrap();
    }
    let theirs = fresh("theirs");
    rig.canaries().add(&theirs);
    other.write("app", &json!({ "password": theirs }));
    let mut squire = running(&rig);
    let [ours, yours] = [&tenant, &other].map(|tenant| format!("GET /v1/secret/data/{}/app", tenant.name()));
    let ask = |request: &str, line: &str| asked(socket(&rig), request, &[SDK, line], "");
    assert_eq!(ask(&ours, "x: x").password(), password);
    assert!(ask(&ours, "x: x").head.contains("\r\nage: "), "it is cached");
    let [bad, own] = [fresh("bad"), other.token()];
    for token in [&bad, &own] {
        rig.canaries().add(token);
        assert_eq!(ask(&ours, &format!("X-Vault-Token: {token}")).status, 403);
    }
    for line in [format!("X-Vault-Token: {own}"), format!("Authorization: Bearer {own}")] {
        let answer = ask(&yours, &line);
        assert_eq!(
            (answer.password(), answer.head.contains("\r\nage: ")),
            (theirs.as_str(), false),
            "{}",
            answer.head
        );
    }
    assert_eq!(ask(&yours, "x: x").status, 403, "what another token read was kept");
    // Whoever has it wrapped gets a wrapping of its own, and the cache has neither.
    let wrapped = [(); 2].map(|()| ask(&ours, "X-Vault-Wrap-TTL: 60").body["wrap_info"]["token"].clone());
    assert!(wrapped[0].is_string() && wrapped[0] != wrapped[1]);
    for token in &wrapped {
        rig.canaries().add(token.as_str().unwrap());
    }
    assert_eq!(ask(&ours, "x: x").password(), password);
    squire.stop();
    let audited = rig.read("audit/audit.jsonl");
    assert!(audited.contains("\"forward\"") && audited.contains(&tenant.name().to_string()), "{audited}");
}

/// What a page in a browser of this machine can send: a preflight, a form, its own name.
#[test]
fn a_page_gets_nothing_at_a_loopback_address() {
    let tenant = Bao::shared().tenant();
    let port = free_port();
    let (rig, _) = rig(&tenant, &format!("listen = \"127.0.0.1:{port}\""), "");
    let mut squire = running(&rig);
    let path = format!("/v1/secret/data/{}/app", tenant.name());
    let page = "Origin: http://localhost:3000";
    for (request, lines, expected) in [
        (
            "OPTIONS",
            vec![
                page,
                "Access-Control-Request-Method: GET",
                "Access-Control-Request-Headers: x-vault-request",
            ],
            403,
        ),
        ("OPTIONS", vec!["Access-Control-Request-Method: GET"], 412),
        ("POST", vec!["Content-Type: text/plain"], 412),
        ("GET", vec![page, SDK], 403),
        ("GET", vec!["Host: evil.example", SDK], 421),
    ] {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let answer = asked(stream, &format!("{request} {path}"), &lines, "");
        assert_eq!(answer.status, expected, "{request} {lines:?}");
        assert!(!answer.head.contains("access-control"), "{}", answer.head);
    }
    squire.stop();
}

/// One process sends requests without end and without bodies; another one is served, and what Squire renders is followed.
#[test]
fn slow_bodies_of_one_client_hold_up_nobody() {
    let tenant = Bao::shared().tenant();
    let (rig, password) = rig(
        &tenant,
        "rate = 10000",
        "[[file]]\npath = \"app\"\ninline = \"{{app.password}}\"\non_change = \"none\"\n",
    );
    let mut squire = running(&rig);
    squire.wait_until("it is there", || rig.read("out/app") == password);
    let path = format!("secret/data/{}/app", tenant.name());
    let head = format!("GET /v1/{path} HTTP/1.1\r\nhost: x\r\n{SDK}\r\ncontent-length: 9\r\n\r\n");
    let slow: Vec<UnixStream> = (0..250)
        .map(|_| {
            let mut stream = socket(&rig);
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    wait_until(SOON, "this client has no more", || get(&rig, &path).status == 503);
    let mut bao = Command::new(bao_program());
    bao.args(["read", "-field=data", &path]).env_clear().env("HOME", rig.path("seen"));
    bao.env("BAO_ADDR", format!("unix://{}", rig.path("vault.sock").display())).env("BAO_MAX_RETRIES", "0");
    let output = bao.output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains(&password), "{output:?}");
    let second = fresh("second");
    rig.canaries().add(&second);
    tenant.write("app", &json!({ "password": second }));
    squire.wait_until("squire renders", || rig.read("out/app") == second);
    // A body that does not come is given up.
    let mut first = &slow[0];
    let mut answer = [0; 12];
    first.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408", "after {:?}", begun.elapsed());
    drop(slow);
    squire.stop();
}

#[test]
fn a_long_body_goes_on_as_it_comes_both_ways() {
    let tenant = Bao::shared().tenant();
    tenant.set_policy(&format!(
        "{}\npath \"secret/data/{}/*\" {{ capabilities = [\"create\", \"update\", \"read\"] }}",
        tenant.policy(),
        tenant.name()
    ));
    let (rig, _) = rig(&tenant, "paths = [\"secret/data/@tenant@/*\"]", "");
    let mut squire = running(&rig);
    let path = format!("/v1/secret/data/{}/large", tenant.name());
    let large = fresh("large") + &"x".repeat(900 << 10);
    rig.canaries().add(&large[..30]);
    let body = json!({ "data": { "password": large } }).to_string();
    // In chunks, so that nobody knows the length, and with a trailer that ends here.
    let mut stream = socket(&rig);
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\n{SDK}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    for chunk in body.as_bytes().chunks(50_000) {
        stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).unwrap();
        stream.write_all(chunk).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\nx-vault-token: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(asked(socket(&rig), &format!("GET {path}"), &[SDK], "").password(), large);
    squire.stop();
}

/// What Squire holds of an answer that nobody takes has a limit, whatever the size of the answer.
#[test]
fn what_is_buffered_for_who_does_not_read_does_not_grow_with_the_size_of_the_answer() {
    const CLIENTS: usize = 20;
    let server = Scripted::start(|path, _| {
        let size = path.rsplit('/').next().and_then(|size| size.parse::<usize>().ok()).unwrap_or_default();
        Some(json(&format!("{{\"data\":{{\"x\":\"{}\"}}}}", "x".repeat(size << 20))))
    });
    let rig = Rig::at(&server.address());
    rig.config("[proxy]\nlisten = \"unix:@dir@/vault.sock\"\npaths = [\"kv/*\"]\nrate = 1000\n");
    let mut squire = running(&rig);
    let process = squire.id();
    // The first of all makes what is made once.
    assert_eq!(get(&rig, "kv/1").status, 200);
    let memory = || {
        let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    };
    let before = memory();
    let grown = [1, 8].map(|size| {
        let request = format!("GET /v1/kv/{size} HTTP/1.1\r\nhost: x\r\n{SDK}\r\n\r\n");
        let deaf: Vec<UnixStream> = (0..CLIENTS)
            .map(|_| {
                let mut stream = socket(&rig);
                stream.write_all(request.as_bytes()).unwrap();
                stream.read_exact(&mut [0; 12]).unwrap();
                stream
            })
            .collect();
        // As much as Squire takes: until nothing has come for a while.
        let mut last = memory();
        let (mut since, start) = (Instant::now(), Instant::now());
        while since.elapsed() < Duration::from_millis(500) && start.elapsed() < SOON {
            thread::sleep(Duration::from_millis(20));
            let now = memory();
            if now > last {
                (last, since) = (now, Instant::now());
            }
        }
        // They are served as far as a socket takes it, and no further; and nobody else waits for them.
        assert_eq!(get(&rig, "kv/0").status, 200);
        drop(deaf);
        last.saturating_sub(before)
    });
    println!("KiB for {CLIENTS} answers of 1 MiB and of 8 MiB that nobody reads: {grown:?}");
    // The limit is 256 KiB for each, beside what hyper and the allocator need.
    assert!(grown.iter().all(|grown| *grown < CLIENTS * 300), "{grown:?} KiB");
    assert!(grown[1] < grown[0] + CLIENTS * 64, "{grown:?} KiB");
    squire.stop();
}
