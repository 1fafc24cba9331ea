//! Forms that edit a thing: what the person does not touch stays, and an empty box is a value.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Value, json};

use super::form::{Form, Kind};
use super::generated::{form_of, lines};
use super::{Browser, hidden, platform, sound};
use crate::world::{World, on_both};

/// The edit forms of the table, each with the path of its thing.
async fn edits(world: &World) -> Vec<(&'static str, String, String)> {
    let mut edits = Vec::new();
    for line in lines().filter(|line| [Method::PATCH, Method::PUT].contains(&line.method)) {
        let Some(form) = form_of(world, &line).await else { continue };
        if let Some(thing) = form.strip_suffix("?edit") {
            edits.push((line.name, form.clone(), thing.to_owned()));
        }
    }
    edits
}

/// The members of a thing, without what each change sets.
fn lasting(mut thing: Value) -> Value {
    for name in ["updated_at", "revision", "version", "rbac_revision"] {
        thing.as_object_mut().unwrap().remove(name);
    }
    thing
}

/// Opens the form, enters a value and sends it.
async fn edit(browser: &Browser, path: &str, entries: &[(&str, Value)]) -> (u16, String) {
    let page = sound(&browser.get(path).await, 200);
    let mut form = Form::of(&page);
    for (name, value) in entries {
        form.enter(name, value);
    }
    assert!(form.missing.is_empty(), "{path}: {:?}", form.missing);
    let done = browser.post(form.action(), &form.pairs()).await;
    (done.status, done.text())
}

#[on_both]
async fn box_of_an_edit_form_is_set_and_cleared(world: World) {
    let browser = platform(&world);
    let mut cleared = BTreeSet::new();
    for (name, path, thing) in edits(&world).await {
        let page = sound(&browser.get(&path).await, 200);
        for control in Form::of(&page).controls {
            let member = format!("/{}", control.name);
            let now = world.get(&thing).await.expect(200);
            if control.kind != Kind::Flag || !now.pointer(&member).is_some_and(Value::is_boolean) {
                continue;
            }
            for on in [true, false] {
                let (status, page) = edit(&browser, &path, &[(&control.name, json!(on))]).await;
                let after = world.get(&thing).await.expect(200);
                let is = after.pointer(&member);
                assert!(status >= 400 || is == Some(&json!(on)), "{name} {member}: {is:?} {page}");
                if status == 303 && !on {
                    cleared.insert(format!("{name} {}", control.name));
                }
            }
        }
    }
    for known in [
        "users.update is_active",
        "users.update is_superadmin",
        "plans.update is_public",
        "licenses.update allow_more_seats",
        "resources.update is_public",
        "budgets.put strict",
    ] {
        assert!(cleared.contains(known), "{known}: {cleared:?}");
    }
}

/// Sets members of the things that are replaced to values that are not those of absent members.
async fn set_all(world: &World) {
    let budget = json!({
        "credits": 700, "cadence": "yearly", "cost_metric": "money", "cost_unit": "eur",
        "dimensions": ["agent"], "enforcement": "enforce", "factor": 2.5, "notify_at": [50, 90],
        "overflow": null, "renewal_day": 7, "rollover_cap": null, "strict": false,
    });
    world.put(world.org("/budgets/studio"), budget).await.expect(200);
    let provider = json!({
        "type": "oidc", "issuer": "https://login.acme.example", "audience": "api",
        "client_id": "console", "client_secret": "eyJ-canary", "claim_map": {"email": "mail"},
        "email_domains": ["acme.example"], "role_map": {"boss": ["ORGANIZATION_ADMIN"]},
        "jwks_uri": "https://login.acme.example/keys", "metadata": {"tier": 2},
        "management": {"api": "v2", "client_id": "crm", "secret": "s3cret-y"},
        "status": "disabled",
    });
    world.put(world.org("/identity-providers/saml%2Fmain"), provider).await.expect(200);
    let account = json!({"plan": "team", "billing_customer_id": "cus_7", "status": "past_due"});
    world.put(world.org("/billing-account"), account).await.expect(200);
    let start = json!({
        "groups": [{"name": "Everyone"}],
        "zitadel": {"issuer": "https://zitadel.example", "project_id": "42",
                    "role_map": {"boss": ["ORGANIZATION_ADMIN"]}, "role_prefix": "x"},
    });
    world.put("/onboarding", start).await.expect(200);
}

