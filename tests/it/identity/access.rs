use serde_json::{Value, json};

use crate::world::{World, on_both};

#[on_both]
async fn a_membership_of_the_workspace_comes_first(world: World) {
    let user = world.acme.user.clone();
    let answer = ask(&world, &user).await;
    assert_eq!(
        answer,
        json!({
            "allowed": true, "via": "workspace_membership",
            "workspace_id": world.acme.workspace, "user_id": user, "isolation": "standard",
        })
    );
    let seat = format!("/memberships/{}", world.acme.workspace_membership);
    world.patch(&seat, json!({"status": "suspended"})).await.expect(200);
    assert_eq!(via(&world, &user).await, "organization_membership", "an admin of the organization");
    world.patch(&seat, json!({"status": "active"})).await.expect(200);
    set(&world, "strict").await;
    assert_eq!(via(&world, &user).await, "workspace_membership");
    world.patch(format!("/users/{user}"), json!({"is_active": false})).await.expect(200);
    assert_eq!(via(&world, &user).await, Value::Null);
}

#[on_both]
async fn isolation_decides_what_a_member_of_the_organization_may(world: World) {
    let user = world.acme.stranger.clone();
    let body = json!({"user_id": user, "role": "viewer"});
    let made = world.post(world.org("/memberships"), body).await.expect(201);
    let membership = format!("/memberships/{}", made["id"].as_str().unwrap());
    let by_role = [
        ("viewer", [false, false, true]),
        ("member", [false, true, true]),
        ("admin", [false, true, true]),
    ];
    for (role, allowed) in by_role {
        world.patch(&membership, json!({"role": role})).await.expect(200);
        for (isolation, allowed) in ["strict", "standard", "relaxed"].into_iter().zip(allowed) {
            set(&world, isolation).await;
            let answer = ask(&world, &user).await;
            assert_eq!(answer["allowed"], allowed, "{role} in {isolation}: {answer}");
            assert_eq!(answer["isolation"], isolation);
        }
    }
    world.patch(&membership, json!({"status": "suspended"})).await.expect(200);
    assert_eq!(via(&world, &user).await, Value::Null);
    assert_eq!(via(&world, &world.globex.owner).await, Value::Null, "no stranger");
    assert_eq!(via(&world, "01900000-0000-7000-8000-000000000000").await, Value::Null);
}

#[on_both]
async fn a_workspace_without_an_isolation_of_its_own_has_the_organizations(world: World) {
    let settings = json!({"settings": {"isolation_level": "relaxed"}});
    world.patch(world.org(""), settings).await.expect(200);
    let workspace = format!("/workspaces/{}", world.acme.workspace);
    assert_eq!(world.get(&workspace).await.expect(200)["isolation"], "relaxed");
    let own = world.patch(&workspace, json!({"isolation": "strict"})).await.expect(200);
    assert_eq!(own["isolation"], "strict");
    let inherited = world.patch(&workspace, json!({"isolation": null})).await.expect(200);
    assert_eq!(inherited["isolation"], "relaxed");
    let settings = json!({"settings": {"isolation_level": null}});
    world.patch(world.org(""), settings).await.expect(200);
    assert_eq!(world.get(&workspace).await.expect(200)["isolation"], "standard");
}

async fn set(world: &World, isolation: &str) {
    let workspace = format!("/workspaces/{}", world.acme.workspace);
    world.patch(workspace, json!({"isolation": isolation})).await.expect(200);
}

async fn ask(world: &World, user: &str) -> Value {
    let data_plane = world.by(&world.acme.deployment_token);
    let path = format!("/workspaces/{}/access?user={user}", world.acme.workspace);
    data_plane.get(path).await.expect(200)
}

async fn via(world: &World, user: &str) -> Value {
    ask(world, user).await["via"].clone()
}
