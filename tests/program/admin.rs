//! Asking a Squire that runs, and giving it orders: by its socket, its listener and its commands; and who may not.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::support::{
    Bao, Impostor, Manners, Postgres, Rig, SOON, Squire, ask, configure_store, database_file, free_port,
    fresh, rig_of_store, says, skipped, status, store, wait_until,
};

/// The process and the file of most tests here.
const FILE: &str = r#"
    [output]
    dir = "@dir@/out"
    [[file]]
    path   = "password"
    inline = "{{db.password}}"
    on_change = "none"
"#;

fn rig(rest: &str) -> (Rig, String) {
    let first = fresh("first");
    let rig = rig_of_store(&json!({ "password": first }), &format!("{FILE}{rest}"));
    (rig, first)
}

fn put(rig: &Rig, word: &str) -> String {
    let password = fresh(word);
    rig.canaries().add(&password);
    store(rig, &["put", "prod/app/db"], &json!({ "password": password }).to_string());
    password
}

#[track_caller]
fn refuses(rig: &Rig, words: &[&str], why: &str) {
    let output = ask(rig, words);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && stderr.contains(why),
        "{words:?}: {:?} {stderr}",
        output.status
    );
}

/// Runs Squire until its file has this.
fn running<'a>(rig: &'a Rig, password: &str) -> Squire<'a> {
    let mut squire = rig.run();
    squire.wait_until("it is published, and can be asked", || {
        rig.read("out/password") == password && ask(rig, &["status", "--ready"]).status.success()
    });
    squire
}

