use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{agent, guardrail, id, resource};
use crate::sweep::examples::UNKNOWN_ID;
use crate::world::{Client, World, count_statements, on_both, statements_so_far};

async fn bind(world: &World, kind: &str, subject: &str, scope: &str, more: Value) {
    let mut body = json!({"kind": kind, "subject": subject, "scope": scope});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = world.put(world.org("/bindings"), body).await;
    assert!([200, 201].contains(&answer.status), "{}", answer.text());
}

async fn ask(world: &World, client: &Client, query: &str) -> Value {
    client.get(world.org(&format!("/effective?{query}"))).await.expect(200)
}

/// A group below another one, with a member.
async fn group_below(world: &World, parent: &str, user: &str) -> String {
    let body = json!({"name": "Below", "parent_id": parent});
    let made = id(&world.post(world.org("/groups"), body).await.expect(201));
    world.put(format!("/groups/{made}/members/{user}"), json!({})).await.expect(201);
    made
}

/// The only item of an answer.
fn item(answer: &Value) -> &Value {
    let items = answer["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{answer}");
    &items[0]
}

#[on_both]
async fn nearest_level_decides_and_the_whole_answer_explains_it(world: World) {
    let acme = &world.acme;
    let team = group_below(&world, &acme.group, &acme.owner).await;
    bind(&world, "model", "gpt-x", "organization", json!({"effect": "deny"})).await;
    bind(&world, "model", "gpt-x", &format!("group:{team}"), json!({})).await;
    let preset = guardrail(&world, "pii").await;
    let body = json!({
        "kind": "pattern", "name": "Card", "parent_id": preset,
        "spec": {"regex": "\\d{16}", "type": "block"},
    });
    let pattern = id(&resource(&world, body).await);
    bind(&world, "guardrail", &preset, "organization", json!({})).await;
    let query = format!("user={}&kinds=model,guardrail", acme.owner);
    let answer = ask(&world, &world.root(), &query).await;
    let revision = world.get(world.org("")).await.expect(200)["revision"].clone();
    let scope = format!("group:{team}");
    assert_eq!(
        answer,
        json!({
            "organization_id": acme.org, "revision": revision, "product": "",
            "user_id": acme.owner, "active": true, "inactive_reason": null,
            "chain": [
                [format!("user:{}", acme.owner)], [scope], [format!("group:{}", acme.group)],
                ["organization"],
            ],
            "items": [{
                "kind": "model", "subject": "gpt-x", "key": null, "name": null, "allowed": true,
                "value": {}, "reason": "allowed", "resolved_from": scope, "ceiling": null,
                "candidates": [
                    {"scope": scope, "effect": "allow", "mandatory": false, "value": {}},
                    {"scope": "organization", "effect": "deny", "mandatory": false, "value": {}},
                ],
            }],
            "guardrails": [{
                "id": preset, "key": "pii", "name": "pii", "spec": {"config": {}},
                "mandatory": false, "from": ["organization"],
                "patterns": [{
                    "id": pattern, "name": "Card", "regex": "\\d{16}", "type": "block",
                    "action": null,
                }],
            }],
        })
    );
    // A mandatory binding of a wider level precedes the team's own.
    let mandatory = json!({"effect": "deny", "mandatory": true});
    bind(&world, "model", "gpt-x", "organization", mandatory).await;
    let answer = ask(&world, &world.root(), &query).await;
    let denied = item(&answer);
    assert_eq!(
        (&denied["allowed"], &denied["reason"], &denied["resolved_from"]),
        (&json!(false), &json!("denied"), &json!("organization"))
    );
}

#[on_both]
async fn organizations_own_answer_has_one_level(world: World) {
    let machine = world.with_only(&["effective:read"]).await;
    bind(&world, "feature", "beta", "organization", json!({"value": {"config": {"n": 1}}})).await;
    let answer = ask(&world, &machine, "kinds=feature&subject=beta").await;
    assert_eq!(answer["chain"], json!([["organization"]]));
    assert_eq!(answer["user_id"], Value::Null);
    assert_eq!(
        *item(&answer),
        json!({
            "kind": "feature", "subject": "beta", "key": null, "name": null, "allowed": true,
            "value": {"config": {"n": 1}}, "reason": "allowed", "resolved_from": "organization",
            "ceiling": null,
        })
    );
    let data_plane = world.by(&world.acme.deployment_token);
    ask(&world, &data_plane, "").await;
}

