use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use chrono::TimeDelta;
use cp_server::kernel::db::record::Object;
use cp_server::lifecycle::export::sections;
use futures_util::StreamExt;
use serde_json::{Map, Value, json};

use crate::world::{Client, ROOT, World, on_both};

#[on_both]
async fn an_export_is_all_that_an_organization_has(world: World) {
    let text = world.get(world.org("/export")).await;
    assert_eq!(text.header("content-type"), "application/json");
    assert_eq!(text.header("cache-control"), "no-store");
    let text = text.text();
    assert!(text.starts_with("{\"organization\":"), "the organization is first");
    let export: Value = serde_json::from_str(&text).unwrap();
    let members: Vec<&str> = export.as_object().unwrap().keys().map(String::as_str).collect();
    let mut sections: Vec<&str> = sections().map(|section| section.name).collect();
    sections.push("exported_at");
    sections.retain(|name| *name != "usage_events");
    sections.sort_unstable();
    assert_eq!(members, sections);
    assert_eq!(export["exported_at"], "2026-01-02T00:00:00Z");

    // Each section is what its own list or read answers.
    assert_eq!(export["organization"], world.get(world.org("")).await.expect(200));
    let account = world.get(world.org("/billing-account")).await.expect(200);
    assert_eq!(export["billing_account"], account);
    for (name, path) in [
        ("workspaces", "/workspaces"),
        ("subscriptions", "/subscriptions"),
        ("deployments", "/deployments"),
        ("licenses", "/licenses"),
        ("identity_providers", "/identity-providers"),
        ("secret_refs", "/secret-refs"),
        ("audit_events", "/audit?limit=500"),
        ("invitations", "/invitations"),
        ("artifacts", "/artifacts"),
        ("service_tokens", "/service-tokens"),
        ("usage_limits", "/limits"),
        ("resources", "/resources"),
        ("bindings", "/bindings"),
    ] {
        let list = world.get(world.org(path)).await.expect(200);
        assert_eq!(sorted(&export[name]), sorted(&list["items"]), "{name}");
        assert!(!export[name].as_array().unwrap().is_empty(), "{name}");
    }
    let roles = world.get(world.org("/roles")).await.expect(200)["items"].clone();
    let own = roles.as_array().unwrap().iter().filter(|role| role["is_system"] == false);
    assert_eq!(sorted(&export["roles"]), sorted(&own.cloned().collect()));
    let bundles = world.get(format!("/licenses/{}/bundles", world.acme.license)).await.expect(200);
    assert_eq!(sorted(&export["bundles"]), sorted(&bundles["items"]));
    let reports = format!("/deployments/{}/usage-reports", world.acme.deployment);
    let reports = world.get(reports).await.expect(200);
    assert_eq!(sorted(&export["usage_reports"]), sorted(&reports["items"]));
    let quotas = world.get(world.org("/quotas")).await.expect(200)["quotas"].clone();
    for quota in export["quotas"].as_array().unwrap() {
        let mut expected = quotas[quota["metric"].as_str().unwrap()].clone();
        expected["organization_id"] = world.acme.org.as_str().into();
        expected["metric"] = quota["metric"].clone();
        assert_eq!(*quota, expected);
    }
    assert_eq!(export["quotas"].as_array().unwrap().len(), quotas.as_object().unwrap().len());
    let members = world.get(world.org("/memberships")).await.expect(200);
    let seats = world.get(format!("/workspaces/{}/memberships", world.acme.workspace)).await;
    let all = [members["items"].clone(), seats.expect(200)["items"].clone()];
    let all: Vec<Value> = all.iter().flat_map(|list| list.as_array().unwrap().clone()).collect();
    assert_eq!(sorted(&export["memberships"]), sorted(&json!(all)));

    let groups = export["groups"].as_array().unwrap();
    let slugs: Vec<&Value> = groups.iter().map(|group| &group["slug"]).collect();
    assert_eq!(slugs, ["sales", "support"]);
    let mut group = world.get(format!("/groups/{}", world.acme.group)).await.expect(200);
    group["members"] = json!([{
        "user_id": world.acme.user, "email": "mats@acme.example", "role": "GROUP_MEMBER",
        "status": "active",
    }]);
    assert_eq!(groups[0], group);
    let mut project = world.get(format!("/projects/{}", world.acme.project)).await.expect(200);
    let mut teams = [&world.acme.group, &world.acme.spare_group];
    teams.sort();
    project["groups"] = json!(teams.map(|id| json!({"group_id": id, "role": "PROJECT_MEMBER"})));
    assert_eq!(export["projects"], json!([project]));
}

