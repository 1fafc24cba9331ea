//! Readers that wait.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use cp_server::App;
use cp_server::audit::integrator;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{change, head};
use crate::world::{Client, ROOT, World, on_both};

/// Gives events their places, until it is dropped.
struct Integrating(JoinHandle<()>);

impl Integrating {
    fn on(app: &App) -> Self {
        Self(tokio::spawn(integrator::run(app.clone())))
    }
}

impl Drop for Integrating {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[on_both]
async fn waiting_reader_gets_the_next_event_at_once(world: World) {
    let after = head(&world).await;
    let _integrating = Integrating::on(&world.app);
    let (root, org) = (world.root(), world.org("/events"));
    let wait = |path: String| {
        let root = root.clone();
        tokio::spawn(async move { root.get(path).await.expect(200) })
    };
    let all = wait("/events?wait=25".into());
    let own = wait(format!("{org}?wait=25&after={after}"));
    let other = wait(format!("/events?wait=25&after={after}&types=licenses.suspend"));
    let began = Instant::now();
    // The requests wait once they have read the log: none of them misses a later event.
    while world.app.db.name() == "sqlite" && !all.is_finished() && began.elapsed().as_millis() < 50
    {
        tokio::task::yield_now().await;
    }
    change(&world, "Acme 2").await;
    let page = own.await.unwrap();
    assert_eq!(page["items"][0]["type"], "organizations.update");
    assert_eq!(page["next"], after + 1);
    let path = format!("/licenses/{}/suspend", world.acme.license);
    world.post(&path, json!({"reason": "unpaid"})).await.expect(200);
    assert_eq!(other.await.unwrap()["items"][0]["type"], "licenses.suspend");
    let first = all.await.unwrap()["items"][0]["seq"].as_i64().unwrap();
    assert!(first > after);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[on_both]
async fn fifth_waiting_request_of_a_credential_is_answered_at_once(world: World) {
    let _integrating = Integrating::on(&world.app);
    let after = head(&world).await;
    let mut waiting: FuturesUnordered<_> = (0..5)
        .map(|_| {
            let root = world.root();
            async move { root.get("/events?wait=25").await.expect(200) }
        })
        .collect();
    let began = Instant::now();
    assert_eq!(waiting.next().await.unwrap()["items"], json!([]));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // Another credential waits.
    let other = world.by(&world.acme.token);
    let path = world.org("/events?wait=25");
    let other = tokio::spawn(async move { other.get(path).await.expect(200) });
    let all = waiting.collect::<Vec<_>>();
    let ((), pages) = tokio::join!(change(&world, "Acme 2"), all);
    assert_eq!(pages.len(), 4);
    for page in pages {
        assert_eq!(page["items"][0]["seq"], after + 1);
    }
    change(&world, "Acme 3").await;
    let seen = other.await.unwrap();
    assert!(seen["items"][0]["seq"].as_i64().unwrap() > after);
}

/// Reads server-sent events until there are this many.
async fn receive(client: &Client, path: &str, after: Option<i64>, count: usize) -> Vec<Value> {
    let mut request = Request::get(format!("/api/v1{path}")).header("accept", "text/event-stream");
    if let Some(after) = after {
        request = request.header("last-event-id", after.to_string());
    }
    let response = client.respond(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut chunks = response.into_body().into_data_stream();
    let (mut text, mut events) = (String::new(), Vec::new());
    while events.len() < count {
        let chunk = tokio::time::timeout(Duration::from_secs(20), chunks.next()).await;
        text.push_str(std::str::from_utf8(&chunk.unwrap().unwrap().unwrap()).unwrap());
        while let Some((block, rest)) = text.split_once("\n\n") {
            if let Some(event) = block.strip_prefix("id: ") {
                let (id, data) = event.split_once("\ndata: ").unwrap();
                let data: Value = serde_json::from_str(data).unwrap();
                assert_eq!(data["seq"].to_string(), id);
                events.push(data);
            }
            text = rest.to_owned();
        }
    }
    events
}

#[on_both]
async fn server_sent_events_resume_after_the_last_one(world: World) {
    let _integrating = Integrating::on(&world.app);
    let after = head(&world).await;
    let root = world.root();
    let reader = tokio::spawn(async move { receive(&root, "/events", Some(after), 3).await });
    for n in 0..3 {
        change(&world, &format!("Acme {n}")).await;
    }
    let seqs = |events: &[Value]| -> Vec<i64> {
        events.iter().map(|event| event["seq"].as_i64().unwrap()).collect()
    };
    assert_eq!(seqs(&reader.await.unwrap()), [after + 1, after + 2, after + 3]);
    let rest = receive(&world.root(), "/events", Some(after + 1), 2).await;
    assert_eq!(seqs(&rest), [after + 2, after + 3]);
    let own = receive(&world.by(&world.acme.token), &world.org("/events"), Some(after), 3).await;
    assert_eq!(seqs(&own), [after + 1, after + 2, after + 3]);
}

#[on_both]
async fn stream_of_an_ended_credential_sends_nothing_more(world: World) {
    let token = world.new_token(&world.org(""), &["audit:read"]).await;
    let request = Request::get(format!("/api/v1{}", world.org("/events?types=licenses.revoke")));
    let request = request.header("accept", "text/event-stream").body(Body::empty()).unwrap();
    let response = world.by(&token).respond(request).await;
    assert_eq!(response.status(), 200);
    let mut chunks = response.into_body().into_data_stream();
    let first = chunks.next().await.unwrap().unwrap();
    assert_eq!(&first[..], b"retry: 3000\n\n");
    let tokens = world.get(world.org("/service-tokens?limit=1")).await.expect(200);
    let own = format!("/service-tokens/{}", tokens["items"][0]["id"].as_str().unwrap());
    world.delete(own).await.expect(204);
    // The check comes before what is sent: not even a comment follows.
    let next = tokio::time::timeout(Duration::from_secs(20), chunks.next()).await;
    assert!(next.unwrap().is_none());
}

#[on_both]
async fn readers_on_three_replicas_see_each_event_once_in_order(world: World) {
    let (second, two) = world.server(|settings| settings.shared.rate_limits = false);
    let (third, three) = world.server(|settings| settings.shared.rate_limits = false);
    let _integrating = [&world.app, &second, &third].map(Integrating::on);
    let clients = [world.root(), two.token(ROOT), three.token(ROOT)];
    let after = head(&world).await;
    const CHANGES: usize = 60;
    let readers: Vec<_> = clients
        .iter()
        .map(|client| {
            let client = client.clone();
            tokio::spawn(async move { receive(&client, "/events", Some(after), CHANGES).await })
        })
        .collect();
    let writes = (0..CHANGES).map(|n| {
        let (client, path) = (clients[n % 3].clone(), world.org("/audit"));
        async move {
            let body = json!({"action": "a", "target_type": "t", "target_id": n.to_string()});
            client.post(path, body).await.expect(201);
        }
    });
    join_all(writes).await;
    let expected: Vec<i64> = (after + 1..).take(CHANGES).collect();
    for reader in join_all(readers).await {
        let seqs =
            reader.unwrap().iter().map(|event| event["seq"].as_i64().unwrap()).collect::<Vec<_>>();
        assert_eq!(seqs, expected);
    }
}

#[on_both]
async fn stopping_server_answers_waiting_readers(world: World) {
    let (app, client) = world.replica().await;
    let client = client.token(ROOT);
    let reader = tokio::spawn(async move { client.get("/events?wait=25").await.expect(200) });
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(20) {
        tokio::task::yield_now().await;
    }
    app.stop();
    assert_eq!(reader.await.unwrap()["items"], json!([]));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[on_both]
async fn refused_media_type_gets_no_stream(world: World) {
    for accept in
        ["text/event-stream;q=0, application/json", "application/json;p=text/event-stream"]
    {
        let answer = world.root().with("accept", accept).get("/events?limit=1").await;
        assert_eq!(answer.header("content-type"), "application/json", "{accept}");
    }
}
