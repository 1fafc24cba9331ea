//! What pages say in place of codes: names of scopes and things, quantities, and the words of forms.

use serde_json::json;

use super::form::Form;
use super::{platform, sound};
use crate::world::{World, on_both};

#[on_both]
async fn scopes_have_the_names_of_their_things(world: World) {
    let browser = platform(&world);
    let org = format!("/organizations/{}", world.acme.org);
    let scope = format!("group:{}", world.acme.group);
    let model = json!({"kind": "model", "subject": "gpt-5", "scope": scope});
    world.put(world.org("/bindings"), model).await.expect(201);
    let limit = json!({"metric": "renders", "quantity": 9, "scope": scope});
    world.put(world.org("/limits"), limit).await.expect(201);
    let question = format!("{org}/effective?user={}&subject=gpt-5", world.acme.user);
    let page = sound(&browser.get(&question).await, 200);
    for part in [
        "mats@acme.example may use gpt-5",
        "Decided by the group Sales.",
        "allow for the group Sales",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let page = sound(&browser.get(&format!("{org}/limits")).await, 200);
    assert!(page.contains(">the group Sales</a>"), "{page}");
    assert!(!page.contains(&format!(">{scope}<")), "{page}");
    let page = sound(&browser.get(&format!("{org}/budgets/studio")).await, 200);
    assert!(!page.contains(&format!(">{scope}<")), "{page}");
    let list = sound(&browser.get(&format!("{org}/bindings?subject=gpt-5")).await, 200);
    assert!(list.contains(">the group Sales</a>"), "{list}");
    // The product names a budget.
    let list = sound(&browser.get(&format!("{org}/budgets")).await, 200);
    assert!(list.contains("/budgets/studio\">studio</a>"), "{list}");
}

#[on_both]
async fn nested_values_are_tables(world: World) {
    let browser = platform(&world);
    let org = format!("/organizations/{}", world.acme.org);
    let page = sound(&browser.get(&format!("{org}/quotas")).await, 200);
    let facts = page.split("For programs").next().unwrap();
    for part in [">Used</th>", ">Limit</th>", "200 GiB"] {
        assert!(facts.contains(part), "{part}: {facts}");
    }
    assert!(!facts.contains("{&quot;"), "{facts}");
    let page = sound(&browser.get(&format!("{org}/entitlements")).await, 200);
    let facts = page.split("For programs").next().unwrap();
    assert!(!facts.contains("{&quot;") && facts.contains(">From</th>"), "{facts}");
}

#[on_both]
async fn events_name_their_things(world: World) {
    let browser = platform(&world);
    world.patch("/plans/internal", json!({"features": {"sso": true}})).await.expect(200);
    let page = sound(&browser.get("/audit").await, 200);
    for part in [
        "changed the plan <b class=\"soft\">Internal</b>",
        ">features.sso</td>",
        "href=\"/console/plans/internal\">Open the plan</a>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let limit = json!({"metric": "renders", "quantity": 9});
    world.put(world.org("/limits"), limit.clone()).await.expect(201);
    let own = format!("/organizations/{}/audit?action=limits.*", world.acme.org);
    let page = sound(&browser.get(&own).await, 200);
    assert!(page.contains("created a limit <b class=\"soft\">renders</b>"), "{page}");
    let kind = sound(&browser.get(&format!("{own}&target_type=plan")).await, 200);
    assert!(kind.contains("No match") && kind.contains("<details class=\"more\" open>"), "{kind}");
}

#[on_both]
async fn groups_of_a_person_are_sources_of_roles(world: World) {
    let browser = platform(&world);
    let access =
        format!("/organizations/{}/memberships/access?user={}", world.acme.org, world.acme.user);
    let page = sound(&browser.get(&access).await, 200);
    for part in
        ["In groups", ">Sales</a>", "Group member", ">Apollo</a>", "The group Sales has this role."]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    let owner =
        format!("/organizations/{}/memberships/access?user={}", world.acme.org, world.acme.owner);
    let page = sound(&browser.get(&owner).await, 200);
    assert!(page.contains("In no group") && !page.contains("On projects"), "{page}");
}

#[on_both]
async fn form_of_a_secret_reference_shows_what_is_stored(world: World) {
    let browser = platform(&world);
    let path = format!("/organizations/{}/secret-refs/app%2Ftoken", world.acme.org);
    for path in [path.clone(), format!("{path}?edit")] {
        let page = sound(&browser.get(&path).await, 200);
        let mut form = Form::of(&page);
        assert!(form.pairs().contains(&("provider", "vault")), "{page}");
        assert!(form.pairs().contains(&("ref", "kv/acme#token")), "{page}");
        form.fill(&json!({"ref": "kv/acme#token"}));
        let done = browser.post(&path, &form.pairs()).await;
        assert_eq!(done.status, 303, "{}", done.text());
    }
    let mut form = Form::of(&sound(&browser.get(&path).await, 200));
    form.fill(&json!({"provider": "aws"}));
    assert_eq!(browser.post(&path, &form.pairs()).await.status, 303);
    let stored = world.get(world.org("/secret-refs")).await.expect(200);
    let stored = &stored["items"][0];
    assert_eq!((&stored["provider"], &stored["ref"]), (&json!("aws"), &json!("kv/acme#token")));
}

#[on_both]
async fn forms_speak_of_their_thing_and_not_of_the_api(world: World) {
    let browser = platform(&world);
    let license = format!("/licenses/{}", world.acme.license);
    let page = sound(&browser.get(&format!("{license}/revoke")).await, 200);
    for part in ["Revoke the license of main", "<code>main</code> to confirm", ">main</a>"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let done = browser.post(&format!("{license}/suspend"), &[("reason", "late")]).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let page = sound(&browser.get(&format!("{license}/bundles?new")).await, 200);
    for part in ["Grace (seconds)", "If stale", "“Token life (seconds)”"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("form=file"), "{page}");
    let page = sound(&browser.get("/organizations?new").await, 200);
    assert!(!page.contains("GET /") && !page.contains("with owner_user_id"), "{page}");
}

#[on_both]
async fn list_that_needs_parameters_asks_for_them(world: World) {
    let browser = platform(&world);
    let path = format!("/organizations/{}/usage/costs", world.acme.org);
    let page = sound(&browser.get(&path).await, 200);
    assert!(page.contains("Fill in the fields"), "{page}");
}

#[on_both]
async fn log_says_when_it_was_signed_and_is_verified_on_a_page(world: World) {
    let browser = platform(&world);
    let page = sound(&browser.get("/audit").await, 200);
    assert!(page.contains(">Signed</span>") && page.contains(">Verify</a>"), "{page}");
    let page = sound(&browser.get("/log/verification").await, 200);
    assert!(
        page.contains("are what was signed") && page.contains("cp-server audit verify"),
        "{page}"
    );
    let overview = sound(&browser.get("").await, 200);
    assert!(overview.contains("<dt>Signed</dt>"), "{overview}");
}

#[on_both]
async fn lists_of_licenses_name_them_and_say_whether_they_are_in_force(world: World) {
    let browser = platform(&world);
    let path = format!("/organizations/{}/licenses", world.acme.org);
    let page = sound(&browser.get(&path).await, 200);
    for part in [">main</a>", ">In force</th>", "<span class=\"state ok\">yes</span>", "no end"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let license = format!("/licenses/{}", world.acme.license);
    world.post(format!("{license}/suspend"), json!({"reason": "late"})).await.expect(200);
    let page = sound(&browser.get("/licenses").await, 200);
    assert!(page.contains("<span class=\"state bad\">license suspended</span>"), "{page}");
}
