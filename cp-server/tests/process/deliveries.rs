//! A server that is killed between the sending of a message and the record of its result.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::json;

use super::server::{KEK, Server, command, folder};
use super::tls::until;

/// The `webhook-id` of each message, in the order of their arrival.
type Arrivals = Arc<Mutex<Vec<String>>>;

/// Starts a receiver that leaves the first message without an answer. Returns its URL.
fn receiver(arrivals: &Arrivals) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let arrivals = Arc::clone(arrivals);
    std::thread::spawn(move || {
        let mut unanswered = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let id = receive(&stream);
            let mut arrived = arrivals.lock().unwrap();
            match arrived.is_empty() {
                true => unanswered.push(stream),
                // The sender may be gone.
                false => drop(stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")),
            }
            arrived.push(id);
        }
    });
    url
}

/// Reads a message, and returns its `webhook-id`.
fn receive(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut id, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end().split_once(": ") {
            Some(("webhook-id", value)) => id = value.to_owned(),
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(_) => {}
            None if line.trim_end().is_empty() => break,
            None => {}
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    id
}

#[test]
fn message_without_a_recorded_result_is_sent_again_with_its_id() {
    let folder = folder();
    let start = || {
        let mut command = command(folder.path());
        command.env("CP_KEY_ENCRYPTION_KEY", KEK).env("CP_WEBHOOK_ALLOW_LOOPBACK", "true");
        Server::run(command.arg("serve"))
    };
    let mut server = start();
    let arrivals = Arrivals::default();
    let url = receiver(&arrivals);
    let webhook = json!({"url": url, "types": ["organizations.create"]});
    let webhook = server.post("/webhooks", webhook)["id"].as_str().unwrap().to_owned();
    server.post("/organizations", json!({"name": "Acme"}));
    let count = || arrivals.lock().unwrap().len();
    until(|| count() == 1, "the first message");
    server.signal(Signal::KILL);
    server.wait();

    // The claim of the killed server lasts a minute.
    let server = start();
    until(|| count() == 2, "the second message");
    let ids = arrivals.lock().unwrap().clone();
    assert_eq!(ids[0], ids[1]);
    let path = format!("/api/v1/webhooks/{webhook}/deliveries");
    let delivery = || server.call("GET", &path, None, "deliveries").1["items"][0].clone();
    until(|| delivery()["status"] == "delivered", "the result");
    assert_eq!((&delivery()["attempts"], &delivery()["event_id"]), (&json!(1), &json!(ids[0])));
}
