//! A server on loopback that misbehaves on demand.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A server that sends the same response to every request until a test changes it.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The whole answer; empty closes the connection, none never answers.
    answer: Mutex<Option<String>>,
    /// The same for single paths.
    answers_at: Mutex<HashMap<String, String>>,
    /// The head of every request.
    requests: Mutex<Vec<String>>,
}

impl Server {
    pub(crate) fn start(answer: impl Into<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let server = Self { address, shared: Arc::clone(&shared) };
        server.answer_with(answer);
        thread::spawn(move || {
            let mut unanswered = Vec::new();
            for stream in listener.incoming().map(|stream| stream.unwrap()) {
                unanswered.extend(shared.serve(stream));
            }
        });
        server
    }

    pub(crate) fn answer_with(&self, answer: impl Into<String>) {
        *self.shared.answer.lock().unwrap() = Some(answer.into());
    }

    pub(crate) fn answer_at(&self, path: &str, answer: impl Into<String>) {
        self.shared.answers_at.lock().unwrap().insert(path.to_owned(), answer.into());
    }

    pub(crate) fn hang(&self) {
        *self.shared.answer.lock().unwrap() = None;
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The heads of the requests for a path.
    pub(crate) fn requests_for(&self, path: &str) -> Vec<String> {
        let begin = format!("GET {path} ");
        self.requests().into_iter().filter(|head| head.starts_with(&begin)).collect()
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/jwks.json", self.base())
    }
}

impl Shared {
    /// Answers one request; returns the connection when it shall hang.
    fn serve(&self, mut stream: TcpStream) -> Option<TcpStream> {
        let reader = BufReader::new(stream.try_clone().unwrap());
        let head: Vec<String> =
            reader.lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
        let own = self.answers_at.lock().unwrap().get(path).cloned();
        self.requests.lock().unwrap().push(head.join("\n"));
        let answer = own.or_else(|| self.answer.lock().unwrap().clone());
        match answer {
            None => Some(stream),
            Some(answer) => {
                // The client may have hung up, which is its right.
                let _ = stream.write_all(answer.as_bytes());
                None
            }
        }
    }
}

pub(crate) fn ok(body: &str) -> String {
    answer("200 OK", "ETag: \"one\"\r\n", body)
}

pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}
