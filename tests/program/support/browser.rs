//! A real browser without a screen, driven through its debugging pipe: JSON texts that end with a zero byte.
//!
//! *Invariant:* it ends with its value, and its profile with it.

use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::daemon::{bound_to_this_process, send, spawn};
use super::{SOON, holds_within, scratch};

/// How a page is looked at.
#[derive(Clone, Copy)]
pub(crate) enum Screen {
    Phone,
    Desktop,
}

/// A browser with one page.
pub(crate) struct Browser {
    process: Child,
    orders: RefCell<ChildStdin>,
    messages: Receiver<Value>,
    number: Cell<u64>,
    session: RefCell<Option<String>>,
    /// What it told without being asked.
    notices: RefCell<Vec<Value>>,
    _profile: TempDir,
}

impl Browser {
    /// Starts it with an empty page.
    pub(crate) fn start() -> Self {
        let profile = scratch::on_disk("browser");
        let mut command = Command::new("sh");
        // The pipe is on descriptors 3 and 4. Root needs `--no-sandbox`.
        command.args(["-c", "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "chromium"]);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--no-first-run"]);
        command.args(["--disable-breakpad", "--lang=en-GB", "--remote-debugging-pipe"]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).env("HOME", profile.path());
        let mut command = bound_to_this_process(&command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = spawn(command);
        let orders = RefCell::new(process.stdin.take().unwrap());
        let answers = BufReader::new(process.stdout.take().unwrap());
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let texts = answers.split(0).map_while(Result::ok);
            let messages = texts.map_while(|text| serde_json::from_slice(&text).ok());
            messages.map_while(|message| sender.send(message).ok()).for_each(drop);
        });
        let browser = Self {
            process,
            orders,
            messages,
            number: Cell::new(0),
            session: RefCell::default(),
            notices: RefCell::default(),
            _profile: profile,
        };
        browser.attach();
        browser
    }

    fn attach(&self) {
        let target = self.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attached = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.call("Target.attachToTarget", &attached);
        *self.session.borrow_mut() = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), &json!({}));
        }
    }

    /// Opens an address.
    pub(crate) fn open(&self, address: &str) {
        self.call("Page.navigate", &json!({ "url": address }));
    }

    /// The value of an expression in the page; of a promise, what it comes to.
    #[track_caller]
    pub(crate) fn value(&self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", &asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// What a reader sees.
    pub(crate) fn text(&self) -> String {
        self.value("document.body?.innerText ?? ''").as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a reader sees all of these.
    #[track_caller]
    pub(crate) fn wait_until_it_shows(&self, words: &[&str]) {
        let mut text = String::new();
        let holds = holds_within(SOON, || {
            text = self.text();
            words.iter().all(|word| text.contains(word))
        });
        assert!(holds, "waited in vain for {words:?} in:\n{text}\n{:#?}", self.complaints());
    }

    /// Looks at the page on this screen.
    pub(crate) fn look(&self, screen: Screen, is_dark: bool) {
        let (width, height, mobile) = match screen {
            Screen::Phone => (390, 844, true),
            Screen::Desktop => (1280, 900, false),
        };
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", &features);
    }

    /// Takes a picture of the screen, for people to look at.
    pub(crate) fn picture(&self, file: &Path) {
        let picture = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }

    /// What the browser found fault with: errors of the script, what a policy refused, what could not be loaded.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let is_one = |notice: &&Value| {
            notice["method"] == "Runtime.exceptionThrown"
                || (notice["method"] == "Log.entryAdded" && notice["params"]["entry"]["level"] == "error")
                || notice["method"] == "Page.javascriptDialogOpening"
        };
        self.notices.borrow().iter().filter(is_one).map(Value::to_string).collect()
    }

    /// Every address that was asked, with the time in seconds.
    pub(crate) fn requests(&self) -> Vec<(String, f64)> {
        let notices = self.notices.borrow();
        let requests = notices.iter().filter(|notice| notice["method"] == "Network.requestWillBeSent");
        let request = |notice: &Value| {
            let params = &notice["params"];
            (params["request"]["url"].as_str().unwrap().to_owned(), params["timestamp"].as_f64().unwrap())
        };
        requests.map(request).collect()
    }

    #[track_caller]
    fn call(&self, method: &str, params: &Value) -> Value {
        let number = self.number.get() + 1;
        self.number.set(number);
        let mut order = json!({ "id": number, "method": method, "params": params });
        if let Some(session) = self.session.borrow().as_ref() {
            order["sessionId"] = json!(session);
        }
        self.orders.borrow_mut().write_all(format!("{order}\0").as_bytes()).unwrap();
        let by = Instant::now() + SOON * 2;
        loop {
            let left = by.saturating_duration_since(Instant::now());
            let message =
                self.messages.recv_timeout(left).unwrap_or_else(|_| panic!("no answer to {method}"));
            if message["id"] == number {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.notices.borrow_mut().push(message);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        send(self.process.id(), Signal::SIGTERM);
        if !holds_within(Duration::from_secs(5), || self.process.try_wait().is_ok_and(|end| end.is_some())) {
            send(self.process.id(), Signal::SIGKILL);
        }
        drop(self.process.wait());
    }
}
