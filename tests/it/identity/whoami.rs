use cp_contracts::{CONTRACTS_VERSION_HEADER, WhoAmIResponseV1, WhoAmIResponseV2};
use serde_json::{Value, json};

use crate::world::{Client, ROOT, World, on_both};

const MATS: &str = "/users/whoami?provider=auth0&subject=auth0%7Cmats-acme";

#[on_both]
async fn without_a_version_the_answer_is_of_contract_1(world: World) {
    let answer = data_plane(&world).get(MATS).await.expect(200);
    serde_json::from_value::<WhoAmIResponseV1>(answer.clone()).unwrap();
    assert_eq!(
        world.named(&answer),
        json!({
            "user": {
                "id": "<acme's user>", "email": "mats@acme.example", "display_name": "mats",
                "is_active": true,
            },
            "memberships": [{
                "workspace_id": "<acme's workspace>", "workspace_name": "Production",
                "workspace_slug": "production", "organization_id": "<acme's org>",
                "status": "ACTIVE",
                "role": {
                    "id": "<acme's role>", "code": "ANALYST", "name": "Analyst",
                    "description": null, "is_system": false,
                },
            }],
        })
    );
}

#[on_both]
async fn contract_2_is_asked_for_by_header(world: World) {
    let answer = data_plane(&world).with(CONTRACTS_VERSION_HEADER, "2.4.0").get(MATS).await;
    let answer = answer.expect(200);
    serde_json::from_value::<WhoAmIResponseV2>(answer.clone()).unwrap();
    let revision = &answer["workspaces"][0]["rbac_revision"];
    let admin = answer["organizations"][0]["permissions"].clone();
    assert!(admin.as_array().unwrap().contains(&json!("members:write")), "{admin}");
    assert_eq!(
        world.named(&answer),
        json!({
            "user": {
                "id": "<acme's user>", "email": "mats@acme.example", "display_name": "mats",
                "is_active": true, "is_superadmin": false,
            },
            "superadmin": false,
            "workspaces": [{
                "workspace_id": "<acme's workspace>", "workspace_slug": "production",
                "workspace_name": "Production", "organization_id": "<acme's org>",
                "organization_slug": "acme", "status": "active",
                "role": {"code": "ANALYST", "name": "Analyst"},
                "permissions": ["reports:read"], "rbac_revision": revision,
                "groups": [
                    {"id": "<acme's group>", "name": "Sales"},
                    {"id": "<acme's spare group>", "name": "Support"},
                ],
            }],
            "organizations": [{
                "organization_id": "<acme's org>", "organization_slug": "acme",
                "organization_name": "Acme", "status": "active",
                "role": {"code": "ORGANIZATION_ADMIN", "name": "Admin"},
                "permissions": admin,
            }],
            "rbac_revision": {"<acme's workspace>": revision},
        })
    );
}

#[on_both]
async fn versions_are_negotiated(world: World) {
    for (asked, major) in
        [("1", 1), ("^1", 1), ("0.1.3 || 1", 0), ("2", 2), ("^2", 2), (">=1, <3", 2), ("*", 2)]
    {
        let answer = data_plane(&world).with(CONTRACTS_VERSION_HEADER, asked).get(MATS).await;
        match major {
            0 => drop(answer.refused(406, "not_acceptable")),
            1 => assert!(answer.expect(200).get("memberships").is_some(), "{asked}"),
            _ => assert!(answer.expect(200).get("workspaces").is_some(), "{asked}"),
        }
    }
    for asked in ["3", "^9.1", "latest", ""] {
        let answer = data_plane(&world).with(CONTRACTS_VERSION_HEADER, asked).get(MATS).await;
        let supported = answer.refused(406, "not_acceptable")["supported"].clone();
        assert_eq!(supported.as_array().map(Vec::len), Some(2), "{asked}: {supported}");
    }
}

#[on_both]
async fn identity_without_a_user_is_unknown(world: World) {
    for identity in [
        "provider=auth0&subject=unlinked",
        "provider=okta&subject=auth0%7Cmats-acme",
        "provider=auth0&subject=AUTH0%7Cmats-acme",
        "provider=auth0&subject=auth0%7Cmats-acme%20",
    ] {
        let path = format!("/users/whoami?{identity}");
        data_plane(&world).get(path).await.refused(404, "identity_unknown");
    }
    data_plane(&world).get("/users/whoami?provider=auth0").await.invalid("subject");
    let control = "/users/whoami?provider=auth0&subject=%07";
    data_plane(&world).get(control).await.invalid("subject");
}

