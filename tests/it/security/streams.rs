//! HTTP/2: what a client may do with the streams of one connection.

use std::time::Duration;

use cp_server::Settings;
use cp_server::kernel::access::buckets::Rate;
use cp_server::kernel::access::rate_limits::Rates;
use cp_server::server::limits::Surface;
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::connections::{Serving, serving, serving_as};
use crate::world::{AUDIENCE, ISSUER, World};

/// A connection, and the signal of its end.
async fn connect(
    server: &Serving,
    window: u32,
) -> (SendRequest<axum::body::Bytes>, oneshot::Receiver<()>) {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (client, connection) =
        h2::client::Builder::new().initial_window_size(window).handshake(stream).await.unwrap();
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        let _ = connection.await;
        let _ = sender.send(());
    });
    (client.ready().await.unwrap(), receiver)
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://localhost{path}")).body(()).unwrap()
}

async fn ends(end: oneshot::Receiver<()>) -> bool {
    tokio::time::timeout(Duration::from_secs(20), end).await.is_ok()
}

fn quick() -> Surface {
    let time = Duration::from_millis(300);
    Surface { header_time: time, write_time: time, ..Surface::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_are_too_large_are_a_problem_document() {
    let world = World::on_sqlite().await;
    let server = serving(&world, Surface::default(), None).await;
    let (mut client, _) = connect(&server, 65_535).await;
    let mut request = get("/healthz");
    request.headers_mut().insert("x-fat", "a".repeat(40_000).parse().unwrap());
    let (answer, _) = client.send_request(request, true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 431);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    // Beyond what the parser takes there is a status still.
    let mut request = get("/healthz");
    request.headers_mut().insert("x-fat", "a".repeat(100_000).parse().unwrap());
    let (answer, _) = client.send_request(request, true).unwrap();
    assert!(answer.await.is_ok_and(|answer| answer.status() == 431));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_opened_and_reset_end_the_connection() {
    let world = World::on_sqlite().await;
    let server = serving(&world, Surface::default(), None).await;
    let (mut client, ended) = connect(&server, 65_535).await;
    for _ in 0..20_000 {
        let Ok(ready) = client.clone().ready().await else { break };
        client = ready;
        let Ok((_, mut stream)) = client.send_request(get("/healthz"), false) else { break };
        stream.send_reset(h2::Reason::CANCEL);
    }
    assert!(ends(ended).await, "it is still being served");
    drop(client);
    // Others are served.
    let (mut client, _) = connect(&server, 65_535).await;
    let (answer, _) = client.send_request(get("/healthz"), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_on_one_connection_is_not_answered_without_end() {
    let world = World::on_sqlite().await;
    let rates = Rates { strangers: Some(Rate::new(1, 2)), ..Rates::default() };
    let flooded = async |surface: Surface| {
        let mut settings = Settings { surface, ..Settings::new(ISSUER, AUDIENCE) };
        settings.shared.rates = rates.clone();
        let server = serving_as(&world, settings, None).await;
        let (mut client, _ended) = connect(&server, 65_535).await;
        let mut answered = 0;
        while answered < 1000 {
            let Ok(ready) = client.ready().await else { break };
            client = ready;
            let Ok((answer, _)) = client.send_request(get("/healthz"), true) else { break };
            let Ok(answer) = answer.await else { break };
            assert_eq!(answer.status(), if answered < 2 { 200 } else { 429 });
            answered += 1;
        }
        answered
    };
    let answered = flooded(quick()).await;
    assert!((90..200).contains(&answered), "{answered} were answered");
    // A proxy's other clients are not to blame.
    let proxies = "127.0.0.1".parse().unwrap();
    assert_eq!(flooded(Surface { proxies, ..Surface::default() }).await, 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_is_never_opened_ends_the_connection() {
    let world = World::on_sqlite().await;
    let server = serving(&world, quick(), None).await;
    let (mut client, ended) = connect(&server, 0).await;
    let (answer, _) = client.send_request(get("/docs"), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(ends(ended).await, "its answer is kept for it still");
    drop((client, answer));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_requests_ends() {
    let world = World::on_sqlite().await;
    let server = serving(&world, quick(), None).await;
    let (client, ended) = connect(&server, 65_535).await;
    assert!(ends(ended).await, "it never asked for anything");
    drop(client);
    let (mut client, ended) = connect(&server, 65_535).await;
    let (answer, _) = client.send_request(get("/healthz"), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    assert!(ends(ended).await, "it asks for nothing more");
    drop(client);
}
