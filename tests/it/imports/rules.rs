//! Rules of the import as a whole: callers, limits, references, transactions.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::Request;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::{answers, import, of_each_kind, refusal, send, statuses, text_of};
use crate::world::{World, on_both};

#[on_both]
async fn only_the_platform_imports(world: World) {
    let line = text_of(&[json!({"kind": "organization", "external_id": "x", "name": "X"})]);
    send(&world.anyone(), "", line.clone()).await.refused(401, "unauthenticated");
    for token in [&world.acme.token, &world.acme.deployment_token] {
        send(&world.by(token), "", line.clone()).await.refused(403, "forbidden");
    }
    let body = json!({"name": "importer", "permissions": ["imports:write"]});
    let made = world.post("/service-tokens", body).await.expect(201);
    let importer = world.by(made["token"].as_str().unwrap());
    let done = answers(&send(&importer, "", line.clone()).await);
    assert_eq!(done[0]["status"], "created", "{done:#?}");
    // It grants no more than it holds.
    let line = json!({
        "kind": "membership", "organization": "x", "email": "x@x.example", "role": "admin",
    });
    let done = answers(&send(&importer, "", text_of(&[line])).await);
    assert_eq!(refusal(&done[0]).0, "forbidden");
    let line = json!({"kind": "user", "email": "x@x.example", "is_superadmin": true});
    let done = answers(&send(&importer, "", text_of(&[line])).await);
    assert_eq!(refusal(&done[0]), ("forbidden", "is_superadmin"));
}

#[on_both]
async fn lines_that_cannot_be_read_are_refused_alone(world: World) {
    let long = format!("{{\"kind\": \"user\", \"email\": \"{}\"}}", "x".repeat(65 * 1024));
    let lines = [
        "\u{feff}{\"kind\": \"organization\", \"external_id\": \"a\", \"name\": \"A\"}",
        "",
        "not json",
        "[1]",
        "{}",
        "{\"kind\": \"car\"}",
        "{\"kind\": \"user\", \"kind\": \"user\"}",
        &long,
        "{\"kind\": \"user\", \"email\": \"x@x.example\", \"display_nam\": \"x\"}",
        "  \r",
        "{\"kind\": \"organization\", \"external_id\": \"b\", \"name\": \"B\"}",
    ];
    let done = answers(&send(&world.root(), "", lines.join("\n")).await);
    let seen: Vec<(u64, &str)> = done[..done.len() - 1]
        .iter()
        .map(|answer| {
            let code = answer["problem"]["code"].as_str();
            (answer["line"].as_u64().unwrap(), code.unwrap_or("created"))
        })
        .collect();
    let expected = [
        (1, "created"),
        (3, "bad_request"),
        (4, "bad_request"),
        (5, "invalid"),
        (6, "invalid"),
        (7, "bad_request"),
        (8, "too_large"),
        (9, "invalid"),
        (11, "created"),
    ];
    assert_eq!(seen, expected);
    assert_eq!(done[7]["problem"]["field"], "display_nam");
    let detail = done[7]["problem"]["detail"].as_str().unwrap();
    assert!(detail.contains("Did you mean `display_name`?"), "{detail}");
    assert_eq!(done[9]["summary"]["lines"], 9);
}

#[on_both]
async fn options_and_media_types_are_checked_before_the_body(world: World) {
    send(&world.root(), "?dry=1", "").await.invalid("dry");
    send(&world.root(), "?dry_run=maybe", "").await.invalid("dry_run");
    let request = Request::post("/api/v1/imports").header("content-type", "text/csv");
    let answer = world.root().send(request.body(Body::empty()).unwrap()).await;
    answer.refused(415, "unsupported_media_type");
    let request = Request::post("/api/v1/imports").header("content-length", "67108865");
    let answer = world.root().send(request.body(Body::empty()).unwrap()).await;
    answer.refused(413, "too_large");
    let nothing = answers(&send(&world.root(), "", "").await);
    assert_eq!(nothing[0]["summary"]["lines"], 0);
}

