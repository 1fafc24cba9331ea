use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::world::{World, on_both};

#[on_both]
async fn a_group_is_made_below_another_and_listed(world: World) {
    let body = json!({
        "name": "Key Accounts", "parent_id": world.acme.group, "product": "copilot",
        "description": "The large ones.", "external_id": "ka",
    });
    let made = world.post(world.org("/groups"), body).await.expect(201);
    assert_eq!(
        world.named(&made),
        json!({
            "id": "<1>", "organization_id": "<acme's org>", "parent_id": "<acme's group>",
            "product": "copilot", "name": "Key Accounts", "slug": "key-accounts",
            "description": "The large ones.", "external_id": "ka",
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    let ids = async |query: &str| {
        let listed = world.get(world.org(&format!("/groups?{query}"))).await.expect(200);
        let items = listed["items"].as_array().unwrap().clone();
        items.iter().map(|group| group["slug"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("").await, ["key-accounts", "support", "sales"]);
    assert_eq!(ids("parent=none").await, ["support", "sales"]);
    assert_eq!(ids(&format!("parent={}", world.acme.group)).await, ["key-accounts"]);
    assert_eq!(ids("product=copilot").await, ["key-accounts"]);
    assert_eq!(ids("product=").await, ["sales"]);
    world.get(world.org("/groups?parent=x")).await.invalid("parent");
}

#[on_both]
async fn a_slug_is_unique_among_siblings_of_a_product(world: World) {
    let groups = world.org("/groups");
    let sales = json!({"name": "Sales"});
    let problem = world.post(&groups, sales.clone()).await.refused(409, "slug_taken");
    assert_eq!(problem["field"], "slug");
    let mut elsewhere = sales.clone();
    elsewhere["product"] = json!("console");
    world.post(&groups, elsewhere).await.expect(201);
    let mut below = sales.clone();
    below["parent_id"] = json!(world.acme.group);
    world.post(&groups, below.clone()).await.expect(201);
    world.post(&groups, below).await.refused(409, "slug_taken");
    let other = format!("/organizations/{}/groups", world.globex.org);
    let problem = world.post(other, json!({"name": "X", "external_id": "e"})).await;
    problem.expect(201);
    let body = json!({"name": "X", "external_id": "e"});
    world.post(&groups, body.clone()).await.expect(201);
    let body = json!({"name": "Y", "external_id": "e"});
    world.post(&groups, body).await.refused(409, "external_id_taken");
}

#[on_both]
async fn a_group_is_never_below_itself(world: World) {
    let [a, b, c] = chain(&world).await;
    for (group, parent) in [(&a, &a), (&a, &b), (&a, &c), (&b, &c)] {
        let patch = json!({"parent_id": parent});
        let problem = world.patch(format!("/groups/{group}"), patch).await;
        assert_eq!(problem.refused(422, "group_cycle")["field"], "parent_id");
    }
    let foreign = json!({"parent_id": world.globex.group});
    let problem = world.patch(format!("/groups/{a}"), foreign.clone()).await;
    let problem = problem.refused(404, "not_found");
    assert_eq!(
        (&problem["field"], &problem["detail"]),
        (&json!("parent_id"), &json!("`parent_id`: group not found"))
    );
    let body = json!({"name": "New", "parent_id": world.globex.group});
    world.post(world.org("/groups"), body).await.refused(404, "not_found");

    let moved = world.patch(format!("/groups/{c}"), json!({"parent_id": a})).await.expect(200);
    assert_eq!(moved["parent_id"], a);
    let root = world.patch(format!("/groups/{b}"), json!({"parent_id": null})).await.expect(200);
    assert_eq!(root["parent_id"], Value::Null);
    world.patch(format!("/groups/{a}"), json!({"parent_id": b})).await.expect(200);
}

#[on_both]
async fn any_moves_leave_a_tree(world: World) {
    let mut ids = Vec::new();
    for n in 0..7 {
        let made = world.post(world.org("/groups"), json!({"name": format!("G{n}")})).await;
        ids.push(made.expect(201)["id"].as_str().unwrap().to_owned());
    }
    let mut parents: [Option<usize>; 7] = [None; 7];
    let above = |parents: &[Option<usize>; 7], from: usize| {
        std::iter::successors(Some(from), |at| parents[*at]).collect::<Vec<_>>()
    };
    let mut random: u32 = 7;
    let mut refused = 0;
    for _ in 0..80 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (group, parent) = ((random >> 8) as usize % 7, (random >> 16) as usize % 8);
        let parent = (parent < 7).then_some(parent);
        let circle = parent.is_some_and(|parent| above(&parents, parent).contains(&group));
        let patch = json!({"parent_id": parent.map(|parent| &ids[parent])});
        let answer = world.patch(format!("/groups/{}", ids[group]), patch).await;
        if circle {
            answer.refused(422, "group_cycle");
            refused += 1;
        } else {
            answer.expect(200);
            parents[group] = parent;
        }
    }
    assert!((10..70).contains(&refused), "{refused} of 80 say little");
    for (group, parent) in parents.into_iter().enumerate() {
        let there = world.get(format!("/groups/{}", ids[group])).await.expect(200);
        assert_eq!(there["parent_id"], json!(parent.map(|parent| &ids[parent])));
    }
}

#[on_both]
async fn moves_at_once_make_no_circle(world: World) {
    for _ in 0..5 {
        let mut roots = Vec::new();
        for _ in 0..4 {
            let body = json!({"name": format!("Ring {}", world.count_events().await)});
            let made = world.post(world.org("/groups"), body).await.expect(201);
            roots.push(made["id"].as_str().unwrap().to_owned());
        }
        let root = &world.root();
        let moves = (0..4).map(|n| {
            let parent = json!({"parent_id": roots[(n + 1) % 4]});
            let path = format!("/groups/{}", roots[n]);
            async move { root.patch(path, parent).await }
        });
        let answers = join_all(moves).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 3);
        let refused = answers.into_iter().find(|answer| answer.status != 200).unwrap();
        refused.refused(422, "group_cycle");
    }
}

#[on_both]
async fn a_group_goes_with_its_members_and_grants_but_not_from_above_others(world: World) {
    let body = json!({"name": "Team", "parent_id": world.acme.group});
    let team = world.post(world.org("/groups"), body).await.expect(201);
    let group = format!("/groups/{}", world.acme.group);
    world.delete(&group).await.refused(409, "in_use");
    world.delete(format!("/groups/{}", team["id"].as_str().unwrap())).await.expect(204);
    let seats = world.get(format!("{group}/members")).await.expect(200);
    let seat = format!("/memberships/{}", seats["items"][0]["id"].as_str().unwrap());
    world.delete(&group).await.expect(204);
    world.get(seat).await.refused(404, "not_found");
    let granted = world.get(format!("/projects/{}/groups", world.acme.project)).await.expect(200);
    assert_eq!(granted["items"].as_array().unwrap().len(), 1);
}

#[on_both]
async fn a_member_is_put_into_a_group_and_its_organization(world: World) {
    let seat = format!("/groups/{}/members/{}", world.acme.group, world.acme.stranger);
    let made = world.put(&seat, json!({"role": "admin"})).await.expect(201);
    assert_eq!((&made["scope"], &made["role"]["code"]), (&json!("group"), &json!("GROUP_ADMIN")));
    assert_eq!(made["group_id"], world.acme.group);
    let of_org = world.org(&format!("/memberships?user_id={}", world.acme.stranger));
    let of_org = world.get(of_org).await.expect(200);
    assert_eq!(of_org["items"][0]["role"]["code"], "ORGANIZATION_VIEWER");

    let again = world.put(&seat, json!({})).await.expect(200);
    assert_eq!((&again["id"], &again["role"]["code"]), (&made["id"], &json!("GROUP_MEMBER")));
    let listed = world.get(format!("/groups/{}/members", world.acme.group)).await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    world.put(&seat, json!({"role": "captain"})).await.refused(422, "role_unknown");
    let unknown = "01900000-0000-7000-8000-000000000000";
    let path = format!("/groups/{}/members/{unknown}", world.acme.group);
    let problem = world.put(&path, json!({})).await.refused(404, "not_found");
    assert_eq!(problem["detail"], "user not found");

    world.delete(&seat).await.expect(204);
    let problem = world.delete(&seat).await.refused(404, "not_found");
    assert_eq!(problem["detail"], "member not found");
    let of_org = world.org(&format!("/memberships?user_id={}", world.acme.stranger));
    assert_eq!(world.get(of_org).await.expect(200)["items"].as_array().unwrap().len(), 1);
}

#[on_both]
async fn joining_a_group_counts_against_the_members(world: World) {
    let body = json!({"name": "Initech", "owner": "bill@initech.example"});
    world.post("/organizations", body).await.expect(201);
    let group = world.post("/organizations/initech/groups", json!({"name": "All"})).await;
    let group = group.expect(201)["id"].as_str().unwrap().to_owned();
    let acme = &world.acme;
    let people = [&acme.owner, &acme.user, &acme.stranger, &world.globex.owner];
    let root = world.root();
    let put =
        async |user: &String| root.put(format!("/groups/{group}/members/{user}"), json!({})).await;
    let answers = join_all(people.into_iter().map(put)).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 2);
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        assert_eq!(answer.refused(429, "quota_exceeded")["metric"], "members");
    }
    let members = world.get(format!("/groups/{group}/members")).await.expect(200);
    assert_eq!(members["items"].as_array().unwrap().len(), 2);
}

/// Three groups, each below the one before.
async fn chain(world: &World) -> [String; 3] {
    let mut above = Value::Null;
    let mut made = Vec::new();
    for name in ["A", "B", "C"] {
        let body = json!({"name": name, "parent_id": above});
        above = world.post(world.org("/groups"), body).await.expect(201)["id"].clone();
        made.push(above.as_str().unwrap().to_owned());
    }
    made.try_into().unwrap()
}

#[on_both]
async fn group_has_the_product_of_its_parent(world: World) {
    let path = world.org("/groups");
    let made = async |body: Value| world.post(&path, body).await.expect(201);
    let copilot = made(json!({"name": "Copilot", "product": "copilot"})).await;
    let below = |name: &str| json!({"name": name, "parent_id": copilot["id"]});
    let child = made(below("Child")).await;
    assert_eq!(child["product"], "copilot");
    for product in ["", "console"] {
        let mut other = below("Other");
        other["product"] = json!(product);
        world.post(&path, other).await.invalid("product");
    }
    let of = |group: &Value| format!("/groups/{}", group["id"].as_str().unwrap());
    world.patch(of(&child), json!({"product": "console"})).await.invalid("product");
    world.patch(of(&copilot), json!({"product": "console"})).await.invalid("product");
    // A root of all products admits each product below it, and moves only where they all fit.
    let root = made(json!({"name": "Root"})).await;
    let console = json!({"name": "Console", "parent_id": root["id"], "product": "console"});
    made(console).await;
    let moved = json!({"parent_id": copilot["id"], "product": "copilot"});
    world.patch(of(&root), moved).await.invalid("product");
    world.patch(of(&root), json!({"product": "copilot"})).await.invalid("product");
    world.patch(of(&root), json!({"product": "console"})).await.expect(200);
    world.patch(of(&copilot), json!({"parent_id": root["id"]})).await.invalid("product");
    world.patch(of(&copilot), json!({"product": ""})).await.expect(200);
}
