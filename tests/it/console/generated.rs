//! Generated pages: every line of the table has them.

use axum::http::Method;
use cp_server::kernel::access::caller::Permission;
use cp_server::kernel::access::place::Exposure;
use cp_server::kernel::http::line::{BASE, Line};
use serde_json::json;

use super::{Browser, hidden, platform, sound};
use crate::world::{World, on_both, operations};

pub(super) fn lines() -> impl Iterator<Item = Line> {
    let has_page = |line: &Line| {
        !(line.raw || line.root || line.machine || line.permission == Permission::PUBLIC)
    };
    operations().table.into_iter().filter(has_page)
}

#[on_both]
async fn every_read_has_a_page(world: World) {
    let browser = platform(&world);
    for line in lines().filter(Line::reads) {
        let path = world.path_of(&line);
        let below = path.strip_prefix(BASE).unwrap();
        let status = world.root().call(Method::GET, &path, None).await.status;
        let answer = browser.get(below).await;
        if status == 200 {
            let page = sound(&answer, 200);
            assert!(page.contains("<h1>"), "{}", line.name);
        } else {
            assert!(answer.status < 500, "{}: {}", line.name, answer.text());
        }
    }
}

/// Returns the path of a line's form below `/console`; `None` where the thing does not exist.
pub(super) async fn form_of(world: &World, line: &Line) -> Option<String> {
    let path = world.path_of(line);
    let below = path.strip_prefix(BASE).unwrap();
    let is_at_a_read = operations().table.iter().any(|one| one.path == line.path && one.reads());
    if !is_at_a_read {
        // The form of the path itself is that of another method.
        let is_second = line.method == Method::DELETE
            && operations().table.iter().any(|one| one.path == line.path && one.name != line.name);
        return Some(format!("{below}{}", if is_second { "?delete" } else { "" }));
    }
    let current = world.root().call(Method::GET, &path, None).await;
    if current.status == 404 {
        return None;
    }
    let query = match line.method {
        Method::POST => "?new",
        Method::DELETE => "?delete",
        _ if line.path.ends_with('}') || line.method == Method::PATCH => "?edit",
        // A thing without an ID, such as the billing account, is changed where it is.
        _ if current.json()["items"].is_null() => "?edit",
        _ => "?new",
    };
    Some(format!("{below}{query}"))
}

#[on_both]
async fn every_change_has_a_form(world: World) {
    let browser = platform(&world);
    for line in lines().filter(|line| !line.reads()) {
        let Some(path) = form_of(&world, &line).await else { continue };
        let page = sound(&browser.get(&path).await, 200);
        assert!(page.contains("<form") && page.contains("name=\"_key\""), "{}: {page}", line.name);
    }
}

#[on_both]
async fn foreign_pages_are_not_found(world: World) {
    let foreign = Browser::new(world.by(&world.globex.token));
    let anyone = Browser::new(world.anyone());
    for line in lines().filter(Line::reads) {
        let path = world.path_of(&line);
        let below = path.strip_prefix(BASE).unwrap();
        assert_eq!(anyone.get(below).await.status, 303, "{}", line.name);
        if line.exposure == Exposure::Organization {
            let page = sound(&foreign.get(below).await, 404);
            assert!(page.contains("Not found") && !page.contains("Acme"), "{}: {page}", line.name);
        }
    }
}

