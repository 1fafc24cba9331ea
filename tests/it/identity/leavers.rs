//! Leavers: neither the roles of a provider nor an old invitation brings a person back.

use cp_server::identity::login_caller::Login;
use serde_json::{Value, json};

use crate::scim::{IdentityProvider, id, user};
use crate::world::{Client, World, on_both};

const BY_PROVIDER: &str = "ORGANIZATION_ADMIN, by the provider";

/// A login at acme's own provider, whose role map makes its people admins.
fn admin(world: &World, email: &str, change: impl FnOnce(&mut Login)) -> Client {
    login(world, email, |login| {
        login.organization = Some(world.acme.org.parse().unwrap());
        login.provider = "corp".into();
        change(login);
    })
}

/// A login with the role of an admin and a verified address.
fn login(world: &World, email: &str, change: impl FnOnce(&mut Login)) -> Client {
    let mut login = world.login(email);
    login.email = Some(email.to_owned());
    login.roles = vec!["ORGANIZATION_ADMIN".into()];
    change(&mut login);
    world.anyone().person(&world.app, login)
}

async fn roles(person: &Client) -> Value {
    person.get("/me").await.expect(200)["roles"].clone()
}

/// The organization is closed to the person.
async fn refuses(person: &Client, world: &World) {
    let answer = person.get(world.org("")).await;
    assert!([403, 404].contains(&answer.status), "{}", answer.text());
    let invitation = json!({"email": "friend@new.example", "role": "viewer"});
    let answer = person.post(world.org("/invitations"), invitation).await;
    assert!([403, 404].contains(&answer.status), "{}", answer.text());
}

async fn seat_of(world: &World, user: &str) -> Value {
    let seats = world.get(world.org(&format!("/memberships?user_id={user}"))).await.expect(200);
    seats["items"][0].clone()
}

fn path(seat: &Value) -> String {
    format!("/memberships/{}", id(seat))
}

/// Raises the quota of members, for tests with many of them.
async fn make_room(world: &World) {
    let set = world.put(world.org("/quotas/members"), json!({"quantity": 100})).await;
    assert!([200, 201].contains(&set.status), "{}", set.text());
}

/// Seats a person without an offer, as the platform may.
async fn seat(world: &World, email: &str) -> Value {
    let body = json!({"email": email, "role": "viewer", "status": "active"});
    world.post(world.org("/memberships"), body).await.expect(201)
}

async fn link(world: &World, user: &str, body: Value) -> String {
    id(&world.post(format!("/users/{user}/auth-accounts"), body).await.expect(201))
}

async fn invite(world: &World, email: &str, role: &str) -> Value {
    world.post(world.org("/invitations"), json!({"email": email, "role": role})).await.expect(201)
}

async fn status_of(world: &World, invitation: &Value) -> Value {
    world.get(format!("/invitations/{}", id(invitation))).await.expect(200)["status"].clone()
}

