//! Allocations of groups that are deleted or moved.

use serde_json::{Value, json};

use crate::world::{World, on_both};

const TABLE: &str = "/budgets/copilot/allocations";

async fn group(world: &World, body: Value) -> String {
    let made = world.post(world.org("/groups"), body).await.expect(201);
    made["id"].as_str().unwrap().to_owned()
}

async fn budget(world: &World) {
    world.put(world.org("/budgets/copilot"), json!({"credits": 1000})).await.expect(201);
    world.post(world.org("/budgets/copilot/cycles"), json!({})).await.expect(201);
}

async fn allocate(world: &World, scope: &str, quantity: i64, more: Value) {
    let mut body = json!({"scope": scope, "quantity": quantity});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.put(world.org(TABLE), body).await.expect(201);
}

/// The scopes of the allocations, each with the scope that it is a part of and the sum of its parts.
async fn parts(world: &World, query: &str) -> Vec<Value> {
    let table = world.get(world.org(&format!("{TABLE}{query}"))).await.expect(200);
    let items = table["items"].as_array().unwrap().iter();
    items.map(|item| json!([item["scope"], item["within"], item["children"]])).collect()
}

#[on_both]
async fn parts_of_a_deleted_group_are_parts_of_the_allocation_above(world: World) {
    let upper = group(&world, json!({"name": "A"})).await;
    let lower = group(&world, json!({"name": "T", "parent_id": upper})).await;
    let seat = format!("/groups/{lower}/members/{}", world.acme.user);
    world.put(seat, json!({"role": "member"})).await.expect(201);
    budget(&world).await;
    let (a, t) = (format!("group:{upper}"), format!("group:{lower}"));
    let user = format!("user:{}", world.acme.user);
    allocate(&world, &a, 400, json!({})).await;
    allocate(&world, &t, 300, json!({})).await;
    allocate(&world, &user, 100, json!({"within": t})).await;
    let closed = world.get(world.org(TABLE)).await.expect(200)["cycle"]["id"].clone();
    world.pass(chrono::TimeDelta::days(1));
    world.post(world.org("/budgets/copilot/cycles"), json!({})).await.expect(201);
    // The group has other groups below it.
    world.delete(format!("/groups/{upper}")).await.refused(409, "in_use");
    world.delete(format!("/groups/{lower}")).await.expect(204);
    let of_closed = format!("?cycle={}", closed.as_str().unwrap());
    let root = json!(["organization", null, 400]);
    for query in ["", &of_closed] {
        let expected = [root.clone(), json!([a, "organization", 100]), json!([user, a, 0])];
        assert_eq!(sorted(parts(&world, query).await), sorted(expected.into()));
    }
    world.delete(format!("/groups/{upper}")).await.expect(204);
    for query in ["", &of_closed] {
        let expected = [json!(["organization", null, 100]), json!([user, "organization", 0])];
        assert_eq!(sorted(parts(&world, query).await), sorted(expected.into()));
    }
}

#[on_both]
async fn moved_group_is_a_part_of_the_allocation_above_its_new_place(world: World) {
    let unit = async |name: &str| group(&world, json!({"name": name})).await;
    let (left, right) = (unit("L").await, unit("R").await);
    let team = group(&world, json!({"name": "T", "parent_id": left})).await;
    budget(&world).await;
    let [l, r, t] = [&left, &right, &team].map(|id| format!("group:{id}"));
    for (scope, quantity) in [(&l, 400), (&r, 500), (&t, 100)] {
        allocate(&world, scope, quantity, json!({})).await;
    }
    let to = async |parent: &str| {
        world.patch(format!("/groups/{team}"), json!({"parent_id": parent})).await.expect(200)
    };
    to(&right).await;
    let removed = world.org(&format!("{TABLE}?scope={l}"));
    world.delete(&removed).await.expect(204);
    let root = |children: i64| json!(["organization", null, children]);
    assert_eq!(
        sorted(parts(&world, "").await),
        sorted(vec![root(500), json!([r, "organization", 100]), json!([t, r, 0])])
    );
    // The allocation of the right group has a part now.
    let problem = world.delete(world.org(&format!("{TABLE}?scope={r}"))).await;
    assert_eq!(problem.refused(409, "in_use")["scopes"], json!([t]));
    // A distribution removes equal shares, of which moved groups are no parts any more.
    let distribute = async |scopes: Value| {
        let body = json!({"scopes": scopes, "total": 400});
        world.post(world.org("/budgets/copilot/distribute"), body).await.expect(200)
    };
    distribute(json!([l, r])).await;
    to(&left).await;
    let done = distribute(json!([l])).await;
    assert_eq!(done["removed"], json!([r]));
    assert_eq!(
        sorted(parts(&world, "").await),
        sorted(vec![root(400), json!([l, "organization", 100]), json!([t, l, 0])])
    );
}

fn sorted(mut parts: Vec<Value>) -> Vec<Value> {
    parts.sort_by_key(Value::to_string);
    parts
}
