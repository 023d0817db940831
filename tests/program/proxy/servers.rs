//! Servers behind the proxy that lie, break off, change their leader, or are asked for very many leases.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, thread};

use nix::sys::signal::Signal;
use serde_json::json;

use super::scripted::{Scripted, answer, json};
use super::{SDK, asked, configure, get, get_at, rig, running, socket, spawn_python};
use crate::support::{Bao, Cluster, Impostor, Manners, Rig, SOON, Squire, fresh, status, wait_until};

/// A rig before this server.
fn before(server: &Scripted, proxy: &str) -> Rig {
    let rig = Rig::at(&server.address());
    rig.config(&format!("[proxy]\nlisten = \"unix:@dir@/vault.sock\"\n{proxy}"));
    rig
}

#[test]
fn a_server_that_lies_or_breaks_off_harms_nobody_and_no_other_path() {
    let elsewhere = Impostor::start(Manners::OtherJson);
    let target = format!("{}/v1/odd/redirect", elsewhere.address());
    let server = Scripted::start(move |path, _| {
        match path {
        "odd/redirect" => Some(format!("HTTP/1.1 307 X\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n")),
        "odd/upgrade" => Some("HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n".to_owned()),
        "odd/early" => Some("HTTP/1.1 103 X\r\nX: y\r\n\r\n".repeat(50) + &answer("200 OK", "{\"data\":{}}")),
        "odd/cut" => Some("HTTP/1.1 200 X\r\nContent-Length: 99\r\nConnection: close\r\n\r\n{\"data\"".to_owned()),
        "odd/extended" => Some("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nb;x=y\r\n{\"data\":{}}\r\n0\r\nX-Vault-Token: x\r\n\r\n".to_owned()),
        "odd/text" => Some(json("no json at all")),
        "odd/head" => Some(format!("HTTP/1.1 200 X\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(100 << 10))),
        "odd/smuggled" => Some(answer("200 OK", "{}") + "HTTP/1.1 200 X\r\nContent-Length: 7\r\n\r\nsmuggle"),
        "odd/errors" => Some(json("{\"errors\":[\"something\"]}")),
        "odd/busy" => Some(answer("429 Too Many", "{\"errors\":[\"busy\"]}")),
        "odd/lease" => Some(json("{\"lease_id\":\"../../sys/seal\\n\\u0000\",\"lease_duration\":-1,\"renewable\":\"yes\",\"data\":{}}")),
        "odd/twice" => Some(json("{\"lease_id\":\"\",\"lease_id\":\"a/b\",\"data\":{}}")),
        "odd/number" => Some(json("{\"lease_id\":7,\"data\":{}}")),
        "odd/gone" => None,
        _ => Some(json("{\"data\":{\"good\":true}}")),
    }
    });
    let rig = before(&server, "paths = [\"odd/*\"]\ncache = \"60s\"\nrate = 1000");
    let mut squire = running(&rig);
    let good = || assert_eq!(get(&rig, "odd/good").body["data"]["good"], true);
    let cases: [(&str, u16, usize); 13] = [
        ("odd/redirect", 502, 2),
        ("odd/upgrade", 502, 2),
        ("odd/early", 200, 1),
        ("odd/cut", 503, 2),
        ("odd/extended", 200, 1),
        ("odd/text", 200, 2),
        ("odd/head", 503, 2),
        ("odd/smuggled", 200, 1),
        ("odd/errors", 200, 2),
        ("odd/busy", 503, 2),
        ("odd/lease", 200, 2),
        ("odd/twice", 200, 2),
        ("odd/number", 200, 2),
    ];
    for (path, expected, times) in cases {
        for _ in 0..2 {
            let answer = get(&rig, path);
            assert_eq!(answer.status, expected, "{path} {}", answer.head);
            assert!(!answer.head.to_lowercase().contains("x-vault-token"), "{}", answer.head);
            good();
        }
        assert_eq!(server.asked(&format!("GET {path}")), times, "{path}: cached, or asked more than once");
    }
    // An answer that is lost may have had a lease, so the question is not put again; a list makes nothing.
    assert_eq!(get(&rig, "odd/gone").status, 503);
    assert_eq!(server.asked("GET odd/gone"), 1);
    assert_eq!(asked(socket(&rig), "LIST /v1/odd/gone", &[SDK], "").status, 503);
    assert!(server.asked("LIST odd/gone/") + server.asked("LIST odd/gone") >= 2);
    assert_eq!(elsewhere.visitors(), 0, "a token went to another address");
    assert_eq!(status(&rig)["sources"][0]["client_leases"], 0);
    squire.stop();
}

#[test]
fn what_is_wrong_with_one_path_is_no_outage_for_another_client() {
    let (is_over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (is_done, count) = (Arc::clone(&is_over), Arc::clone(&calls));
    let scripted = Scripted::start(move |path, _| match path {
        "kv/slow" => {
            count.fetch_add(1, Ordering::Relaxed);
            while !is_done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(5));
            }
            None
        }
        _ => Some(json("{\"data\":{\"good\":true}}")),
    });
    let rig = before(&scripted, "paths = [\"kv/*\"]\nrate = 1000");
    let mut squire = running(&rig);
    let place = rig.path("vault.sock");
    thread::scope(|scope| {
        let slow = scope.spawn(|| get_at(&place, "kv/slow").status);
        wait_until(SOON, "it is asked", || calls.load(Ordering::Relaxed) == 1);
        assert_eq!(get_at(&place, "kv/good").status, 200);
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(slow.join().unwrap(), 503);
    });
    assert_eq!(get(&rig, "kv/good").status, 200);
    squire.stop();
}

/// Each client has a connection of its own and closes it, and each asks something else: reads, lists and writes.
#[test]
fn requests_in_turn_go_over_one_connection_that_is_kept() {
    let server = Scripted::start(|_, _| Some(json("{\"data\":{\"good\":true}}")));
    let rig = before(&server, "paths = [\"kv/*\"]\nrate = 1000");
    let mut squire = running(&rig);
    let before = server.accepted();
    for number in 0..100 {
        let verb = ["GET", "GET", "LIST", "POST"][number % 4];
        let answer = asked(socket(&rig), &format!("{verb} /v1/kv/{number}"), &[SDK], "{}");
        assert_eq!(answer.status, 200, "{verb} {number} {}", answer.head);
    }
    let asked = (0..100).map(|number| {
        ["GET kv", "LIST kv", "POST kv"]
            .map(|what| server.asked(&format!("{what}/{number}")))
            .iter()
            .sum::<usize>()
    });
    assert_eq!(asked.sum::<usize>(), 100, "something was answered by Squire itself");
    let made = server.accepted() - before;
    assert!(made <= 2, "{made} connections for 100 requests");
    squire.stop();
}

/// A write that one address may have got is not sent to the next one, but the next write is.
#[test]
fn a_write_that_failed_at_one_address_is_not_tried_there_for_ever() {
    let sealed = Scripted::start(|_, _| Some(answer("503 X", "{\"errors\":[\"Vault is sealed\"]}")));
    let active = Scripted::start(|_, _| Some(json("{\"data\":{\"good\":true}}")));
    let rig = Rig::at(&sealed.address());
    let proxy = "[proxy]\nlisten = \"unix:@dir@/vault.sock\"\npaths = [\"kv/*\"]\n";
    rig.config_of_source(&format!("addresses = [\"@address@\", \"{}\"]", active.address()), proxy);
    let mut squire = running(&rig);
    let write = || asked(socket(&rig), "POST /v1/kv/a", &[SDK], "{}").status;
    assert_eq!([write(), write()], [503, 200]);
    assert_eq!((sealed.asked("POST kv/a"), active.asked("POST kv/a")), (1, 1));
    squire.stop();
}

#[test]
fn clients_follow_the_active_node_through_an_election() {
    let cluster = Cluster::start();
    let tenant = cluster.leader().tenant();
    tenant.set_policy(&format!(
        "{}\npath \"secret/data/{}/*\" {{ capabilities = [\"create\", \"update\", \"read\"] }}",
        tenant.policy(),
        tenant.name()
    ));
    let password = fresh("elected");
    tenant.write("app", &json!({ "password": password }));
    let rig = Rig::new(&tenant);
    let (leader, standbys) = (cluster.leader().address(), cluster.standbys());
    rig.config_of_source(
        &format!("addresses = [\"{leader}\", \"{}\", \"{}\"]", standbys[0].address(), standbys[1].address()),
        "[proxy]\nlisten = \"unix:@dir@/vault.sock\"\npaths = [\"secret/data/@tenant@/*\"]\nrate = 1000\n",
    );
    let mut squire = running(&rig);
    let path = format!("secret/data/{}/app", tenant.name());
    assert_eq!(get(&rig, &path).password(), password);
    let mut seen = (0, 0);
    let successor = cluster.crash_leader(|| {
        let answer = get(&rig, &path);
        match answer.status {
            200 => assert_eq!(answer.password(), password),
            500..=503 => seen.1 += 1,
            other => panic!("{other} {}", answer.head),
        }
        seen.0 += 1;
        thread::sleep(Duration::from_millis(50));
    });
    let second = fresh("second");
    rig.canaries().add(&second);
    // A write is sent once, so one may be lost at a node that is gone; the next one goes to another.
    let body = json!({ "data": { "password": second } }).to_string();
    let write = || asked(socket(&rig), &format!("POST /v1/{path}"), &[SDK], &body).status == 200;
    wait_until(SOON, "a client writes to the successor", write);
    let newest = successor.api().get(&path)["data"]["data"]["password"].clone();
    assert_eq!(newest, json!(second), "{seen:?}");
    wait_until(SOON, "a client reads it", || get(&rig, &path).password() == second);
    squire.stop();
}

#[test]
fn a_reload_changes_the_list_and_forgets_what_was_cached() {
    let tenant = Bao::shared().tenant();
    let (rig, password) = rig(&tenant, "cache = \"60s\"", "");
    let mut squire = running(&rig);
    let [app, other] = ["app", "other"].map(|name| format!("secret/data/{}/{name}", tenant.name()));
    assert_eq!((get(&rig, &app).password(), get(&rig, &other).status), (password.as_str(), 403));
    assert!(get(&rig, &app).head.contains("\r\nage: "));
    let reload = |squire: &mut Squire<'_>| squire.signal(Signal::SIGHUP);
    configure(&rig, "cache = \"60s\"", "[secret.other]\npath = \"secret/@tenant@/other\"\n");
    reload(&mut squire);
    squire.wait_until("the other one is allowed", || get(&rig, &other).status == 200);
    let again = get(&rig, &app);
    assert_eq!((again.status, again.password()), (200, password.as_str()));
    assert!(!again.head.contains("\r\nage: "), "it may be another server's now: {}", again.head);
    // Away with it: what is cached is not given to who may not ask for it any more.
    assert_eq!(get(&rig, &other).status, 200);
    configure(&rig, "cache = \"60s\"", "");
    reload(&mut squire);
    squire.wait_until("the other one is not allowed", || get(&rig, &other).status == 403);
    squire.stop();
}

/// The processor time of a process, in ticks.
fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum()
}