#[on_both]
async fn leaver_gets_no_role_from_the_provider(world: World) {
    make_room(&world).await;
    let provider = IdentityProvider::of_acme(&world).await;
    for way in ["deactivated", "deleted", "removed", "suspended", "disabled"] {
        let email = format!("{way}@new.example");
        let leo = provider.user(&email).await;
        let person = admin(&world, &email, |_| {});
        let me = person.get("/me").await.expect(200);
        assert_eq!(me["user_id"], json!(leo), "{way}");
        assert_eq!(me["roles"], json!(["ORGANIZATION_VIEWER", BY_PROVIDER]), "{way}");
        person.get(world.org("")).await.expect(200);
        let seat = path(&seat_of(&world, &leo).await);
        let disabled = json!({"is_active": false});
        match way {
            "deactivated" => drop(provider.set_active(&leo, false).await.expect(200)),
            "deleted" => drop(provider.delete(&format!("/Users/{leo}")).await.expect(204)),
            "removed" => drop(world.delete(&seat).await.expect(204)),
            "suspended" => {
                world.patch(&seat, json!({"status": "suspended"})).await.expect(200);
            }
            _ => drop(world.patch(format!("/users/{leo}"), disabled).await.expect(200)),
        }
        person.get("/me").await.refused(403, "forbidden");
        refuses(&person, &world).await;
        // The provider leaves out the address: the login alone is known.
        let silent = admin(&world, &email, |login| login.email = None);
        silent.get("/me").await.refused(403, "forbidden");
        // The organization, or the platform, admits the person again.
        match way {
            "deactivated" => drop(provider.set_active(&leo, true).await.expect(200)),
            "deleted" => drop(provider.user(&email).await),
            "removed" => drop(invite(&world, &email, "viewer").await),
            "suspended" => drop(world.patch(&seat, json!({"status": "active"})).await.expect(200)),
            _ => {
                let enabled = json!({"is_active": true});
                world.patch(format!("/users/{leo}"), enabled).await.expect(200);
            }
        }
        let me = person.get("/me").await.expect(200);
        assert_eq!(me["user_id"], json!(leo), "{way}");
        assert_eq!(me["roles"], json!(["ORGANIZATION_VIEWER", BY_PROVIDER]), "{way}");
    }
}

#[on_both]
async fn leaver_of_one_organization_is_none_of_another(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let leo = provider.user("leo@new.example").await;
    let here = admin(&world, "leo@new.example", |_| {});
    let there = admin(&world, "leo@new.example", |login| {
        login.organization = Some(world.globex.org.parse().unwrap());
    });
    here.get("/me").await.expect(200);
    provider.set_active(&leo, false).await.expect(200);
    here.get("/me").await.refused(403, "forbidden");
    let me = there.get("/me").await.expect(200);
    assert_eq!((&me["user_id"], &me["roles"]), (&Value::Null, &json!([BY_PROVIDER])));
}

#[on_both]
async fn unlinked_login_gets_no_role_also_after_deletion_and_erasure(world: World) {
    let email = "leo@new.example";
    let leo = seat(&world, email).await["user_id"].as_str().unwrap().to_owned();
    let identity = json!({"provider": "corp", "subject": email, "vouched_by": world.acme.org});
    let account = link(&world, &leo, identity.clone()).await;
    let person = admin(&world, email, |login| login.email = None);
    assert_eq!(roles(&person).await, json!(["ORGANIZATION_VIEWER", BY_PROVIDER]));
    world.delete(format!("/auth-accounts/{account}")).await.expect(204);
    person.get("/me").await.refused(403, "forbidden");
    // A role that changes admits no unlinked login.
    let seat = path(&seat_of(&world, &leo).await);
    world.patch(&seat, json!({"role": "member"})).await.expect(200);
    person.get("/me").await.refused(403, "forbidden");
    link(&world, &leo, identity).await;
    assert_eq!(roles(&person).await, json!(["ORGANIZATION_MEMBER", BY_PROVIDER]));

    world.delete(format!("/users/{leo}")).await.expect(204);
    person.get("/me").await.refused(403, "forbidden");
    world.post("/audit/erasures", json!({"user": leo})).await.expect(201);
    person.get("/me").await.refused(403, "forbidden");
    let of_people = "SELECT COUNT(*) FROM leavers WHERE user_id IS NOT NULL";
    assert_eq!(world.value::<i64>(of_people).await, 0);
    // A login that was never linked has the roles of the provider.
    let other = admin(&world, "other", |login| login.email = None);
    assert_eq!(roles(&other).await, json!([BY_PROVIDER]));
}