#[on_both]
async fn made_up_resource_has_pages(world: World) {
    let browser = platform(&world);
    let list = format!("/organizations/{}/notes", world.acme.org);
    let page = sound(&browser.get(&list).await, 200);
    assert!(page.contains("New note"), "{page}");
    let form = sound(&browser.get(&format!("{list}?new")).await, 200);
    assert!(form.contains("The note&#39;s name") || form.contains("The note's name"), "{form}");
    let before = world.count_events().await;
    let key = hidden(&form, "_key");
    let entries = [("_key", &*key), ("name", "<script>alert(1)</script> & \"x\"")];
    let made = browser.post(&format!("{list}?new"), &entries).await;
    assert_eq!(made.status, 303, "{}", made.text());
    let thing = made.header("location").strip_prefix("/console").unwrap().to_owned();
    // A double click makes one change, and leads to the same page.
    let again = browser.post(&format!("{list}?new"), &entries).await;
    assert_eq!((again.status, again.header("location")), (303, made.header("location")));
    assert_eq!(world.count_events().await, before + 1);
    let event = world.get("/audit?limit=1").await.expect(200)["items"][0].clone();
    assert_eq!(event["action"], "notes.create");
    let page = sound(&browser.get(&thing).await, 200);
    assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;alert"), "{page}");
    assert!(sound(&browser.get(&list).await, 200).contains(&thing), "the list has it");
    // The name is taken: the refusal is at its field, and the entry stays.
    let other = [("_key", "another"), ("name", entries[1].1)];
    let refused = sound(&browser.post(&format!("{list}?new"), &other).await, 409);
    assert!(refused.contains("aria-invalid=\"true\"") && refused.contains("Nothing was changed"));
    // The deletion needs the name.
    let delete = format!("{thing}?delete");
    let page = sound(&browser.get(&delete).await, 200);
    let tag = hidden(&page, "_match");
    let wrong = [("_match", &*tag), ("_confirm", "no")];
    assert!(sound(&browser.post(&delete, &wrong).await, 422).contains("to confirm"));
    let right = [("_match", &*tag), ("_confirm", entries[1].1)];
    let done = browser.post(&delete, &right).await;
    assert_eq!((done.status, done.header("location")), (303, &*format!("/console{list}")));
    world.get(&thing).await.refused(404, "not_found");
    sound(&browser.get(&thing).await, 404);
}

#[on_both]
async fn filters_of_a_list_are_parameters_of_its_line(world: World) {
    let browser = platform(&world);
    let path = format!("/organizations/{}/deployments", world.acme.org);
    let page = sound(&browser.get(&format!("{path}?status=active&type=")).await, 200);
    assert!(page.contains("<option value=\"active\" selected"), "{page}");
    let page = sound(&browser.get(&format!("{path}?name=none")).await, 200);
    assert!(page.contains("No match"), "{page}");
    let refused = browser.get(&format!("{path}?status=wrong")).await;
    assert!(sound(&refused, 422).contains("Nothing was changed"));
}

/// Lists by hand that have filters of their own, or none.
const BY_HAND: [&str; 2] = ["limits.list", "roles.list"];
/// The parameter that only the list of the platform has.
const OF_PLATFORM: (&str, &str) = ("audit.list", "organization");
/// Parameters that are no filters.
const CONTROLS: [&str; 4] = ["cursor", "limit", "after", "wait"];

#[on_both]
async fn each_parameter_of_a_read_has_an_entry_on_its_page(world: World) {
    let browser = platform(&world);
    let document = world.get("/openapi.json").await.expect(200);
    let (mut missing, mut seen) = (Vec::new(), 0);
    for line in lines().filter(Line::reads).filter(|line| !BY_HAND.contains(&line.name)) {
        let about = &document["paths"][line.full_path()]["get"]["parameters"];
        let path = world.path_of(&line);
        let below = path.strip_prefix(BASE).unwrap();
        for parameter in about.as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let is_own = parameter["in"] == "query" && (line.name, name) != OF_PLATFORM;
            if !is_own || CONTROLS.contains(&name) {
                continue;
            }
            let answer = browser.get(below).await;
            if answer.status != 200 {
                continue;
            }
            seen += 1;
            let page = sound(&answer, 200);
            if !page.contains(&format!(" name=\"{name}\"")) {
                missing.push(format!("{} {name}", line.name));
            }
            // An instant as the forms show it.
            if parameter["schema"].to_string().contains("date-time") {
                let answer = browser.get(&format!("{below}?{name}=2026-01-01+00%3A00")).await;
                if !answer.text().contains("2026-01-01 00:00") || answer.text().contains("RFC 3339")
                {
                    missing.push(format!("{} {name}: {}", line.name, answer.status));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(seen > 100, "{seen}");
}

#[on_both]
async fn secret_is_shown_once_and_again_for_the_same_form(world: World) {
    let browser = platform(&world);
    let path = format!("/organizations/{}/service-tokens?new", world.acme.org);
    let entries = [("_key", "one"), ("name", "ci"), ("permissions", "licenses:read")];
    let page = sound(&browser.post(&path, &entries).await, 200);
    let token = page.split("cpat_").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let again = sound(&browser.post(&path, &entries).await, 200);
    assert!(again.contains(&token), "a reload shows the same answer");
    let tokens = world.get(world.org("/service-tokens")).await.expect(200);
    assert!(!tokens.to_string().contains(&token));
    assert_eq!(tokens["items"][0]["permissions"], json!(["licenses:read"]));
}
