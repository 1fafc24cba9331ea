use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::world::{World, on_both};

#[on_both]
async fn a_reference_is_set_whole_and_keeps_its_beginning(world: World) {
    let path = world.org("/secret-refs/db%2Fpassword");
    let body = json!({
        "provider": "vault", "ref": "kv/db#password", "created_by": "ops",
        "rotated_at": "2026-01-01T12:00:00.1234567Z",
    });
    let answer = world.put(&path, body).await;
    let location = answer.header("location").to_owned();
    let made = answer.expect(201);
    assert_eq!(
        world.named(&made),
        json!({
            "id": "<1>", "organization_id": "<acme's org>", "project_id": null,
            "name": "db/password", "provider": "vault", "ref": "kv/db#password",
            "created_by": "ops", "rotated_at": "2026-01-01T12:00:00.123456Z",
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    assert_eq!(
        location,
        format!("/api/v1/organizations/{}/secret-refs/db%2Fpassword", world.acme.org)
    );
    world.pass(TimeDelta::hours(1));
    let body = json!({"provider": "aws", "ref": "arn:aws:secretsmanager:eu:1:secret:db"});
    let replaced = world.put(&path, body).await.expect(200);
    let mut expected = made.clone();
    expected["provider"] = json!("aws");
    expected["ref"] = json!("arn:aws:secretsmanager:eu:1:secret:db");
    expected["created_by"] = Value::Null;
    expected["rotated_at"] = Value::Null;
    expected["updated_at"] = json!("2026-01-02T01:00:00Z");
    assert_eq!(replaced, expected);
    let events = world.get(world.org("/audit?action=secret_refs.put&limit=1")).await;
    let event = events.expect(200)["items"][0].clone();
    assert_eq!((&event["before"], &event["after"]), (&made, &replaced));
    assert_eq!(event["target_id"], "db/password");
    world.delete(&path).await.expect(204);
    world.delete(&path).await.refused(404, "not_found");
}

#[on_both]
async fn references_of_the_organization_and_of_its_projects_stand_apart(world: World) {
    let (web, api) = (
        project(&world, &world.acme.org, "web").await,
        project(&world, &world.acme.org, "api").await,
    );
    let set = async |name: &str, query: &str| {
        world.pass(TimeDelta::milliseconds(1));
        let path = world.org(&format!("/secret-refs/{name}{query}"));
        let body = json!({"provider": "vault", "ref": format!("{name}{query}")});
        world.put(path, body).await.expect(201)
    };
    set("b", "").await;
    let made = set("b", &format!("?project={web}")).await;
    assert_eq!(made["project_id"], json!(web));
    set("b", &format!("?project={api}")).await;
    set("a", &format!("?project={web}")).await;
    let again = world.org(&format!("/secret-refs/b?project={web}"));
    world.put(&again, json!({"provider": "vault", "ref": "x"})).await.expect(200);

    let list = async |query: &str| {
        let page = world.get(world.org(&format!("/secret-refs{query}"))).await.expect(200);
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|found| (found["name"].as_str().unwrap().to_owned(), found["project_id"].clone()))
            .collect::<Vec<_>>()
    };
    let of = |name: &str, project: Option<&str>| (name.to_owned(), json!(project));
    assert_eq!(
        list("").await,
        [
            of("a", Some(&web)),
            of("app/token", None),
            of("b", None),
            of("b", Some(&web)),
            of("b", Some(&api))
        ]
    );
    assert_eq!(list("?project=none").await, [of("app/token", None), of("b", None)]);
    assert_eq!(list(&format!("?project={web}")).await, [of("a", Some(&web)), of("b", Some(&web))]);
    assert_eq!(list(&format!("?project={}", world.globex.org)).await, []);
    world.get(world.org("/secret-refs?project=web")).await.invalid("project");

    world.delete(world.org("/secret-refs/a")).await.refused(404, "not_found");
    world.delete(world.org(&format!("/secret-refs/b?project={web}"))).await.expect(204);
    assert_eq!(list("?project=none").await.len(), 2);
    assert_eq!(list(&format!("?project={api}")).await, [of("b", Some(&api))]);
    let page = world.get(world.org("/secret-refs?limit=2")).await.expect(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(
        list(&format!("?limit=2&cursor={cursor}")).await,
        [of("b", None), of("b", Some(&api))]
    );
}

#[on_both]
async fn a_projects_references_follow_it_and_end_with_it(world: World) {
    let web = project(&world, &world.acme.org, "web").await;
    let body = json!({"provider": "vault", "ref": "kv/web"});
    let path = world.org(&format!("/secret-refs/token?project={web}"));
    let made = world.put(path, body.clone()).await.expect(201);
    world.put(world.org("/secret-refs/token"), body).await.expect(201);
    let of_web = async |organization: &str| {
        let path = format!("/organizations/{organization}/secret-refs?project={web}");
        world.get(path).await.expect(200)["items"].clone()
    };
    let to = json!({"organization": world.globex.org});
    world.post(format!("/projects/{web}/move"), to).await.expect(200);
    assert_eq!(of_web(&world.acme.org).await, json!([]));
    let mut moved = made.clone();
    moved["organization_id"] = json!(world.globex.org);
    assert_eq!(of_web(&world.globex.org).await, json!([moved]));
    world.delete(format!("/projects/{web}")).await.expect(204);
    assert_eq!(of_web(&world.globex.org).await, json!([]));
    world.delete(world.org("/secret-refs/token")).await.expect(204);
}

#[on_both]
async fn a_foreign_project_is_refused(world: World) {
    let foreign = project(&world, &world.globex.org, "web").await;
    let body = json!({"provider": "vault", "ref": "x"});
    let before = world.count_events().await;
    for project in [&foreign, &world.acme.user] {
        let path = world.org(&format!("/secret-refs/a?project={project}"));
        let problem = world.put(path, body.clone()).await.refused(404, "not_found");
        assert_eq!(problem["detail"], "project not found");
        let path = world.org(&format!("/secret-refs/app%2Ftoken?project={project}"));
        world.delete(path).await.refused(404, "not_found");
    }
    let mut body = body.clone();
    body["project"] = json!(foreign);
    world.put(world.org("/secret-refs/a"), body).await.refused(404, "not_found");
    assert_eq!(world.count_events().await, before);
}

#[on_both]
async fn secret_value_is_refused_and_in_no_answer(world: World) {
    const SECRET: &str = "canary-0123456789";
    let path = world.org("/secret-refs/app%2Ftoken");
    let before = world.count_events().await;
    let keyed = world.root().with("idempotency-key", "value");
    for name in ["value", "secret", "token"] {
        for value in [json!(SECRET), json!({"inner": SECRET}), json!([SECRET])] {
            let mut body = json!({"provider": "vault", "ref": "kv/app"});
            body[name] = value;
            let answer = keyed.put(&path, body).await;
            assert!(!answer.text().contains("canary"), "{}", answer.text());
            answer.invalid(name);
        }
    }
    let answer =
        world.put(format!("{path}?value={SECRET}"), json!({"provider": "v", "ref": "x"})).await;
    assert!(!answer.text().contains("canary"), "{}", answer.text());
    answer.invalid("value");
    let answer = world.put(&path, json!({"provider": "v", "ref": {"value": SECRET}})).await;
    assert!(!answer.text().contains("canary"), "{}", answer.text());
    answer.invalid("ref");
    assert_eq!(world.count_events().await, before);
    let kept: i64 = world.value("SELECT COUNT(*) FROM idempotency_keys").await;
    assert_eq!(kept, 0);
}

#[on_both]
async fn reference_that_a_connection_names_stays(world: World) {
    let path = world.org("/secret-refs/app%2Ftoken");
    let connection = async |name: &str| {
        let spec = json!({"type": "mcp", "secret_ref": name});
        let body = json!({"kind": "connection", "name": "Box", "spec": spec});
        let made = world.post(world.org("/resources"), body).await.expect(201);
        made["id"].as_str().unwrap().to_owned()
    };
    let one = connection("app/token").await;
    let problem = world.delete(&path).await.refused(409, "in_use");
    assert_eq!((&problem["connections"], &problem["count"]), (&json!([one]), &json!(1)));
    // Another reference of the name suffices, whichever is deleted.
    let web = project(&world, &world.acme.org, "web").await;
    let of_web = json!({"provider": "vault", "ref": "kv/web#token", "project": web});
    world.put(&path, of_web.clone()).await.expect(201);
    world.delete(&path).await.expect(204);
    world.delete(format!("{path}?project={web}")).await.refused(409, "in_use");
    // The project has the only one: neither its end nor its move withdraws it.
    let ends = format!("/projects/{web}");
    let before = world.count_events().await;
    let problem = world.delete(&ends).await.refused(409, "in_use");
    assert_eq!(problem["connections"], json!([one]));
    let target = json!({"organization": world.globex.org});
    world.post(format!("{ends}/move"), target.clone()).await.refused(409, "in_use");
    assert_eq!(world.count_events().await, before);
    // The same name of another organization is another reference.
    world.delete("/organizations/globex/secret-refs/app%2Ftoken").await.expect(204);
    let patch = json!({"spec": {"secret_ref": null}});
    world.patch(format!("/resources/{one}"), patch).await.expect(200);
    world.delete(format!("{path}?project={web}")).await.expect(204);
    world.put(&path, of_web).await.expect(201);
    world.delete(&ends).await.expect(204);
}

/// A connection that is created while its reference is deleted finds it, or is refused.
#[on_both]
async fn concurrent_deletion_leaves_no_connection_without_its_reference(world: World) {
    for round in 0..8 {
        let path = world.org(&format!("/secret-refs/key-{round}"));
        world.put(&path, json!({"provider": "vault", "ref": "kv/key"})).await.expect(201);
        let spec = json!({"type": "mcp", "secret_ref": format!("key-{round}")});
        let body = json!({"kind": "connection", "name": "Box", "spec": spec});
        let resources = world.org("/resources");
        let made = world.post(&resources, body);
        let (made, gone) = futures_util::future::join(Box::pin(made), world.delete(&path)).await;
        let statuses = (made.status, gone.status);
        assert!([(201, 409), (404, 204)].contains(&statuses), "{statuses:?}");
    }
}

/// A project of an organization.
async fn project(world: &World, organization: &str, slug: &str) -> String {
    let path = format!("/organizations/{organization}/projects");
    let made = world.post(path, json!({"name": slug, "slug": slug})).await.expect(201);
    made["id"].as_str().unwrap().to_owned()
}
