//! Connections, and how many of them there may be.
//!
//! Invariants: a connection has its place before anything is read of it, and gives it back when it ends; one that is too
//! many is closed at once; a client that takes nothing of its answer for a while loses its place.

use std::{
    future::{Ready, ready},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum_server::accept::Accept;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep_until},
};

use super::rate_limited_log::RateLimitedLog;

/// Lets in as many as there are places.
#[derive(Clone)]
pub(super) struct Bounded {
    places: Arc<Semaphore>,
    stall: Duration,
}

impl Bounded {
    /// Room for so many, of whom none may leave its answer for longer than `stall`.
    pub(super) fn new(connections: usize, stall: Duration) -> Bounded {
        Bounded {
            places: Arc::new(Semaphore::new(connections)),
            stall,
        }
    }
}

impl<S> Accept<TcpStream, S> for Bounded {
    type Stream = Connection<TcpStream>;
    type Service = S;
    type Future = Ready<io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return ready(Err(io::ErrorKind::QuotaExceeded.into()));
        };
        // Answers are small, and somebody waits for them.
        let connection = stream.set_nodelay(true).map(|()| Connection {
            stream,
            stall: self.stall,
            stalled: None,
            _place: place,
        });
        ready(connection.map(|connection| (connection, service)))
    }
}

/// Tells of connections that came to nothing. Whoever causes them must not fill the log: of each kind one now and then.
pub(super) struct Refusals {
    full: RateLimitedLog,
    handshakes: RateLimitedLog,
    listener: RateLimitedLog,
}

impl Refusals {
    pub(super) const fn new() -> Refusals {
        Refusals {
            full: RateLimitedLog::new(),
            handshakes: RateLimitedLog::new(),
            listener: RateLimitedLog::new(),
        }
    }

    /// Nothing came of a connection; `peer` is whose, if it was taken.
    pub(super) fn tell(&self, peer: Option<&SocketAddr>, error: &io::Error) {
        let Some(peer) = peer else {
            if let Some(untold) = self.listener.turn() {
                tracing::error!(%error, untold, "the hook API cannot take a connection");
            }
            return;
        };
        match error.kind() {
            io::ErrorKind::QuotaExceeded => {
                if let Some(untold) = self.full.turn() {
                    tracing::warn!(%peer, untold, "the hook API has no room for another connection");
                }
            }
            // Probes look whether somebody listens, and say nothing.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                tracing::debug!(%peer, %error, "a connection to the hook API ended before its handshake");
            }
            _ => {
                if let Some(untold) = self.handshakes.turn() {
                    tracing::warn!(%peer, %error, untold, "a TLS handshake with the hook API failed");
                }
            }
        }
    }
}

/// A connection that has a place.
pub(super) struct Connection<S> {
    stream: S,
    stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl<S: Unpin> Connection<S> {
    /// What writing came to, or an end if nothing moved for too long.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stall = self.stall;
        let over = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + stall)));
        match over.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.bounded(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.bounded(cx, shut)
    }
}
