//! The page of the listener in a real browser: it shows what `squire status` says, follows it, and runs nothing that others wrote.
//!
//! `SQUIRE_PICTURES=DIR` keeps pictures of it, for people to look at.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};

use crate::support::{
    Browser, Impostor, Manners, Rig, SOON, Screen, Squire, free_port, fresh, rig_of_store, store, wait_until,
};

const FILE: &str = r#"
    [output]
    dir = "@dir@/out"
    [[file]]
    path   = "password"
    inline = "{{db.password}}"
    on_change = "none"
    [process]
    command = ["sleep", "1000"]
"#;

/// A rig with a store and a page, and the address of the page.
fn rig() -> (Rig, String) {
    let (port, first) = (free_port(), fresh("first"));
    let listen = format!("{FILE}[agent]\nlisten = \"127.0.0.1:{port}\"\n");
    (rig_of_store(&json!({ "password": first }), &listen), format!("127.0.0.1:{port}"))
}

fn running<'a>(rig: &'a Rig, address: &str) -> Squire<'a> {
    let mut squire = rig.run();
    squire.wait_until("it is ready", || get(address, "/readyz").starts_with("HTTP/1.1 200"));
    squire
}

fn get(address: &str, path: &str) -> String {
    TcpStream::connect(address).map(|stream| exchange(stream, path)).unwrap_or_default()
}

fn exchange(mut stream: impl Read + Write, path: &str) -> String {
    let mut answer = String::new();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    drop(stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer)));
    answer
}

fn put(rig: &Rig) -> String {
    let password = fresh("password");
    rig.canaries().add(&password);
    store(rig, &["put", "prod/app/db"], &json!({ "password": password }).to_string());
    password
}

/// Gives an order, and returns whether it is followed, and what is said.
fn order(rig: &Rig, word: &str) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squire"));
    let output = command.arg(word).arg("--socket").arg(rig.path("out/..admin")).output().unwrap();
    (output.status.success(), format!("{word}: {output:?}"))
}

#[track_caller]
fn follows(rig: &Rig, word: &str) {
    let (is_followed, said) = order(rig, word);
    assert!(is_followed, "{said}");
}

/// On a phone and a desk, by day and by night, nothing is wider than the screen.
fn look_at_it(browser: &Browser, name: &str) {
    for (screen, size) in [(Screen::Phone, "phone"), (Screen::Desktop, "desktop")] {
        for (is_dark, light) in [(false, "light"), (true, "dark")] {
            browser.look(screen, is_dark);
            let wider = browser.value("document.documentElement.scrollWidth > window.innerWidth");
            assert_eq!(wider, false, "{name} is wider than a {size}");
            let paper = browser.value("getComputedStyle(document.body).backgroundColor");
            let is_night = paper.as_str().is_some_and(|colour| colour.starts_with("rgb(1"));
            assert_eq!(is_night, is_dark, "{paper}");
            if let Some(pictures) = std::env::var_os("SQUIRE_PICTURES") {
                browser.picture(&PathBuf::from(pictures).join(format!("{name}-{size}-{light}.png")));
            }
        }
    }
}

#[test]
fn the_page_shows_the_status_and_follows_it() {
    let (rig, address) = rig();
    let mut squire = running(&rig, &address);
    let browser = Browser::start();
    browser.open(&format!("http://{address}/"));
    browser.wait_until_it_shows(&[
        "Ready",
        "db",
        "from store",
        "prod/app/db",
        "fresh",
        "1 is live",
        "committed",
        "live",
    ]);
    browser.wait_until_it_shows(&["logged in", "publish", "not on hold", &format!("pid {}", squire.id())]);
    look_at_it(&browser, "ready");

    // What happens shows by itself, and the status is asked for once a second at most, however much that is.
    let words: Vec<_> = (0..4).map(|_| put(&rig)).collect();
    browser.wait_until_it_shows(&["Events", "rollout committed"]);
    wait_until(SOON, "the last value is live", || rig.read("out/password") == words[3]);
    follows(&rig, "hold");
    browser.wait_until_it_shows(&["on hold for", "by order of an operator"]);
    let requests = browser.requests();
    let asked: Vec<_> =
        requests.iter().filter(|(url, _)| url.ends_with("/v1/status")).map(|(_, at)| *at).collect();
    assert!(asked.len() > 1 && asked.windows(2).all(|pair| pair[1] - pair[0] > 0.95), "{asked:?}");
    let page = browser.value("document.documentElement.outerHTML").to_string();
    assert!(words.iter().all(|word| !page.contains(word)), "a value is on the page");

    // A reload that is refused is said, too, and why.
    let configuration = rig.read("squire.toml");
    rig.whole_config(&configuration.replace("[output]", "[outpt]"));
    let (is_followed, said) = order(&rig, "reload");
    assert!(!is_followed && said.contains("outpt"), "{said}");
    browser.wait_until_it_shows(&["The configuration before holds", "outpt"]);
    rig.whole_config(&configuration);

    squire.stop();
    browser.wait_until_it_shows(&["No answer", "Squire does not answer", "is what it said then"]);
    look_at_it(&browser, "no-answer");
    let own = |url: &str| url.starts_with(&format!("http://{address}/")) || url.starts_with("data:");
    assert!(requests.iter().all(|(url, _)| own(url)), "{requests:?}");
    let policy = browser.complaints().into_iter().filter(|complaint| complaint.contains("Content Security"));
    assert_eq!(policy.collect::<Vec<_>>(), Vec::<String>::new());

    let mut squire = running(&rig, &address);
    browser.wait_until_it_shows(&["Ready"]);
    squire.stop();
}

