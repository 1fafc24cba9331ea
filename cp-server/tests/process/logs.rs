//! A reader of the log that reads nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use super::server::{command, folder};

/// Their lines fill the pipe.
const REQUESTS: usize = 2_000;

#[test]
fn stalled_log_reader_stops_neither_requests_nor_the_end() {
    let folder = folder();
    let mut server = command(folder.path())
        .arg("serve")
        .env("CP_RATE_LIMITS", "false")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap());
    let address = loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0, "the server ended");
        if let Some((_, rest)) = line.split_once("address=") {
            break rest.split(' ').next().unwrap().parse().unwrap();
        }
    };
    ask(address, REQUESTS);
    kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
    assert!(server.wait().unwrap().success());
    let mut rest = Vec::new();
    log.read_to_end(&mut rest).unwrap();
    // A full pipe may hold less than its 64 KiB: its pages are filled line by line.
    assert!(rest.len() >= 32 * 1024, "{} bytes", rest.len());
}

/// Asks for something that is logged, so many times on one connection.
fn ask(address: SocketAddr, times: usize) {
    let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
    for _ in 0..times {
        let ask = b"GET /api/v1/me HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.get_mut().write_all(ask).unwrap();
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).unwrap();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        stream.read_exact(&mut vec![0; length]).unwrap();
    }
}
