//! Servers in this process, and callers over HTTP.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::connection::Connection;

/// A server that ends when this value is dropped.
pub(crate) struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) async fn serve(router: Router) -> (SocketAddr, Serving) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Without this, each connection builds all routes.
    let router = router.into_make_service();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, Serving(serving))
}

/// Returns the requests per second of so many callers, each on a connection of its own.
pub(crate) async fn load(
    address: SocketAddr,
    request: &str,
    callers: usize,
    time: Duration,
) -> f64 {
    let request = request.to_owned();
    tokio::task::spawn_blocking(move || rate(address, &request, callers, time)).await.unwrap()
}

/// Like [`load`], outside of a runtime.
pub(crate) fn rate(address: SocketAddr, request: &str, callers: usize, time: Duration) -> f64 {
    let (answered, started) = (AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..callers {
            scope.spawn(|| {
                let mut connection = Connection::to(address);
                while started.elapsed() < time {
                    let status = connection.ask(request).0;
                    assert!(status < 300 || status == 304, "{status}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    answered.into_inner() as f64 / started.elapsed().as_secs_f64()
}
