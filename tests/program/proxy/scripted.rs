//! A server that lets Squire log in, and answers everything else as the test says: real servers do not lie on demand.
//!
//! *Invariant:* each request is counted with its path, before it is answered.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the test says: to a request with this path and body. Nothing closes the connection.
type Says = dyn Fn(&str, &str) -> Option<String> + Send + Sync;

#[derive(Clone)]
pub(super) struct Scripted {
    port: u16,
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
    accepted: Arc<AtomicUsize>,
    connected: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

/// An answer of the API.
pub(super) fn json(body: &str) -> String {
    answer("200 OK", body)
}

/// An answer with this status.
pub(super) fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
}

impl Scripted {
    pub(super) fn start(says: impl Fn(&str, &str) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self {
            port,
            asked: Arc::default(),
            accepted: Arc::default(),
            connected: Arc::default(),
            most: Arc::default(),
        };
        let (says, it): (Arc<Says>, _) = (Arc::new(says), server.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (says, it) = (Arc::clone(&says), it.clone());
                thread::spawn(move || it.converse(stream, &*says));
            }
        });
        server
    }

    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How often this was asked, as `METHOD PATH`.
    pub(super) fn asked(&self, what: &str) -> usize {
        self.asked.lock().unwrap().get(what).copied().unwrap_or_default()
    }

    /// How many connections there have been.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// The most connections that there were at once.
    pub(super) fn most_connected(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    fn converse(&self, mut stream: TcpStream, says: &Says) {
        stream.set_nodelay(true).unwrap();
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let now = self.connected.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some((method, path, body)) = request(&mut reader) {
            *self.asked.lock().unwrap().entry(format!("{method} {path}")).or_default() += 1;
            let said = match path.as_str() {
                "auth/approle/login" => Some(json(
                    r#"{"auth":{"client_token":"s.scripted","accessor":"a","lease_duration":3600,"renewable":true}}"#,
                )),
                "auth/token/lookup-self" => {
                    Some(json(r#"{"data":{"ttl":3600,"renewable":true,"id":"s.scripted"}}"#))
                }
                "auth/token/revoke-self" => Some(answer("204 No Content", "")),
                _ => says(&path, &body),
            };
            let Some(said) = said else { break };
            if stream.write_all(said.as_bytes()).is_err() || said.contains("Connection: close") {
                break;
            }
        }
        self.connected.fetch_sub(1, Ordering::Relaxed);
    }
}

fn request(reader: &mut impl BufRead) -> Option<(String, String, String)> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0).map(|_| line.trim_end().to_owned())
    };
    let first = line()?;
    let mut length = 0;
    loop {
        let header = line()?.to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut words = first.split(' ');
    let method = words.next()?.to_owned();
    let path = words.next()?.trim_start_matches("/v1/").to_owned();
    Some((method, path, String::from_utf8(body).ok()?))
}