#[on_both]
async fn form_of_a_replacement_keeps_what_the_person_does_not_touch(world: World) {
    let browser = platform(&world);
    set_all(&world).await;
    let org = format!("/organizations/{}", world.acme.org);
    for (thing, member, value) in [
        (format!("{org}/budgets/studio"), "credits", json!(800)),
        (format!("{org}/identity-providers/saml%2Fmain"), "audience", json!("other")),
        (format!("{org}/billing-account"), "billing_customer_id", json!("cus_8")),
        ("/onboarding".to_owned(), "zitadel/project_id", json!("43")),
    ] {
        let mut before = lasting(world.get(&thing).await.expect(200));
        let (status, page) =
            edit(&browser, &format!("{thing}?edit"), &[(member, value.clone())]).await;
        assert_eq!(status, 303, "{thing}: {page}");
        *before.pointer_mut(&format!("/{member}")).unwrap() = value;
        let after = lasting(world.get(&thing).await.expect(200));
        assert_eq!(without_sums(after), without_sums(before), "{thing}");
    }
    // An emptied entry is not what stayed.
    let form = format!("{org}/identity-providers/saml%2Fmain?edit");
    let (status, page) = edit(&browser, &form, &[("audience", Value::Null)]).await;
    assert_eq!(status, 303, "{page}");
    let provider = world.get(form.trim_end_matches("?edit")).await.expect(200);
    assert_eq!((&provider["audience"], &provider["client_id"]), (&Value::Null, &json!("console")));
    assert_eq!(provider["client_secret"], json!({"masked": true}));
}

/// A budget without the numbers that follow from its credits.
fn without_sums(mut thing: Value) -> Value {
    if thing["cadence"].is_string() {
        for name in ["total", "unallocated", "remaining", "cycle"] {
            thing.as_object_mut().unwrap().remove(name);
        }
    }
    thing
}

#[on_both]
async fn edit_form_sent_as_it_is_changes_nothing(world: World) {
    let browser = platform(&world);
    set_all(&world).await;
    let mut same = 0;
    for (name, path, thing) in edits(&world).await {
        let before = lasting(world.get(&thing).await.expect(200));
        let (status, page) = edit(&browser, &path, &[]).await;
        if status >= 400 {
            assert!(page.contains("role=\"alert\""), "{name}: {page}");
            continue;
        }
        let after = lasting(world.get(&thing).await.expect(200));
        // A heartbeat has no other purpose.
        if name != "leases.heartbeat" {
            assert_eq!(without_sums(after), without_sums(before), "{name}");
        }
        same += 1;
    }
    assert!(same > 10, "{same}");
}

#[on_both]
async fn entry_that_the_form_lacks_is_unchanged(world: World) {
    let browser = platform(&world);
    let path = format!("/deployments/{}", world.acme.deployment);
    let set = json!({"region": "eu-north-1", "tags": ["emea"], "metadata": {"tier": 2}});
    world.patch(&path, set).await.expect(200);
    let before = lasting(world.get(&path).await.expect(200));
    let form = sound(&browser.get(&format!("{path}?edit")).await, 200);
    let tag = hidden(&form, "_match");
    let entries = [("_match", &*tag), ("name", "Renamed")];
    let done = browser.post(&format!("{path}?edit"), &entries).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let after = lasting(world.get(&path).await.expect(200));
    assert_eq!(after["name"], "Renamed");
    for name in ["region", "tags", "metadata", "type", "status"] {
        assert_eq!(after[name], before[name], "{name}");
    }
    // A link fills in one entry. The others show what is.
    let page = sound(&browser.get(&format!("{path}?edit=&region=us-1")).await, 200);
    assert!(page.contains("value=\"us-1\"") && page.contains("value=\"Renamed\""), "{page}");
    assert!(page.contains(">\nemea<") && page.contains("value=\"tier\""), "{page}");
}

#[on_both]
async fn box_of_a_new_thing_shows_what_the_server_sets(world: World) {
    let browser = platform(&world);
    for (code, public) in [("open", true), ("closed", false)] {
        let page = sound(&browser.get("/plans?new").await, 200);
        let mut form = Form::of(&page);
        assert!(form.pairs().contains(&("is_public", "true")), "{page}");
        form.fill(&json!({"code": code, "name": code, "is_public": public}));
        let done = browser.post(form.action(), &form.pairs()).await;
        assert_eq!(done.status, 303, "{}", done.text());
        assert_eq!(world.get(format!("/plans/{code}")).await.expect(200)["is_public"], public);
    }
}

#[on_both]
async fn headers_of_a_webhook_stay_and_are_not_shown(world: World) {
    let browser = platform(&world);
    let path = format!("/webhooks/{}", world.acme.others["webhooks"]);
    let set = json!({"headers": {"x-canary": "s3cret-z"}});
    world.patch(&path, set).await.expect(200);
    let page = sound(&browser.get(&format!("{path}?edit")).await, 200);
    assert!(page.contains("Set, not shown") && !page.contains("s3cret-z"), "{page}");
    let (status, page) = edit(&browser, &format!("{path}?edit"), &[("name", json!("Hook"))]).await;
    assert_eq!(status, 303, "{page}");
    let webhook = world.get(&path).await.expect(200);
    assert_eq!(webhook["headers"], json!({"x-canary": {"masked": true}}));
    assert_eq!(webhook["name"], "Hook");
}