/// Whoever takes every place of a follower keeps nobody from seeing.
#[test]
fn a_page_that_may_not_follow_asks_every_five_seconds() {
    let (rig, address) = rig();
    let mut squire = running(&rig, &address);
    let followers: Vec<_> = (0..16)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
            let mut hello = [0; 16];
            stream.read_exact(&mut hello).unwrap();
            stream
        })
        .collect();
    assert!(get(&address, "/v1/events").starts_with("HTTP/1.1 503"));
    let browser = Browser::start();
    browser.open(&format!("http://{address}/"));
    browser.wait_until_it_shows(&["Ready", "asked every 5 s"]);
    follows(&rig, "hold");
    browser.wait_until_it_shows(&["on hold for", "asked every 5 s"]);
    drop(followers);
    wait_until(SOON, "it follows again", || {
        browser.value("document.getElementById('link').dataset.link") == "live"
    });
    squire.stop();
}

/// A server, and whoever names things, chooses what is written there. Written is all that it is.
#[test]
fn what_others_wrote_is_text() {
    const HOSTILE: &str =
        "<script>window.owned=1</script><img src=x onerror=\"window.owned=2\"><h1>Ready</h1>";
    let server = Impostor::start(Manners::Insults(HOSTILE));
    let port = free_port();
    let rig = Rig::at(&server.address());
    rig.config(&format!(
        "[secret.db]\npath = \"secret/<b>bold<iframe src=x onload=alert(1)>\"\n[[file]]\npath = \"p\"\ninline = \"{{{{db.x}}}}\"\n\
         [agent]\nlisten = \"127.0.0.1:{port}\"\n"
    ));
    let mut squire = rig.run();
    let address = format!("127.0.0.1:{port}");
    squire.wait_until("it answers", || get(&address, "/v1/status").contains("onerror"));
    let browser = Browser::start();
    browser.open(&format!("http://{address}/"));
    browser.wait_until_it_shows(&[
        "Not ready",
        HOSTILE,
        "secret/<b>bold<iframe src=x onload=alert(1)>",
        "login fails",
        "awaited",
    ]);
    look_at_it(&browser, "hostile");
    let made = "document.querySelectorAll('main :is(script, img, iframe, h1), script:not(:last-of-type), td b > *').length";
    assert_eq!(browser.value(made), 0);
    assert_eq!(browser.value("document.querySelectorAll('h1').length"), 1);
    assert!(browser.value("window.owned ?? null").is_null());
    assert_eq!(browser.complaints(), Vec::<String>::new());
    squire.stop();
}

/// If the script made markup of it by mistake, the policy would still keep it from running, and from telling anybody. A browser may
/// connect before it asks its policy; that tells nothing.
#[test]
fn the_policy_holds_even_against_a_mistake_in_the_script() {
    let (rig, address) = rig();
    let mut squire = running(&rig, &address);
    let (there, told) = listen_elsewhere();
    let browser = Browser::start();
    browser.open(&format!("http://{address}/"));
    browser.wait_until_it_shows(&["Ready"]);
    let found = browser.value(&MISTAKES.replace("THERE", &there));
    assert_eq!((&found[0], &found[1]), (&Value::Null, &json!("block")));
    let refused = [
        "connect-src",
        "form-action",
        "frame-src",
        "img-src",
        "script-src-attr",
        "script-src-elem",
        "style-src-elem",
    ];
    for directive in refused {
        assert!(found[2].as_array().unwrap().contains(&json!(directive)), "{directive}: {found}");
    }
    assert_eq!(told.try_iter().collect::<Vec<_>>(), Vec::<String>::new(), "something was told elsewhere");
    squire.stop();
}

/// Every way in which markup could run or tell something. What came of it, how the heading is shown, and what was refused.
const MISTAKES: &str = r#"(async () => {
    const refused = new Set(), pause = () => new Promise((resolve) => setTimeout(resolve, 300));
    addEventListener("securitypolicyviolation", (event) => refused.add(event.effectiveDirective));
    const box = document.createElement("div");
    document.body.append(box);
    box.innerHTML = `<img src="THERE/a" onerror="window.owned = 1"><iframe src="THERE/b"></iframe>
        <style>h1 { display: none }</style><a id="led" href="javascript:window.owned = 2">x</a>
        <form id="sent" action="THERE/c"></form>`;
    document.getElementById("sent").submit();
    await pause();
    document.getElementById("led").click();
    const script = document.createElement("script");
    script.textContent = "window.owned = 3";
    box.append(script);
    await fetch("THERE/d", { mode: "no-cors" }).catch(() => {});
    await pause();
    return [window.owned ?? null, getComputedStyle(document.querySelector("h1")).display, [...refused]];
})()"#;

/// The address of a listener, and whatever is sent there.
fn listen_elsewhere() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, told) = channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut request = [0; 1024];
                let length = stream.read(&mut request).unwrap_or_default();
                if length > 0 {
                    drop(sender.send(String::from_utf8_lossy(&request[..length]).into_owned()));
                }
            });
        }
    });
    (address, told)
}

#[test]
fn both_doors_have_the_same_page_with_its_policy() {
    let (rig, address) = rig();
    let mut squire = running(&rig, &address);
    let at_listener = get(&address, "/");
    let at_socket = exchange(UnixStream::connect(rig.path("out/..admin")).unwrap(), "/");
    let [(head, page), (other_head, other)] =
        [&at_listener, &at_socket].map(|answer| answer.split_once("\r\n\r\n").unwrap());
    assert_eq!(page, other);
    for head in [head, other_head] {
        for line in
            ["200 OK", "text/html", "default-src 'none'", "frame-ancestors 'none'", "nosniff", "no-store"]
        {
            assert!(head.contains(line), "{line}: {head}");
        }
        assert!(!head.contains("unsafe"), "{head}");
    }
    squire.stop();
}
