//! Budgets: credits, cycles, allocations and costs.

use chrono::TimeDelta;
use cp_server::metering::budgets::renewal;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::record;
use crate::world::{Client, ROOT, World, now, on_both};

/// Two groups, one below the other, and a person in the lower one.
struct People {
    upper: String,
    lower: String,
    user: String,
}

async fn people(world: &World) -> People {
    let group = async |body: Value| {
        let made = world.post(world.org("/groups"), body).await.expect(201);
        made["id"].as_str().unwrap().to_owned()
    };
    let upper = group(json!({"name": "A"})).await;
    let lower = group(json!({"name": "T", "parent_id": upper})).await;
    let user = world.acme.user.clone();
    let seat = format!("/groups/{lower}/members/{user}");
    world.put(seat, json!({"role": "member"})).await.expect(201);
    People { upper, lower, user }
}

/// A strict budget of 1000 credits with an active cycle.
async fn budget(world: &World, change: Value) {
    let mut body = json!({
        "credits": 1000, "overflow": 50, "factor": 1.25, "enforcement": "enforce",
    });
    body.as_object_mut().unwrap().extend(change.as_object().cloned().unwrap());
    world.put(world.org("/budgets/copilot"), body).await.expect(201);
    world.post(world.org("/budgets/copilot/cycles"), json!({})).await.expect(201);
}

async fn allocate(world: &World, body: Value) -> crate::world::Answer {
    world.put(world.org("/budgets/copilot/allocations"), body).await
}

async fn table(world: &World, query: &str) -> Value {
    world.get(world.org(&format!("/budgets/copilot/allocations{query}"))).await.expect(200)
}

/// Of each item: its scope and these members.
fn columns(table: &Value, names: &[&str]) -> Vec<Value> {
    let items = table["items"].as_array().unwrap();
    let column = |item: &Value| names.iter().map(|name| item[*name].clone()).collect::<Vec<_>>();
    items.iter().map(|item| json!(column(item))).collect()
}

fn cost(quantity: impl Into<Value>, more: Value) -> Value {
    let mut event = json!({
        "metric": "cost", "unit": "usd", "product": "copilot", "quantity": quantity.into(),
    });
    event.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    event
}

