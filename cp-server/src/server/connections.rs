//! Connections: their limits, their timeouts, and their end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{interval, sleep, timeout};
use tower::Service;

use super::io::ConnectionIo;
use super::limits::{HEADER_BUFFER, Surface};
use super::pace::Pace;
use super::stalls::{ConnectionState, Verdict};
use super::tls::Tls;
use crate::kernel::access::buckets::Holder;
use crate::kernel::access::caller::Peer;
use crate::kernel::error::{Error, Result};

/// How long requests in flight may run after the signal to end.
const GRACE: Duration = Duration::from_secs(10);
/// The maximum number of concurrent streams of an HTTP/2 connection.
const STREAMS: u32 = 128;
/// The maximum number of unfinished requests of a connection. A change outlives its stream, so
/// resetting streams does not circumvent this limit.
const UNDONE: usize = 2 * STREAMS as usize;

/// Serves until the signal to end, then waits for requests in flight.
pub(super) async fn serve(
    service: Router,
    surface: Surface,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    end: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let total = u32::try_from(surface.connections).unwrap_or(u32::MAX);
    let rooms = Arc::new(Semaphore::new(surface.connections));
    let seats = Seats::default();
    let (ending, stopping) = watch::channel(false);
    let serving =
        Serving { service, http: http(&surface), surface: Arc::new(surface), stopping, tls };
    tokio::pin!(end);
    loop {
        let room = rooms.clone().acquire_owned();
        let (stream, peer, room) = tokio::select! {
            () = &mut end => break,
            accepted = async { (room.await, listener.accept().await) } => match accepted {
                (Ok(room), Ok((stream, peer))) => (stream, peer, room),
                (_, Err(error)) => {
                    // Most likely no file descriptor is free: waiting frees some.
                    tracing::warn!(%error, "a connection was not accepted");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
                (Err(_), _) => break,
            },
        };
        let Some(seat) = seats.take(peer.ip(), &serving.surface) else {
            metrics::counter!("cp_http_connections_refused_total").increment(1);
            tracing::debug!(peer = %peer.ip(), "too many connections from this address");
            continue;
        };
        let serving = serving.clone();
        let place = Arc::new(Place { _seat: seat, _room: room });
        tokio::spawn(serving.connection(stream, peer, place));
    }
    drop(listener);
    tracing::info!("ending: requests in flight have {} seconds", GRACE.as_secs());
    let _ = ending.send(true);
    if timeout(GRACE, rooms.acquire_many(total)).await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
    Ok(())
}

fn http(surface: &Surface) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(surface.header_time)
        .max_buf_size(HEADER_BUFFER);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(surface.write_time)
        .keep_alive_timeout(surface.header_time)
        .max_concurrent_streams(STREAMS)
        // Streams that are opened and immediately reset (CVE-2023-44487) end the connection.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(128)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(256 * 1024)
        .max_header_list_size(u32::try_from(HEADER_BUFFER).unwrap_or(u32::MAX));
    http
}

/// The state that every connection needs.
#[derive(Clone)]
struct Serving {
    service: Router,
    http: auto::Builder<TokioExecutor>,
    surface: Arc<Surface>,
    stopping: watch::Receiver<bool>,
    tls: Option<Arc<Tls>>,
}

impl Serving {
    async fn connection(self, stream: TcpStream, peer: SocketAddr, place: Arc<Place>) {
        let _ = stream.set_nodelay(true);
        match self.tls.clone() {
            None => self.drive(stream, peer, false, place).await,
            Some(tls) => match timeout(self.surface.header_time, tls.accept(stream)).await {
                Ok(Ok(stream)) => self.drive(stream, peer, true, place).await,
                Ok(Err(error)) => tracing::debug!(peer = %peer.ip(), %error, "no TLS handshake"),
                Err(_) => tracing::debug!(peer = %peer.ip(), "a TLS handshake took too long"),
            },
        }
    }

