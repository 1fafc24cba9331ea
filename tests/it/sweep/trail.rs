//! Every change leaves exactly one audit event, in its own transaction; a refusal leaves none.

use axum::http::Method;
use chrono::TimeDelta;
use cp_server::kernel::access::caller::Permission;
use cp_server::kernel::access::place::Exposure;
use cp_server::kernel::http::line::Line;
use cp_server::kernel::http::openapi;
use serde_json::{Value, json};

use super::authorization::right_caller;
use super::examples::{example, prepare};
use super::plans::reading_whole_tables;
use crate::world::{World, on_both, texts_of};

fn lines() -> impl Iterator<Item = Line> {
    crate::world::operations()
        .table
        .into_iter()
        .filter(|line| line.permission != Permission::PUBLIC)
}

/// Calls one operation as a caller with just its permission, and checks its event.
async fn leaves_one_event(world: &World, line: &Line) {
    let _server = prepare(world, line).await;
    let caller = right_caller(world, line).await;
    // The events before are older ones.
    world.pass(TimeDelta::milliseconds(1));
    let before = world.count_events().await;
    let example = example(world, line);
    let path = world.path_of(line) + &example.query;
    let answer = caller.call(line.method.clone(), &path, example.body).await;
    let (status, also) = (line.status.as_u16(), line.also.map(|status| status.as_u16()));
    assert!(
        answer.status == status || Some(answer.status) == also,
        "{} is {} and not {status}: {}",
        line.name,
        answer.status,
        answer.text()
    );
    let left = world.count_events().await - before;
    if line.reads() {
        assert_eq!(left, 0, "{} only reads", line.name);
        return;
    }
    if !line.audited {
        assert_eq!(left, 0, "{} says that it leaves none", line.name);
        return;
    }
    if line.conditional_audit && left == 0 {
        return;
    }
    assert_eq!(left, 1, "{} left {left} events", line.name);

    let sql = "SELECT action FROM audit_events ORDER BY id DESC LIMIT 1";
    let action: String = world.value(sql).await;
    // A bulk issuance has an event per license.
    let expected = match line.name {
        "bundles.issue_many" => "bundles.issue",
        // An import has an event per line.
        "imports.run" => "organizations.create",
        // The action that the caller records.
        "audit.record" => "deploy.done",
        name => name,
    };
    assert_eq!(action, expected);
    let event = world.get("/audit?limit=1").await.expect(200)["items"][0].clone();
    if line.exposure == Exposure::Organization || line.name == "organizations.create" {
        assert!(event["organization_id"].is_string(), "{} has no organization: {event}", line.name);
    }
    if line.method == Method::DELETE && line.path.ends_with('}') && line.name != "users.unlink" {
        assert_ne!(event["before"], Value::Null, "{} forgets what was there", line.name);
    }
    if line.method == Method::PATCH {
        assert_ne!(event["before"], event["after"], "{}", line.name);
    }
    let text = event.to_string();
    assert!(
        !text.contains("cpat_") && !text.contains("cpin_") && !text.contains("eyJhbGciOi"),
        "{} records a secret",
        line.name
    );
}

#[test]
fn only_the_recording_of_usage_and_an_inspection_leave_no_event() {
    let silent = lines().filter(|line| !line.audited).map(|line| line.name);
    assert_eq!(silent.collect::<Vec<_>>(), ["bundles.inspect", "usage.record"]);
}

#[tokio::test]
async fn every_line_lets_the_right_caller_in_leaves_one_event_and_reads_no_whole_table_on_sqlite() {
    let reading = World::on_sqlite().await;
    let statements = texts_of(async {
        for line in lines() {
            match line.reads() {
                true => leaves_one_event(&reading, &line).await,
                false => leaves_one_event(&World::on_sqlite().await, &line).await,
            }
        }
    });
    let found = reading_whole_tables(&reading, &statements.await).await;
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test]
async fn every_line_lets_the_right_caller_in_and_leaves_one_event_on_postgres() {
    let Some(reading) = World::on_postgres().await else { return };
    for line in lines() {
        match if line.reads() { None } else { World::on_postgres().await } {
            Some(world) => leaves_one_event(&world, &line).await,
            None => leaves_one_event(&reading, &line).await,
        }
    }
}

#[on_both]
async fn a_refusal_leaves_no_event(world: World) {
    let before = world.count_events().await;
    for line in lines().filter(|line| !line.reads()) {
        let unknown = json!({"no_such_member": 1});
        let path = if line.shapes(&mut openapi::schemas()).input.is_some() || line.raw {
            world.path_of(&line) + if line.method == Method::DELETE { "?no_such=1" } else { "" }
        } else {
            world.path_to_unknown(&line)
        };
        let answer = world.root().call(line.method.clone(), &path, Some(unknown)).await;
        // An import refuses each line by itself.
        let is_refused = match line.name {
            "imports.run" => answer.text().contains("\"status\":\"refused\""),
            _ if line.protocol.is_some() => matches!(answer.status, 400 | 404),
            _ => matches!(answer.status, 404 | 422),
        };
        assert!(is_refused, "{}: {}", line.name, answer.text());
    }
    assert_eq!(world.count_events().await, before);
}

#[on_both]
async fn a_change_whose_event_cannot_be_written_does_not_happen(world: World) {
    world.exec("ALTER TABLE audit_events RENAME TO lost").await;
    let body = json!({"name": "Initech", "slug": "initech"});
    world.post("/organizations", body).await.refused(500, "internal");
    let bundles = format!("/licenses/{}/bundles", world.acme.license);
    let answer = world.post(&bundles, json!({})).await;
    assert!(!answer.text().contains("eyJhbGciOi"), "a token left without its event");
    answer.refused(500, "internal");
    world.get("/organizations/initech").await.refused(404, "not_found");
    world.exec("ALTER TABLE lost RENAME TO audit_events").await;
    let listed = world.get(&bundles).await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

#[on_both]
async fn a_bulk_issuance_leaves_one_event_per_license(world: World) {
    let deployment = world.acme.spare_deployment.as_str();
    let body = json!({"subscription_id": world.acme.subscription});
    let second = world.post(format!("/deployments/{deployment}/licenses"), body).await;
    let second = second.expect(201)["id"].clone();
    let before = world.count_events().await;
    let ids = json!({"ids": [world.acme.license, second, world.globex.license]});
    world.post("/licenses/bundles", ids).await;
    assert_eq!(world.count_events().await - before, 3);
}
