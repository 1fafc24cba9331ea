//! A fault of the program ends one request: the answer, the database and the log after it.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use cp_server::App;
use cp_server::kernel::access::caller::Scope;
use cp_server::kernel::access::platform::PublicPath;
use cp_server::kernel::error::{Error, Result};
use cp_server::kernel::http::answer::NoContent;
use cp_server::kernel::http::cx::Cx;
use cp_server::kernel::http::line::BASE;
use cp_server::server;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::world::{ROOT, World, on_both, operations};

cp_server::routes! { traps:
    /// Changes something, and panics over what it was sent.
    POST "/traps" PUBLIC => spring;
    /// The same, before it began anything.
    POST "/traps/early" PUBLIC => spring_early, own_transaction;
}

const CANARY: &str = "canary-of-a-panic";

async fn spring(cx: &mut Cx<Scope>, _: PublicPath) -> Result<NoContent> {
    cx.tx.q("UPDATE organizations SET name = 'sprung'").exec().await?;
    spring_early(cx, PublicPath).await
}

async fn spring_early(cx: &mut Cx<Scope>, _: PublicPath) -> Result<NoContent> {
    let sent = cx.parts.headers["x-sent"].to_str().unwrap_or_default();
    panic!("what to do with {sent}?")
}

async fn sprung(app: &App, path: &str) -> Response {
    let mut table = operations();
    routes(&mut table);
    let request = Request::post(format!("{BASE}{path}")).header("x-sent", CANARY);
    let request = request.header("x-request-id", "the-request").body(Body::empty()).unwrap();
    server::around(app, table).oneshot(request).await.unwrap()
}

#[on_both]
async fn a_panic_is_a_problem_document_and_changes_nothing(world: World) {
    // More often than there are connections to the database: each of them is given back.
    for path in ["/traps", "/traps/early"].repeat(20) {
        let response = sprung(&world.app, path).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        // What the log line of the request says.
        let logged = response.extensions().get::<Arc<Error>>().unwrap().to_string();
        assert!(logged.contains("panic") && !logged.contains(CANARY), "{logged}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(!String::from_utf8_lossy(&body).contains(CANARY));
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["code"], "internal");
        assert_eq!(problem["request_id"], "the-request");
    }
    let acme = world.get(world.org("")).await.expect(200);
    assert_ne!(acme["name"], "sprung");
    let named = world.by(ROOT).patch(world.org(""), serde_json::json!({"name": "On"})).await;
    assert_eq!(named.expect(200)["name"], "On");
}