#[on_both]
async fn allocations_are_exported_with_their_override_and_origin(world: World) {
    let below = json!({"name": "Below", "parent_id": world.acme.group});
    let below = world.post(world.org("/groups"), below).await.expect(201)["id"].clone();
    let scope = format!("group:{}", below.as_str().unwrap());
    let allocation = json!({
        "scope": scope, "quantity": 40, "override": {"quantity": 50, "reason": "A launch."},
    });
    let path = world.org("/budgets/studio/allocations");
    world.put(path, allocation).await.expect(201);
    let export = world.get(world.org("/export")).await.expect(200);
    let limits = export["usage_limits"].as_array().unwrap();
    let found = limits.iter().find(|one| one["scope"] == json!(scope)).unwrap();
    assert_eq!(
        (&found["override_quantity"], &found["override_reason"]),
        (&json!(50), &json!("A launch."))
    );
    assert_eq!(
        (&found["within_id"], &found["source"]),
        (&json!(world.acme.group), &json!("manual"))
    );
    let root = |one: &&Value| one["source"] == "budget" && one["within_id"].is_null();
    assert_eq!(limits.iter().filter(root).count(), 1);
}

#[on_both]
async fn identity_links_of_an_organization_are_exported(world: World) {
    let path = format!("/users/{}/auth-accounts", world.acme.user);
    let mut made = Vec::new();
    for organization in [&world.acme.org, &world.globex.org] {
        let link = json!({"provider": "corp", "subject": "mats", "vouched_by": organization});
        made.push(world.post(&path, link).await.expect(201));
    }
    let export = world.get(world.org("/export")).await.expect(200);
    assert_eq!(export["identity_links"], json!([made[0]]), "its own, and no other's");
}

#[on_both]
async fn things_without_others_in_their_keeping_are_exported_too(world: World) {
    for slug in ["zoo", "ape", "b-side"] {
        world.post(world.org("/groups"), json!({"name": slug, "slug": slug})).await.expect(201);
        let project = json!({"name": slug, "slug": slug});
        world.put(world.org("/billing-account"), json!({"plan": "enterprise"})).await.expect(200);
        world.post(world.org("/projects"), project).await.expect(201);
    }
    let export = world.get(world.org("/export")).await.expect(200);
    let sizes = |name: &str, keeping: &str| -> Vec<(String, usize)> {
        let list = export[name].as_array().unwrap().iter();
        let size = |of: &Value| of[keeping].as_array().unwrap().len();
        list.map(|one| (one["slug"].as_str().unwrap().to_owned(), size(one))).collect()
    };
    let of = |slug: &str, n| (slug.to_owned(), n);
    assert_eq!(
        sizes("groups", "members"),
        [of("ape", 0), of("b-side", 0), of("sales", 1), of("support", 1), of("zoo", 0)]
    );
    assert_eq!(
        sizes("projects", "groups"),
        [of("ape", 0), of("apollo-acme", 2), of("b-side", 0), of("zoo", 0)]
    );
    let body = json!({"name": "Empty", "slug": "empty"});
    world.post("/organizations", body).await.expect(201);
    let export = world.get("/organizations/empty/export").await.expect(200);
    for name in ["memberships", "groups", "projects", "licenses", "secret_refs"] {
        assert_eq!(export[name], json!([]), "{name}");
    }
    assert_eq!(lines(&world, "/organizations/empty/export").await["groups"], json!([]));
}

#[on_both]
async fn usage_is_exported_as_sums_and_on_request_event_by_event(world: World) {
    world.pass(chrono::TimeDelta::days(100));
    for (metric, quantity, day) in [("tokens", 1.5, 1), ("tokens", 2.25, 2), ("calls", 3.0, 3)] {
        let event = json!({
            "metric": metric, "quantity": quantity, "project_id": world.acme.project,
            "observed_at": format!("2026-03-0{day}T00:00:00Z"),
        });
        world.post(world.org("/usage"), event).await.expect(201);
    }
    let window = "?since=2026-03-01T00:00:00Z&until=2026-03-02T00:00:00Z";
    for query in ["", window] {
        let export = world.get(world.org(&format!("/export{query}"))).await.expect(200);
        let summary = world.get(world.org(&format!("/usage/summary{query}"))).await.expect(200);
        assert_eq!(export["usage"], summary["items"]);
        let limits = world.get(world.org("/limits")).await.expect(200);
        assert_eq!(sorted(&export["usage_limits"]), sorted(&limits["items"]));
    }
    let mut export =
        lines(&world, &world.org(&format!("/export{window}&include=usage_events"))).await;
    let events = export["usage_events"].take();
    let listed = world.get(world.org(&format!("/usage{window}"))).await.expect(200);
    assert_eq!(sorted(&events), sorted(&listed["items"]));
    assert_eq!(events.as_array().unwrap().len(), 2);
    world.get(world.org("/export?include=usage_events")).await.invalid("include");
    world.get(world.org("/export?include=bundles")).await.invalid("include");
}

