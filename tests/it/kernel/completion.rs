//! Changes run to their end when their clients are gone; reads end with them.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use cp_server::App;
use cp_server::kernel::access::caller::Scope;
use cp_server::kernel::access::platform::PublicPath;
use cp_server::kernel::error::Result;
use cp_server::kernel::http::answer::NoContent;
use cp_server::kernel::http::cx::Cx;
use cp_server::kernel::http::line::BASE;
use cp_server::kernel::http::raw::Raw;
use cp_server::server;
use futures_util::FutureExt;
use tower::ServiceExt;

use crate::world::{World, on_both, operations};

cp_server::routes! { leaving:
    /// Changes something, in a while.
    POST "/leaving" PUBLIC => change, unaudited;
    /// The same, with a transaction of its own.
    POST "/leaving/late" PUBLIC => change_late, own_transaction, unaudited;
    /// The same, answering for itself.
    POST "/leaving/raw" PUBLIC => change_raw, raw;
    /// Finds something to change.
    GET "/leaving/may-write" PUBLIC => change_late, may_write, unaudited;
    /// Finds something to change, and its line does not say so.
    GET "/leaving/undeclared" PUBLIC => change_late, unaudited;
    /// Reads, and waits for nothing that ever comes.
    GET "/leaving/reads" PUBLIC => read;
}

/// Requests that reached their operation, and those whose operation was not ended by its client.
static STARTED: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
static READING: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

fn name(parts: &axum::http::request::Parts) -> String {
    parts.headers["x-name"].to_str().unwrap().to_owned()
}

async fn in_a_while(name: &str) {
    STARTED.lock().unwrap().insert(name.to_owned());
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

const CHANGE: &str = "INSERT INTO installation (name, value) VALUES ($1, $2)";

async fn change(cx: &mut Cx<Scope>, _: PublicPath) -> Result<NoContent> {
    let name = name(&cx.parts);
    in_a_while(&name).await;
    cx.tx.q(CHANGE).bind(&*name).bind(&b"x"[..]).exec().await?;
    in_a_while(&name).await;
    Ok(NoContent)
}

async fn change_late(cx: &mut Cx<Scope>, open: PublicPath) -> Result<NoContent> {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    // Until here the change has not begun.
    cx.begin().await?;
    change(cx, open).await
}

async fn change_raw(raw: Raw) -> Result<Response> {
    let name = name(&raw.parts);
    in_a_while(&name).await;
    let mut tx = raw.app.db.begin().await?;
    tx.q(CHANGE).bind(&*name).bind(&b"x"[..]).exec().await?;
    in_a_while(&name).await;
    tx.commit().await?;
    Ok(Response::default())
}

async fn read(cx: &mut Cx<Scope>, _: PublicPath) -> Result<NoContent> {
    struct Reading(String);
    impl Drop for Reading {
        fn drop(&mut self) {
            READING.lock().unwrap().remove(&self.0);
        }
    }
    let reading = Reading(name(&cx.parts));
    READING.lock().unwrap().insert(reading.0.clone());
    std::future::pending().await
}

fn call(
    app: &App,
    method: Method,
    path: &str,
    name: &str,
) -> impl Future<Output = Response> + use<> {
    let mut table = operations();
    routes(&mut table);
    let request = Request::builder().method(method).uri(format!("{BASE}{path}"));
    let request = request.header("x-name", name).body(Body::empty()).unwrap();
    let service = server::around(app, table);
    async move { service.oneshot(request).await.unwrap() }
}

/// Polls the request so often, and lets it go.
async fn leaves(app: &App, method: Method, path: &str, name: &str, polls: usize) {
    let mut request = pin!(call(app, method, path, name));
    for _ in 0..polls {
        if (&mut request).now_or_never().is_some() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn changed(world: &World, name: &str) -> bool {
    let sql = "SELECT COUNT(*) FROM installation WHERE name = $1";
    let count: Option<i64> = world.app.db.read().q(sql).bind(name).value().await.unwrap();
    count == Some(1)
}

#[on_both]
async fn a_change_whose_client_is_gone_runs_to_its_end(world: World) {
    let lines = [
        (Method::POST, "/leaving"),
        (Method::POST, "/leaving/late"),
        (Method::POST, "/leaving/raw"),
        (Method::GET, "/leaving/may-write"),
    ];
    let mut most = 0;
    for (method, path) in lines {
        for polls in 0..60 {
            let name = format!("{}{path} {polls}", world.app.db.name());
            leaves(&world.app, method.clone(), path, &name, polls).await;
            // Not begun, or done: begun and not done there is not.
            let begun = Instant::now();
            while STARTED.lock().unwrap().contains(&name) && !changed(&world, &name).await {
                assert!(begun.elapsed() < Duration::from_secs(30), "{name}");
                tokio::task::yield_now().await;
            }
            most += usize::from(changed(&world, &name).await);
        }
    }
    assert!(most > 4 * 10, "{most} changes began");
}

#[on_both]
async fn a_read_whose_client_is_gone_ends(world: World) {
    let name = format!("{} read", world.app.db.name());
    {
        let mut request = pin!(call(&world.app, Method::GET, "/leaving/reads", &name));
        while !READING.lock().unwrap().contains(&name) {
            assert!((&mut request).now_or_never().is_none());
            tokio::task::yield_now().await;
        }
    }
    assert!(!READING.lock().unwrap().contains(&name));
}

#[on_both]
async fn a_read_that_does_not_say_that_it_may_write_cannot(world: World) {
    let name = format!("{} undeclared", world.app.db.name());
    let answer = call(&world.app, Method::GET, "/leaving/undeclared", &name).await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!changed(&world, &name).await);
}

/// On SQLite each change waits for its turn of the one writer. Abandoned changes get no turn.
#[tokio::test]
async fn a_change_that_waits_for_the_writer_ends_with_its_client() {
    let world = World::on_sqlite().await;
    let lines = [
        (Method::POST, "/leaving"),
        (Method::POST, "/leaving/late"),
        (Method::GET, "/leaving/may-write"),
    ];
    let held = world.app.db.begin().await.unwrap();
    for (method, path) in &lines {
        leaves(&world.app, method.clone(), path, &format!("waiting {path}"), 50).await;
    }
    let stays = call(&world.app, Method::POST, "/leaving", "waiting and staying");
    let stays = tokio::spawn(stays);
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    drop(held);
    assert_eq!(stays.await.unwrap().status(), StatusCode::NO_CONTENT);
    // The writer serves changes in the order of their arrival: the abandoned ones came first.
    for (_, path) in lines {
        let name = format!("waiting {path}");
        assert!(!STARTED.lock().unwrap().contains(&name), "{path}");
        assert!(!changed(&world, &name).await, "{path}");
    }
}
