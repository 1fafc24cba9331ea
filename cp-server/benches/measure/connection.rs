//! A client's connection, and the bytes of its requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A connection that is kept open.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    line: String,
    body: Vec<u8>,
}

impl Connection {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream), line: String::new(), body: Vec::new() }
    }

    /// Returns the status and the body of an answer.
    pub(crate) fn ask(&mut self, request: &str) -> (u16, &[u8]) {
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut length, mut status) = (0, 0);
        loop {
            self.line.clear();
            self.stream.read_line(&mut self.line).unwrap();
            if status == 0 {
                status = self.line.split(' ').nth(1).unwrap().parse().unwrap();
            }
            if let Some(value) = self.line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            if self.line == "\r\n" {
                break;
            }
        }
        self.body.resize(if status == 304 { 0 } else { length }, 0);
        self.stream.read_exact(&mut self.body).unwrap();
        (status, &self.body)
    }
}

pub(crate) fn request(method: &str, path: &str, token: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