#[on_both]
async fn inactive_person_is_listed_without_permissions(world: World) {
    let user = format!("/users/{}", world.acme.user);
    world.patch(&user, json!({"is_active": false, "is_superadmin": true})).await.expect(200);
    let answer = data_plane(&world).get(MATS).await.expect(200);
    assert_eq!(answer["user"]["is_active"], false);
    assert_eq!(answer["memberships"], json!([]));
    let answer = data_plane(&world).with(CONTRACTS_VERSION_HEADER, "2").get(MATS).await;
    let answer = answer.expect(200);
    assert_eq!(answer["superadmin"], false);
    assert_eq!(answer["workspaces"][0]["permissions"], json!([]));
    assert_eq!(answer["organizations"][0]["permissions"], json!([]));
}

#[on_both]
async fn a_suspended_membership_grants_nothing(world: World) {
    let membership = format!("/memberships/{}", world.acme.workspace_membership);
    world.patch(membership, json!({"status": "suspended"})).await.expect(200);
    let answer = data_plane(&world).get(MATS).await.expect(200);
    assert_eq!(answer["memberships"][0]["status"], "SUSPENDED");
    let answer = data_plane(&world).with(CONTRACTS_VERSION_HEADER, "2").get(MATS).await;
    assert_eq!(answer.expect(200)["workspaces"][0]["permissions"], json!([]));
}