#[on_both]
async fn credits_are_allocated_used_and_passed_on(world: World) {
    let People { upper, lower, user } = people(&world).await;
    budget(&world, json!({})).await;
    let (a, t, u) = (format!("group:{upper}"), format!("group:{lower}"), format!("user:{user}"));
    allocate(&world, json!({"scope": a, "quantity": 400, "overflow": 50})).await.expect(201);
    allocate(&world, json!({"scope": t, "quantity": 300})).await.expect(201);
    let over = |quantity: i64| json!({"quantity": quantity, "reason": "A launch."});
    let item = json!({"scope": t, "quantity": 300, "override": over(350)});
    let item = allocate(&world, item).await.expect(200);
    assert_eq!(
        item,
        json!({
            "product": "copilot", "scope": t, "name": "T", "within": a, "quantity": 300,
            "override": {"quantity": 350, "reason": "A launch."}, "effective": 350, "overflow": 0,
            "source": "manual", "used": 0, "percent": 0, "remaining": 350, "overflow_used": 0,
            "level": "ok", "children": 0, "unallocated": 350, "over": 0, "notify_at": null,
        })
    );
    let found = table(&world, "").await;
    assert_eq!(
        (&found["total"], &found["allocated"], &found["unallocated"]),
        (&json!(1000), &json!(400), &json!(600))
    );
    let names = ["scope", "within", "effective", "children", "unallocated"];
    assert_eq!(
        columns(&found, &names),
        [
            json!(["organization", null, 1000, 400, 600]),
            json!([a, "organization", 400, 350, 50]),
            json!([t, a, 350, 0, 350]),
        ]
    );
    let oversold = json!({"scope": t, "quantity": 300, "override": over(401)});
    let problem = allocate(&world, oversold).await.refused(409, "over_allocated");
    assert_eq!(
        (&problem["scope"], &problem["requested"], &problem["available"]),
        (&json!(a), &json!(401), &json!(400))
    );

    let dims = json!({"agent": "a", "model": "m"});
    let first = cost(240, json!({"group_id": lower, "user_id": user, "dims": dims}));
    let event = record(&world, first).await;
    assert_eq!((&event["credits"], &event["credit_factor"]), (&json!(300), &json!(1.25)));
    record(&world, cost(16, json!({"group_id": upper, "dims": {"model": "n"}}))).await;
    let used = ["scope", "used", "percent", "level"];
    assert_eq!(
        columns(&table(&world, "").await, &used),
        [
            json!([t, 300, 85.71, "warning"]),
            json!([a, 320, 80, "warning"]),
            json!(["organization", 320, 32, "ok"]),
        ]
    );
    let alerts = columns(&table(&world, "?threshold=80").await, &["scope"]);
    assert_eq!(alerts, [json!([t]), json!([a])]);
    let plain = json!({"scope": t, "quantity": 300, "override": null});
    let plain = allocate(&world, plain).await.expect(200);
    assert_eq!((&plain["percent"], &plain["level"]), (&json!(100), &json!("exceeded")));
    let check = format!("/limits/check?metric=credits&unit=copilot&window=cycle&scope={u}");
    world.get(world.org(&check)).await.refused(404, "limit_not_set");
    let check = format!("/limits/check?metric=credits&unit=copilot&window=cycle&scope={a}");
    let checked = world.get(world.org(&check)).await.expect(200);
    assert_eq!((&checked["used"], &checked["remaining"]), (&json!(320), &json!(80)));

    let costs = async |by: &str| {
        let path = world.org(&format!("/usage/costs?product=copilot{by}"));
        world.get(path).await.expect(200)["items"].clone()
    };
    assert_eq!(
        costs("&group_by=model").await,
        json!([
            {"model": "m", "cost": 240, "credits": 300, "events": 1},
            {"model": "n", "cost": 16, "credits": 20, "events": 1},
        ])
    );
    assert_eq!(
        costs("&group_by=agent").await,
        json!([
            {"agent": "a", "cost": 240, "credits": 300, "events": 1},
            {"agent": null, "cost": 16, "credits": 20, "events": 1},
        ])
    );
    assert_eq!(costs(&format!("&group={lower}")).await[0]["credits"], 300);

    let asking = |quantity: i64| cost(quantity, json!({"group_id": upper, "mode": "enforce"}));
    let problem = world.post(world.org("/usage"), asking(112)).await;
    let problem = problem.refused(429, "limit_exceeded");
    let names = ["scope", "scope_ref", "limit", "overflow", "used", "requested", "window"];
    let members: Vec<&Value> = names.iter().map(|name| &problem[*name]).collect();
    assert_eq!(json!(members), json!(["group", a, 400, 50, 320, 140, "cycle"]));
    assert_eq!(problem["resets_at"], "2026-02-01T00:00:00Z");
    record(&world, asking(104)).await;
    let full = table(&world, &format!("?scope={a}")).await;
    let names = ["used", "overflow_used", "percent", "level"];
    assert_eq!(columns(&full, &names), [json!([450, 50, 112.5, "exceeded"])]);

    world.pass(TimeDelta::days(1));
    let next = json!({"rollover_cap": 100, "name": "January, second part"});
    let next = world.post(world.org("/budgets/copilot/cycles"), next).await.expect(201);
    assert_eq!((&next["rollover"], &next["total"]), (&json!(100), &json!(1100)));
    let all = world.get(world.org("/budgets/copilot/cycles")).await.expect(200);
    assert_eq!(all["items"][0], next);
    assert_eq!(
        all["items"][1]["summary"],
        json!({
            "total": 1000, "used": 450, "unused": 550, "overflow_charge": 0, "rollover": 100,
            "allocated": 400,
        })
    );
    let copied = columns(&table(&world, "").await, &["scope", "quantity", "source", "used"]);
    assert_eq!(
        copied,
        [
            json!(["organization", 1100, "budget", 0]),
            json!([a, 400, "copy", 0]),
            json!([t, 300, "copy", 0]),
        ]
    );
    // Late usage counts in the closed cycle, and its summary stays.
    record(&world, cost(8, json!({"observed_at": "2026-01-02T12:00:00Z"}))).await;
    let all = world.get(world.org("/budgets/copilot/cycles")).await.expect(200);
    assert_eq!((&all["items"][1]["used"], &all["items"][0]["used"]), (&json!(460), &json!(0)));
    assert_eq!(all["items"][1]["summary"]["used"], 450);
}