#[on_both]
async fn line_by_line_it_is_the_same(world: World) {
    let export = world.get(world.org("/export")).await.expect(200);
    assert_eq!(lines(&world, &world.org("/export")).await, export);
}

#[on_both]
async fn the_window_narrows_audit_events_with_both_its_ends(world: World) {
    let at = async |hour: i64| {
        let time = format!("2026-02-01T{hour:02}:00:00Z");
        let body = json!({
            "action": format!("at.{hour}"), "target_type": "x", "occurred_at": time,
        });
        world.post(world.org("/audit"), body).await.expect(201);
    };
    for hour in [5, 3, 4, 6] {
        at(hour).await;
    }
    let between = "/export?since=2026-02-01T04:00:00Z&until=2026-02-01T06:00:00Z";
    let export = world.get(world.org(between)).await.expect(200);
    let actions: Vec<&Value> =
        export["audit_events"].as_array().unwrap().iter().map(|event| &event["action"]).collect();
    assert_eq!(actions, ["at.4", "at.5", "at.6"], "by when it happened");
    assert_eq!(export["memberships"].as_array().unwrap().len(), 3, "nothing else is narrowed");
    assert_eq!(lines(&world, &world.org(between)).await, export);
    let all = world.get(world.org("/export")).await.expect(200);
    let times: Vec<&str> = all["audit_events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["occurred_at"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted() && times.len() > 20);
    world.get(world.org("/export?since=1969-01-01T00:00:00Z")).await.invalid("since");
    world.get(world.org("/export?from=x")).await.invalid("from");
}

#[on_both]
async fn no_secret_is_exported(world: World) {
    let text = world.get(world.org("/export")).await.text();
    assert!(text.contains("{\"masked\":true}"));
    let acme = &world.acme;
    let secrets = [&acme.token, &acme.deployment_token, &acme.invitation_token];
    for secret in secrets.map(String::as_str).into_iter().chain([
        ROOT,
        "client-secret-of",
        "cpat_",
        "cpin_",
        "eyJhbGciOi",
        "globex",
        "sealed",
        "secret_hash",
    ]) {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[on_both]
async fn export_is_one_state_and_does_not_block_writers(world: World) {
    record_many(&world, 4000).await;
    let mut reading = stream(&world.root(), &world.org("/export")).await;
    let mut text = reading.next().await.unwrap().unwrap().to_vec();
    // The reader waits; the others go on, more of them than there are connections.
    for n in 0..20 {
        let late = json!({"action": "late", "target_type": "x"});
        world.post(world.org("/audit"), late).await.expect(201);
        world.delete(world.org(&format!("/secret-refs/{n}"))).await.refused(404, "not_found");
    }
    world.delete(world.org("/secret-refs/app%2Ftoken")).await.expect(204);
    let mut largest = 0;
    while let Some(chunk) = reading.next().await {
        let chunk = chunk.unwrap();
        largest = largest.max(chunk.len());
        text.extend(chunk);
    }
    assert!(largest < 128 * 1024, "chunks stay small: {largest}");
    assert!(text.len() > 3_000_000);
    let export: Value = serde_json::from_slice(&text).unwrap();
    let events = export["audit_events"].as_array().unwrap();
    assert!(events.len() > 4000 && events.iter().all(|event| event["action"] != "late"));
    assert_eq!(export["secret_refs"].as_array().unwrap().len(), 1);
}

#[on_both]
async fn exports_over_the_limit_are_asked_to_retry(world: World) {
    record_many(&world, 2000).await;
    let path = world.org("/export");
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(stream(&world.root(), &path).await);
    }
    let refused = world.get(&path).await;
    assert_eq!(refused.header("retry-after"), "10");
    refused.refused(503, "unavailable");
    // Readers that go away give their places back, as soon as that is noticed.
    open.clear();
    while world.get(&path).await.status == 503 {
        tokio::task::yield_now().await;
    }
}

#[on_both]
async fn an_organization_exports_itself_once_at_a_time_and_leaves_others_room(world: World) {
    record_many(&world, 2000).await;
    let path = world.org("/export");
    let owner = world.person("auth0|olga-acme");
    let open = stream(&owner, &path).await;
    for client in [&owner, &world.by(&world.acme.token)] {
        let refused = client.get(&path).await;
        assert_eq!(refused.header("retry-after"), "10");
        let problem = refused.refused(429, "rate_limited");
        assert_eq!([&problem["metric"], &problem["limit"]], [&json!("exports"), &json!(1)]);
    }
    // Neither another organization nor the platform is kept from anything, about acme either.
    let other = format!("/organizations/{}/export", world.globex.org);
    world.by(&world.globex.token).get(other).await.expect(200);
    world.get(&path).await.expect(200);
    drop(open);
    while owner.get(&path).await.status == 429 {
        tokio::task::yield_now().await;
    }
}

#[on_both]
async fn a_purged_organization_has_nothing_left_to_export(world: World) {
    let purge = world.org("?mode=purge&confirm=Acme&force=true");
    world.delete(purge).await.expect(204);
    world.get(world.org("/export")).await.refused(404, "not_found");
    for sql in ["SELECT COUNT(*) FROM identity_providers", "SELECT COUNT(*) FROM secret_refs"] {
        assert_eq!(world.value::<i64>(sql).await, 1, "globex keeps its own: {sql}");
    }
}

/// The export line by line, put together again.
async fn lines(world: &World, path: &str) -> Value {
    let by = world.root().with("accept", "text/html, application/x-ndjson;q=0.9");
    let answer = by.get(path).await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let text = answer.text();
    assert!(text.ends_with('\n'));
    let mut export = Map::new();
    let mut last = String::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let members: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert_eq!(members, ["data", "kind"]);
        last = line["kind"].as_str().unwrap().to_owned();
        if matches!(&*last, "organization" | "billing_account" | "exported_at") {
            assert!(export.insert(last.clone(), line["data"].clone()).is_none());
        } else {
            let list = export.entry(&last).or_insert_with(|| json!([]));
            list.as_array_mut().unwrap().push(line["data"].clone());
        }
    }
    assert_eq!(last, "exported_at", "the last line marks the end of the export");
    let all = cp_server::lifecycle::export::sections().map(|section| section.name);
    for name in all.filter(|name| *name != "usage_events") {
        export.entry(name).or_insert_with(|| json!([]));
    }
    export.into()
}

/// An answer that is read chunk by chunk.
async fn stream(client: &Client, path: &str) -> BodyDataStream {
    let request = Request::get(format!("/api/v1{path}")).body(Body::empty()).unwrap();
    let response = client.respond(request).await;
    assert_eq!(response.status(), 200);
    response.into_body().into_data_stream()
}

/// Many audit events, of about a kilobyte each.
async fn record_many(world: &World, count: i64) {
    let text = Map::from_iter([("text".to_owned(), json!("x".repeat(500)))]);
    let metadata = Object::bounded("metadata", text).unwrap();
    let organization: uuid::Uuid = world.acme.org.parse().unwrap();
    let mut tx = world.app.db.begin().await.unwrap();
    for _ in 0..count / 500 {
        let sql = "INSERT INTO audit_events
                   (id, at, occurred_at, organization_id, actor_kind, actor_id, actor_name, action,
                    target_type, target_id, before, after, metadata, commitment) VALUES ";
        let insert = tx.q(sql).rows(0..500, |query, _| {
            world.pass(TimeDelta::microseconds(1));
            let (id, now) = (world.app.random.uuid(world.clock.now()), world.clock.now());
            let query = query.bind(id).bind(now).bind(now).bind(organization).bind("system");
            let query = query.bind(id).bind("many").bind("many.recorded").bind("x").bind("x");
            let query = query.bind(metadata.clone()).bind(metadata.clone()).bind(metadata.clone());
            // The database requires a commitment; this log is not verified.
            query.bind(vec![0_u8; 32])
        });
        insert.exec().await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// The items in an order that both databases and every list share.
fn sorted(list: &Value) -> Vec<Value> {
    let mut items = list.as_array().unwrap().clone();
    items.sort_by_key(|item| item["id"].to_string());
    items
}
