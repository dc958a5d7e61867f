//! Connections to the HTTP server: so many at once, each for so long. Who is slow keeps nobody else waiting.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// Connections at once; more wait to be accepted.
const AT_ONCE: usize = 1024;
/// Connections at once from one address: whoever takes all that it may leaves room for those who ask about health.
const OF_ONE: usize = AT_ONCE / 2;
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
    /// Something was received.
    heard: bool,
    _permit: OwnedSemaphorePermit,
    _guest: Guest,
}

/// Connections by address.
type Guests = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// One connection of an address.
struct Guest {
    address: IpAddr,
    guests: Guests,
}

impl Guest {
    /// None: there are too many of that address.
    fn admit(address: IpAddr, guests: &Guests) -> Option<Self> {
        let mut all = guests.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(address).or_default();
        if *count >= OF_ONE {
            return None;
        }
        *count += 1;
        Some(Self { address, guests: Arc::clone(guests) })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut all = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.address);
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
    pub(super) fn accept(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (ready, accepted) = mpsc::channel(1);
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let guests = Guests::default();
        let acceptor = tls.map(TlsAcceptor::from);
        tokio::spawn(async move {
            loop {
                let Ok(permit) = Arc::clone(&slots).acquire_owned().await else { return };
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
                let Some(guest) = Guest::admit(peer.ip(), &guests) else { continue };
                let (ready, acceptor) = (ready.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let Some(stream) = agree(stream, acceptor).await else { return };
                    let end = Box::pin(tokio::time::sleep(SILENT));
                    let connection = Connection { stream, end, heard: false, _permit: permit, _guest: guest };
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
        self.end.as_mut().poll(context).is_ready()
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