#[on_both]
async fn budget_is_created_changed_and_deleted(world: World) {
    let path = world.org("/budgets/copilot");
    world.get(&path).await.refused(404, "not_found");
    let made = world.put(&path, json!({"credits": 10})).await.expect(201);
    assert_eq!(
        world.named(&made),
        json!({
            "id": "<1>", "organization_id": "<acme's org>", "product": "copilot", "credits": 10,
            "overflow": 0, "factor": 1, "cost_metric": "cost", "cost_unit": "usd",
            "enforcement": "observe", "cadence": "monthly", "renewal_day": 1, "rollover_cap": 0,
            "strict": true, "dimensions": ["agent", "connection", "guardrail", "model"], "notify_at": null,
            "created_at": now(), "updated_at": now(), "cycle": null, "total": 0, "allocated": 0,
            "unallocated": 0, "used": 0, "remaining": 0, "overflow_used": 0,
        })
    );
    allocate(&world, json!({"scope": "pool", "quantity": 4})).await.refused(409, "conflict");
    world.post(world.org("/budgets/copilot/cycles"), json!({})).await.expect(201);
    let item = allocate(&world, json!({"scope": "pool", "quantity": 4})).await.expect(201);
    assert_eq!((&item["scope"], &item["name"]), (&json!("pool"), &Value::Null));
    // The active cycle follows the budget at once, and its parts must still fit.
    world.put(&path, json!({"credits": 3})).await.refused(409, "over_allocated");
    let changed = world.put(&path, json!({"credits": 5, "overflow": null})).await.expect(200);
    assert_eq!((&changed["total"], &changed["unallocated"]), (&json!(5), &json!(1)));
    assert_eq!(changed["overflow"], Value::Null);
    let loose = world.put(&path, json!({"credits": 3, "strict": false})).await.expect(200);
    assert_eq!((&loose["total"], &loose["allocated"]), (&json!(3), &json!(4)));
    let root = table(&world, "?scope=organization").await;
    assert_eq!(columns(&root, &["unallocated", "over"]), [json!([0, 1])]);
    let listed = world.get("/budgets?product=copilot").await.expect(200);
    assert_eq!(listed["items"][0], loose);
    world.delete(&path).await.expect(204);
    world.get(&path).await.refused(404, "not_found");
    let limits = world.get(world.org("/limits?metric=credits")).await.expect(200);
    let units: Vec<&Value> =
        limits["items"].as_array().unwrap().iter().map(|limit| &limit["unit"]).collect();
    assert!(!units.contains(&&json!("copilot")), "{units:?}");
    for (body, field) in [
        (json!({"credits": 1, "factor": 0}), "factor"),
        (json!({"credits": 1, "factor": 1_000_001}), "factor"),
        (json!({"credits": 1, "renewal_day": 29}), "renewal_day"),
        (json!({"credits": 1, "dimensions": ["user"]}), "dimensions"),
        (json!({"credits": 1, "dimensions": ["a", "a"]}), "dimensions"),
        (json!({"credits": -1}), "credits"),
        (json!({}), "credits"),
    ] {
        world.put(&path, body).await.invalid(field);
    }
}

