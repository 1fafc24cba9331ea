//! What a login makes of a caller.

use cp_server::identity::login_caller::Login;
use cp_server::identity::roles;
use serde_json::json;

use crate::world::{Client, World, on_both};

/// A login with something changed.
fn who(world: &World, subject: &str, change: impl FnOnce(&mut Login)) -> Client {
    let mut login = world.login(subject);
    change(&mut login);
    world.anyone().person(&world.app, login)
}

/// The login of a person known only to the provider.
const STRANGER: &str = "auth0|unlinked";

#[on_both]
async fn me_explains_what_a_person_may_do_and_why(world: World) {
    let group = json!({"name": "Console", "product": "console"});
    let group = world.post(world.org("/groups"), group).await.expect(201);
    let seat = format!("/groups/{}/members/{}", group["id"].as_str().unwrap(), world.acme.owner);
    world.put(&seat, json!({"role": "admin"})).await.expect(201);
    let me = who(&world, "auth0|olga-acme", |login| login.products = vec!["studio".into()]);
    let me = me.get("/me").await.expect(200);
    let permissions = me["permissions"].clone();
    let owner = roles::of_system().find(|(code, ..)| *code == "ORGANIZATION_OWNER").unwrap();
    assert_eq!(permissions, json!(owner.2.codes()));
    assert_eq!(
        world.named(&me),
        json!({
            "kind": "person", "id": "<acme's owner>", "name": "olga@acme.example",
            "user_id": "<acme's owner>", "provider": "auth0", "vouched_by": null,
            "organization_id": "<acme's org>", "roles": ["ORGANIZATION_OWNER"],
            "organizations": [{
                "id": "<acme's org>", "slug": "acme", "name": me["organizations"][0]["name"],
                "roles": ["ORGANIZATION_OWNER"],
            }],
            "products": ["studio"], "permissions": permissions,
            // The group is of another product.
            "grants": [{
                "on": "organization", "organization_id": "<acme's org>", "id": null,
                "by": "ORGANIZATION_OWNER", "permissions": permissions,
            }],
        })
    );
}

#[on_both]
async fn unlinked_login_is_refused_with_its_identity(world: World) {
    let problem = world.person(STRANGER).get("/me").await.refused(403, "forbidden");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("\"auth0\"") && detail.contains(STRANGER), "{detail}");
}

#[on_both]
async fn organizations_own_provider_vouches_for_its_members_only(world: World) {
    let acme = world.acme.org.parse().unwrap();
    let of_acme = |subject: &str, change: fn(&mut Login)| {
        who(&world, subject, |login| {
            login.organization = Some(acme);
            change(login);
        })
    };
    of_acme("auth0|olga-acme", |_| {}).get(world.org("")).await.expect(200);
    // Its admins choose what it says: another organization's people, a superadmin, anything.
    for change in [
        (|_| {}) as fn(&mut Login),
        |login| login.is_superadmin = true,
        |login| login.account = Some("globex".into()),
    ] {
        let globex = of_acme("auth0|olga-globex", change);
        globex.get("/me").await.refused(403, "forbidden");
    }
    let boss = json!({"is_superadmin": true});
    world.patch(format!("/users/{}", world.acme.owner), boss).await.expect(200);
    let olga = of_acme("auth0|olga-acme", |login| login.is_superadmin = true);
    // It vouches for no superadmin, not even within the organization.
    olga.get("/organizations").await.refused(403, "forbidden");
    olga.get(world.org("")).await.refused(403, "forbidden");
    world.person("auth0|olga-acme").get("/organizations/globex").await.expect(200);
    let claims = of_acme(STRANGER, |login| {
        login.account = Some("globex".into());
        login.roles = vec!["ORGANIZATION_VIEWER".into()];
    });
    claims.get("/organizations/globex").await.refused(404, "not_found");
    claims.get(world.org("")).await.expect(200);
}

#[on_both]
async fn roles_that_the_provider_vouches_for_count_in_the_organization_that_it_names(world: World) {
    world.patch(world.org(""), json!({"external_id": "900"})).await.expect(200);
    let with = |account: &str, role: &str| {
        who(&world, STRANGER, |login| {
            login.account = Some(account.into());
            login.roles = vec!["UNKNOWN_ROLE".into(), role.into()];
        })
    };
    // A slug is the organization's own choice: it names nothing.
    with("acme", "ORGANIZATION_MEMBER").get("/me").await.refused(403, "forbidden");
    for account in [world.acme.org.as_str(), "900"] {
        let member = with(account, "ORGANIZATION_MEMBER");
        member.get(world.org("/licenses")).await.expect(200);
        member.patch(world.org(""), json!({"name": "x"})).await.refused(403, "forbidden");
        member.get("/organizations/globex").await.refused(404, "not_found");
        let me = member.get("/me").await.expect(200);
        assert_eq!(me["roles"], json!(["ORGANIZATION_MEMBER, by the provider"]));
        assert_eq!(me["user_id"], json!(null));
    }
    // A platform's role is no organization's, and an unknown organization gives nothing.
    for (account, role) in [("900", "SUPERADMIN"), ("nowhere", "ORGANIZATION_OWNER")] {
        with(account, role).get("/me").await.refused(403, "forbidden");
    }
}

#[on_both]
async fn a_superadmin_by_claim_needs_no_user(world: World) {
    let boss = who(&world, STRANGER, |login| login.is_superadmin = true);
    boss.get("/organizations").await.expect(200);
    let made = boss.post("/plans", json!({"code": "gold", "name": "Gold"})).await.expect(201);
    assert_eq!(made["code"], "gold");
    let event = world.get("/audit?limit=1").await.expect(200)["items"][0].clone();
    assert_eq!(event["actor_kind"], "person");
    assert_eq!(event["actor_name"], STRANGER);
}

#[on_both]
async fn scopes_that_are_permissions_narrow_a_token(world: World) {
    let scopes = |some: &[&str]| {
        let some = some.iter().map(|s| (*s).to_owned()).collect();
        who(&world, "auth0|olga-acme", |login| login.scopes = some)
    };
    let narrowed = scopes(&["openid", "projects:read"]);
    narrowed.get(world.org("/projects")).await.expect(200);
    narrowed.get(world.org("/licenses")).await.refused(403, "forbidden");
    scopes(&["openid", "email"]).get(world.org("/licenses")).await.expect(200);
    // A scope gives nothing that the person does not hold.
    let more = scopes(&["projects:read", "plans:write"]);
    more.post("/plans", json!({"code": "x", "name": "X"})).await.refused(403, "forbidden");
}

#[on_both]
async fn an_inactive_person_may_do_nothing(world: World) {
    let olga = world.person("auth0|olga-acme");
    olga.get("/me").await.expect(200);
    let path = format!("/users/{}", world.acme.owner);
    world.patch(path, json!({"is_active": false})).await.expect(200);
    olga.get("/me").await.refused(403, "forbidden");
}
