//! A receiver on this machine that answers as a test plans.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request};
use axum::response::Response;
use axum::routing::any;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request that was received.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The status of its answer.
    pub status: u16,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// Checks the signature as a receiver does, with its own implementation of HMAC.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
        let text = format!("{}.{}.", self.header("webhook-id"), self.header("webhook-timestamp"));
        let text = [text.as_bytes(), &self.body].concat();
        let signed = STANDARD.encode(aws_lc_rs::hmac::sign(&key, &text));
        self.header("webhook-signature").split(' ').any(|one| one == format!("v1,{signed}"))
    }
}

/// The status, the headers and the body of an answer.
type Answered = (u16, Vec<(&'static str, String)>, String);

#[derive(Default)]
struct Inner {
    received: Vec<Received>,
    answers: VecDeque<Answered>,
    /// The answer when no other is planned.
    usual: Option<Answered>,
    /// Of so many requests, one fails.
    fails_one_in: Option<usize>,
}

pub struct Receiver {
    pub url: String,
    inner: Arc<Mutex<Inner>>,
    serving: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Receiver {
    pub async fn start() -> Self {
        let inner = Arc::new(Mutex::new(Inner::default()));
        let router = Router::new().fallback(any(receive)).with_state(inner.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, inner, serving }
    }

    /// Plans the next answer.
    pub fn answer(&self, status: u16) {
        self.inner.lock().unwrap().answers.push_back((status, Vec::new(), String::new()));
    }

    /// Plans the next answer with a header.
    pub fn answer_with(&self, status: u16, name: &'static str, value: &str) {
        let answer = (status, vec![(name, value.to_owned())], "text".to_owned());
        self.inner.lock().unwrap().answers.push_back(answer);
    }

    /// Sets the answer when no other is planned.
    pub fn usually(&self, status: u16) {
        self.inner.lock().unwrap().usual = Some((status, Vec::new(), String::new()));
    }

    /// Fails one of so many requests.
    pub fn fails_one_in(&self, n: usize) {
        self.inner.lock().unwrap().fails_one_in = Some(n);
    }

    pub fn received(&self) -> Vec<Received> {
        self.inner.lock().unwrap().received.clone()
    }

    /// The requests since the last call.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.inner.lock().unwrap().received)
    }
}

async fn receive(State(inner): State<Arc<Mutex<Inner>>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let path = parts.uri.path().to_owned();
    let mut inner = inner.lock().unwrap();
    let count = inner.received.len();
    let fails = inner.fails_one_in.is_some_and(|n| count % n == 1);
    let failure = fails.then(|| (503, Vec::new(), String::new()));
    let planned = inner.answers.pop_front().or(failure).or_else(|| inner.usual.clone());
    let (status, headers, answer) = planned.unwrap_or((204, Vec::new(), String::new()));
    inner.received.push(Received { path, headers: parts.headers, body, status });
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Body::from(answer)).unwrap()
}