#[on_both]
async fn cycles_follow_each_other_without_a_gap(world: World) {
    budget(&world, json!({"rollover_cap": null})).await;
    let path = world.org("/budgets/copilot/cycles");
    let cycles_of = async || world.get(&path).await.expect(200)["items"].clone();
    let spans = |cycles: &Value| {
        let span = |c: &Value| json!([c["starts_at"], c["ends_at"], c["status"], c["total"]]);
        cycles.as_array().unwrap().iter().map(span).collect::<Vec<_>>()
    };
    world.post(&path, json!({})).await.refused(409, "conflict");
    for (body, field) in [
        (json!({"starts_at": "2026-01-02T00:00:00Z"}), "starts_at"),
        (json!({"starts_at": "2026-01-02T00:00:01Z"}), "starts_at"),
        (json!({"ends_at": "2026-01-01T00:00:00Z"}), "ends_at"),
    ] {
        world.pass(TimeDelta::milliseconds(100));
        let answer = world.post(&path, body).await;
        if field == "ends_at" {
            answer.refused(409, "conflict")
        } else {
            answer.invalid(field)
        };
    }
    renewal::renew(&world.app).await.unwrap();
    assert_eq!(cycles_of().await.as_array().unwrap().len(), 1, "it has not ended");
    // The window that follows an ended cycle counts at once, before the job has run.
    world.pass(TimeDelta::days(31));
    let asking = |quantity: i64| cost(quantity, json!({"mode": "enforce"}));
    record(&world, asking(840)).await;
    world.post(world.org("/usage"), asking(1)).await.refused(429, "limit_exceeded");
    for _ in 0..2 {
        renewal::renew(&world.app).await.unwrap();
    }
    let (january, february) = (json!("2026-01-02T00:00:00Z"), json!("2026-02-01T00:00:00Z"));
    assert_eq!(
        spans(&cycles_of().await),
        [
            json!([february, "2026-03-01T00:00:00Z", "active", 2000]),
            json!([january, february, "closed", 1000]),
        ]
    );
    let event = world.get("/audit?action=budget_cycles.open&limit=1").await.expect(200);
    assert_eq!(event["items"][0]["actor_kind"], "system");
    // Months without a server: one cycle after the other.
    world.pass(TimeDelta::days(60));
    renewal::renew(&world.app).await.unwrap();
    let all = cycles_of().await;
    assert_eq!(all[0]["starts_at"], "2026-04-01T00:00:00Z");
    assert_eq!(all.as_array().unwrap().len(), 4);
    for pair in all.as_array().unwrap().windows(2) {
        assert_eq!(pair[0]["starts_at"], pair[1]["ends_at"]);
    }
    let renamed = format!("/budget-cycles/{}", all[0]["id"].as_str().unwrap());
    let renamed = world.patch(renamed, json!({"name": "April"})).await.expect(200);
    assert_eq!(renamed["name"], "April");
}

#[on_both]
async fn shares_add_up_exactly(world: World) {
    let mut groups = Vec::new();
    for name in ["a", "b", "c"] {
        let made = world.post(world.org("/groups"), json!({"name": name})).await.expect(201);
        groups.push(format!("group:{}", made["id"].as_str().unwrap()));
    }
    budget(&world, json!({})).await;
    let path = world.org("/budgets/copilot/distribute");
    let quantities = |answer: &Value| {
        let shares = answer["shares"].as_array().unwrap();
        shares.iter().map(|share| share["quantity"].clone()).collect::<Vec<_>>()
    };
    let dry = json!({"scopes": groups, "total": 100, "dry_run": true});
    let dry = world.post(&path, dry).await.expect(200);
    assert_eq!(quantities(&dry), [34, 33, 33]);
    assert_eq!(table(&world, "").await["allocated"], 0);
    let tiny = world.post(&path, json!({"scopes": groups, "total": 0.0001})).await.expect(200);
    assert_eq!(quantities(&tiny), [json!(0.000034), json!(0.000033), json!(0.000033)]);
    let over = json!({"quantity": 20, "reason": "A launch."});
    let body = json!({"scope": groups[0], "quantity": 1, "override": over});
    allocate(&world, body).await.expect(200);
    let again = json!({"scopes": [groups[0], groups[1]], "total": 100});
    let again = world.post(&path, again).await.expect(200);
    assert_eq!(
        again,
        json!({
            "product": "copilot", "total": 100,
            "shares": [
                {"scope": groups[0], "quantity": 1, "previous": 1, "skipped": "override"},
                {"scope": groups[1], "quantity": 100, "previous": 0.000033, "skipped": null},
            ],
            "removed": [groups[2]], "unallocated": 880,
        })
    );
    let much = json!({"scopes": groups, "total": 1001});
    world.post(&path, much).await.refused(409, "over_allocated");
    for (body, field) in [
        (json!({"scopes": [], "total": 1}), "scopes"),
        (json!({"scopes": [groups[0], groups[0]], "total": 1}), "scopes[1]"),
        (json!({"scopes": ["pool"], "total": 1}), "scopes[0]"),
        (json!({"scopes": [groups[0]], "total": 1}), "scopes"),
        (json!({"scopes": [groups[1]], "total": 1, "within": groups[2]}), "within"),
    ] {
        world.post(&path, body).await.invalid(field);
    }
}