/// One request over a stream that was just opened, and the whole answer.
fn exchange(mut stream: impl Read + Write, request: &str) -> String {
    stream
        .write_all(format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

fn listener(port: u16) -> TcpStream {
    let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

#[test]
fn a_status_says_what_is_held_until_when_and_what_comes_next() {
    let tenant = Bao::shared().tenant();
    tenant.write("app", &json!({ "password": fresh("static") }));
    let rig = Rig::new(&tenant);
    rig.config(
        r#"
        [secret.db]
        path = "secret/@tenant@/app"
        [secret.gone]
        path = "secret/@tenant@/nothing"
        [[file]]
        path   = "password"
        inline = "{{db.password}}{{gone.x}}"
        [process]
        command = ["sleep", "1000"]
        "#,
    );
    let mut squire = rig.run();
    squire.wait_until("it can be asked", || ask(&rig, &["status", "--live"]).status.success());
    wait_until(SOON, "the one is there and the other is not", || {
        let status = status(&rig);
        status["secrets"][0]["state"] == "fresh" && status["secrets"][1]["state"] == "gone"
    });
    let waiting = status(&rig);
    assert_eq!(waiting["ready"]["is_ready"], false);
    assert_eq!(waiting["ready"]["reasons"][0]["missing"], json!(["gone"]));
    assert_eq!(waiting["generation"], json!({ "wanted": null, "live": null, "is_pending": false }));
    refuses(&rig, &["status", "--ready"], "no release is live yet; there is no value of gone");

    tenant.write("nothing", &json!({ "x": "y" }));
    says(&rig, &["refresh", "gone", "--wait"]);
    let status = status(&rig);
    assert_eq!(status["ready"], json!({ "is_ready": true, "reasons": [] }));
    assert_eq!(status["generation"]["live"], 1);
    let source = &status["sources"][0];
    assert_eq!((&source["kind"], &source["state"]), (&json!("vault"), &json!("logged_in")));
    assert_eq!(source["token"]["next"]["action"], "renew");
    assert!(source["token"]["ends"].as_str() > status["at"].as_str(), "{source}");
    let secret = &status["secrets"][0];
    assert_eq!(
        (&secret["name"], &secret["live"], &secret["kept_by"]),
        (&json!("db"), &json!(1), &json!("reading"))
    );
    assert_eq!(secret["next"]["action"], "fetch");
    assert_eq!(status["process"]["starts"], 1);
    assert_eq!(status["rollouts"][0]["outcome"], "committed");
    let table = says(&rig, &["status"]);
    for word in
        ["ready: generation 1", "SECRET", "gone", "fresh", "never", "fetch in", "committed", "logged in"]
    {
        assert!(table.contains(word), "{word}:\n{table}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    squire.stop();
}

/// The source has a successor, and nobody lets it out: what is published dies all the same, and that is said.
#[test]
fn a_value_that_ends_on_hold_is_no_longer_ready() {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    bao.connect_database(postgres, "held", 3, 6);
    let tenant = bao.tenant();
    let rig = Rig::new(&tenant);
    rig.config(&database_file(postgres, "held"));
    let mut squire = rig.run();
    squire.wait_until("it is ready", || ask(&rig, &["status", "--ready"]).status.success());
    assert_eq!(says(&rig, &["hold"]), "rollouts are on hold\n");
    let secret = || status(&rig)["secrets"][0].clone();
    squire.wait_until("a successor waits", || secret()["revision"] == 2);
    squire.wait_until("what is live has ended", || secret()["state"] == "expired");
    let status = status(&rig);
    let expired = json!({"is_ready": false, "reasons": [{"reason": "expired", "secret": "held"}]});
    assert_eq!(status["ready"], expired);
    assert!(status["secrets"][0]["ends"].as_str() < status["at"].as_str(), "{status}");
    assert!(ask(&rig, &["release"]).status.success());
    squire.wait_until("the successor is live, and ready", || {
        ask(&rig, &["status", "--ready"]).status.success()
    });
    squire.stop();
}

#[test]
fn rollouts_are_held_released_and_rolled_back() {
    let (rig, first) = rig("[process]\ncommand = [\"sleep\", \"1000\"]\n");
    let mut squire = running(&rig, &first);
    refuses(&rig, &["rollback"], "there is nothing to go back to");

    assert_eq!(says(&rig, &["hold"]), "rollouts are on hold\n");
    let second = put(&rig, "second");
    refuses(&rig, &["refresh", "--wait"], "rollouts are on hold");
    assert_eq!(rig.read("out/password"), first);
    let held = status(&rig);
    assert_eq!((&held["generation"]["live"], &held["generation"]["wanted"]), (&json!(1), &json!(2)));
    assert!(held["on_hold_since"].is_string() && held["ready"]["is_ready"] == true, "{held}");

    says(&rig, &["release"]);
    squire.wait_until("what waited goes out", || rig.read("out/password") == second);
    wait_until(SOON, "it is committed", || status(&rig)["generation"]["live"] == 2);

    assert_eq!(says(&rig, &["rollback"]), "going back to the values before\n");
    squire.wait_until("the value before is back", || rig.read("out/password") == first);
    wait_until(SOON, "it is committed", || status(&rig)["generation"]["live"] == 3);
    assert_eq!(status(&rig)["secrets"][0]["state"], "held");
    refuses(&rig, &["rollback"], "there is nothing to go back to");
    let third = put(&rig, "third");
    squire.wait_until("a newer value goes out as ever", || rig.read("out/password") == third);
    squire.stop();
}

/// A lease that was given back is no value to go back to; before that it is, and stays.
#[test]
fn a_rollback_keeps_a_lease_or_says_that_it_is_dead() {
    let (bao, postgres) = (Bao::shared(), crate::support::Postgres::shared());
    let tenant = bao.tenant();
    bao.connect_database(postgres, tenant.name(), 600, 3600);
    let rig = Rig::new(&tenant);
    let configure = |grace: &str| {
        rig.config(&format!(
            "[secret.db]\npath = \"database/creds/@tenant@\"\n[[file]]\npath = \"user\"\ninline = \"{{{{db.username}}}}\"\n\
             [process]\ncommand = [\"sleep\", \"1000\"]\n[rollout]\ngrace = \"{grace}\"\n"
        ));
    };
    for (grace, may) in [("10m", true), ("0s", false)] {
        configure(grace);
        let mut squire = rig.run();
        squire.wait_until("it has a user", || ask(&rig, &["status", "--ready"]).status.success());
        let first = rig.read("out/user");
        says(&rig, &["refresh", "db", "--wait"]);
        let second = rig.read("out/user");
        assert_ne!(first, second);
        let path = format!("database/creds/{}", tenant.name());
        if may {
            says(&rig, &["rollback"]);
            squire.wait_until("the first user is back", || rig.read("out/user") == first);
            wait_until(SOON, "the second user's lease is given back", || bao.leases(&path).len() == 1);
        } else {
            wait_until(SOON, "the first user's lease is given back", || bao.leases(&path).len() == 1);
            refuses(&rig, &["rollback"], "the value that db had before is dead");
            assert_eq!(rig.read("out/user"), second);
        }
        squire.stop();
    }
}

#[test]
fn a_refresh_waits_for_what_it_led_to() {
    let (rig, first) = rig(
        "[process]\ncommand = [\"sleep\", \"1000\"]\n[rollout]\ncheck = [[\"sh\", \"-c\", \"! grep -q wrong {dir}/password\"]]\n",
    );
    let mut squire = running(&rig, &first);
    assert_eq!(says(&rig, &["refresh", "--wait"]), "nothing changed\n");
    assert_eq!(says(&rig, &["refresh"]), "asked for\n");
    refuses(&rig, &["refresh", "other", "--wait"], "there is no [secret.other]");
    // The agent watches the store, and may have tried the value before it is asked: then it has only to say what it holds.
    let mut refused = String::new();
    let by = Instant::now() + SOON;
    while !refused.contains("generation") {
        assert!(Instant::now() < by, "the agent is always before the one who asks");
        put(&rig, "wrong");
        let output = ask(&rig, &["refresh", "db", "--wait"]);
        refused = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{refused}");
        assert!(
            refused.contains("generation") || refused.contains("held at the last good value"),
            "{refused}"
        );
    }
    assert_eq!(rig.read("out/password"), first);
    let failed = &status(&rig)["rollouts"][0];
    assert_eq!((&failed["outcome"], &failed["secrets"]), (&json!("not_passed"), &json!(["db"])));
    assert!(failed["reason"].as_str().unwrap().contains("sh"), "{failed}");
    let trace = failed["trace"].as_str().unwrap();
    assert!(squire.log().contains(trace), "the log knows the rollout by the same id");
    squire.stop();
}

/// A server that says nothing makes nobody wait but who asked it.
#[test]
fn a_server_that_hangs_holds_up_no_answer() {
    let impostor = Impostor::start(Manners::Silent);
    let rig = Rig::at(&impostor.address());
    rig.config("[secret.db]\npath = \"secret/app\"\n[[file]]\npath = \"p\"\ninline = \"{{db.x}}\"\n");
    let mut squire = rig.run();
    squire.wait_until("it can be asked", || ask(&rig, &["status", "--live"]).status.success());
    assert_eq!(status(&rig)["secrets"][0]["state"], "awaited");
    refuses(&rig, &["refresh", "--wait", "--timeout", "1s"], "not over in the time that was given");
    squire.stop();
}

#[test]
fn the_listener_tells_and_takes_no_orders() {
    let port = free_port();
    let (rig, first) = rig(&format!("[agent]\nlisten = \"127.0.0.1:{port}\"\n"));
    let mut squire = running(&rig, &first);
    let get = |path: &str| exchange(listener(port), &format!("GET {path}"));
    assert!(get("/livez").starts_with("HTTP/1.1 200"));
    assert!(get("/readyz").ends_with("\r\n\r\nready\n"));
    assert!(get("/v1/status").contains("\"name\":\"db\""));
    assert!(get("/v1/openapi.json").contains("\"openapi\""));
    assert!(get("/../../etc/passwd").starts_with("HTTP/1.1 404"));
    for order in ["refresh", "hold", "release", "rollback", "quit"] {
        let answer = exchange(listener(port), &format!("POST /v1/{order}"));
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("at the socket only"), "{answer}");
    }
    assert!(squire.is_running() && status(&rig)["on_hold_since"].is_null());
    squire.stop();
}

/// Whoever may write the secret leaves a field out: the release before stays, and the status says why.
#[test]
fn values_that_do_not_render_are_in_the_status_until_they_do() {
    let (rig, first) = rig("");
    let mut squire = running(&rig, &first);
    store(&rig, &["put", "prod/app/db"], &json!({ "other": "x" }).to_string());
    squire.wait_until("it is said", || !status(&rig)["unrendered"].as_array().unwrap().is_empty());
    let said = status(&rig);
    assert!(said["unrendered"][0].as_str().unwrap().contains("password"), "{said}");
    assert!(said["ready"]["is_ready"] == true && rig.read("out/password") == first, "{said}");
    let shown = String::from_utf8(ask(&rig, &["status"]).stdout).unwrap();
    assert!(shown.contains("the newest values make no release: "), "{shown}");
    let second = put(&rig, "second");
    squire.wait_until("it is published", || rig.read("out/password") == second);
    assert_eq!(status(&rig)["unrendered"], json!([]));
    squire.stop();
}

#[test]
fn an_address_that_is_taken_is_said_before_anything_starts() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (rig, _) = rig(&format!("[agent]\nlisten = \"{}\"\n", taken.local_addr().unwrap()));
    let outcome = rig.start(&["run", "-c", rig.path("squire.toml").to_str().unwrap()]).outcome(SOON);
    assert!(
        outcome.code == 125 && outcome.stderr.contains("agent.listen: cannot listen at"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn who_follows_events_hears_of_each_step_and_of_no_value() {
    let port = free_port();
    let (rig, first) = rig(&format!("[agent]\nlisten = \"127.0.0.1:{port}\"\n"));
    let mut squire = running(&rig, &first);
    let mut stream = listener(port);
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut heard = String::new();
    let mut piece = [0; 4096];
    let mut hear = |heard: &mut String, word: &str| {
        while !heard.contains(word) {
            let count = stream.read(&mut piece).unwrap();
            assert!(count > 0, "it ended: {heard}");
            heard.push_str(str::from_utf8(&piece[..count]).unwrap());
        }
    };
    hear(&mut heard, ": following");
    let second = put(&rig, "second");
    hear(&mut heard, "event: rollout_committed");
    assert!(heard.contains("event: secret_fetched") && heard.contains("\"generation\":2"), "{heard}");
    assert!(!heard.contains(&second) && !heard.contains(&first));
    squire.stop();
}

#[track_caller]
fn follows(stream: &mut impl Read) {
    let mut beginning = [0; 15];
    stream.read_exact(&mut beginning).unwrap();
    assert_eq!(&beginning, b"HTTP/1.1 200 OK");
}

/// Whoever reaches the listener, and asks as fast as it can: the agent says how it stands a few times, and they all get that.
#[test]
fn a_crowd_at_the_listener_has_one_answer_made_for_all() {
    let port = free_port();
    let (rig, first) = rig(&format!("[agent]\nlisten = \"127.0.0.1:{port}\"\n"));
    let mut squire = running(&rig, &first);
    let begun = Instant::now();
    let crowd: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(move || {
                (0..100).map(|_| exchange(listener(port), "GET /v1/status")).collect::<Vec<_>>()
            })
        })
        .collect();
    let answers: Vec<String> = crowd.into_iter().flat_map(|one| one.join().unwrap()).collect();
    let most = begun.elapsed().as_millis() / 50 + 2;
    let at = |answer: &String| answer.split_once("\"at\":").unwrap().1[..26].to_owned();
    let made = answers.iter().map(at).collect::<BTreeSet<_>>().len();
    assert!(answers.len() == 800 && (made as u128) <= most, "{made} were made, and {most} may be");
    // The head of a stream takes no place among those who follow it.
    for _ in 0..40 {
        assert!(exchange(listener(port), "HEAD /v1/events").starts_with("HTTP/1.1 200"));
    }
    let mut stream = listener(port);
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    follows(&mut stream);
    // Nor do those who follow by the listener from the operator at the socket.
    let mut others: Vec<_> = (0..20).map(|_| listener(port)).collect();
    for other in &mut others {
        other.write_all(b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    }
    wait_until(SOON, "there is no place left", || {
        exchange(listener(port), "GET /v1/events").starts_with("HTTP/1.1 503")
    });
    let mut operator = UnixStream::connect(rig.path("out/..admin")).unwrap();
    operator.write_all(b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    follows(&mut operator);
    squire.stop();
}

/// The attacker is one host. Another one has a place, and a sender of a webhook is known by its own address, although the socket is one of
/// IPv6 that takes IPv4 as well.
#[test]
fn who_keeps_all_the_connections_that_it_gets_leaves_half_to_others() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        skipped("the connections of one host: this machine has no IPv6");
        return;
    }
    let port = free_port();
    let (rig, first) = rig(&format!("[agent]\nlisten = \"[::]:{port}\"\n"));
    let mut squire = running(&rig, &first);
    let greedy: Vec<_> = (0..100).map(|_| listener(port)).collect();
    let other = TcpStream::connect(format!("[::1]:{port}")).unwrap();
    other.set_read_timeout(Some(SOON)).unwrap();
    assert!(exchange(other, "GET /livez").starts_with("HTTP/1.1 200"));
    drop(greedy);
    squire.stop();
}

/// The attacker is a page in a browser of this machine, whose name points here after it was shown.
#[test]
fn a_listener_for_this_machine_answers_to_no_name_that_others_made() {
    for address in ["127.0.0.1", "[::ffff:127.0.0.1]"] {
        answers_to_no_name_that_others_made(address);
    }
}

fn answers_to_no_name_that_others_made(address: &str) {
    let port = free_port();
    let (rig, first) = rig(&format!("[agent]\nlisten = \"{address}:{port}\"\n"));
    let mut squire = running(&rig, &first);
    let asked_as = |host: &str, path: &str| {
        let mut stream = listener(port);
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for path in ["/", "/livez", "/readyz", "/metrics", "/v1/status", "/v1/events", "/v1/openapi.json"] {
        let answer = asked_as(&format!("evil.example:{port}"), path);
        assert!(answer.starts_with("HTTP/1.1 421") && !answer.contains("db"), "{path}: {answer}");
    }
    assert!(asked_as(&format!("localhost:{port}"), "/v1/status").contains("\"name\":\"db\""));
    assert!(asked_as(&format!("127.0.0.1:{port}"), "/livez").starts_with("HTTP/1.1 200"));
    squire.stop();
}

/// Nobody's slowness, number or size is felt by the agent.
#[test]
fn a_hostile_client_holds_up_nobody() {
    let port = free_port();
    let (rig, first) = rig(&format!("[agent]\nlisten = \"127.0.0.1:{port}\"\n"));
    let mut squire = running(&rig, &first);
    // Connections that say nothing, many more than there is room for; those beyond are closed.
    let silent: Vec<_> = (0..1000).map(|_| listener(port)).collect();
    let second = put(&rig, "second");
    squire.wait_until("it rotates", || rig.read("out/password") == second);
    assert!(ask(&rig, &["status", "--live"]).status.success(), "the socket has room of its own");
    wait_until(SOON, "silent connections are closed in time", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok_and(|stream| {
            stream.set_read_timeout(Some(SOON)).unwrap();
            let mut stream = stream;
            let asked =
                stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            let mut answer = String::new();
            asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
        })
    });
    drop(silent);
    // A head without end, and a body of a gibibyte that nobody reads.
    let mut endless = listener(port);
    let line = format!("x-{}: y\r\n", "x".repeat(1000));
    endless.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
    drop((0..1000).try_for_each(|_| endless.write_all(line.as_bytes())));
    let mut answer = String::new();
    drop(endless.read_to_string(&mut answer));
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let mut large = listener(port);
    large
        .write_all(b"POST /v1/hold HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1073741824\r\n\r\n")
        .unwrap();
    let block = vec![0; 1 << 20];
    let taken = (0..1024).take_while(|_| large.write_all(&block).is_ok()).count();
    assert!(taken < 64, "{taken} MiB of a body that nobody wants were read");
    // Answers that are asked for and never read.
    let mut greedy = listener(port);
    for _ in 0..2000 {
        if greedy.write_all(b"GET /v1/openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n").is_err() {
            break;
        }
        greedy.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    }
    let third = put(&rig, "third");
    squire.wait_until("it rotates", || rig.read("out/password") == third);
    squire.stop();
}

#[test]
fn the_socket_is_ours_alone() {
    let (rig, first) = rig("");
    let mut squire = running(&rig, &first);
    let socket = rig.path("out/..admin");
    let metadata = fs::metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket() && metadata.permissions().mode() & 0o777 == 0o600);
    assert!(exchange(UnixStream::connect(&socket).unwrap(), "GET /livez").starts_with("HTTP/1.1 200"));
    // Another user, even if the file lets it in.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
    let script = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
                  s.sendall(b'POST /v1/quit HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n')\nprint(len(s.recv(100)))";
    let mut stranger = Command::new("python3");
    let stranger = stranger.args(["-c", script]).arg(&socket).uid(65534).gid(65534).output().unwrap();
    assert_ne!(String::from_utf8_lossy(&stranger.stdout).trim(), "17", "{stranger:?}");
    squire.wait_until("it is said", || rig.read("stderr.1").contains("is user 65534, who is neither"));
    assert!(squire.is_running());
    squire.stop();
    assert!(!socket.exists());
}

#[test]
fn what_stands_at_the_place_of_the_socket_stays_unless_it_is_an_old_one_of_ours() {
    let (rig, first) = rig("");
    let configure =
        |socket: &str| configure_store(&rig, &format!("{FILE}\n[agent]\nsocket = \"{socket}\"\n"));
    // Somebody's file.
    rig.write("taken", "mine");
    configure("@dir@/taken");
    let mut squire = rig.run();
    squire.wait_until("it serves without", || {
        rig.read("out/password") == first
            && rig.read("stderr.1").contains("and is no socket that squire left")
    });
    squire.stop();
    assert_eq!(rig.read("taken"), "mine");
    // A path that is too long.
    configure(&format!("@dir@/{}", "x".repeat(200)));
    let mut squire = rig.run();
    squire.wait_until("it serves without", || rig.read("stderr.2").contains("than the 107 bytes"));
    squire.stop();
    // One that somebody listens to.
    let other = UnixListener::bind(rig.path("other.sock")).unwrap();
    configure("@dir@/other.sock");
    let mut squire = rig.run();
    squire.wait_until("it serves without", || rig.read("stderr.3").contains("another squire listens at"));
    squire.stop();
    drop(other);
    // What a kill left.
    let mut squire = running(&rig, &first);
    squire.kill();
    assert!(rig.path("other.sock").exists());
    let mut squire = running(&rig, &first);
    squire.stop();
    assert!(!rig.path("other.sock").exists());
}

/// Without any directory of its own the socket is a name, found by the path of the configuration.
#[test]
fn without_a_directory_the_same_configuration_finds_it_by_name() {
    let first = fresh("first");
    let rig = rig_of_store(
        &json!({ "password": first }),
        "[process]\ncommand = [\"sleep\", \"1000\"]\nenv = { PASSWORD = \"{{db.password}}\" }\n",
    );
    let mut squire = rig.run();
    squire.wait_until("it is ready", || ask(&rig, &["status", "--ready"]).status.success());
    assert_eq!(status(&rig)["pid"], squire.id());
    squire.stop();
    refuses(&rig, &["status"], "cannot ask the squire that runs");
    configure_store(&rig, &format!("{FILE}\n[agent]\nsocket = \"none\"\n"));
    let output = ask(&rig, &["status"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("agent.socket is \"none\""), "{output:?}");
}

/// Another user from outside of the user namespace in which Squire is "nobody" has the same number for it, and shares the network with it.
#[test]
fn who_only_looks_like_this_user_gives_no_orders() {
    let rig = rig_of_store(
        &json!({ "password": fresh("first") }),
        "[process]\ncommand = [\"sleep\", \"1000\"]\nenv = { PASSWORD = \"{{db.password}}\" }\n",
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-user=65534", env!("CARGO_BIN_EXE_squire"), "run", "-c"]);
    let log = fs::File::create(rig.path("log")).unwrap();
    let mut squire = command.arg(rig.path("squire.toml")).stderr(log).spawn().unwrap();
    let name = || {
        let sockets = fs::read_to_string("/proc/net/unix").unwrap();
        sockets.split_whitespace().find(|word| word.starts_with("@squire-65534-")).map(str::to_owned)
    };
    wait_until(SOON, "it listens", || name().is_some());
    let script = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect('\\0'+sys.argv[1][1:])\n\
                  s.sendall(b'POST /v1/quit HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n')\nprint(s.recv(100))";
    for _ in 0..3 {
        let mut stranger = Command::new("python3");
        let stranger =
            stranger.args(["-c", script]).arg(name().unwrap()).uid(1234).gid(1234).output().unwrap();
        assert!(!String::from_utf8_lossy(&stranger.stdout).contains("HTTP"), "{stranger:?}");
    }
    let said = || rig.read("log").matches("as everybody from outside of this user namespace").count();
    wait_until(SOON, "it is said", || said() > 0);
    assert_eq!((said(), squire.try_wait().unwrap()), (1, None), "once, however often somebody comes");
    kill(Pid::from_raw(squire.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    squire.wait().unwrap();
}

/// The client believes nobody either.
#[test]
fn the_commands_ask_no_stranger() {
    let (rig, _) = rig("");
    let socket = rig.path("strange.sock");
    // The kernel tells the client who began to listen.
    let script = "import socket,sys,os\ns=socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\nos.setuid(65534)\n\
                  s.listen(9)\nwhile True: s.accept()[0].recv(100)";
    let mut impostor = Command::new("python3").args(["-c", script]).arg(&socket).spawn().unwrap();
    wait_until(SOON, "somebody listens", || UnixStream::connect(&socket).is_ok());
    refuses(&rig, &["hold", "--socket", socket.to_str().unwrap()], "the other side is user 65534");
    impostor.kill().unwrap();
    impostor.wait().unwrap();
}

#[test]
fn an_order_to_quit_ends_it_as_a_signal_does() {
    let (rig, first) = rig("[process]\ncommand = [\"sleep\", \"1000\"]\n");
    let mut squire = running(&rig, &first);
    let stream = UnixStream::connect(rig.path("out/..admin")).unwrap();
    assert!(exchange(stream, "POST /v1/quit").starts_with("HTTP/1.1 200"));
    assert_eq!(squire.wait_for_end(SOON), 143);
    assert!(!rig.path("out/password").exists());
}

/// Squire's own stop, and its end by a signal, do not wait for who follows.
#[test]
fn who_follows_holds_up_no_stop() {
    let (rig, first) = rig("");
    let mut squire = running(&rig, &first);
    let mut stream = UnixStream::connect(rig.path("out/..admin")).unwrap();
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let waiting = thread::spawn(move || {
        let mut all = Vec::new();
        drop(stream.read_to_end(&mut all));
    });
    squire.signal(Signal::SIGTERM);
    assert_eq!(squire.wait_for_end(SOON), 0);
    waiting.join().unwrap();
}
