//! A small HTTP/1.1 server on loopback that answers what it is told to and writes down what it was asked.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Connections that one server takes in its life.
const CONNECTIONS: usize = 4000;
/// An idle connection is given up after this.
const IDLE: Duration = Duration::from_secs(20);

/// A request as it was received.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// With the query.
    pub path: String,
    /// The whole head, as it came.
    pub head: String,
    pub body: String,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    /// The values of a header, one for each of its lines.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.head.lines().skip(1).filter_map(move |line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// How an answer is sent.
pub enum Reply {
    /// Status with its words, headers, body.
    Whole(String, Vec<(String, String)>, Vec<u8>),
    /// The first bytes of what follows, then the connection is cut.
    Cut(Vec<u8>),
    /// A head, then the same bytes again and again, so many times.
    Repeat { head: String, chunk: Vec<u8>, times: usize },
    /// A head, then a byte each time this has passed, so many times.
    Drip { head: String, every: Duration, times: usize },
    /// JSON, piece by piece as it comes, until there is no more of it.
    Stream(Pieces),
}

/// The next piece; none at the end. It may wait for it.
pub type Pieces = Box<dyn FnMut() -> Option<Vec<u8>>>;

impl Reply {
    pub fn new(status: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::Whole(status.to_owned(), headers, body.into())
    }

    /// With one more header.
    pub fn header(self, name: &str, value: &str) -> Self {
        match self {
            Self::Whole(status, mut headers, body) => {
                headers.push((name.to_owned(), value.to_owned()));
                Self::Whole(status, headers, body)
            }
            other => other,
        }
    }

    /// The bytes on the wire, of an answer that is sent whole.
    pub fn bytes(&self, is_head: bool) -> Vec<u8> {
        let Self::Whole(status, headers, body) = self else { return Vec::new() };
        let mut head = format!("HTTP/1.1 {status}\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut bytes = head.into_bytes();
        if !is_head {
            bytes.extend_from_slice(body);
        }
        bytes
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server that listens until the process ends.
#[derive(Clone)]
pub struct Server {
    /// `127.0.0.1:PORT`.
    pub host: String,
    seen: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
    /// Requests that write, under way now, and the most there ever were.
    under_way: Arc<(AtomicUsize, AtomicUsize)>,
}

impl Server {
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            host: listener.local_addr().unwrap().to_string(),
            seen: Arc::default(),
            connections: Arc::default(),
            under_way: Arc::default(),
        };
        let (seen, connections) = (Arc::clone(&server.seen), Arc::clone(&server.connections));
        let under_way = Arc::clone(&server.under_way);
        let handler = move |request: &Request| {
            if request.method == "GET" {
                return handler(request);
            }
            let now = under_way.0.fetch_add(1, Ordering::SeqCst) + 1;
            under_way.1.fetch_max(now, Ordering::SeqCst);
            let reply = handler(request);
            under_way.0.fetch_sub(1, Ordering::SeqCst);
            reply
        };
        let handler: Arc<Handler> = Arc::new(handler);
        std::thread::spawn(move || {
            for stream in listener.incoming().take(CONNECTIONS) {
                let (seen, handler) = (Arc::clone(&seen), Arc::clone(&handler));
                connections.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || {
                    if let Ok(stream) = stream {
                        let _ = serve(stream, &*handler, &seen);
                    }
                });
            }
        });
        server
    }

    /// What it was asked so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// Everything it was sent, as text.
    pub fn heard(&self) -> String {
        self.seen().iter().map(|request| format!("{}{}", request.head, request.body)).collect()
    }

    /// How many requests have this in their first line.
    pub fn count(&self, what: &str) -> usize {
        let line = |request: &Request| format!("{} {}", request.method, request.path);
        self.seen().iter().filter(|request| line(request).contains(what)).count()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The most requests that write and were under way at once since it was last told to forget.
    pub fn most_at_once(&self) -> usize {
        self.under_way.1.load(Ordering::SeqCst)
    }

    pub fn forget(&self) {
        self.under_way.1.store(0, Ordering::SeqCst);
        self.seen.lock().unwrap().clear();
    }
}

fn serve(mut stream: TcpStream, handler: &Handler, seen: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        let Some(request) = read_request(&mut stream, &mut buffer)? else { return Ok(()) };
        seen.lock().unwrap().push(request.clone());
        let reply = handler(&request);
        match reply {
            Reply::Whole(..) => stream.write_all(&reply.bytes(request.method == "HEAD"))?,
            Reply::Stream(mut next) => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
                stream.write_all(head.as_bytes())?;
                while let Some(piece) = next() {
                    let size = format!("{:x}\r\n", piece.len());
                    stream.write_all(&[size.as_bytes(), &piece, b"\r\n"].concat())?;
                }
                stream.write_all(b"0\r\n\r\n")?;
            }
            Reply::Cut(bytes) => {
                stream.write_all(&bytes)?;
                return stream.shutdown(Shutdown::Both);
            }
            Reply::Repeat { head, chunk, times } => {
                stream.write_all(head.as_bytes())?;
                for _ in 0..times {
                    stream.write_all(&chunk)?;
                }
                return Ok(());
            }
            Reply::Drip { head, every, times } => {
                stream.write_all(head.as_bytes())?;
                for _ in 0..times {
                    std::thread::sleep(every);
                    stream.write_all(b" ")?;
                }
                return Ok(());
            }
        }
    }
}

fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Request>> {
    let mut chunk = [0; 8192];
    loop {
        // A TLS handshake is no HTTP: hang up, as a plain registry does.
        if buffer.first() == Some(&0x16) {
            return Ok(None);
        }
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end + 4]).into_owned();
            let mut words = head.lines().next().unwrap_or_default().split(' ').map(str::to_owned);
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let mut request = Request { method, path, head, body: String::new() };
            let length: usize = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            if buffer.len() >= end + 4 + length {
                request.body = String::from_utf8_lossy(&buffer[end + 4..end + 4 + length]).into_owned();
                buffer.drain(..end + 4 + length);
                return Ok(Some(request));
            }
        }
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Ok(None);
        }
        buffer.extend_from_slice(&chunk[..read]);
    }
}