#[on_both]
async fn kinds_differ_without_a_binding(world: World) {
    let preset = guardrail(&world, "pii").await;
    let agent = agent(&world, "Scout", &[&preset]).await;
    let body = json!({"kind": "connection", "name": "Mail", "spec": {"type": "mcp"}});
    let mail = id(&resource(&world, body).await);
    let body = json!({"kind": "listing", "name": "Scout", "parent_id": agent});
    let listing = id(&resource(&world, body).await);
    let olga = world.person("auth0|olga-acme");
    for (kind, subject, allowed) in [
        ("agent", &*agent, false),
        ("connection", &*mail, false),
        ("listing", &*listing, true),
        ("model", "gpt-x", false),
        ("feature", "beta", false),
    ] {
        let answer = ask(&world, &olga, &format!("kinds={kind}&subject={subject}")).await;
        let reason = if allowed { "allowed" } else { "nothing_bound" };
        assert_eq!(
            (&item(&answer)["allowed"], &item(&answer)["reason"]),
            (&json!(allowed), &json!(reason))
        );
        assert_eq!(answer["guardrails"], json!([]));
    }
    // One allow anywhere makes the listing a granted one.
    bind(&world, "listing", &listing, &format!("group:{}", world.acme.spare_group), json!({}))
        .await;
    let answer = ask(&world, &olga, &format!("kinds=listing&subject={listing}")).await;
    assert_eq!(item(&answer)["allowed"], false);
    // An unpublished listing and a disabled agent do not exist.
    bind(&world, "listing", &listing, "organization", json!({})).await;
    bind(&world, "agent", &agent, "organization", json!({})).await;
    let all = ask(&world, &olga, "kinds=agent,listing").await;
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    let unpublished = json!({"spec": {"published": false}});
    world.patch(format!("/resources/{listing}"), unpublished).await.expect(200);
    world.patch(format!("/resources/{agent}"), json!({"status": "disabled"})).await.expect(200);
    assert_eq!(ask(&world, &olga, "kinds=agent,listing").await["items"], json!([]));
    let gone = ask(&world, &olga, &format!("kinds=agent&subject={agent}")).await;
    let missing = ask(&world, &olga, &format!("kinds=agent&subject={UNKNOWN_ID}")).await;
    let named = |answer: &Value, id: &str| answer.to_string().replace(id, "ID");
    assert_eq!(named(&gone, &agent), named(&missing, UNKNOWN_ID));
}

#[on_both]
async fn ceiling_gates_features_and_models(world: World) {
    let own = json!({
        "features": {"on": 7, "off": false, "null": []},
        "models": {"": {"deny": ["gpt-4*"]}, "console": {"allow": ["gpt-*"]}},
    });
    world.patch(world.org("/entitlements"), own).await.expect(200);
    for subject in ["off", "on", "free"] {
        bind(&world, "feature", subject, "organization", json!({})).await;
    }
    for subject in ["gpt-4o", "o1", "gpt-5"] {
        bind(&world, "model", subject, "organization", json!({})).await;
    }
    let one = async |kind: &str, subject: &str, product: &str| {
        let query = format!("kinds={kind}&subject={subject}&product={product}");
        let answer = ask(&world, &world.root(), &query).await;
        let item = item(&answer).clone();
        [item["allowed"].clone(), item["reason"].clone(), item["ceiling"].clone()]
    };
    let is = |allowed: bool, reason: &str, ceiling: Value| [json!(allowed), json!(reason), ceiling];
    let of = |value: Value| json!({"value": value, "from": "organization"});
    let policy = || json!({"value": false, "from": "policy"});
    assert_eq!(one("feature", "on", "").await, is(true, "allowed", of(json!(7))));
    assert_eq!(one("feature", "off", "").await, is(false, "ceiling", of(json!(false))));
    assert_eq!(one("feature", "free", "").await, is(true, "allowed", Value::Null));
    assert_eq!(one("feature", "null", "").await, is(true, "allowed", of(json!([]))));
    assert_eq!(one("feature", "other", "").await, is(false, "nothing_bound", Value::Null));
    assert_eq!(one("model", "gpt-4o", "").await, is(false, "ceiling", policy()));
    assert_eq!(one("model", "o1", "").await, is(true, "allowed", Value::Null));
    assert_eq!(one("model", "o1", "console").await, is(false, "ceiling", policy()));
    assert_eq!(one("model", "gpt-5", "console").await, is(true, "allowed", Value::Null));
    let answer = ask(&world, &world.root(), "kinds=feature&subject=null").await;
    assert_eq!(item(&answer)["resolved_from"], "ceiling");
    assert_eq!(item(&answer)["value"], json!({"config": {}, "value": []}));
}