const MANY: usize = 1000;

#[test]
fn a_thousand_leases_cost_each_what_the_first_one_did_and_are_given_back_in_turn() {
    let made = Arc::new(AtomicUsize::new(0));
    let server = Scripted::start(move |path, _| match path {
        "sys/leases/renew" => Some(json("{\"lease_id\":\"x\",\"lease_duration\":600,\"renewable\":true}")),
        "sys/leases/revoke" => {
            thread::sleep(Duration::from_millis(2));
            Some(answer("204 No Content", ""))
        }
        _ => {
            let number = made.fetch_add(1, Ordering::Relaxed);
            Some(json(&format!(
                "{{\"lease_id\":\"creds/x/{number}\",\"lease_duration\":600,\"renewable\":true,\"data\":{{}}}}"
            )))
        }
    });
    let rig = before(&server, "paths = [\"creds/x\"]\nrate = 100000");
    let mut squire = running(&rig);
    let leases = || status(&rig)["sources"][0]["client_leases"].as_u64().unwrap();
    // Each takes 250 leases over one connection, and lives on.
    let script = "import socket,sys,time\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\nf=s.makefile('rb')\n\
                  for i in range(250):\n s.sendall(b'GET /v1/creds/x HTTP/1.1\\r\\nhost: x\\r\\nx-vault-request: true\\r\\n\\r\\n')\n \
                  n=0\n first=f.readline()\n assert b' 200 ' in first, first\n\
                  \x20while True:\n  l=f.readline().strip().lower()\n  if not l: break\n  if l.startswith(b'content-length:'): n=int(l.split(b':')[1])\n\
                  \x20f.read(n)\nprint('done',flush=True)\ntime.sleep(1000)";
    let (mut clients, mut costs) = (Vec::new(), Vec::new());
    for round in 1..=4 {
        let before = ticks(squire.id());
        let (child, mut lines) = spawn_python(script, &rig.path("vault.sock"), &[], Stdio::piped());
        assert_eq!(lines.next().unwrap().unwrap(), "done");
        costs.push(ticks(squire.id()) - before);
        assert_eq!(leases(), 250 * round);
        clients.push(child);
    }
    assert!(costs[3] <= costs[0] * 2 + 20, "ticks for each 250 leases: {costs:?}");
    // Whoever ends gives its own back, and the others keep theirs.
    let revoked = || server.asked("POST sys/leases/revoke");
    for left in [750, 500, 250] {
        let mut first = clients.remove(0);
        first.kill().unwrap();
        first.wait().unwrap();
        wait_until(SOON * 2, "the leases of one client are given back", || leases() == left);
        assert_eq!(revoked(), MANY - usize::try_from(left).unwrap());
    }
    squire.stop();
    assert_eq!(revoked(), MANY, "with squire all are given back");
    assert!(server.most_connected() <= 40, "{} connections at once", server.most_connected());
    for mut client in clients {
        client.kill().unwrap();
        client.wait().unwrap();
    }
}
