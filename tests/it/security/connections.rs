//! Over real sockets: who is slow, who is many, and what the parser refuses.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cp_server::kernel::access::buckets::Rate;
use cp_server::kernel::access::rate_limits::Rates;
use cp_server::server::limits::Surface;
use cp_server::{Settings, server};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;

use crate::world::{AUDIENCE, ISSUER, ROOT, World};

/// A server on loopback; it ends when this is dropped.
pub struct Serving {
    pub address: SocketAddr,
    _end: oneshot::Sender<()>,
}

pub async fn serving(
    world: &World,
    surface: Surface,
    tls: Option<std::sync::Arc<server::tls::Tls>>,
) -> Serving {
    let mut settings = Settings { surface, ..Settings::new(ISSUER, AUDIENCE) };
    settings.shared.rate_limits = false;
    serving_as(world, settings, tls).await
}

pub async fn serving_as(
    world: &World,
    settings: Settings,
    tls: Option<std::sync::Arc<server::tls::Tls>>,
) -> Serving {
    let (app, _) = world.with_settings(settings).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = oneshot::channel::<()>();
    let end = async move {
        let _ = receiver.await;
    };
    tokio::spawn(server::serve(app, listener, tls, end));
    Serving { address, _end: sender }
}

fn quick() -> Surface {
    Surface {
        header_time: Duration::from_millis(300),
        request_time: Duration::from_millis(600),
        write_time: Duration::from_millis(600),
        write_rate: 0,
        ..Surface::default()
    }
}

