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

/// Two people: the external ID of the first is the e-mail address of the second.
fn people_of_one_name() -> [Value; 2] {
    [
        json!({
            "kind": "user", "email": "attacker@evil.example", "external_id": "boss@initech.example",
        }),
        json!({"kind": "user", "email": "boss@initech.example"}),
    ]
}

#[on_both]
async fn email_address_names_no_person_by_external_id(world: World) {
    import(&world, &of_each_kind()).await;
    let [attacker, boss] = people_of_one_name();
    let member = json!({
        "kind": "membership", "organization": "crm-1", "email": "boss@initech.example",
        "role": "admin",
    });
    // Before the second person is known, the address names a new one.
    let (made, _) = import(&world, &[attacker, member.clone(), boss, member]).await;
    assert_eq!(statuses(&made), ["created", "created", "unchanged", "unchanged"], "{made:#?}");
    let membership = world.get(format!("/memberships/{}", id_of(&made[1]))).await.expect(200);
    assert_eq!(membership["user_id"], made[2]["id"]);
    assert_ne!(membership["user_id"], made[0]["id"]);
}

#[on_both]
async fn owner_is_named_alike_when_the_line_is_repeated(world: World) {
    let [attacker, boss] = people_of_one_name();
    let organization = json!({
        "kind": "organization", "external_id": "crm-9", "name": "Initrode",
        "owner": "Boss@initech.example",
    });
    let lines = [attacker, boss, organization];
    let (first, summary) = import(&world, &lines).await;
    assert_eq!(summary["created"], 3, "{first:#?}");
    let (again, summary) = import(&world, &lines).await;
    assert_eq!(summary["unchanged"], 3, "{again:#?}");
    let path = format!("/organizations/{}", id_of(&first[2]));
    assert_eq!(world.get(path).await.expect(200)["owner_user_id"], first[1]["id"]);
}

#[on_both]
async fn reference_to_two_people_is_refused(world: World) {
    import(&world, &of_each_kind()).await;
    let (people, _) = import(&world, &people_of_one_name()).await;
    let lines = |user: &str| {
        [
            json!({"kind": "membership", "organization": "crm-1", "user": user, "role": "member"}),
            json!({"kind": "lease", "organization": "crm-1", "deployment": "crm-d", "user": user}),
        ]
    };
    let (answers, _) = import(&world, &lines("boss@initech.example")).await;
    let refusals: Vec<_> = answers.iter().map(refusal).collect();
    assert_eq!(refusals, [("invalid", "user"), ("invalid", "user")]);
    let detail = answers[0]["problem"]["detail"].as_str().unwrap();
    assert!(detail.contains("Name the person by ID"), "{detail}");
    // One person under both names is not ambiguous.
    let same = json!({
        "kind": "user", "email": "twice@x.example", "external_id": "twice@x.example",
    });
    let (made, _) = import(&world, &[vec![same], lines("twice@x.example").to_vec()].concat()).await;
    assert_eq!((&made[0]["status"], &made[1]["status"]), (&json!("created"), &json!("created")));
    let [by_id, _] = lines(id_of(&people[0]));
    let (made, _) = import(&world, &[by_id]).await;
    assert_eq!(made[0]["status"], "created", "{made:#?}");
}

#[on_both]
async fn external_id_of_a_person_with_another_address_is_refused_with_the_way_out(world: World) {
    let (made, _) = import(&world, &of_each_kind()).await;
    let moved = json!({
        "kind": "user", "email": "peter@new.example", "external_id": "crm-peter",
    });
    let organization = json!({
        "kind": "organization", "external_id": "crm-1", "name": "Initech",
        "owner": "peter@new.example",
    });
    let lines = [moved, organization];
    let (answers, _) = import(&world, &lines).await;
    assert_eq!(refusal(&answers[0]), ("external_id_taken", "external_id"));
    assert_eq!(refusal(&answers[1]), ("use_transfer_ownership", "owner"));
    let peter = id_of(&made[1]);
    let detail = answers[0]["problem"]["detail"].as_str().unwrap();
    assert!(detail.contains(peter) && detail.contains("PATCH /users/{id}"), "{detail}");
    let detail = answers[1]["problem"]["detail"].as_str().unwrap();
    assert!(detail.contains("PATCH /users/{id}"), "{detail}");
    let patch = json!({"email": "peter@new.example"});
    world.patch(format!("/users/{peter}"), patch).await.expect(200);
    let (answers, _) = import(&world, &lines).await;
    assert_eq!(statuses(&answers), ["unchanged", "unchanged"], "{answers:#?}");
}

fn id_of(answer: &Value) -> &str {
    answer["id"].as_str().unwrap()
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
