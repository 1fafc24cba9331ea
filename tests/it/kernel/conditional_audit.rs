//! A line with `conditional_audit` lets its operation decide about its event; other lines do not.

use axum::body::Body;
use axum::http::{Method, Request};
use cp_server::kernel::access::caller::Scope;
use cp_server::kernel::access::platform::PublicPath;
use cp_server::kernel::error::Result;
use cp_server::kernel::http::answer::NoContent;
use cp_server::kernel::http::cx::Cx;
use cp_server::kernel::http::line::BASE;
use cp_server::server;
use tower::ServiceExt;

use crate::world::{World, on_both, operations};

cp_server::routes! { probes:
    /// Writes, with an event or without one.
    POST "/probes" PUBLIC => write, conditional_audit;
    /// Begins its write late, or not at all.
    POST "/probes/late" PUBLIC => write_late, own_transaction, conditional_audit;
    /// Tries to omit an event that the line requires.
    POST "/probes/always" PUBLIC => write_always;
}

fn has(cx: &Cx<Scope>, header: &str) -> bool {
    cx.parts.headers.contains_key(header)
}

async fn write(cx: &mut Cx<Scope>, _: PublicPath) -> Result<NoContent> {
    if has(cx, "x-omit") {
        cx.audit.omit();
    }
    if !has(cx, "x-only-read") {
        let insert = "INSERT INTO installation (name, value) VALUES ('probe', $1)";
        cx.tx.q(insert).bind(&b"x"[..]).exec().await?;
    }
    Ok(NoContent)
}

async fn write_late(cx: &mut Cx<Scope>, open: PublicPath) -> Result<NoContent> {
    if !has(cx, "x-only-read") {
        cx.begin().await?;
    }
    write(cx, open).await
}

async fn write_always(cx: &mut Cx<Scope>, _: PublicPath) -> Result<NoContent> {
    cx.audit.omit();
    write(cx, PublicPath).await
}

/// Returns the status, the number of rows that were written and the number of events.
async fn outcome(world: &World, path: &str, headers: &[&str]) -> (u16, i64, i64) {
    world.exec("DELETE FROM installation WHERE name = 'probe'").await;
    let before = world.count_events().await;
    let mut table = operations();
    routes(&mut table);
    let mut request = Request::builder().method(Method::POST).uri(format!("{BASE}{path}"));
    for header in headers {
        request = request.header(*header, "1");
    }
    let service = server::around(&world.app, table);
    let answer = service.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let rows = world.value("SELECT COUNT(*) FROM installation WHERE name = 'probe'").await;
    (answer.status().as_u16(), rows, world.count_events().await - before)
}

#[on_both]
async fn operation_of_a_conditional_line_decides_about_its_event(world: World) {
    for path in ["/probes", "/probes/late"] {
        assert_eq!(outcome(&world, path, &[]).await, (204, 1, 1), "{path}");
        assert_eq!(outcome(&world, path, &["x-omit"]).await, (204, 1, 0), "{path}");
    }
    // A rehearsal never holds the writer. Without a write there is an event only by mistake.
    let rehearsal = ["x-omit", "x-only-read"];
    assert_eq!(outcome(&world, "/probes/late", &rehearsal).await, (204, 0, 0));
    assert_eq!(outcome(&world, "/probes/late", &["x-only-read"]).await, (500, 0, 0));
}

#[on_both]
async fn other_lines_cannot_omit_their_event(world: World) {
    assert_eq!(outcome(&world, "/probes/always", &[]).await, (204, 1, 1));
}
