//! A connection's bytes: a client that takes nothing of an answer, or too little, is let go, and what the HTTP parser
//! refuses by itself leaves as a problem document, too.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::pace::Pace;
use super::pulse::Pulse;

/// A refusal as bytes, by its status.
pub(super) type Words = Arc<dyn Fn(u16) -> Vec<u8> + Send + Sync>;

/// Longer than any refusal of the parser's own.
const BARE: usize = 200;

pub(super) struct Wire<S> {
    inner: S,
    pace: Pace,
    /// Runs while the client takes nothing: since when, and until when.
    stalled: Option<(Instant, Pin<Box<Sleep>>)>,
    /// What is written in place of the parser's refusal, and how far it is.
    instead: Option<(Vec<u8>, usize)>,
    words: Words,
    pulse: Arc<Pulse>,
    lingering: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Wire<S> {
    pub(super) fn new(inner: S, pace: Pace, words: Words, pulse: Arc<Pulse>) -> Self {
        Self { inner, pace, stalled: None, instead: None, words, pulse, lingering: None }
    }

    /// Fails a write that has been waiting for too long. `bytes` are those that it has written.
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

/// Where a refusal of the parser's own begins, and its status.
///
/// It is a head without a body, the last that is written on a connection; every answer of ours has
/// its request's id, so that none is taken for it.
fn bare(bytes: &[u8]) -> Option<(usize, u16)> {
    let tail = bytes.len().saturating_sub(BARE);
    let near = bytes.get(tail..)?;
    if !near.ends_with(b"\r\n\r\n") {
        return None;
    }
    let lead = b"HTTP/1.1 4";
    let at = near.windows(lead.len()).rposition(|window| window == lead)?;
    let head = std::str::from_utf8(&near[at..]).ok()?;
    let (status_line, headers) = head.trim_end().split_once("\r\n")?;
    let ours = |line: &str| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        !["content-length", "connection", "date"].contains(&name.as_str())
    };
    if headers.split("\r\n").any(ours) {
        return None;
    }
    Some((tail + at, status_line.split(' ').nth(1)?.parse().ok()?))
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match bare(bytes) {
            None => Pin::new(&mut self.inner).poll_write(cx, bytes),
            Some((0, status)) => {
                let words = &self.words;
                let (text, at) = self.instead.get_or_insert_with(|| (words(status), 0));
                self.pulse.refused();
                while *at < text.len() {
                    let wrote = ready!(Pin::new(&mut self.inner).poll_write(cx, &text[*at..]))?;
                    if wrote == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    *at += wrote;
                }
                self.instead = None;
                Poll::Ready(Ok(bytes.len()))
            }
            // The end of the answer before it goes first.
            Some((at, _)) => Pin::new(&mut self.inner).poll_write(cx, &bytes[..at]),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = self.write(cx, bytes);
        self.patiently(cx, write, |written| written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let full = |slice: &&IoSlice<'_>| !slice.is_empty();
        let last = slices.iter().rev().find(full).map_or(&[][..], |slice| slice);
        let write = if bare(last).is_none() {
            Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
        } else {
            let first = slices.iter().find(full).map_or(&[][..], |slice| slice);
            self.write(cx, first)
        };
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
        let Some(patience) = self.pulse.patience() else { return Poll::Ready(Ok(())) };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_parser_is_told_from_every_answer_of_ours() {
        let refusal = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
            content-length: 0\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n";
        assert_eq!(bare(refusal), Some((0, 431)));
        assert_eq!(bare(&[b"{}".as_slice(), refusal].concat()), Some((2, 431)));
        for other in [
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nx-request-id: 1\r\n\r\n".as_slice(),
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"\"HTTP/1.1 400 Bad Request\"\r\n0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            b"\r\n\r\n",
            b"",
        ] {
            assert_eq!(bare(other), None, "{}", String::from_utf8_lossy(other));
        }
    }
}
