//! Fake servers: they answer what a test says, and remember the requests.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What a fake does with a request.
pub(crate) enum Reply {
    /// Sends these bytes and closes.
    Bytes(Vec<u8>),
    /// Keeps the connection open and sends nothing.
    Silence,
}

/// A status line with a JSON body and further headers.
pub(crate) fn json(status: &str, headers: &[&str], body: &str) -> Reply {
    let headers = headers.iter().flat_map(|header| [*header, "\r\n"]).collect::<String>();
    let length = body.len();
    Reply::Bytes(
        format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}")
            .into_bytes(),
    )
}

pub(crate) struct Fake {
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Fake {
    /// A server whose answer depends on the request: its head, and its body after an empty line.
    pub(crate) async fn new(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (reply, log) = (Arc::new(reply), Arc::clone(&seen));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer(stream, Arc::clone(&reply), Arc::clone(&log)));
            }
        });
        Self { address, seen, _tasks: tasks }
    }

    /// A server that passes everything on to another one.
    pub(crate) async fn before(address: &str) -> Self {
        Self::refusing(address, "", "").await
    }

    /// The same, but requests with this in their first line get this status and a page.
    pub(crate) async fn refusing(address: &str, refused: &'static str, status: &'static str) -> Self {
        let refusal = move |head: &str| {
            let line = head.lines().next().unwrap_or_default();
            let page = "<h1>no</h1>";
            (!refused.is_empty() && line.contains(refused)).then(|| {
                format!(
                    "HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{page}",
                    page.len()
                )
            })
        };
        let target = address.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(pass(stream, target.clone(), Arc::clone(&log), refusal));
            }
        });
        Self { address, seen, _tasks: tasks }
    }

    /// How many requests had this in their head.
    pub(crate) fn asked(&self, text: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|head| head.contains(text)).count()
    }
}

fn length_of_body(head: &str) -> usize {
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.map_or(0, |length| length.trim().parse().unwrap())
}

async fn answer(
    mut stream: TcpStream,
    reply: Arc<impl Fn(&str) -> Reply + Send + Sync>,
    seen: Arc<Mutex<Vec<String>>>,
) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let end = head.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let whole = end + length_of_body(&String::from_utf8_lossy(&head[..end]));
    while head.len() < whole {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let reply = reply(&head);
    seen.lock().unwrap().push(head);
    match reply {
        Reply::Bytes(bytes) => {
            stream.write_all(&bytes).await.ok();
            stream.shutdown().await.ok();
        }
        Reply::Silence => std::future::pending().await,
    }
}

/// Each request of these tests comes in one piece, and none comes before the answer to the one before it.
async fn pass(
    client: TcpStream,
    target: String,
    seen: Arc<Mutex<Vec<String>>>,
    refusal: impl Fn(&str) -> Option<String>,
) {
    let mut server = TcpStream::connect(target).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.split();
    let (mut request, mut answer) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            read = from_client.read(&mut request) => {
                let Ok(size @ 1..) = read else { return };
                let head = String::from_utf8_lossy(&request[..size]).into_owned();
                let refused = refusal(&head);
                seen.lock().unwrap().push(head);
                match refused {
                    Some(page) => to_client.write_all(page.as_bytes()).await.unwrap(),
                    None => to_server.write_all(&request[..size]).await.unwrap(),
                }
            }
            read = from_server.read(&mut answer) => {
                let Ok(size @ 1..) = read else { return };
                if to_client.write_all(&answer[..size]).await.is_err() {
                    return;
                }
            }
        }
    }
}