#[on_both]
async fn inactive_answers_still_return_guardrails(world: World) {
    let preset = guardrail(&world, "pii").await;
    let scout = agent(&world, "Scout", &[&preset]).await;
    bind(&world, "agent", &scout, "organization", json!({})).await;
    let query = format!("kinds=agent,guardrail&agent={scout}&user={}", world.acme.user);
    let answer = async || ask(&world, &world.root(), &query).await;
    let on = answer().await;
    assert_eq!((&on["active"], &item(&on)["allowed"]), (&json!(true), &json!(true)));
    assert_eq!(on["chain"][0], json!([format!("agent:{scout}")]));
    assert_eq!(on["guardrails"][0]["from"], json!([format!("agent:{scout}")]));
    let off = async |reason: &str| {
        let off = answer().await;
        assert_eq!((&off["active"], &off["inactive_reason"]), (&json!(false), &json!(reason)));
        assert_eq!(
            (&item(&off)["allowed"], &item(&off)["reason"]),
            (&json!(false), &json!("inactive"))
        );
        assert_eq!(off["guardrails"], on["guardrails"]);
    };
    let seat = format!("/memberships/{}", world.acme.membership);
    world.patch(&seat, json!({"status": "suspended"})).await.expect(200);
    off("member_suspended").await;
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    world.patch(&subscription, json!({"status": "paused"})).await.expect(200);
    off("subscription_inactive").await;
    world.patch(world.org(""), json!({"status": "suspended"})).await.expect(200);
    off("organization_suspended").await;
}

#[on_both]
async fn callers_without_bindings_read_see_allowed_items_only(world: World) {
    let team = &world.acme.group;
    bind(&world, "model", "shown", &format!("group:{team}"), json!({})).await;
    bind(&world, "model", "hidden", &format!("group:{team}"), json!({"effect": "deny"})).await;
    let seat = json!({"user_id": world.acme.stranger, "role": "member"});
    world.post(world.org("/memberships"), seat).await.expect(201);
    let seat = format!("/groups/{team}/members/{}", world.acme.stranger);
    world.put(seat, json!({})).await.expect(201);
    let sven = world.person("auth0|sven-acme");
    let own = ask(&world, &sven, "kinds=model").await;
    assert_eq!(own["user_id"], json!(world.acme.stranger));
    assert_eq!(item(&own)["subject"], "shown");
    assert!(item(&own).get("candidates").is_none());
    let hidden = ask(&world, &sven, "kinds=model&subject=hidden").await;
    assert_eq!(item(&hidden)["reason"], "nothing_bound");
    let path = world.org(&format!("/effective?user={}", world.acme.user));
    assert_eq!(sven.get(&path).await.refused(403, "forbidden")["field"], "user");
    let path = world.org("/effective?include=spec");
    assert_eq!(sven.get(&path).await.refused(403, "forbidden")["field"], "include");
    // The own ID is not another person.
    ask(&world, &sven, &format!("user={}", world.acme.stranger)).await;
    let machine = world.with_only(&["effective:read"]).await;
    let path = world.org(&format!("/effective?user={}", world.acme.user));
    machine.get(&path).await.refused(403, "forbidden");
    ask(&world, &machine, "include=spec").await;
}

