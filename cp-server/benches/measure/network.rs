//! Servers and callers over HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server that ends when this value is dropped.
pub(super) struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) async fn serve(router: Router) -> (SocketAddr, Serving) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, Serving(serving))
}

pub(super) fn request(method: &str, path: &str, token: &str) -> Vec<u8> {
    let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
    format!(
        "{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n{length}\r\n"
    )
    .into_bytes()
}

/// Returns the requests per second of so many callers, each on a connection of its own.
pub(super) async fn load(
    address: SocketAddr,
    request: &[u8],
    callers: usize,
    time: Duration,
) -> f64 {
    let request = request.to_vec();
    let loaded = tokio::task::spawn_blocking(move || {
        let (answered, started) = (AtomicU64::new(0), Instant::now());
        std::thread::scope(|scope| {
            for _ in 0..callers {
                scope.spawn(|| {
                    let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
                    stream.get_ref().set_nodelay(true).unwrap();
                    let mut body = Vec::new();
                    while started.elapsed() < time {
                        stream.get_mut().write_all(&request).unwrap();
                        read_answer(&mut stream, &mut body);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        answered.into_inner() as f64 / started.elapsed().as_secs_f64()
    });
    loaded.await.unwrap()
}

/// Reads an answer and leaves its body.
pub(super) fn read_answer(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>) {
    let (mut line, mut length, mut first) = (String::new(), 0, true);
    loop {
        line.clear();
        stream.read_line(&mut line).unwrap();
        if first {
            let is_fine = line.starts_with("HTTP/1.1 2") || line.starts_with("HTTP/1.1 304");
            assert!(is_fine, "{line}");
            first = false;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    body.resize(length, 0);
    stream.read_exact(body).unwrap();
}
