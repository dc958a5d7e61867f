//! Connections to the HTTP server: so many at once, each for so long. Who is slow keeps nobody else waiting.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::reread::Reread;

/// Connections at once. When there are more, whoever has the most loses the oldest.
const AT_ONCE: usize = 1024;
/// Connections at once from one address; of IPv6, from one network of 64 bits, which is what one client usually has.
const OF_ONE: usize = 64;
/// How long one may be silent at first.
const SILENT: Duration = Duration::from_secs(3);
/// How long one lasts: what is asked here is answered in milliseconds, and who asks again may connect again.
const LIFE: Duration = Duration::from_secs(15);
/// How long a client may take to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A stream of bytes in both directions.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that ends.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    end: Pin<Box<Sleep>>,
    /// Somebody else needs its place.
    gone: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// One of the two has happened.
    over: bool,
    /// Something was received.
    heard: bool,
    _guest: Guest,
}

/// Open connections by client, the oldest first, each with what ends it.
#[derive(Default)]
struct Clients {
    open: HashMap<IpAddr, VecDeque<(u64, Arc<Notify>)>>,
    next: u64,
}

type Guests = Arc<Mutex<Clients>>;

/// One connection of a client.
struct Guest {
    client: IpAddr,
    number: u64,
    /// Somebody else needs the place.
    ends: Arc<Notify>,
    guests: Guests,
}

/// Who it is that connects, as far as that shows.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

impl Guest {
    /// Gives a client a place. Where it has as many as it may, its oldest connection makes room; where there are too many of all, the
    /// oldest of whoever has the most. So nobody is kept out by others.
    fn admit(address: IpAddr, guests: &Guests) -> Self {
        let client = client(address);
        let mut all = guests.lock().unwrap_or_else(PoisonError::into_inner);
        let total = all.open.values().map(VecDeque::len).sum::<usize>();
        let crowded = match all.open.get(&client).is_some_and(|own| own.len() >= OF_ONE) {
            true => all.open.get_mut(&client),
            false if total >= AT_ONCE => all.open.values_mut().max_by_key(|own| own.len()),
            false => None,
        };
        if let Some((_, ends)) = crowded.and_then(VecDeque::pop_front) {
            ends.notify_one();
        }
        all.next += 1;
        let (number, ends) = (all.next, Arc::new(Notify::new()));
        all.open.entry(client).or_default().push_back((number, Arc::clone(&ends)));
        Self { client, number, ends, guests: Arc::clone(guests) }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut all = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = all.open.get_mut(&self.client) {
            own.retain(|(number, _)| *number != self.number);
            if own.is_empty() {
                all.open.remove(&self.client);
            }
        }
    }
}

/// Accepts connections, and agrees on TLS beside each other.
pub(super) struct Connections {
    accepted: mpsc::Receiver<(Connection, SocketAddr)>,
    address: SocketAddr,
}

impl Connections {
    /// Begins to accept. To be called in a runtime; ends when it is dropped.
    pub(super) fn accept(listener: TcpListener, tls: Option<Arc<Reread<ServerConfig>>>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (ready, accepted) = mpsc::channel(1);
        let guests = Guests::default();
        tokio::spawn(async move {
            loop {
                let (stream, peer) = tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok(accepted) => accepted,
                        // As when there are too many open files: it may be over in a moment.
                        Err(_) => {
                            tokio::time::sleep(Duration::from_millis(100)).await;
                            continue;
                        }
                    },
                    () = ready.closed() => return,
                };
                let guest = Guest::admit(peer.ip(), &guests);
                let (ready, acceptor) = (ready.clone(), tls.as_ref().map(|tls| TlsAcceptor::from(tls.current())));
                tokio::spawn(async move {
                    let ends = Arc::clone(&guest.ends);
                    let agreed = tokio::select! {
                        agreed = agree(stream, acceptor) => agreed,
                        () = ends.notified() => None,
                    };
                    let Some(stream) = agreed else { return };
                    let gone = Box::pin(async move { ends.notified().await });
                    let end = Box::pin(tokio::time::sleep(SILENT));
                    let connection = Connection { stream, end, gone, over: false, heard: false, _guest: guest };
                    let _ = ready.send((connection, peer)).await;
                });
            }
        });
        Ok(Self { accepted, address })
    }
}

async fn agree(stream: TcpStream, acceptor: Option<TlsAcceptor>) -> Option<Box<dyn Stream>> {
    let Some(acceptor) = acceptor else { return Some(Box::new(stream)) };
    let agreed = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
    agreed.ok()?.ok().map(|stream| Box::new(stream) as Box<dyn Stream>)
}

impl axum::serve::Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}

impl Connection {
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        self.over =
            self.over || self.end.as_mut().poll(context).is_ready() || self.gone.as_mut().poll(context).is_ready();
        self.over
    }
}

fn over() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the connection has lasted too long")
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_over(context) {
            return Poll::Ready(Err(over()));
        }
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if !self.heard && into.filled().len() > before {
            self.heard = true;
            self.end.as_mut().reset(Instant::now() + LIFE);
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_over(context) {
            return Poll::Ready(Err(over()));
        }
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_over(context) {
            return Poll::Ready(Err(over()));
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