#[on_both]
async fn an_organizations_token_sees_its_own_memberships_only(world: World) {
    let path = format!("/workspaces/{}/memberships", world.globex.workspace);
    let body = json!({"user_id": world.acme.user, "role": "admin"});
    world.post(path, body).await.expect(201);
    let slugs = async |by: Client| {
        let answer = by.with(CONTRACTS_VERSION_HEADER, "2").get(MATS).await.expect(200);
        let items = answer["workspaces"].as_array().unwrap().iter();
        items.map(|w| w["organization_slug"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(slugs(data_plane(&world)).await, ["acme"]);
    assert_eq!(slugs(world.by(&world.globex.deployment_token)).await, ["globex"]);
    assert_eq!(slugs(world.root()).await, ["acme", "globex"]);
    let foreign = "/users/whoami?provider=auth0&subject=auth0%7Colga-acme";
    let globex = world.by(&world.globex.deployment_token);
    globex.get(foreign).await.refused(404, "identity_unknown");
}

#[on_both]
async fn a_first_login_links_an_invited_address_once(world: World) {
    let body = json!({"email": "New@Guest.example", "role": "member"});
    let workspace = format!("/workspaces/{}/memberships", world.acme.workspace);
    let invited = world.post(workspace, body).await.expect(201);
    assert_eq!(invited["status"], "invited");
    let login = |subject: &str, rest: &str| {
        format!("/users/whoami?provider=okta&subject={subject}&email=new@guest.example{rest}")
    };
    let data_plane = data_plane(&world);
    data_plane.get("/users/whoami?provider=okta&subject=1").await.refused(404, "identity_unknown");
    data_plane.get(login("1", "&email_verified=false")).await.refused(404, "identity_unknown");
    world
        .by(&world.globex.deployment_token)
        .get(login("1", ""))
        .await
        .refused(404, "identity_unknown");
    let before = world.count_events().await;
    let answer = data_plane.get(login("1", "")).await.expect(200);
    assert_eq!(answer["memberships"][0]["status"], "ACTIVE");
    assert_eq!(world.count_events().await, before + 1);
    data_plane.get(login("1", "")).await.expect(200);
    assert_eq!(world.count_events().await, before + 1, "linked already");
    data_plane.get(login("2", "")).await.refused(404, "identity_unknown");
    data_plane.get("/users/whoami?provider=okta&subject=1").await.expect(200);
}

#[on_both]
async fn a_stranger_with_a_members_address_links_nothing(world: World) {
    // The address is known, and its owner has an identity of their own.
    let path = "/users/whoami?provider=okta&subject=evil&email=mats@acme.example";
    world.get(path).await.refused(404, "identity_unknown");
    world.post("/users", json!({"email": "idle@acme.example"})).await.expect(201);
    let path = "/users/whoami?provider=okta&subject=evil&email=idle@acme.example";
    world.get(path).await.refused(404, "identity_unknown");
}

#[on_both]
async fn a_superadmin_is_not_linked_by_an_address(world: World) {
    let chief = world.post("/users", json!({"email": "chief@acme.example"})).await.expect(201);
    let chief = chief["id"].as_str().unwrap();
    let seat = json!({"user_id": chief, "role": "member"});
    world.post(world.org("/memberships"), seat).await.expect(201);
    world.patch(format!("/users/{chief}"), json!({"is_superadmin": true})).await.expect(200);
    let login = "/users/whoami?provider=okta&subject=evil&email=chief@acme.example";
    data_plane(&world).get(login).await.refused(404, "identity_unknown");
    // An address is not worth the platform: a superadmin links the identity.
    world.get(login).await.refused(404, "identity_unknown");
}

#[on_both]
async fn an_answer_that_has_not_changed_is_not_sent_again(world: World) {
    let first = data_plane(&world).get(MATS).await;
    let tag = first.header("etag").to_owned();
    first.expect(200);
    let again = data_plane(&world).with("if-none-match", &tag);
    let unchanged = again.get(MATS).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(unchanged.header("etag"), tag);
    let weak = data_plane(&world).with("if-none-match", format!("\"x\", W/{tag}"));
    assert_eq!(weak.get(MATS).await.status, 304);
    let version_2 = again.clone().with(CONTRACTS_VERSION_HEADER, "2").get(MATS).await;
    assert_ne!(version_2.expect(200), Value::Null);
    let membership = format!("/memberships/{}", world.acme.workspace_membership);
    world.patch(membership, json!({"role": "viewer"})).await.expect(200);
    again.get(MATS).await.expect(200);
}

#[on_both]
async fn cached_identity_ends_with_a_change_here_and_soon_elsewhere(world: World) {
    let (_app, elsewhere) = world.replica().await;
    let elsewhere = elsewhere.token(&world.acme.deployment_token);
    let role = async |client: &Client| {
        let answer = client.get(MATS).await.expect(200);
        answer["memberships"][0]["role"]["code"].as_str().unwrap().to_owned()
    };
    let here = data_plane(&world);
    assert_eq!((role(&here).await, role(&elsewhere).await), ("ANALYST".into(), "ANALYST".into()));
    let membership = format!("/memberships/{}", world.acme.workspace_membership);
    world.patch(membership, json!({"role": "viewer"})).await.expect(200);
    assert_eq!(role(&here).await, "WORKSPACE_VIEWER");
    world.pass(chrono::TimeDelta::seconds(5));
    assert_eq!(role(&elsewhere).await, "WORKSPACE_VIEWER");
}

#[on_both]
async fn remembered_identity_shows_each_change_of_its_parts(world: World) {
    let (_app, elsewhere) = world.replica().await;
    let (here, elsewhere) = (world.root(), elsewhere.token(ROOT));
    let ask = async |client: &Client| {
        let answer = client.clone().with(CONTRACTS_VERSION_HEADER, "2").get(MATS).await;
        answer.expect(200)
    };
    let (acme, globex) = (&world.acme, &world.globex);
    let seat = json!({"user_id": acme.user, "role": "member"});
    let changes = [
        ("PATCH", format!("/organizations/{}", acme.org), json!({"name": "Acme Two"})),
        ("PATCH", format!("/users/{}", acme.user), json!({"display_name": "Mats Two"})),
        ("PATCH", format!("/workspaces/{}", acme.workspace), json!({"name": "Second"})),
        ("PATCH", format!("/roles/{}", acme.role), json!({"name": "Second analyst"})),
        ("POST", format!("/organizations/{}/memberships", globex.org), seat),
        ("PATCH", format!("/organizations/{}", globex.org), json!({"name": "Globex Two"})),
        ("PATCH", format!("/memberships/{}", acme.membership), json!({"status": "suspended"})),
        ("DELETE", format!("/memberships/{}", acme.membership), Value::Null),
    ];
    for (method, path, body) in changes {
        let before = ask(&here).await;
        assert_eq!(ask(&here).await, before);
        let body = Some(body).filter(|body| !body.is_null());
        let method = method.parse().unwrap();
        let made = world.root().call(method, &format!("/api/v1{path}"), body).await;
        assert!(made.status < 300, "{}", made.text());
        let after = ask(&here).await;
        assert_ne!(after, before, "{path}");
        world.pass(chrono::TimeDelta::seconds(5));
        assert_eq!(ask(&elsewhere).await, after, "{path}");
    }
}

fn data_plane(world: &World) -> Client {
    world.by(&world.acme.deployment_token)
}