#[on_both]
async fn parts_of_the_question_must_exist_and_fit(world: World) {
    let acme = &world.acme;
    let preset = guardrail(&world, "pii").await;
    for (query, field) in [
        (format!("user={}", acme.stranger), "user"),
        (format!("user={UNKNOWN_ID}"), "user"),
        (format!("group={}", world.globex.group), "group"),
        (format!("agent={preset}"), "agent"),
        (format!("agent={UNKNOWN_ID}"), "agent"),
        (format!("project={}", world.globex.project), "project"),
        (format!("workspace={}", world.globex.workspace), "workspace"),
    ] {
        let problem = world.get(world.org(&format!("/effective?{query}"))).await;
        assert_eq!(problem.refused(404, "not_found")["field"], field, "{query}");
    }
    let outside = format!("user={}&group={}", acme.owner, acme.group);
    world.get(world.org(&format!("/effective?{outside}"))).await.invalid("group");
    let apart = format!("workspace={}&project={}", acme.workspace, acme.project);
    world.get(world.org(&format!("/effective?{apart}"))).await.invalid("project");
    world.get(world.org("/effective?kinds=agent,none")).await.invalid("kinds");
    // The project of a workspace is derived, and a pinned group has those above it.
    let body = json!({"name": "W", "project_id": acme.project});
    let workspace = id(&world.post(world.org("/workspaces"), body).await.expect(201));
    let below = group_below(&world, &acme.group, &acme.user).await;
    let answer = ask(&world, &world.root(), &format!("workspace={workspace}&group={below}")).await;
    assert_eq!(
        answer["chain"],
        json!([
            [format!("group:{below}")],
            [format!("group:{}", acme.group)],
            [format!("workspace:{workspace}")],
            [format!("project:{}", acme.project)],
            ["organization"],
        ])
    );
    // Mats is also in the group above and in one of another product.
    let answer =
        ask(&world, &world.root(), &format!("user={}&group={}", acme.user, acme.group)).await;
    assert_eq!(answer["chain"][1], json!([format!("group:{}", acme.group)]));
    let answer = ask(&world, &world.root(), &format!("user={}&product=console", acme.user)).await;
    let mut level = [format!("group:{}", acme.group), format!("group:{}", acme.spare_group)];
    level.sort();
    assert_eq!(answer["chain"][1], json!([format!("group:{below}")]));
    assert_eq!(answer["chain"][2], json!(level));
}

#[on_both]
async fn spec_is_included_for_allowed_agents_and_connections(world: World) {
    let spec = json!({"type": "mcp", "config": {"url": "x"}, "secret_ref": "app/token"});
    let body = json!({"kind": "connection", "name": "Mail", "spec": spec});
    let mail = resource(&world, body).await;
    let scope = format!("user:{}", world.acme.user);
    bind(&world, "connection", &id(&mail), &scope, json!({"value": {"can_manage": true}})).await;
    let query = format!("kinds=connection&include=spec&user={}", world.acme.user);
    let answer = ask(&world, &world.root(), &query).await;
    assert_eq!(
        (&item(&answer)["spec"], &item(&answer)["value"]),
        (&mail["spec"], &json!({"can_manage": true}))
    );
    let answer = ask(&world, &world.root(), "kinds=connection&include=spec").await;
    assert!(item(&answer).get("spec").is_none(), "{answer}");
}

#[on_both]
async fn unchanged_answer_is_304_and_every_change_is_visible_at_once(world: World) {
    let path = world.org("/effective?kinds=model");
    let first = world.get(&path).await;
    let tag = first.header("etag").to_owned();
    first.expect(200);
    let polling = world.root().with("if-none-match", &tag);
    assert_eq!(polling.get(&path).await.status, 304);
    let (_, elsewhere) = world.replica().await;
    let elsewhere = elsewhere.token(crate::world::ROOT);
    elsewhere.get(&path).await.expect(200);
    bind(&world, "model", "gpt-x", "organization", json!({})).await;
    let changed = polling.get(&path).await.expect(200);
    assert_eq!(item(&changed)["subject"], "gpt-x");
    // Another replica notices within a second.
    world.pass(TimeDelta::seconds(1));
    assert_eq!(elsewhere.get(&path).await.expect(200), changed);
    // Time alone changes an answer, and not the revision.
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    world.patch(&subscription, json!({"ends_at": "2026-01-03T00:00:00Z"})).await.expect(200);
    let before = world.get(&path).await.expect(200);
    world.pass(TimeDelta::days(1));
    let after = world.get(&path).await.expect(200);
    assert_eq!(after["revision"], before["revision"]);
    assert_eq!((&before["active"], &after["active"]), (&json!(true), &json!(false)));
}

