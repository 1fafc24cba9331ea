//! Entries of forms that would be lost or changed on their way, and numbers that keep their digits.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;

use super::form::{Form, refusal_at};
use super::{platform, sound};
use crate::world::{World, on_both};

#[on_both]
async fn entry_that_would_be_lost_is_refused_at_its_place(world: World) {
    let browser = platform(&world);
    let path = format!("/organizations/{}/deployments?new", world.acme.org);
    let action = Form::of(&sound(&browser.get(&path).await, 200)).action().to_owned();
    let events = world.count_events().await;
    let named = [("name", "plane"), ("type", "cloud")];
    let row = |kind: &'static str, value: &'static str| {
        [("metadata/0/name", "tier"), ("metadata/0/kind", kind), ("metadata/0/value", value)]
    };
    let twin =
        [("metadata/1/name", "tier"), ("metadata/1/kind", "text"), ("metadata/1/value", "b")];
    for (entries, at, rule) in [
        (vec![("name", "other")], "name", "must be sent only once"),
        (vec![("name", "plane")], "name", "must be sent only once"),
        ([row("text", "a"), twin].concat(), "metadata", "only once"),
        ([row("text", "a"), row("text", "b")].concat(), "metadata", "must be sent only once"),
        (row("number", "abc").to_vec(), "metadata", "of the kind “number”"),
        (row("number", "").to_vec(), "metadata", "of the kind “number”"),
        (row("number", "[1]").to_vec(), "metadata", "of the kind “number”"),
        (row("flag", "maybe").to_vec(), "metadata", "of the kind “yes or no”"),
        (row("json", "{").to_vec(), "metadata", "of the kind “JSON”"),
    ] {
        let all = [&named[..], &entries].concat();
        let page = sound(&browser.post(&action, &all).await, 422);
        let refusal = refusal_at(&page, at).unwrap_or_else(|| panic!("{entries:?}: {page}"));
        assert!(refusal.contains(rule), "{entries:?}: {refusal}");
    }
    assert_eq!(world.count_events().await, events);
    let all = [&named[..], &row("number", "2.50"), &[("metadata/1/name", "")]].concat();
    assert_eq!(browser.post(&action, &all).await.status, 303);
}

#[on_both]
async fn form_that_is_not_utf_8_is_refused(world: World) {
    let browser = platform(&world);
    let path = format!("/console/organizations/{}/deployments?new", world.acme.org);
    let events = world.count_events().await;
    for (name, status, words) in [
        (&b"%FF"[..], 400, "must be UTF-8"),
        (b"\xff", 400, "must be UTF-8"),
        (b"a%C3", 400, "must be UTF-8"),
        (b"%C3%28", 400, "must be UTF-8"),
        (b"%00", 400, "must not contain U+0000"),
        (b"%0012", 400, "must not contain U+0000"),
        (b"x+%C3%A9+%zz", 303, ""),
    ] {
        let body = [b"type=cloud&name=", name].concat();
        let request = Request::post(&path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("origin", "https://cp.example");
        let answer = browser.client.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(answer.status, status, "{name:?}: {}", answer.text());
        assert!(answer.text().contains(words), "{name:?}: {}", answer.text());
        assert_eq!(world.count_events().await, events + i64::from(status == 303));
    }
    let listed = world.get(world.org("/deployments")).await.expect(200).to_string();
    assert!(listed.contains("x é %zz"), "{listed}");
}

#[on_both]
async fn quantity_of_a_form_keeps_its_digits(world: World) {
    let browser = platform(&world);
    let org = format!("/organizations/{}", world.acme.org);
    for (list, quantity, shown) in [
        ("limits", "99999999999.123456", "99,999,999,999.123456"),
        ("usage", "123456789012345.654321", "123,456,789,012,345.654321"),
    ] {
        let page = sound(&browser.get(&format!("{org}/{list}?new")).await, 200);
        let mut form = Form::of(&page);
        form.enter("metric", &json!("fine"));
        form.enter("quantity", &json!(quantity));
        let done = browser.post(form.action(), &form.pairs()).await;
        assert_eq!(done.status, 303, "{list}: {}", done.text());
        let listed = world.get(world.org(&format!("/{list}"))).await.text();
        assert!(listed.contains(&format!("\"quantity\":{quantity}")), "{listed}");
        let page = sound(&browser.get(&format!("{org}/{list}")).await, 200);
        assert!(page.contains(shown) && !page.contains('\0'), "{page}");
    }
}

#[on_both]
async fn form_of_a_change_keeps_the_digits_that_the_person_does_not_touch(world: World) {
    let browser = platform(&world);
    let (credits, cap) = ("99999999999.123456", "99999999998.654321");
    let request = Request::builder()
        .method(Method::PUT)
        .uri(format!("/api/v1{}", world.org("/budgets/fine")))
        .header("content-type", "application/json");
    let body = format!("{{\"credits\":{credits},\"rollover_cap\":{cap}}}");
    let made = world.root().send(request.body(Body::from(body)).unwrap()).await;
    assert!(made.status < 300, "{}", made.text());
    let path = format!("/organizations/{}/budgets/fine", world.acme.org);
    let page = sound(&browser.get(&format!("{path}?edit")).await, 200);
    let mut form = Form::of(&page);
    assert!(form.pairs().contains(&("credits", credits)), "{:?}", form.pairs());
    form.enter("renewal_day", &json!("7"));
    let done = browser.post(form.action(), &form.pairs()).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let budget = world.get(world.org("/budgets/fine")).await.text();
    for part in [
        format!("\"credits\":{credits}"),
        format!("\"rollover_cap\":{cap}"),
        "\"renewal_day\":7".to_owned(),
    ] {
        assert!(budget.contains(&part), "{budget}");
    }
    let page = sound(&browser.get(&path).await, 200);
    assert!(!page.contains('\0'), "{page}");
}