#[on_both]
async fn allocations_of_foreign_scopes_are_refused(world: World) {
    let People { upper, lower, user } = people(&world).await;
    budget(&world, json!({})).await;
    let foreign = format!("group:{}", world.globex.group);
    let body = json!({"scope": foreign, "quantity": 1});
    assert_eq!(allocate(&world, body).await.refused(404, "not_found")["field"], "scope");
    let (a, t, u) = (format!("group:{upper}"), format!("group:{lower}"), format!("user:{user}"));
    let organization = json!({"scope": "organization", "quantity": 1});
    let problem = allocate(&world, organization).await.invalid("scope");
    assert_eq!(
        problem["detail"],
        "`scope` must be a group, a user or `pool` (got `organization`). The budget sets the \
         organization's amount."
    );
    allocate(&world, json!({"scope": a, "quantity": 10})).await.expect(201);
    let aside = json!({"scope": t, "quantity": 1, "within": "organization"});
    allocate(&world, aside).await.invalid("within");
    // A person's part of a group that has an allocation and that the person is in.
    let not_allocated = json!({"scope": u, "quantity": 1, "within": t});
    allocate(&world, not_allocated).await.invalid("within");
    allocate(&world, json!({"scope": u, "quantity": 1, "within": a})).await.expect(201);
    let stranger = format!("user:{}", world.acme.owner);
    allocate(&world, json!({"scope": stranger, "quantity": 1, "within": a}))
        .await
        .invalid("within");
    let path = world.org(&format!("/budgets/copilot/allocations?scope={a}"));
    let problem = world.delete(&path).await.refused(409, "in_use");
    assert_eq!(problem["scopes"], json!([u]));
    let own = world.org(&format!("/budgets/copilot/allocations?scope={u}"));
    world.delete(&own).await.expect(204);
    world.delete(&own).await.refused(404, "not_found");
    world.delete(&path).await.expect(204);
    let window = json!({"metric": "credits", "quantity": 1, "window": "cycle"});
    let problem = world.put(world.org("/limits"), window).await.invalid("window");
    assert_eq!(problem["detail"], "`window` must not be `cycle`. Budgets set these limits.");
    let event = json!({"metric": "credits", "unit": "copilot", "quantity": 1});
    world.post(world.org("/usage"), event).await.invalid("metric");
    let foreign = cost(1, json!({"group_id": world.globex.group}));
    let problem = world.post(world.org("/usage"), foreign).await.refused(404, "not_found");
    assert_eq!(problem["field"], "group_id");
    let foreign = cost(1, json!({"user_id": world.globex.owner}));
    let problem = world.post(world.org("/usage"), foreign).await.refused(404, "not_found");
    assert_eq!(problem["field"], "user_id");
}

/// Parallel changes on three replicas allocate no credit twice, and parallel usage exceeds no bound.
#[on_both]
async fn credits_are_never_oversold(world: World) {
    let mut groups = Vec::new();
    for n in 0..20 {
        let made = world.post(world.org("/groups"), json!({"name": format!("g{n}")})).await;
        groups.push(made.expect(201)["id"].as_str().unwrap().to_owned());
    }
    budget(&world, json!({"credits": 100, "overflow": 5, "factor": 1})).await;
    let replicas: Vec<Client> = (0..3).map(|_| world.server(|_| {}).1.token(ROOT)).collect();
    let on = |n: usize| &replicas[n % replicas.len()];
    let path = world.org("/budgets/copilot/allocations");
    let body = |id: &String| json!({"scope": format!("group:{id}"), "quantity": 9});
    let puts = groups.iter().enumerate().map(|(n, id)| on(n).put(&path, body(id)));
    let statuses: Vec<u16> = join_all(puts).await.iter().map(|a| a.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 11, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 409].contains(status)), "{statuses:?}");
    assert_eq!(table(&world, "").await["allocated"], 99);
    let event = |id: &String| cost(4, json!({"group_id": id, "mode": "enforce"}));
    let twice = groups.iter().chain(&groups).enumerate();
    let posts = twice.map(|(n, id)| on(n).post(world.org("/usage"), event(id)));
    join_all(posts).await;
    let found = table(&world, "").await;
    assert_eq!(found["used"], 104, "26 events of 4 fit into 105");
    for item in found["items"].as_array().unwrap().iter().filter(|i| i["within"] != Value::Null) {
        assert!(item["used"].as_i64().unwrap() <= 9, "{item}");
    }
    let cycle = json!({"rollover_cap": 0, "copy": "none"});
    world.pass(TimeDelta::days(1));
    let path = world.org("/budgets/copilot/cycles");
    let opens = (0..8).map(|n| on(n).post(&path, cycle.clone()));
    let statuses: Vec<u16> = join_all(opens).await.iter().map(|a| a.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 409].contains(status)), "{statuses:?}");
}
