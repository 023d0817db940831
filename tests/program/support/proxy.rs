//! A proxy that alone knows its host names: every host is this machine. And a gateway in front of a server, below a path.
//!
//! *Invariant:* bytes are passed on unchanged, except as described at each.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use super::gate::carry;

/// An HTTP proxy: `CONNECT` for tunnels, complete addresses for requests.
pub(crate) struct Proxy {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// The login that it demands, as Basic, if any.
    pub(crate) fn start(login: Option<&str>) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, login) = (Arc::clone(&seen), login.map(str::to_owned));
        let port = serve(move |visitor, head| {
            log.lock().unwrap().push(head.lines().next().unwrap().to_owned());
            let wanted =
                login.as_ref().map(|login| format!("proxy-authorization: basic {}", login.to_lowercase()));
            if wanted.is_some_and(|wanted| !head.to_lowercase().contains(&wanted)) {
                let no = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
                return visitor.write_all(no.as_bytes()).ok().and(None);
            }
            let target = head.split(' ').nth(1).unwrap();
            let authority = target.trim_start_matches("http://").split('/').next().unwrap();
            let (_unknown, port) = authority.rsplit_once(':').unwrap();
            let mut host = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).ok()?;
            if head.starts_with("CONNECT ") {
                visitor.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
            } else {
                host.write_all(head.as_bytes()).ok()?;
            }
            Some(host)
        });
        Self { port, seen }
    }

    /// Its address.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The first line of each connection.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// A gateway that takes requests below a path and passes them to a server without that path.
pub(crate) struct Gateway {
    port: u16,
}

impl Gateway {
    /// In front of the server at this address, which begins with `http://`, below this path.
    pub(crate) fn before(address: &str, path: &'static str) -> Self {
        let server = address.trim_start_matches("http://").to_owned();
        let port = serve(move |visitor, head| {
            let below = format!(" {path}/");
            if !head.lines().next().unwrap().contains(&below) {
                let no = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                return visitor.write_all(no.as_bytes()).ok().and(None);
            }
            let mut host = TcpStream::connect(&server).ok()?;
            // One request for each connection, since each head has to be read.
            let head = head.replacen(&below, " /", 1).replacen("\r\n", "\r\nconnection: close\r\n", 1);
            host.write_all(head.as_bytes()).ok()?;
            Some(host)
        });
        Self { port }
    }

    /// Its address.
    pub(crate) fn address(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

/// Reads the head of the first request on each connection; if `answer` returns a server, the connection goes on to it.
fn serve(answer: impl Fn(&mut TcpStream, &str) -> Option<TcpStream> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for mut visitor in listener.incoming().map_while(Result::ok) {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                let head = head(&mut visitor)?;
                let host = answer(&mut visitor, &head)?;
                let stuck = Arc::new(AtomicBool::new(false));
                carry(visitor.try_clone().ok()?, host.try_clone().ok()?, &stuck);
                carry(host, visitor, &stuck);
                Some(())
            });
        }
    });
    port
}

/// Reads up to the empty line, and no byte after it.
fn head(visitor: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        visitor.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    String::from_utf8(head).ok()
}
