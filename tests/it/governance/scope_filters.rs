//! Scopes in filters: a kind that a filter does not accept is refused, and so is a scope that does
//! not exist in the organization.

use axum::http::Method;
use serde_json::json;

use crate::sweep::examples::UNKNOWN_ID;
use crate::world::{World, on_both};

const ALLOCATIONS: &str = "/budgets/studio/allocations";
const CREDITS: &str = "metric=credits&unit=studio&window=cycle";

#[on_both]
async fn kinds_that_a_filter_does_not_accept_are_refused(world: World) {
    let acme = &world.acme;
    let (get, delete) = (Method::GET, Method::DELETE);
    let model = "/bindings?kind=model&subject=gpt-x&scope=";
    for (method, path, field) in [
        (&get, "/bindings?scope=pool".to_owned(), "scope"),
        (&delete, format!("{model}pool"), "scope"),
        (&delete, format!("{model}agent:{UNKNOWN_ID}"), "scope"),
        (&get, format!("{ALLOCATIONS}?scope=project:{}", acme.project), "scope"),
        (&get, format!("{ALLOCATIONS}?within=user:{}", acme.user), "within"),
        (&get, format!("{ALLOCATIONS}?within=pool"), "within"),
        (&delete, format!("{ALLOCATIONS}?scope=workspace:{}", acme.workspace), "scope"),
        (&get, "/limits?scope=pool".to_owned(), "scope"),
        (&get, format!("/limits/check?{CREDITS}&scope=pool"), "scope"),
    ] {
        let path = format!("/api/v1{}", world.org(&path));
        world.root().call(method.clone(), &path, None).await.invalid(field);
    }
}

/// A foreign scope reads like a missing one.
#[on_both]
async fn scopes_that_do_not_exist_are_not_found_at_their_field(world: World) {
    let (get, delete) = (Method::GET, Method::DELETE);
    let costs = "/usage/costs?product=studio";
    for (group, user, project) in [
        (UNKNOWN_ID, UNKNOWN_ID, UNKNOWN_ID),
        (&*world.globex.group, &*world.globex.user, &*world.globex.project),
    ] {
        let limit = "metric=m&unit=count";
        for (method, path, field) in [
            (&get, format!("/bindings?scope=group:{group}"), "scope"),
            (&get, format!("/bindings?scope=user:{user}"), "scope"),
            (&get, format!("/bindings?scope=agent:{group}"), "scope"),
            (
                &delete,
                format!("/bindings?kind=model&subject=gpt-x&scope=project:{project}"),
                "scope",
            ),
            (&get, format!("{ALLOCATIONS}?scope=group:{group}"), "scope"),
            (&get, format!("{ALLOCATIONS}?scope=user:{user}"), "scope"),
            (&get, format!("{ALLOCATIONS}?within=group:{group}"), "within"),
            (&delete, format!("{ALLOCATIONS}?scope=user:{user}"), "scope"),
            (&get, format!("/limits?scope=group:{group}"), "scope"),
            (&get, format!("/limits?project={project}"), "project"),
            (&get, format!("/limits/check?{limit}&project={project}"), "project"),
            (&get, format!("/limits/check?{CREDITS}&scope=group:{group}"), "scope"),
            (&delete, format!("/limits?{limit}&scope=user:{user}"), "scope"),
            (&get, format!("{costs}&group={group}"), "group"),
            (&get, format!("{costs}&user={user}"), "user"),
        ] {
            let path = format!("/api/v1{}", world.org(&path));
            let answer = world.root().call(method.clone(), &path, None).await;
            assert_eq!(answer.refused(404, "not_found")["field"], field, "{method} {path}");
        }
    }
    // Scopes that exist have empty answers.
    let (group, user) = (&world.acme.spare_group, &world.acme.user);
    for path in [
        format!("/bindings?kind=model&scope=group:{group}"),
        format!("/limits?scope=user:{user}"),
        format!("/limits?project={}", world.acme.project),
        format!("{ALLOCATIONS}?within=group:{group}"),
        format!("{ALLOCATIONS}?scope=user:{user}&within=organization"),
        format!("{ALLOCATIONS}?scope=pool"),
        format!("{costs}&group={group}&user={user}"),
    ] {
        let answer = world.get(world.org(&path)).await.expect(200);
        assert_eq!(answer["items"], json!([]), "{path}");
    }
    let missing = format!("/bindings?kind=model&subject=gpt-x&scope=group:{group}");
    let problem = world.delete(world.org(&missing)).await.refused(404, "not_found");
    assert_eq!(problem.get("field"), None);
}
