//! Listeners in place of a secret server, which answer something else or nothing.
//!
//! *Invariant:* an impostor keeps its port until it is dropped, and counts its connections.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

/// What it does with a connection.
#[derive(Clone, Copy)]
pub(crate) enum Manners {
    /// A web page with status 200, as captive portals send, and servers on a wrong port.
    Html,
    /// A JSON document with status 200 that is not an answer of the API.
    OtherJson,
    /// Takes the connection and the request, and does not answer.
    Silent,
    /// Closes at once.
    HangsUp,
    /// A JSON text that never ends.
    Endless,
    /// Says without end that the request may go on.
    Continues,
    /// Refuses everything, as the API does, with this message.
    Insults(&'static str),
    /// Answers as the API does, but every time to live is this number of seconds.
    Boasts(u64),
}

/// A listener that is not the server.
pub(crate) struct Impostor {
    port: u16,
    visitors: Arc<AtomicUsize>,
    closed: Arc<AtomicBool>,
}

impl Impostor {
    /// Listens on a free port.
    pub(crate) fn start(manners: Manners) -> Self {
        Self::listen(TcpListener::bind(("127.0.0.1", 0)).unwrap(), manners)
    }

    /// Takes the place of a server that has ended, at its address.
    pub(crate) fn in_place_of(address: &str, manners: Manners) -> Self {
        Self::listen(TcpListener::bind(address.trim_start_matches("http://")).unwrap(), manners)
    }

    fn listen(listener: TcpListener, manners: Manners) -> Self {
        let port = listener.local_addr().unwrap().port();
        let (visitors, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let impostor = Self { port, visitors: Arc::clone(&visitors), closed: Arc::clone(&closed) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if closed.load(Ordering::Relaxed) {
                    return;
                }
                visitors.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || receive(stream, manners));
            }
        });
        impostor
    }

    /// Its address.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many connections were made.
    pub(crate) fn visitors(&self) -> usize {
        self.visitors.load(Ordering::Relaxed)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Wakes the listener, so that it sees that it has to end.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn receive(mut stream: TcpStream, manners: Manners) {
    let head = |kind: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n");
    let whole =
        |kind: &str, body: &str| format!("{}Content-Length: {}\r\n\r\n{body}", head(kind), body.len());
    let mut request = [0; 16 * 1024];
    match manners {
        Manners::Html => {
            drop(stream.read(&mut request));
            drop(stream.write_all(whole("text/html", "<!doctype html><h1>Welcome</h1>").as_bytes()));
        }
        Manners::OtherJson => {
            drop(stream.read(&mut request));
            drop(stream.write_all(whole("application/json", r#"{"hello": ["world"]}"#).as_bytes()));
        }
        Manners::Insults(message) => {
            drop(stream.read(&mut request));
            let whole = whole("application/json", &json!({ "errors": [message] }).to_string());
            drop(stream.write_all(whole.replace("200 OK", "400 Bad Request").as_bytes()));
        }
        Manners::Silent => {
            // Until the other side closes.
            drop(stream.set_read_timeout(Some(Duration::from_mins(1))));
            while stream.read(&mut request).is_ok_and(|length| length > 0) {}
        }
        Manners::HangsUp => {}
        Manners::Boasts(seconds) => {
            let length = stream.read(&mut request).unwrap_or_default();
            let body = boast(&String::from_utf8_lossy(&request[..length]), seconds).to_string();
            drop(stream.write_all(whole("application/json", &body).as_bytes()));
        }
        Manners::Continues => {
            drop(stream.read(&mut request));
            let many = "HTTP/1.1 100 Continue\r\n\r\n".repeat(4096);
            while stream.write_all(many.as_bytes()).is_ok() {}
        }
        Manners::Endless => {
            drop(stream.read(&mut request));
            let start = format!("{}\r\n{{\"auth\": \"", head("application/json"));
            let mut sent = stream.write_all(start.as_bytes());
            while sent.is_ok() {
                sent = stream.write_all(&[b'x'; 4096]);
            }
        }
    }
}

/// The answer to a request with this head. A lease is valid for three seconds at first, so that it is renewed.
fn boast(head: &str, seconds: u64) -> Value {
    let first_life = if seconds.is_multiple_of(2) { seconds } else { 3 };
    let path = head.split(' ').nth(1).unwrap_or_default().trim_start_matches("/v1/");
    match path {
        "auth/approle/login" => {
            json!({"auth": {"client_token": "s.token", "lease_duration": 3600, "renewable": true}})
        }
        "auth/token/lookup-self" => {
            json!({"data": {"ttl": 3600, "expire_time": "2030-01-01T00:00:00Z", "renewable": true}})
        }
        "sys/leases/lookup" => json!({"data": {"ttl": i64::try_from(seconds).unwrap_or(i64::MAX)}}),
        "sys/leases/renew" => json!({"lease_id": "l", "renewable": true, "lease_duration": seconds}),
        _ if path.starts_with("sys/internal/ui/mounts/") => {
            json!({"data": {"path": "database/", "type": "database"}})
        }
        _ if path.starts_with("database/creds/") => json!({"lease_id": "l", "renewable": true,
            "lease_duration": first_life, "data": {"username": "alice"}}),
        _ => json!({"data": {"username": "fixed", "ttl": seconds, "rotation_period": 5}}),
    }
}
