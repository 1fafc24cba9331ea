use chrono::TimeDelta;
use cp_server::kernel::http::openapi;
use serde_json::{Value, json};

use crate::world::{World, on_both};

#[on_both]
async fn a_list_is_walked_page_by_page_newest_first(world: World) {
    for n in 0..7 {
        world.pass(TimeDelta::microseconds(1));
        deployment(&world, &format!("d{n}")).await;
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    let mut pages = 0;
    loop {
        let page = world.get(world.org(&format!("/deployments?limit=4{cursor}"))).await;
        let page = page.expect(200);
        seen.extend(names(&page).into_iter().map(str::to_owned));
        pages += 1;
        // Meanwhile another one is created; it belongs to no later page.
        world.pass(TimeDelta::microseconds(1));
        deployment(&world, &format!("late{pages}")).await;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["d6", "d5", "d4", "d3", "d2", "d1", "d0", "edge", "main"]);
    assert_eq!(pages, 3);
}

#[on_both]
async fn a_full_last_page_has_no_next_one(world: World) {
    let page = world.get(world.org("/deployments?limit=2")).await.expect(200);
    assert_eq!((names(&page).len(), &page["next_cursor"]), (2, &Value::Null));
    let page = world.get(world.org("/deployments?limit=1")).await.expect(200);
    assert!(page["next_cursor"].is_string());
}

#[on_both]
async fn a_page_of_large_items_ends_early_and_goes_on(world: World) {
    let large = "x".repeat(60_000);
    for n in 0..40 {
        world.pass(TimeDelta::microseconds(1));
        let path = world.org(&format!("/identity-providers/p{n:02}"));
        let body = json!({
            "type": "saml", "issuer": "https://idp.example", "metadata": {"k": large},
        });
        world.put(path, body).await.expect(201);
    }
    // By name, and newest first.
    for (path, items) in [("/identity-providers", 41), ("/audit", 0)] {
        let (mut seen, mut pages, mut cursor) = (0, 0, String::new());
        loop {
            let page = world.get(world.org(&format!("{path}?limit=500{cursor}"))).await;
            assert!(page.text().len() < 1_200_000, "{path}: {}", page.text().len());
            let page = page.expect(200);
            seen += page["items"].as_array().unwrap().len();
            pages += 1;
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert!(pages >= 3, "{path}: {pages} pages");
        assert!(items == 0 || items == seen, "{path}: {seen} items");
    }
}

#[on_both]
async fn a_limit_has_bounds(world: World) {
    for line in lists() {
        let path = world.path_of(&line);
        for limit in ["1", "500"] {
            let answer = ask(&world, &format!("{path}?limit={limit}")).await;
            assert_eq!(answer.status, 200, "{}: {}", line.name, answer.text());
        }
        for limit in ["0", "501", "-1", "x", "", "1.5", "99999999999999999999"] {
            ask(&world, &format!("{path}?limit={limit}")).await.invalid("limit");
        }
    }
}

#[on_both]
async fn a_list_has_50_items_unless_asked_for_more(world: World) {
    for n in 0..51 {
        deployment(&world, &format!("d{n}")).await;
    }
    let page = world.get(world.org("/deployments")).await.expect(200);
    assert_eq!(names(&page).len(), 50);
    let page = world.get(world.org("/deployments?limit=500")).await.expect(200);
    assert_eq!(names(&page).len(), 53);
}

#[on_both]
async fn a_cursor_continues_only_the_list_that_gave_it_out(world: World) {
    let page = world.get(world.org("/deployments?limit=1&status=active")).await.expect(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    let of = |rest: &str| world.org(&format!("/deployments?limit=1&cursor={cursor}{rest}"));
    world.get(of("&status=active")).await.expect(200);
    world.get(of("")).await.invalid("cursor");
    world.get(of("&status=retired")).await.invalid("cursor");
    for junk in ["x", "", "AAAA", &cursor[1..], "%00", "%F0%9F%A6%80"] {
        let path = world.org(&format!("/deployments?cursor={junk}"));
        world.get(path).await.invalid("cursor");
    }
    // The organization by its slug is the same list.
    let by_slug = format!("/organizations/acme/deployments?limit=1&status=active&cursor={cursor}");
    world.get(by_slug).await.expect(200);
    for elsewhere in [
        world.org(&format!("/groups?cursor={cursor}")),
        format!("/organizations/{}/deployments?status=active&cursor={cursor}", world.globex.org),
    ] {
        world.get(elsewhere).await.invalid("cursor");
    }
}

/// Every line that answers with pages.
fn lists() -> impl Iterator<Item = cp_server::kernel::http::line::Line> {
    crate::world::operations().table.into_iter().filter(|line| {
        let input = line.shapes(&mut openapi::schemas()).input;
        let members = input.as_ref().and_then(|input| input.get("properties"));
        line.reads() && members.is_some_and(|members| members.get("cursor").is_some())
    })
}

async fn ask(world: &World, path: &str) -> crate::world::Answer {
    world.root().call(axum::http::Method::GET, path, None).await
}

async fn deployment(world: &World, name: &str) {
    let body = json!({"name": name, "type": "cloud"});
    world.post(world.org("/deployments"), body).await.expect(201);
}

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap()).collect()
}

#[on_both]
async fn parameter_of_a_page_is_sent_once(world: World) {
    for (query, field) in [("limit=2&limit=2", "limit"), ("cursor=a&cursor=a", "cursor")] {
        let problem =
            world.get(world.org(&format!("/deployments?{query}"))).await.refused(422, "invalid");
        assert!(problem.to_string().contains("must be sent only once"), "{field}: {problem}");
    }
}
