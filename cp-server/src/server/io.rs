//! The bytes of a connection. A client that stalls or reads too slowly is disconnected. The rest of
//! a refused request is read before its connection is closed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::pace::Pace;
use super::stalls::ConnectionState;

pub(super) struct ConnectionIo<S> {
    inner: S,
    pace: Pace,
    /// The start and the end of the current stall.
    stalled: Option<(Instant, Pin<Box<Sleep>>)>,
    state: Arc<ConnectionState>,
    lingering: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> ConnectionIo<S> {
    pub(super) fn new(inner: S, pace: Pace, state: Arc<ConnectionState>) -> Self {
        Self { inner, pace, stalled: None, state, lingering: None }
    }

    /// Fails a write that has waited too long. `bytes` returns the number of written bytes.
    fn patiently<T: Copy>(
        &mut self,
        cx: &mut Context<'_>,
        write: Poll<io::Result<T>>,
        bytes: impl FnOnce(T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = write {
            let waited = self.stalled.take().map(|(since, _)| since.elapsed());
            if let Ok(written) = &done {
                self.pace.took(bytes(*written), waited.unwrap_or_default());
            }
            return Poll::Ready(done);
        }
        let time = self.pace.left();
        let (_, stalled) =
            self.stalled.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(time))));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ConnectionIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, into);
        if into.filled().len() > before {
            self.state.received();
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ConnectionIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.patiently(cx, write, |written| written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.patiently(cx, write, |written| written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.inner).poll_flush(cx);
        self.patiently(cx, flush, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            let shutdown = Pin::new(&mut self.inner).poll_shutdown(cx);
            ready!(self.patiently(cx, shutdown, |()| 0))?;
        }
        let Some(patience) = self.state.patience() else { return Poll::Ready(Ok(())) };
        let this = &mut *self;
        let (until, read) =
            this.lingering.get_or_insert_with(|| (Box::pin(sleep(patience.time)), 0));
        let mut buffer = [0; 8192];
        while until.as_mut().poll(cx).is_pending() {
            if *read >= patience.bytes {
                return Poll::Pending;
            }
            let mut into = ReadBuf::new(&mut buffer);
            match ready!(Pin::new(&mut this.inner).poll_read(cx, &mut into)) {
                Ok(()) if !into.filled().is_empty() => *read += into.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