    async fn drive<S>(mut self, stream: S, peer: SocketAddr, is_tls: bool, place: Arc<Place>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let state = ConnectionState::new(&self.surface);
        let is_proxy = self.surface.proxies.trusts(peer.ip());
        let from = From {
            peer: Peer(peer.ip()),
            is_tls: IsTls(is_tls),
            state: state.clone(),
            place,
            undone: Arc::new(Semaphore::new(UNDONE)),
        };
        let service = TowerToHyperService::new(WithOrigin { inner: self.service, from });
        let io = ConnectionIo::new(stream, Pace::new(&self.surface), state.clone());
        let connection = self.http.serve_connection(TokioIo::new(io), service);
        tokio::pin!(connection);
        let mut ticks = interval(self.surface.header_time.min(self.surface.write_time) / 4);
        let mut is_ending = *self.stopping.borrow();
        if is_ending {
            connection.as_mut().graceful_shutdown();
        }
        loop {
            tokio::select! {
                ended = &mut connection => {
                    // The client disconnected, or the HTTP parser refused its request.
                    if let Err(error) = ended {
                        tracing::debug!(peer = %peer.ip(), %error, "a connection failed");
                    }
                    return;
                }
                _ = self.stopping.changed(), if !is_ending => {
                    is_ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                // A proxy is exempt: only one of its many clients floods.
                time = state.flooded(), if !is_proxy => {
                    // Meanwhile nothing is read from the connection.
                    return sleep(time).await;
                }
                _ = ticks.tick() => match state.verdict(&self.surface) {
                    Verdict::Goes => {}
                    Verdict::Ends => connection.as_mut().graceful_shutdown(),
                    Verdict::Breaks => return,
                },
            }
        }
    }
}

/// The share of the server's limits that a connection holds until it and all its requests are
/// finished.
struct Place {
    _seat: Seat,
    _room: OwnedSemaphorePermit,
}

/// Open connections by address.
#[derive(Clone, Default)]
struct Seats(Arc<Mutex<HashMap<Holder, usize>>>);

struct Seat(Seats, Option<Holder>);

impl Seats {
    /// Returns `None` when the address has reached its limit.
    fn take(&self, address: IpAddr, surface: &Surface) -> Option<Seat> {
        // A proxy carries many clients.
        let holder = (!surface.proxies.trusts(address)).then(|| Holder::from(address));
        if let Some(holder) = holder {
            let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let seats = taken.entry(holder).or_insert(0);
            if *seats >= surface.connections_per_address {
                return None;
            }
            *seats += 1;
        }
        metrics::gauge!("cp_http_connections").increment(1);
        Some(Seat(self.clone(), holder))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        metrics::gauge!("cp_http_connections").decrement(1);
        let Some(holder) = self.1 else { return };
        let mut taken = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seats) = taken.get_mut(&holder) {
            *seats -= 1;
            if *seats == 0 {
                taken.remove(&holder);
            }
        }
    }
}

/// Whether the connection itself is encrypted.
#[derive(Clone, Copy)]
pub(super) struct IsTls(pub(super) bool);

#[derive(Clone)]
struct From {
    peer: Peer,
    is_tls: IsTls,
    state: Arc<ConnectionState>,
    place: Arc<Place>,
    undone: Arc<Semaphore>,
}

/// The share of its connection that a request holds until it is finished, even when its client is
/// gone.
#[derive(Clone)]
struct Held(Arc<(Arc<Place>, Option<OwnedSemaphorePermit>)>);

/// Refuses a request of a connection with too many unfinished requests.
pub(super) fn check(request: &Request) -> Result<()> {
    match request.extensions().get::<Held>() {
        Some(Held(held)) if held.1.is_none() => {
            let detail =
                "Too many requests of this connection are unfinished; wait for their responses.";
            Err(Error::unavailable(detail, 1))
        }
        _ => Ok(()),
    }
}

/// A service that adds the origin of each request.
#[derive(Clone)]
struct WithOrigin {
    inner: Router,
    from: From,
}

impl<B> Service<axum::http::Request<B>> for WithOrigin
where
    B: axum::body::HttpBody<Data = axum::body::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = <Router as Service<Request>>::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        Service::<Request>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, request: axum::http::Request<B>) -> Self::Future {
        let mut request = request.map(Body::new);
        let From { peer, is_tls, state, place, undone } = self.from.clone();
        state.asked();
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(is_tls);
        request.extensions_mut().insert(state);
        // Without a permit, the request is refused: see [`check`].
        let permit = undone.try_acquire_owned().ok();
        request.extensions_mut().insert(Held(Arc::new((place, permit))));
        self.inner.call(request)
    }
}
