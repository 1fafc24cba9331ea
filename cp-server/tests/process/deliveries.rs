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

/// Receives a message, and answers when the test says so.
fn slow_receiver() -> (String, std::sync::mpsc::Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (sender, arrivals) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            receive(&stream);
            // The test may be over.
            let _ = sender.send(stream);
        }
    });
    (url, arrivals)
}

#[test]
fn attempt_in_flight_is_recorded_when_the_server_ends() {
    let folder = folder();
    let start = || {
        let mut command = command(folder.path());
        command.env("CP_KEY_ENCRYPTION_KEY", KEK).env("CP_WEBHOOK_ALLOW_LOOPBACK", "true");
        Server::run(command.arg("serve"))
    };
    let mut server = start();
    let (url, arrivals) = slow_receiver();
    let webhook = json!({"url": url, "types": ["organizations.create"]});
    let webhook = server.post("/webhooks", webhook)["id"].as_str().unwrap().to_owned();
    server.post("/organizations", json!({"name": "Acme"}));
    let mut stream = arrivals.recv().unwrap();
    let began = std::time::Instant::now();
    server.signal(Signal::TERM);
    std::thread::sleep(std::time::Duration::from_millis(300));
    stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").unwrap();
    drop(stream);
    server.wait();
    assert!(began.elapsed() < std::time::Duration::from_secs(9), "{:?}", began.elapsed());

    let server = start();
    let path = format!("/api/v1/webhooks/{webhook}/deliveries");
    let delivery = server.call("GET", &path, None, "deliveries").1["items"][0].clone();
    assert_eq!((&delivery["status"], &delivery["attempts"]), (&json!("delivered"), &json!(1)));
}

#[test]
fn silent_receiver_delays_the_end_of_the_server_by_ten_seconds() {
    let folder = folder();
    let mut command = command(folder.path());
    command.env("CP_KEY_ENCRYPTION_KEY", KEK).env("CP_WEBHOOK_ALLOW_LOOPBACK", "true");
    let mut server = Server::run(command.arg("serve"));
    let (url, arrivals) = slow_receiver();
    server.post("/webhooks", json!({"url": url, "types": ["organizations.create"]}));
    server.post("/organizations", json!({"name": "Acme"}));
    let _silent = arrivals.recv().unwrap();
    let began = std::time::Instant::now();
    server.signal(Signal::TERM);
    server.wait();
    let took = began.elapsed().as_secs_f64();
    assert!((8.0..14.0).contains(&took), "{took}");
}