#[on_both]
async fn too_many_items_are_refused_at_kinds(world: World) {
    let mut items = Vec::new();
    for n in 0..10 {
        let scope = format!("user:{}", world.acme.user);
        items.push(json!({"scope": scope, "value": {}}));
        let body = json!({"kind": "feature", "subject": format!("f{n}"), "items": [items[n]]});
        world.post(world.org("/bindings/replace"), body).await.expect(200);
    }
    let sql = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10001)
               INSERT INTO bindings (id, organization_id, kind, product, subject, scope_kind,
                   scope_id, effect, value, mandatory, user_id, created_at, updated_at)
               SELECT ";
    let random = match &world.app.db {
        cp_server::kernel::db::Db::Sqlite { .. } => "randomblob(16)",
        cp_server::kernel::db::Db::Postgres(_) => "gen_random_uuid()",
    };
    let rest = ", b.organization_id, 'model', '', 'm' || n.n, b.scope_kind, b.scope_id, 'allow',
               b.value, FALSE, b.user_id, b.created_at, b.updated_at
               FROM n, bindings b WHERE b.subject = 'f0'";
    let mut tx = world.app.db.begin().await.unwrap();
    tx.q(sql).sql(random).sql(rest).exec().await.unwrap();
    tx.commit().await.unwrap();
    let path =
        |kinds: &str| world.org(&format!("/effective?user={}&kinds={kinds}", world.acme.user));
    world.get(path("model,feature")).await.invalid("kinds");
    assert_eq!(
        world.get(path("feature&subject=f1")).await.expect(200)["items"][0]["allowed"],
        true
    );
}

/// No resource is left out in silence: unpublished listings, which an answer does not contain, take
/// the places of others.
#[on_both]
async fn too_many_resources_are_refused_at_kinds(world: World) {
    let body = json!({"kind": "connection", "name": "Mail", "spec": {"type": "mcp"}});
    let mail = id(&resource(&world, body).await);
    let body = json!({
        "kind": "listing", "name": "Mail", "key": "first", "parent_id": mail,
        "spec": {"published": false},
    });
    resource(&world, body).await;
    bind(&world, "connection", &mail, "organization", json!({})).await;
    let random = match &world.app.db {
        cp_server::kernel::db::Db::Sqlite { .. } => "randomblob(16)",
        cp_server::kernel::db::Db::Postgres(_) => "gen_random_uuid()",
    };
    let columns = "organization_id, kind, name, product, status, is_public, spec, created_at, \
                   updated_at";
    let sql = format!(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10001)
         INSERT INTO resources (id, key, {columns})
         SELECT {random}, 'k' || n.n, {columns} FROM n, resources WHERE key = 'first'"
    );
    world.exec(Box::leak(sql.into_boxed_str())).await;
    let path = |query: &str| world.org(&format!("/effective?{query}"));
    world.get(path("")).await.invalid("kinds");
    world.get(path("kinds=connection,listing")).await.invalid("kinds");
    let named = world.get(path(&format!("kinds=connection,listing&subject={mail}"))).await;
    assert_eq!(named.expect(200)["items"][0]["allowed"], true);
    world.get(path("kinds=connection")).await.expect(200);
}

#[tokio::test]
async fn one_statement_reads_an_answer_and_the_cache_none() {
    let Some(world) = World::on_postgres().await else { return };
    let preset = guardrail(&world, "pii").await;
    agent(&world, "Scout", &[&preset]).await;
    bind(&world, "model", "gpt-x", "organization", json!({})).await;
    count_statements();
    let path = world.org(&format!("/effective?user={}", world.acme.user));
    let cost = async || {
        let before = statements_so_far();
        world.get(&path).await.expect(200);
        statements_so_far() - before
    };
    // The first request also reads the credential.
    world.get(world.org("/effective?kinds=model")).await.expect(200);
    let (fresh, cached) = (cost().await, cost().await);
    assert_eq!(fresh - cached, 1, "{fresh} and {cached}");
    // A change in another organization keeps the answer, unless both have the same counter.
    let other = world.post("/organizations", json!({"name": "Initech"})).await.expect(201);
    cost().await;
    let mut kept = Vec::new();
    for organization in ["globex", other["slug"].as_str().unwrap()] {
        let body = json!({"kind": "feature", "subject": "f", "scope": "organization"});
        world.put(format!("/organizations/{organization}/bindings"), body).await.expect(201);
        kept.push(cost().await);
    }
    assert!(kept.contains(&cached), "{kept:?}");
    bind(&world, "model", "gpt-y", "organization", json!({})).await;
    assert_eq!(cost().await, fresh);
}
