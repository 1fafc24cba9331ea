//! Offers at a first login: several to one person, and those of other organizations.

use cp_server::identity::login_caller::Login;
use serde_json::{Value, json};

use crate::scim::id;
use crate::world::{Client, World, on_both};

/// A login at a provider of the platform, with a verified address.
fn verified(world: &World, email: &str) -> Client {
    person(world, email, |_| {})
}

/// A login at the organization's own provider, with a verified address.
fn at(world: &World, organization: &str, email: &str) -> Client {
    person(world, email, |login| {
        login.organization = Some(organization.parse().unwrap());
        login.provider = "corp".into();
    })
}

fn person(world: &World, email: &str, change: impl FnOnce(&mut Login)) -> Client {
    let mut login = world.login(email);
    login.email = Some(email.to_owned());
    change(&mut login);
    world.anyone().person(&world.app, login)
}

async fn offer(by: &Client, organization: &str, body: Value) -> Value {
    by.post(format!("/organizations/{organization}/memberships"), body).await.expect(201)
}

fn olga(world: &World, tenant: &str) -> Client {
    world.person(&format!("auth0|olga-{tenant}"))
}

/// The status and the role of the person's seat in the organization.
async fn seat(world: &World, organization: &str, user: &Value) -> String {
    let user = user.as_str().unwrap();
    let path = format!("/organizations/{organization}/memberships?user_id={user}");
    let seat = world.get(path).await.expect(200)["items"][0].clone();
    let (status, role) = (seat["status"].as_str(), seat["role"]["code"].as_str());
    format!("{} {}", status.unwrap(), role.unwrap())
}

#[on_both]
async fn person_with_a_seat_and_an_open_invitation_logs_in(world: World) {
    let email = "victim@new.example";
    let offered = json!({"email": email, "role": "viewer"});
    let invitation = world.post(world.org("/invitations"), offered.clone()).await.expect(201);
    world.post(world.org("/memberships"), offered).await.expect(201);
    let gamma = json!({"name": "Gamma", "owner": email});
    let gamma = id(&world.post("/organizations", gamma).await.expect(201));
    // What two requests at the same instant can leave.
    world.exec("UPDATE invitations SET status = 'pending' WHERE status = 'revoked'").await;
    let me = verified(&world, email).get("/me").await.expect(200);
    let user = &me["user_id"];
    assert_eq!(seat(&world, &world.acme.org, user).await, "active ORGANIZATION_VIEWER");
    assert_eq!(seat(&world, &gamma, user).await, "active ORGANIZATION_OWNER");
    let invitation = world.get(format!("/invitations/{}", id(&invitation))).await.expect(200);
    assert_eq!(
        (&invitation["status"], &invitation["accepted_at"]),
        (&json!("revoked"), &Value::Null)
    );
}

#[on_both]
async fn invitation_to_a_workspace_is_accepted_with_a_seat_in_it(world: World) {
    let seats = format!("/workspaces/{}/memberships", world.acme.workspace);
    for (email, by_token) in [("one@new.example", true), ("two@new.example", false)] {
        let seat_there = json!({"email": email, "role": "viewer"});
        let seat_there = world.post(&seats, seat_there).await.expect(201);
        let body = json!({
            "email": email, "role": "member", "workspace_id": world.acme.workspace,
        });
        let made = world.post(world.org("/invitations"), body).await.expect(201);
        if by_token {
            let token = json!({"token": made["token"]});
            world.anyone().post("/invitations/accept", token).await.expect(201);
        } else {
            verified(&world, email).get("/me").await.expect(200);
        }
        let user = &seat_there["user_id"];
        assert_eq!(seat(&world, &world.acme.org, user).await, "active ORGANIZATION_MEMBER");
        let path = format!("/memberships/{}", id(&seat_there));
        let kept = world.get(path).await.expect(200);
        assert_eq!(kept["role"]["code"], "WORKSPACE_VIEWER", "the seat stays as it was");
    }
}

#[on_both]
async fn offer_of_another_organization_does_not_keep_a_person_out(world: World) {
    let (acme, globex) = (&world.acme.org, &world.globex.org);
    let body = |email: &str| json!({"email": email, "role": "viewer"});
    for (email, status) in [("invited@new.example", None), ("held@new.example", Some("suspended"))]
    {
        let mut elsewhere = body(email);
        if let Some(status) = status {
            elsewhere["status"] = json!(status);
        }
        let elsewhere = offer(&olga(&world, "globex"), globex, elsewhere).await;
        assert_eq!(elsewhere["accepted_at"], Value::Null);
        offer(&olga(&world, "acme"), acme, body(email)).await;
        let person = at(&world, acme, email);
        let me = person.get("/me").await.expect(200);
        assert_eq!((&me["user_id"], &me["vouched_by"]), (&elsewhere["user_id"], &json!(acme)));
        assert_eq!(me["roles"], json!(["ORGANIZATION_VIEWER"]));
        // Acme's word accepts acme's offer, and no other.
        person.get("/organizations/globex").await.refused(404, "not_found");
        let there = seat(&world, globex, &me["user_id"]).await;
        assert_eq!(there, format!("{} ORGANIZATION_VIEWER", status.unwrap_or("invited")));
    }
    // The same for the word of the organization's tokens.
    let email = "tokens@new.example";
    offer(&olga(&world, "globex"), globex, body(email)).await;
    offer(&olga(&world, "acme"), acme, body(email)).await;
    let whoami = format!("/users/whoami?provider=corp&subject=tokens&email={email}");
    world.by(&world.acme.deployment_token).get(whoami).await.expect(200);
}

#[on_both]
async fn seat_that_a_person_took_elsewhere_keeps_other_providers_out(world: World) {
    let (acme, globex) = (&world.acme.org, &world.globex.org);
    let body = |email: &str| json!({"email": email, "role": "viewer"});
    let by_token = "token@new.example";
    let made = olga(&world, "globex");
    let made = made.post(format!("/organizations/{globex}/invitations"), body(by_token)).await;
    let token = json!({"token": made.expect(201)["token"]});
    world.anyone().post("/invitations/accept", token).await.expect(201);
    let by_login = "login@new.example";
    offer(&olga(&world, "globex"), globex, body(by_login)).await;
    at(&world, globex, by_login).get("/me").await.expect(200);
    for email in [by_token, by_login] {
        offer(&olga(&world, "acme"), acme, body(email)).await;
        let refused = at(&world, acme, email).get("/me").await.refused(403, "forbidden");
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains("No user is linked"), "{detail}");
        // The address is verified.
        assert!(!detail.contains("verify"), "{detail}");
    }
}