#[on_both]
async fn platform_login_of_a_leaver_gets_no_role_in_the_organization(world: World) {
    let email = "leo@new.example";
    let member = seat(&world, email).await;
    let leo = member["user_id"].as_str().unwrap();
    link(&world, leo, json!({"provider": "auth0", "subject": email})).await;
    let person = login(&world, email, |login| login.account = Some(world.acme.org.clone()));
    let both = json!(["ORGANIZATION_VIEWER", BY_PROVIDER]);
    assert_eq!(roles(&person).await, both);
    world.patch(path(&member), json!({"status": "suspended"})).await.expect(200);
    refuses(&person, &world).await;
    world.patch(path(&member), json!({"status": "active"})).await.expect(200);
    assert_eq!(roles(&person).await, both);
    world.delete(path(&member)).await.expect(204);
    refuses(&person, &world).await;
    seat(&world, email).await;
    assert_eq!(roles(&person).await, both);
    world.delete(format!("/users/{leo}")).await.expect(204);
    person.get("/me").await.refused(403, "forbidden");
}

#[on_both]
async fn invitation_by_a_leaver_with_the_providers_role_is_refused(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let leo = provider.user("leo@new.example").await;
    let person = admin(&world, "leo@new.example", |_| {});
    let offer = json!({"email": "friend@new.example", "role": "admin"});
    let offer = person.post(world.org("/invitations"), offer).await.expect(201);
    provider.set_active(&leo, false).await.expect(200);
    let token = json!({"token": offer["token"]});
    world.anyone().post("/invitations/accept", token).await.refused(403, "forbidden");
}

#[on_both]
async fn seat_given_in_another_way_revokes_the_invitation(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let email = "lea@new.example";
    let invitation = invite(&world, email, "admin").await;
    let token = json!({"token": invitation["token"]});
    let lea = provider.user(email).await;
    assert_eq!(status_of(&world, &invitation).await, "revoked");
    let person = admin(&world, email, |login| login.roles.clear());
    assert_eq!(roles(&person).await, json!(["ORGANIZATION_VIEWER"]));
    // The link of the invitation still leads into the console, and changes nothing.
    let known = person.post("/invitations/accept", token.clone()).await.expect(201);
    assert_eq!(known["role"]["code"], "ORGANIZATION_VIEWER");
    provider.set_active(&lea, false).await.expect(200);
    person.get("/me").await.refused(403, "forbidden");
    let refused = world.anyone().post("/invitations/accept", token).await;
    let refused = refused.refused(409, "invitation_closed");
    assert_eq!(refused["invitation_status"], "revoked");
    // A deliberate invitation brings the person back.
    invite(&world, email, "member").await;
    assert_eq!(roles(&person).await, json!(["ORGANIZATION_MEMBER"]));
}

#[on_both]
async fn leaving_and_suspension_revoke_open_invitations(world: World) {
    make_room(&world).await;
    let provider = IdentityProvider::of_acme(&world).await;
    for way in ["deactivated", "deleted", "removed", "suspended"] {
        let email = format!("{way}@new.example");
        let invitation = invite(&world, &email, "admin").await;
        let lea = provider.user(&email).await;
        // What two requests at the same instant can leave.
        world.exec("UPDATE invitations SET status = 'pending' WHERE status = 'revoked'").await;
        let seat = path(&seat_of(&world, &lea).await);
        match way {
            "deactivated" => drop(provider.set_active(&lea, false).await.expect(200)),
            "deleted" => drop(provider.delete(&format!("/Users/{lea}")).await.expect(204)),
            "removed" => drop(world.delete(&seat).await.expect(204)),
            _ => drop(world.patch(&seat, json!({"status": "suspended"})).await.expect(200)),
        }
        assert_eq!(status_of(&world, &invitation).await, "revoked", "{way}");
        // Each way has its own invitation.
        world.exec("UPDATE invitations SET status = 'expired' WHERE status = 'revoked'").await;
        admin(&world, &email, |login| login.roles.clear())
            .get("/me")
            .await
            .refused(403, "forbidden");
    }
    // The provider also knows other addresses of the person.
    let mut body = user("lea@new.example");
    let home = json!({"value": "Home@new.example", "type": "home"});
    body["emails"].as_array_mut().unwrap().push(home);
    let lea = id(&provider.post("/Users", body).await.expect(201));
    let invitation = invite(&world, "home@new.example", "admin").await;
    provider.set_active(&lea, false).await.expect(200);
    assert_eq!(status_of(&world, &invitation).await, "revoked");
}
