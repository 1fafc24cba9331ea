use axum::http::Method;
use futures_util::future::join;
use serde_json::json;

use crate::world::{World, on_both};

#[on_both]
async fn an_update_of_something_that_changed_is_refused(world: World) {
    for line in crate::world::operations().table {
        // Refusals of another protocol have another form.
        if line.method != Method::PATCH || line.protocol.is_some() {
            continue;
        }
        let path = world.path_of(&line);
        let body = crate::sweep::examples::example(&world, &line).body;
        let root = world.root();
        let tag = root.call(Method::GET, &path, None).await.header("etag").to_owned();
        let other = root.clone().with("if-match", "\"other\"");
        let problem = other.call(Method::PATCH, &path, body.clone()).await;
        let problem = problem.refused(412, "precondition_failed");
        assert_eq!(problem["current"], tag, "{}", line.name);
        let same = root.clone().with("if-match", &tag);
        same.call(Method::PATCH, &path, body.clone()).await.expect(200);
        same.call(Method::PATCH, &path, body.clone()).await.refused(412, "precondition_failed");
        for any in ["*", "\"a\", *"] {
            let any = root.clone().with("if-match", any);
            any.call(Method::PATCH, &path, body.clone()).await.expect(200);
        }
    }
}

#[on_both]
async fn a_deletion_and_an_action_heed_it_too(world: World) {
    let stale = world.root().with("if-match", "\"old\"");
    let workspace = format!("/workspaces/{}", world.acme.spare_workspace);
    stale.delete(&workspace).await.refused(412, "precondition_failed");
    let revoke = format!("/licenses/{}/revoke", world.acme.license);
    stale.post(&revoke, json!({})).await.refused(412, "precondition_failed");
    let license = world.get(format!("/licenses/{}", world.acme.license)).await;
    let fresh = world.root().with("if-match", license.header("etag"));
    fresh.post(&revoke, json!({})).await.expect(200);
}

#[on_both]
async fn a_read_that_has_not_changed_is_304(world: World) {
    for path in [world.org(""), format!("/licenses/{}", world.acme.license), "/plans".into()] {
        let answer = world.get(&path).await;
        let again = world.root().with("if-none-match", answer.header("etag")).get(&path).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
    }
}

#[on_both]
async fn of_two_changes_of_one_state_at_once_one_is_refused(world: World) {
    let mut lines = crate::world::operations().table;
    lines.retain(|line| line.method == Method::PATCH);
    // An identity provider may end a membership.
    lines.sort_by_key(|line| line.protocol.is_some());
    for line in lines {
        let path = world.path_of(&line);
        let body = crate::sweep::examples::example(&world, &line).body;
        let root = world.root();
        let tag = root.call(Method::GET, &path, None).await.header("etag").to_owned();
        let same = root.with("if-match", &tag);
        let change = || same.call(Method::PATCH, &path, body.clone());
        let (one, other) = join(change(), change()).await;
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert!(statuses[0] < 300 && statuses[1] == 412, "{}: {statuses:?}", line.name);
    }
}

#[on_both]
async fn changes_of_other_members_at_once_are_both_kept(world: World) {
    let membership = format!("/memberships/{}", world.acme.membership);
    let role = format!("/roles/{}", world.acme.spare_role);
    for (path, one, other) in [
        (&membership, json!({"status": "suspended"}), json!({"permissions": ["projects:read"]})),
        (&membership, json!({"status": "active"}), json!({"permissions": []})),
        (&role, json!({"description": "One."}), json!({"rank": 7})),
        (&role, json!({"name": "Two"}), json!({"description": "Two."})),
    ] {
        let (first, second) =
            join(world.patch(path, one.clone()), world.patch(path, other.clone())).await;
        first.expect(200);
        second.expect(200);
        let now = world.get(path).await.expect(200);
        for (name, value) in [one, other].iter().flat_map(|body| body.as_object().unwrap()) {
            assert_eq!(&now[name], value, "{path}: {now}");
        }
    }
}