#[on_both]
async fn references_are_ids_or_external_ids(world: World) {
    let (made, _) = import(&world, &of_each_kind()).await;
    let id = |n: usize| made[n]["id"].as_str().unwrap();
    let plan = world.get("/plans/moved").await.expect(200)["id"].clone();
    let same = [
        json!({"kind": "subscription", "organization": id(2), "external_id": "crm-s", "plan": plan}),
        json!({"kind": "membership", "organization": id(2), "user": id(3), "role": "member"}),
        json!({"kind": "license", "deployment": id(6), "subscription": id(5), "seat_cap": 4}),
        json!({"kind": "license_key", "deployment": id(6), "key": "LEGACY-KEY-0001"}),
        json!({"kind": "lease", "deployment": id(6), "user": id(3)}),
    ];
    let (answers, _) = import(&world, &same).await;
    assert!(answers.iter().all(|answer| answer["status"] == "unchanged"), "{answers:#?}");
    // An external ID names a deployment within its organization only.
    let foreign = [
        json!({"kind": "license", "deployment": "crm-d"}),
        json!({"kind": "license", "organization": world.acme.org, "deployment": id(6)}),
        json!({"kind": "license", "organization": world.acme.org, "deployment": "crm-d"}),
    ];
    let (answers, _) = import(&world, &foreign).await;
    let refusals: Vec<_> = answers.iter().map(refusal).collect();
    let missing = ("not_found", "deployment");
    assert_eq!(refusals, [("invalid", "organization"), missing, missing]);
}

#[on_both]
async fn refused_line_leaves_nothing_of_itself(world: World) {
    // The owner is created before the slug is refused.
    let lines = [
        json!({
            "kind": "organization", "external_id": "a", "name": "A", "slug": "acme",
            "owner": "new@new.example",
        }),
        json!({"kind": "organization", "external_id": "b", "name": "B"}),
    ];
    let (answers, _) = import(&world, &lines).await;
    assert_eq!(statuses(&answers), ["refused", "created"]);
    let users = world.get("/users?email=new@new.example").await.expect(200);
    assert_eq!(users["items"], json!([]));
}

#[on_both]
async fn import_without_room_for_its_events_changes_nothing(world: World) {
    world.exec("ALTER TABLE audit_events RENAME TO lost").await;
    let done = answers(&send(&world.root(), "", text_of(&of_each_kind())).await);
    assert_eq!(done.len(), 1, "{done:#?}");
    assert_eq!(done[0]["problem"]["code"], "internal");
    world.exec("ALTER TABLE lost RENAME TO audit_events").await;
    world.get("/plans/moved").await.refused(404, "not_found");
}

/// Organizations, more than one chunk has.
fn organizations(count: usize) -> Vec<Value> {
    let line = |n| json!({"kind": "organization", "external_id": format!("o-{n}"), "name": "Many"});
    (0..count).map(line).collect()
}

#[on_both]
async fn more_lines_than_a_chunk_are_applied_and_unchanged_again(world: World) {
    let lines = organizations(1100);
    let (first, summary) = import(&world, &lines).await;
    assert_eq!(summary["created"], 1100);
    let numbers: Vec<u64> = first.iter().map(|answer| answer["line"].as_u64().unwrap()).collect();
    assert!(numbers.into_iter().eq(1..=1100));
    let (_, summary) = import(&world, &lines).await;
    assert_eq!(summary["unchanged"], 1100);
}

#[on_both]
async fn client_that_disconnects_leaves_whole_chunks_and_the_next_import_completes(world: World) {
    let lines = organizations(4000);
    let request = Request::post("/api/v1/imports").body(Body::from(text_of(&lines))).unwrap();
    let response = world.root().respond(request).await;
    let mut parts = response.into_body().into_data_stream();
    // The first chunk is committed when its answers arrive. The client reads no more.
    parts.next().await.unwrap().unwrap();
    drop(parts);
    let count = "SELECT COUNT(*) FROM organizations WHERE external_id LIKE 'o-%'";
    let created: i64 = world.value(count).await;
    assert!(created >= 500 && created % 500 == 0 && created < 4000, "{created}");
    let (_, summary) = import(&world, &lines).await;
    let unchanged = summary["unchanged"].as_i64().unwrap();
    assert!(unchanged >= created && unchanged % 500 == 0, "{summary}");
    assert_eq!(summary["created"], 4000 - unchanged);
    let all: i64 = world.value(count).await;
    assert_eq!(all, 4000);
}

#[on_both]
async fn body_that_breaks_off_changes_nothing(world: World) {
    let whole = Bytes::from(text_of(&organizations(600)));
    let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let body = stream::iter([Ok(whole.slice(..20_000)), Err(broken)]);
    let done = answers(&send(&world.root(), "", Body::from_stream(body)).await);
    assert_eq!(done[0]["problem"]["code"], "bad_request");
    let parts = whole.chunks(1000).map(Bytes::copy_from_slice).map(Ok::<_, Infallible>);
    let parts: Vec<_> = parts.collect();
    let done = answers(&send(&world.root(), "", Body::from_stream(stream::iter(parts))).await);
    assert_eq!(done.last().unwrap()["summary"]["created"], 600);
}
