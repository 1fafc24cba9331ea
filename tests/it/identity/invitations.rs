use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::world::{Client, World, on_both};

#[on_both]
async fn an_invitation_is_made_with_a_token_that_is_shown_once(world: World) {
    let body = json!({
        "email": "Nina@new.example", "role": "member", "workspace": world.acme.workspace,
        "message": "Welcome!", "expires_in_hours": 24,
    });
    let mut made = world.post(world.org("/invitations"), body).await.expect(201);
    let token = made.as_object_mut().unwrap().remove("token").unwrap();
    let token = token.as_str().unwrap();
    assert_eq!(token.len(), "cpin_".len() + 64, "32 random bytes");
    let accept_url = made.as_object_mut().unwrap().remove("accept_url").unwrap();
    assert_eq!(accept_url, Value::Null, "no provider has a client here");
    assert_eq!(
        world.named(&made),
        json!({
            "id": "<1>", "organization_id": "<acme's org>", "email": "Nina@new.example",
            "role": {
                "id": made["role"]["id"].as_str().map(|_| "<2>"),
                "code": "ORGANIZATION_MEMBER", "name": "Member", "rank": 2,
            },
            "workspace_id": "<acme's workspace>", "message": "Welcome!", "status": "pending",
            "expires_at": "2026-01-03T00:00:00Z", "accepted_at": null,
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    let path = format!("/invitations/{}", made["id"].as_str().unwrap());
    assert_eq!(world.get(&path).await.expect(200), made);
    let found = world.get(world.org("/invitations?email=nina@NEW.example")).await.expect(200);
    assert_eq!(found["items"], json!([made]));
    let kept: Vec<u8> =
        world.value("SELECT token_hash FROM invitations ORDER BY id DESC LIMIT 1").await;
    assert_ne!(kept, token.as_bytes());
    let events = world.get("/audit?limit=1").await.expect(200);
    assert!(!events.to_string().contains(token), "{events}");
}

#[on_both]
async fn invitation_token_is_accepted_once(world: World) {
    let body = json!({
        "email": "nina@new.example", "role": "admin", "workspace_id": world.acme.workspace,
    });
    let token = invite(&world, body).await;
    let accepted = accept(&world, json!({"token": token})).await.expect(201);
    assert_eq!(accepted["email"], "nina@new.example");
    assert_eq!(accepted["role"]["code"], "ORGANIZATION_ADMIN");
    assert_eq!(accepted["status"], "active");
    let user = accepted["user_id"].as_str().unwrap();
    let workspace = format!("/workspaces/{}/memberships?user_id={user}", world.acme.workspace);
    let seats = world.get(workspace).await.expect(200);
    assert_eq!(seats["items"][0]["role"]["code"], "WORKSPACE_ADMIN");
    let problem = accept(&world, json!({"token": token})).await.refused(409, "invitation_closed");
    assert_eq!(problem["invitation_status"], "accepted");
    let accepted = world.get(world.org("/invitations?status=accepted")).await.expect(200);
    assert_eq!(accepted["items"][0]["accepted_at"], "2026-01-02T00:00:00Z");
    let problem = accept(&world, json!({"token": "cpin_0"})).await.refused(404, "not_found");
    assert_eq!(problem["detail"], "invitation not found");
    // The first login links the identity.
    let login = "/users/whoami?provider=okta&subject=nina&email=nina@new.example";
    let data_plane = world.by(&world.acme.deployment_token);
    data_plane.get(login).await.expect(200);
}

#[on_both]
async fn acceptance_with_an_invalid_credential_is_refused(world: World) {
    let body = json!({"email": "nina@new.example", "role": "viewer"});
    let token = json!({"token": invite(&world, body).await});
    let junk = world.by("junk").post("/invitations/accept", token.clone()).await;
    junk.refused(401, "unauthenticated");
    // The cookie of a session that does not exist counts as none.
    let ended = world.anyone().with("cookie", "cp_session=ended");
    let ended = ended.with("sec-fetch-site", "same-origin");
    ended.post("/invitations/accept", token).await.expect(201);
}

#[on_both]
async fn only_the_invited_address_accepts(world: World) {
    let body = json!({"email": "SVEN@acme.example", "role": "viewer"});
    let token = invite(&world, body).await;
    let other = json!({"token": token, "user_id": world.globex.stranger});
    accept(&world, other).await.refused(403, "forbidden");
    let right = json!({"token": token, "user_id": world.acme.stranger});
    assert_eq!(accept(&world, right).await.expect(201)["user_id"], world.acme.stranger);
}

#[on_both]
async fn person_accepts_only_their_own_invitation(world: World) {
    let body = json!({"email": "Sven@acme.example", "role": "viewer"});
    let token = json!({"token": invite(&world, body).await});
    let link = json!({"provider": "auth0", "subject": "auth0|sven"});
    let sven = format!("/users/{}/auth-accounts", world.acme.stranger);
    world.post(&sven, link).await.expect(201);
    let as_person = async |who: &Client| who.post("/invitations/accept", token.clone()).await;
    let [sven, mats] = ["auth0|sven", "auth0|mats-acme"].map(|subject| world.person(subject));
    let problem = as_person(&mats).await.refused(403, "forbidden");
    assert!(problem["detail"].as_str().unwrap().contains("Log out"), "{problem}");
    // Saying that they are the other one does not help, nor does being an owner or unknown.
    let mut claimed = token.clone();
    claimed["user_id"] = json!(world.acme.stranger);
    mats.post("/invitations/accept", claimed).await.refused(403, "forbidden");
    as_person(&world.person("auth0|olga-acme")).await.refused(403, "forbidden");
    as_person(&world.person("auth0|unlinked")).await.refused(403, "forbidden");
    let seat = as_person(&sven).await.expect(201);
    assert_eq!(seat["user_id"], world.acme.stranger);
    let event = world.get("/audit?action=invitations.accept&limit=1").await;
    let event = event.expect(200)["items"][0].clone();
    assert_eq!(event["actor_id"], world.acme.stranger);
}

#[on_both]
async fn a_machine_accepts_for_those_whom_it_serves(world: World) {
    let body = json!({"email": "nina@new.example", "role": "viewer"});
    let token = json!({"token": invite(&world, body).await});
    let seat = world.by(&world.acme.token).post("/invitations/accept", token).await;
    assert_eq!(seat.expect(201)["email"], "nina@new.example");
}

#[on_both]
async fn an_address_is_invited_once_and_not_when_it_is_a_member(world: World) {
    let body = json!({"email": "INES@acme.example", "role": "member"});
    let problem = world.post(world.org("/invitations"), body.clone()).await;
    assert_eq!(problem.refused(409, "invitation_pending")["field"], "email");
    let member = json!({"email": "mats@acme.example", "role": "member"});
    world.post(world.org("/invitations"), member).await.refused(409, "already_member");
    let owner = json!({"email": "x@acme.example", "role": "owner"});
    let refused = world.post(world.org("/invitations"), owner).await;
    refused.refused(409, "use_transfer_ownership");
    let unknown = json!({"email": "x@acme.example", "role": "captain"});
    world.post(world.org("/invitations"), unknown).await.refused(422, "role_unknown");
    let foreign = json!({
        "email": "x@acme.example", "role": "member", "workspace_id": world.globex.workspace,
    });
    world.post(world.org("/invitations"), foreign).await.refused(404, "not_found");

    let invitation = format!("/invitations/{}", world.acme.invitation);
    world.delete(&invitation).await.expect(204);
    assert_eq!(world.get(&invitation).await.expect(200)["status"], "revoked");
    world.delete(&invitation).await.refused(409, "invitation_closed");
    let resend = format!("{invitation}/resend");
    world.post(resend, json!({})).await.refused(409, "invitation_closed");
    let old = json!({"token": world.acme.invitation_token});
    accept(&world, old).await.refused(409, "invitation_closed");
    world.post(world.org("/invitations"), body).await.expect(201);
}

#[on_both]
async fn an_invitation_ends_and_is_sent_again(world: World) {
    world.pass(TimeDelta::days(7));
    let invitation = format!("/invitations/{}", world.acme.invitation);
    assert_eq!(world.get(&invitation).await.expect(200)["status"], "expired");
    let expired = world.get(world.org("/invitations?status=expired")).await.expect(200);
    assert_eq!(expired["items"].as_array().unwrap().len(), 1);
    let old = json!({"token": world.acme.invitation_token});
    let problem = accept(&world, old.clone()).await.refused(409, "invitation_closed");
    assert_eq!(problem["invitation_status"], "expired");

    let again = world.post(format!("{invitation}/resend"), json!({})).await.expect(200);
    assert_eq!(
        (&again["status"], &again["expires_at"]),
        (&json!("pending"), &json!("2026-01-16T00:00:00Z"))
    );
    accept(&world, old).await.refused(404, "not_found");
    world.pass(TimeDelta::days(8));
    // An expired invitation does not block another one.
    let body = json!({"email": "ines@acme.example", "role": "member"});
    let token = invite(&world, body).await;
    accept(&world, json!({"token": token})).await.expect(201);
}

#[on_both]
async fn an_accepted_invitation_counts_against_the_quota(world: World) {
    world
        .post("/organizations", json!({"name": "Initech", "owner": "b@i.example"}))
        .await
        .expect(201);
    let mut tokens = Vec::new();
    for n in 0..6 {
        let body = json!({"email": format!("p{n}@i.example"), "role": "member"});
        let made = world.post("/organizations/initech/invitations", body).await.expect(201);
        tokens.push(made["token"].clone());
    }
    let answers =
        join_all(tokens.iter().map(|token| accept(&world, json!({"token": token})))).await;
    let accepted = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(accepted, 2, "the owner has the third seat");
    let refused = answers.into_iter().find(|answer| answer.status != 201).unwrap();
    let problem = refused.refused(429, "quota_exceeded");
    assert!(problem["detail"].as_str().unwrap().contains("member quota"), "{problem}");
    let pending = world.get("/organizations/initech/invitations?status=pending").await;
    assert_eq!(pending.expect(200)["items"].as_array().unwrap().len(), 4, "still open");
}

#[on_both]
async fn two_who_accept_at_once_make_one_member(world: World) {
    let body = json!({"email": "nina@new.example", "role": "member"});
    let token = invite(&world, body).await;
    let answers = join_all((0..4).map(|_| accept(&world, json!({"token": token})))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        answer.refused(409, "invitation_closed");
    }
}

async fn invite(world: &World, body: Value) -> String {
    let made = world.post(world.org("/invitations"), body).await.expect(201);
    made["token"].as_str().unwrap().to_owned()
}

async fn accept(world: &World, body: Value) -> crate::world::Answer {
    world.anyone().post("/invitations/accept", body).await
}
