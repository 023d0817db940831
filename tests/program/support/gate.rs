//! A gate between Squire and a server, which a test shuts and opens.
//!
//! *Invariant:* the server behind it is not touched.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{SOON, holds_within};

/// A port that leads to a server while it is open.
pub(crate) struct Gate {
    port: u16,
    server: SocketAddr,
    open: Mutex<Option<Passage>>,
}

/// The state while the gate is open.
struct Passage {
    closed: Arc<AtomicBool>,
    stuck: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    listener: std::thread::JoinHandle<()>,
}

impl Gate {
    /// An open gate in front of the server at this address, which begins with `http://`.
    pub(crate) fn before(address: &str) -> Self {
        let server = address.trim_start_matches("http://").parse().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { port, server, open: Mutex::new(Some(Passage::through(listener, server))) }
    }

    /// Its address.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Shuts it: connections are cut, and new ones are refused.
    pub(crate) fn shut(&self) {
        if let Some(passage) = self.open.lock().unwrap().take() {
            passage.end(self.port);
        }
    }

    /// Opens it again.
    pub(crate) fn open(&self) {
        let mut listener = None;
        let bound = holds_within(SOON, || {
            listener = TcpListener::bind(("127.0.0.1", self.port)).ok();
            listener.is_some()
        });
        assert!(bound, "the port of the gate was taken by somebody else");
        *self.open.lock().unwrap() = Some(Passage::through(listener.unwrap(), self.server));
    }

    /// Blocks it: connections are accepted, but no byte passes any more in either direction.
    pub(crate) fn jam(&self) {
        if let Some(passage) = &*self.open.lock().unwrap() {
            passage.stuck.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shut();
    }
}

impl Passage {
    fn through(listener: TcpListener, server: SocketAddr) -> Self {
        let (closed, stuck) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let streams = Arc::new(Mutex::new(Vec::new()));
        let thread = {
            let (closed, stuck, streams) = (Arc::clone(&closed), Arc::clone(&stuck), Arc::clone(&streams));
            std::thread::spawn(move || {
                for visitor in listener.incoming().map_while(Result::ok) {
                    if closed.load(Ordering::Relaxed) {
                        return;
                    }
                    // Without a server behind it the connection is cut, as by a server that is ending.
                    let Ok(host) = TcpStream::connect(server) else { continue };
                    let copies = [visitor.try_clone().unwrap(), host.try_clone().unwrap()];
                    streams.lock().unwrap().extend(copies);
                    carry(visitor.try_clone().unwrap(), host.try_clone().unwrap(), &stuck);
                    carry(host, visitor, &stuck);
                }
            })
        };
        Self { closed, stuck, streams, listener: thread }
    }

    fn end(self, port: u16) {
        self.closed.store(true, Ordering::Relaxed);
        // Wakes the listener, so that it sees that it has to end.
        drop(TcpStream::connect(("127.0.0.1", port)));
        self.listener.join().unwrap();
        for stream in self.streams.lock().unwrap().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
        self.stuck.store(false, Ordering::Relaxed);
    }
}

/// Passes bytes on in one direction until either end closes.
pub(super) fn carry(mut from: TcpStream, mut to: TcpStream, stuck: &Arc<AtomicBool>) {
    let stuck = Arc::clone(stuck);
    std::thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        while let Ok(length) = from.read(&mut bytes) {
            while stuck.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
            if length == 0 || to.write_all(&bytes[..length]).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Both));
    });
}