impl Serving {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What is answered to these bytes, until the server closes.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The server may close while it is still being talked to.
        let _ = stream.write_all(bytes).await;
        rest(&mut stream).await
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Checks that it is one whole problem document, and gives it.
#[track_caller]
fn problem(answer: &str, status: u16, code: &str) -> Value {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    assert_eq!(header("content-type").unwrap(), "application/problem+json");
    assert_eq!(header("content-length").unwrap(), body.len().to_string());
    assert_eq!(header("x-content-type-options").unwrap(), "nosniff");
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!([&problem["code"], &problem["status"]], [&json!(code), &json!(status)]);
    assert_eq!(problem["request_id"], header("x-request-id").unwrap());
    problem
}

/// Checks that it is one whole answer with this status, whatever its body is.
#[track_caller]
fn refused(answer: &str, status: u16) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.contains("\r\n\r\n"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_malformed_is_refused_with_a_status() {
    let world = World::on_sqlite().await;
    let server = serving(&world, quick(), None).await;
    // The HTTP parser refuses these without a body.
    for bytes in [
        "GARBAGE\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "GET /he\u{1}althz HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        refused(&server.say(bytes.as_bytes()).await, 400);
    }
    // RFC 9112, section 3.2: one Host, no more and no less.
    for bytes in [
        "GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\nhost: y\r\nconnection: close\r\n\r\n",
    ] {
        problem(&server.say(bytes.as_bytes()).await, 400, "bad_request");
    }
    // More than the parser takes, and what is sent beyond its refusal resets nothing.
    for size in [70_000, 300_000] {
        let head =
            format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx-fat: {}\r\n\r\n", "a".repeat(size));
        refused(&server.say(head.as_bytes()).await, 431);
    }
    let many: String = (0..150).map(|n| format!("x-{n}: 1\r\n")).collect();
    let head = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{many}\r\n");
    refused(&server.say(head.as_bytes()).await, 431);
    let long =
        format!("GET /{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "a".repeat(9000));
    problem(&server.say(long.as_bytes()).await, 414, "uri_too_long");
    // Behind an answer that was good.
    let both = server.say(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGARBAGE\r\n\r\n").await;
    let (good, bad) = both.split_at(both.rfind("HTTP/1.1").unwrap());
    assert!(good.starts_with("HTTP/1.1 200") && good.ends_with("ok\n"), "{good}");
    refused(bad, 400);
    // The same when the second head is sent later, and is still being sent when it is refused.
    let mut stream = server.connect().await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut good = Vec::new();
    while !good.ends_with(b"ok\n") {
        assert!(stream.read_buf(&mut good).await.unwrap() > 0, "{good:?}");
    }
    let head =
        format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx-fat: {}\r\n\r\n", "a".repeat(300_000));
    let _ = stream.write_all(head.as_bytes()).await;
    refused(&rest(&mut stream).await, 431);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_is_refused_before_it_is_sent_and_while_it_is() {
    let world = World::on_sqlite().await;
    let server = serving(&world, quick(), None).await;
    let head = |framing: &str| {
        format!(
            "POST /api/v1/organizations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ROOT}\r\n\
             content-type: application/json\r\nconnection: close\r\n{framing}\r\n\r\n"
        )
    };
    let request = head("content-length: 99999999\r\nexpect: 100-continue");
    problem(&server.say(request.as_bytes()).await, 413, "too_large");
    let mut chunked = head("transfer-encoding: chunked").into_bytes();
    for _ in 0..40 {
        chunked.extend_from_slice(format!("2000\r\n{}\r\n", " ".repeat(0x2000)).as_bytes());
    }
    problem(&server.say(&chunked).await, 413, "too_large");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_are_let_go() {
    let world = World::on_sqlite().await;
    let server = serving(&world, quick(), None).await;
    // Nothing, half a preface, half a head: closed without a word.
    for bytes in ["", "PRI * HT", "GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow:"] {
        let started = Instant::now();
        assert_eq!(server.say(bytes.as_bytes()).await, "", "{bytes:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "{bytes:?}");
    }
    // A header now and then does not help.
    let mut stream = server.connect().await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let drip = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while writer.write_all(b"x-slow: 1\r\n").await.is_ok() {
            ticks.tick().await;
        }
    };
    let mut bytes = Vec::new();
    tokio::select! {
        () = drip => {}
        read = reader.read_to_end(&mut bytes) => { let _ = read; }
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("it is still being waited for"),
    }
    assert!(bytes.is_empty());
    // A body that does not come is not waited for either.
    let slow = format!(
        "POST /api/v1/organizations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ROOT}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    problem(&server.say(slow.as_bytes()).await, 408, "timeout");
    // A stranger's body is not waited for at all.
    let strange = slow.replace(ROOT, "an-unknown-token");
    problem(&server.say(strange.as_bytes()).await, 401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_of_its_answers_is_let_go() {
    let world = World::on_sqlite().await;
    let server = serving(&world, quick(), None).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    // Answers enough to fill every buffer on the way, asked for without reading one.
    let ask = b"GET /docs HTTP/1.1\r\nhost: x\r\n\r\n".repeat(4000);
    let started = Instant::now();
    let mut gone = false;
    while started.elapsed() < Duration::from_secs(20) && !gone {
        gone = match tokio::time::timeout(Duration::from_secs(1), stream.write_all(&ask)).await {
            Ok(wrote) => wrote.is_err(),
            // The server does not read any more; whether it closed shows at the next write.
            Err(_) => {
                stream.try_write(b"x").is_err_and(|e| e.kind() != std::io::ErrorKind::WouldBlock)
            }
        };
    }
    assert!(gone, "it is still being waited for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_refused_once_and_kept_waiting() {
    let world = World::on_sqlite().await;
    let rates = Rates { strangers: Some(Rate::new(1, 2)), ..Rates::default() };
    let mut settings = Settings { surface: quick(), ..Settings::new(ISSUER, AUDIENCE) };
    settings.shared.rates = rates;
    let server = serving_as(&world, settings, None).await;
    let mut stream = server.connect().await;
    let (mut reader, mut writer) = stream.split();
    let started = Instant::now();
    // Requests without end, whatever is answered: let go at once, it would be back at once.
    let flood = async {
        let asks = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
        while writer.write_all(&asks).await.is_ok() {}
        started.elapsed()
    };
    let mut answers = Vec::new();
    let (lasted, _) = tokio::join!(flood, reader.read_to_end(&mut answers));
    assert!(lasted >= quick().header_time / 2, "it was let go after {lasted:?}");
    let answers = String::from_utf8_lossy(&answers);
    let count = |status: &str| answers.matches(&format!("HTTP/1.1 {status} ")).count();
    assert_eq!((count("200"), count("429")), (2, 1), "{answers}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_its_answers_below_the_least_rate_is_let_go() {
    let world = World::on_sqlite().await;
    let ask = "GET /api/v1/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n";
    // How much a client gets that takes a little every now and then, for longer than it may take
    // less than the rate, and then takes the rest. Each read is large enough for the server to get on
    // with its writing: who takes nothing is let go for that.
    let taken = async |write_rate: u32| {
        let (time, write_time) = (Duration::from_secs(60), Duration::from_secs(2));
        let surface =
            Surface { write_rate, header_time: time, request_time: time, write_time, ..quick() };
        let server = serving(&world, surface, None).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let last = ask.replace("host", "connection: close\r\nhost");
        stream.write_all((ask.repeat(40) + &last).as_bytes()).await.unwrap();
        let (mut bytes, mut ticks) = (0, tokio::time::interval(Duration::from_millis(100)));
        let mut buffer = vec![0; 128 * 1024];
        for _ in 0..60 {
            ticks.tick().await;
            bytes += stream.read(&mut buffer).await.unwrap_or(0);
        }
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        bytes + rest.len()
    };
    let all = taken(0).await;
    let some = taken(8_000_000).await;
    assert!(some < all, "a slow client is served still: {some} of {all} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_and_all_together_have_so_many_connections() {
    let world = World::on_sqlite().await;
    let surface = Surface { connections: 5, connections_per_address: 3, ..Surface::default() };
    let server = serving(&world, surface.clone(), None).await;
    let ask = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut buffer = [0; 4096];
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = server.connect().await;
        stream.write_all(ask).await.unwrap();
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        open.push(stream);
    }
    let mut fourth = server.connect().await;
    let _ = fourth.write_all(ask).await;
    assert!(!matches!(fourth.read(&mut buffer).await, Ok(1..)), "the fourth is one too many");
    // Another address has its own.
    let other = TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = other.connect(server.address).await.unwrap();
    other.write_all(ask).await.unwrap();
    assert!(other.read(&mut buffer).await.unwrap() > 0);
    // One that ends makes room.
    drop(open.pop());
    let mut answered = false;
    while !answered {
        let mut again = server.connect().await;
        let _ = again.write_all(ask).await;
        answered = matches!(again.read(&mut buffer).await, Ok(1..));
    }

    // Connections of a trusted proxy are not counted, up to the total.
    let surface = Surface { proxies: "127.0.0.0/8".parse().unwrap(), ..surface };
    let server = serving(&world, surface, None).await;
    let mut open = Vec::new();
    for _ in 0..5 {
        let mut stream = server.connect().await;
        stream.write_all(ask).await.unwrap();
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        open.push(stream);
    }
    let mut sixth = server.connect().await;
    sixth.write_all(ask).await.unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(200), sixth.read(&mut buffer)).await;
    assert!(waits.is_err(), "the sixth waits for room");
    drop(open.pop());
    assert!(sixth.read(&mut buffer).await.unwrap() > 0, "and has it then");
}
