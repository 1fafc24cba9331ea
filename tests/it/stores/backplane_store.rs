//! A `BackplaneStore`: tenants with their settings, members, invitations; its projects, artifacts
//! and counters are in `gauges`.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{Done, UNKNOWN_ID, at, done, each, found, id, items, refuses, with};
use crate::world::{Client, World, on_both};

/// The store's method names over the API. Tenants go by their slug, people by a name of theirs.
pub struct BackplaneStore {
    client: Client,
}

impl BackplaneStore {
    pub fn over(world: &World) -> Self {
        Self { client: world.root() }
    }

    pub async fn create_tenant(&self, slug: &str, plan: &str) -> Done {
        let name = slug.to_uppercase();
        let body = json!({"name": name, "slug": slug, "owner": mail("owner"), "plan_code": plan});
        self.create(body).await
    }

    pub async fn create(&self, body: Value) -> Done {
        done(self.client.post("/organizations", body).await)
    }

    /// By id or slug; none where there is none.
    async fn get_tenant(&self, name: &str) -> Option<Value> {
        found(self.client.get(format!("/organizations/{name}")).await)
    }

    pub async fn update_tenant(&self, name: &str, patch: Value) -> Done {
        done(self.client.patch(format!("/organizations/{name}"), patch).await)
    }

    async fn suspend_tenant(&self, name: &str) -> Done {
        done(self.client.delete(format!("/organizations/{name}")).await)
    }

    /// Deletes a tenant permanently; false if there was none.
    pub async fn delete_tenant(&self, name: &str, force: bool) -> Result<bool, String> {
        let Some(tenant) = self.get_tenant(name).await else { return Ok(false) };
        let confirm = tenant["name"].as_str().unwrap();
        let path = format!("/organizations/{name}?mode=purge&confirm={confirm}&force={force}");
        done(self.client.delete(path).await).map(|_| true)
    }

    /// Active at once: the store knows no other way.
    pub async fn add_member(&self, tenant: &str, user: &str, role: &str) -> Done {
        self.add_member_with(tenant, user, role, json!([])).await
    }

    async fn add_member_with(&self, tenant: &str, user: &str, role: &str, extra: Value) -> Done {
        let body = json!({
            "email": mail(user), "role": role, "status": "active", "permissions": extra,
        });
        let path = format!("/organizations/{tenant}/memberships");
        done(self.client.post(path, body).await)
    }

    async fn members(&self, tenant: &str) -> Vec<Value> {
        match found(self.client.get(format!("/organizations/{tenant}/memberships")).await) {
            Some(list) => list["items"].as_array().unwrap().clone(),
            None => Vec::new(),
        }
    }

    async fn membership(&self, tenant: &str, user: &str) -> Option<String> {
        let members = self.members(tenant).await;
        members.iter().find(|member| member["email"] == mail(user)).map(id)
    }

    async fn update_member_role(&self, tenant: &str, user: &str, role: &str) -> Done {
        let membership = self.membership(tenant, user).await;
        let membership = membership.unwrap_or_else(|| UNKNOWN_ID.to_owned());
        done(self.client.patch(format!("/memberships/{membership}"), json!({"role": role})).await)
    }

    /// False where there was none.
    async fn remove_member(&self, tenant: &str, user: &str) -> Result<bool, String> {
        let Some(membership) = self.membership(tenant, user).await else { return Ok(false) };
        done(self.client.delete(format!("/memberships/{membership}")).await).map(|_| true)
    }

    async fn transfer_ownership(&self, tenant: &str, user: &str) -> Done {
        let members = self.members(tenant).await;
        let heir = members.iter().find(|member| member["email"] == mail(user));
        let heir = heir.map_or_else(|| json!(UNKNOWN_ID), |heir| heir["user_id"].clone());
        let path = format!("/organizations/{tenant}/transfer-ownership");
        done(self.client.post(path, json!({"user_id": heir})).await)
    }

    /// The slug and the role of each.
    async fn user_organizations(&self, user: &str) -> Value {
        let list = items(self.client.get(format!("/users/{user}/organizations")).await);
        list.iter().map(|org| json!([org["slug"], org["role"]["code"]])).collect()
    }

    async fn invite_member(&self, tenant: &str, user: &str, role: &str) -> Done {
        let body = json!({"email": mail(user), "role": role});
        done(self.client.post(format!("/organizations/{tenant}/invitations"), body).await)
    }

    async fn accept_invitation(&self, invitation: &Value) -> Done {
        let body = json!({"token": invitation["token"]});
        done(self.client.post("/invitations/accept", body).await)
    }

    async fn revoke_invitation(&self, invitation: &Value) -> Done {
        done(self.client.delete(format!("/invitations/{}", id(invitation))).await)
    }
}

/// The address of a person whom the store knows by name.
fn mail(user: &str) -> String {
    format!("{user}@store.example")
}

/// The roles of the members, as codes.
fn roles(members: &[Value]) -> Vec<&str> {
    members.iter().map(|member| member["role"]["code"].as_str().unwrap()).collect()
}

#[on_both]
async fn a_tenant_begins_with_its_owner_and_defaults(world: World) {
    let store = BackplaneStore::over(&world);
    let tenant = store.create(json!({"name": "Test Org", "owner": mail("owner")})).await.unwrap();
    assert_eq!(
        world.named(&tenant),
        json!({
            "id": "<1>", "name": "Test Org", "slug": "test-org", "status": "active",
            "external_id": null, "email_domain": null, "owner_user_id": "<2>",
            "default_workspace_id": null, "retained_until": null, "settings": {"isolation_level": "standard"},
            "metadata": {}, "revision": tenant["revision"],
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    assert_eq!(
        store.get_tenant(&id(&tenant)).await.unwrap(),
        tenant,
        "it reads as it was answered"
    );
    assert_eq!(store.get_tenant("test-org").await.unwrap(), tenant);
    let members = store.members("test-org").await;
    assert_eq!(roles(&members), ["ORGANIZATION_OWNER"]);
    assert_eq!(
        (&members[0]["user_id"], &members[0]["status"]),
        (&tenant["owner_user_id"], &json!("active"))
    );
    for missing in ["Test-Org", "org_nope", "nope", UNKNOWN_ID] {
        assert_eq!(store.get_tenant(missing).await, None, "{missing}");
    }
    let account = world.get("/organizations/test-org/billing-account").await.expect(200);
    assert_eq!((&account["plan"], &account["status"]), (&json!("free"), &json!("active")));
    let settings = json!({"isolation_level": "strict", "features": {"analytics": true}});
    let body = json!({"name": "Secure", "settings": settings, "metadata": {"tier": 1}});
    let secure = store.create(body).await.unwrap();
    assert_eq!((&secure["settings"], &secure["metadata"]), (&settings, &json!({"tier": 1})));
    refuses(store.create(json!({"name": "X", "plan_code": "gold"})).await, "plan not found");
    assert_eq!(store.get_tenant("x").await, None, "all of it is made, or none");
}

#[on_both]
async fn a_slug_is_made_from_the_name_or_checked(world: World) {
    let store = BackplaneStore::over(&world);
    let mut slugs = Vec::new();
    for name in ["Acme Corporation", "Acme Corporation", "  Acme, Corporation! "] {
        slugs.push(store.create(json!({"name": name})).await.unwrap()["slug"].clone());
    }
    assert_eq!(slugs, ["acme-corporation", "acme-corporation-1", "acme-corporation-2"]);
    refuses(store.create_tenant("Invalid Slug!", "free").await, "slug");
    refuses(store.create_tenant("acme-corporation", "free").await, "slug");
    for slug in ["acme-corporation-1", "Invalid Slug!", ""] {
        refuses(store.update_tenant("acme-corporation", json!({"slug": slug})).await, "slug");
    }
    let own = json!({"slug": "acme-corporation"});
    store.update_tenant("acme-corporation", own).await.unwrap();
    let moved = store.update_tenant("acme-corporation", json!({"slug": "new"})).await.unwrap();
    assert_eq!(moved["slug"], "new");
    store.create_tenant("acme-corporation", "free").await.unwrap();
}

#[on_both]
async fn settings_are_merged_and_every_update_is_later(world: World) {
    let store = BackplaneStore::over(&world);
    store.create_tenant("t", "free").await.unwrap();
    let mut before = store.get_tenant("t").await.unwrap();
    for (patch, settings) in [
        (
            json!({"features": {"a": true}}),
            json!({"isolation_level": "standard", "features": {"a": true}}),
        ),
        (
            json!({"features": {"b": false}, "theme": "dark"}),
            json!({"isolation_level": "standard", "features": {"a": true, "b": false}, "theme": "dark"}),
        ),
        (
            json!({"security": {"require_2fa": true}}),
            json!({"isolation_level": "standard", "features": {"a": true, "b": false}, "theme": "dark",
                "security": {"require_2fa": true}}),
        ),
        (
            json!({"security": {"session_timeout_minutes": 5}, "features": {"a": null}, "theme": null}),
            json!({"isolation_level": "standard", "features": {"b": false},
                "security": {"session_timeout_minutes": 5}}),
        ),
        (
            json!({}),
            json!({"isolation_level": "standard", "features": {"b": false},
                           "security": {"session_timeout_minutes": 5}}),
        ),
    ] {
        let after = store.update_tenant("t", json!({"settings": patch})).await.unwrap();
        assert_eq!(after["settings"], settings);
        assert!(at(&after["updated_at"]) > at(&before["updated_at"]), "{after}");
        assert_eq!(after["created_at"], before["created_at"]);
        before = after;
    }
    let named = store.update_tenant("t", json!({"name": "New Name"})).await.unwrap();
    assert_eq!((&named["name"], &named["slug"]), (&json!("New Name"), &json!("t")));
    assert_eq!(named["settings"], before["settings"]);
    let bad = json!({"settings": {"isolation_level": "none"}});
    refuses(store.update_tenant("t", bad).await, "isolation_level");
    refuses(store.update_tenant("nope", json!({"name": "X"})).await, "organization not found");
}

#[on_both]
async fn a_tenant_is_suspended_and_comes_back(world: World) {
    let store = BackplaneStore::over(&world);
    store.create_tenant("t", "free").await.unwrap();
    for _ in 0..2 {
        store.suspend_tenant("t").await.unwrap();
        assert_eq!(store.get_tenant("t").await.unwrap()["status"], "suspended");
    }
    let back = store.update_tenant("t", json!({"status": "active"})).await.unwrap();
    assert_eq!(back["status"], "active");
    refuses(store.suspend_tenant("nope").await, "organization not found");
}

#[on_both]
async fn a_tenant_is_deleted_with_its_members_but_not_its_projects_unless_forced(world: World) {
    let store = BackplaneStore::over(&world);
    let tenant = store.create_tenant("t", "free").await.unwrap();
    store.add_member("t", "anna", "member").await.unwrap();
    let project = world.post("/organizations/t/projects", json!({"name": "P"})).await.expect(201);
    let detail = store.delete_tenant("t", false).await.unwrap_err();
    assert!(detail.contains("projects"), "{detail}");
    let path = "/organizations/t?mode=purge&confirm=T";
    let problem = world.delete(path).await.refused(409, "organization_not_empty");
    assert_eq!((&problem["projects"], &problem["licenses"]), (&json!(1), &json!(0)));
    world.delete("/organizations/t?mode=purge&force=true").await.invalid("confirm");
    assert_eq!(store.members("t").await.len(), 2, "a refused deletion deletes nothing");

    world.pass(TimeDelta::microseconds(1));
    assert_eq!(store.delete_tenant("t", true).await, Ok(true));
    assert_eq!(store.delete_tenant("t", true).await, Ok(false));
    assert_eq!(store.members("t").await, Vec::<Value>::new());
    world.get(format!("/projects/{}", id(&project))).await.refused(404, "not_found");
    let owner = tenant["owner_user_id"].as_str().unwrap();
    assert_eq!(store.user_organizations(owner).await, json!([]), "the person stays");
    let events = world.get(format!("/audit?organization={}", id(&tenant))).await.expect(200);
    assert_eq!(events["items"][0]["action"], "organizations.delete");
    assert_eq!(events["items"].as_array().unwrap().len(), 4, "what happened is not forgotten");
    store.create_tenant("t", "free").await.unwrap();
    assert_eq!(store.delete_tenant("t", false).await, Ok(true), "members are no obstacle");
}

#[on_both]
async fn members_are_added_until_the_quota_is_full(world: World) {
    let store = BackplaneStore::over(&world);
    store.create_tenant("t", "free").await.unwrap();
    let anna = store.add_member("t", "anna", "member").await.unwrap();
    assert_eq!(
        (&anna["role"]["code"], &anna["status"], &anna["permissions"]),
        (&json!("ORGANIZATION_MEMBER"), &json!("active"), &json!([]))
    );
    refuses(store.add_member("t", "anna", "admin").await, "already a member");
    refuses(store.add_member("t", "boss", "invalid-role").await, "invalid role");
    refuses(store.add_member("nope", "anna", "member").await, "organization not found");
    store.add_member("t", "ben", "VIEWER").await.unwrap();
    refuses(store.add_member("t", "carl", "member").await, "member quota");
    refuses(store.add_member("t", "anna", "member").await, "already a member");
    refuses(store.add_member("t", "carl", "invalid-role").await, "invalid role");
    let path = "/organizations/t/memberships";
    let body = json!({"email": mail("carl"), "role": "member"});
    let problem = world.post(path, body).await.refused(429, "quota_exceeded");
    let expected = json!({"metric": "members", "limit": 3, "used": 3, "requested": 1});
    assert_eq!(with(problem.clone(), expected), problem);

    assert_eq!(store.remove_member("t", "ben").await, Ok(true));
    assert_eq!(store.remove_member("t", "ben").await, Ok(false));
    assert_eq!(store.remove_member("nope", "ben").await, Ok(false));
    store.add_member("t", "carl", "member").await.unwrap();
}

#[on_both]
async fn a_role_brings_its_permissions_and_a_member_may_have_more(world: World) {
    let store = BackplaneStore::over(&world);
    store.create_tenant("t", "team").await.unwrap();
    // Those of the example included.
    let counts = [("admin", 25), ("member", 11), ("viewer", 7)];
    for (role, count) in counts {
        let made = store.add_member("t", role, role).await.unwrap();
        assert_eq!(made["effective_permissions"].as_array().unwrap().len(), count, "{role}");
        for (role, count) in counts {
            let user = made["email"].as_str().unwrap().split('@').next().unwrap();
            let made = store.update_member_role("t", user, role).await.unwrap();
            assert_eq!(made["effective_permissions"].as_array().unwrap().len(), count, "{role}");
        }
    }
    let members = store.members("t").await;
    let owner = members.iter().find(|m| m["role"]["rank"] == 4).unwrap();
    assert_eq!(owner["effective_permissions"].as_array().unwrap().len(), 27);
    let extra = json!(["org:read", "projects:delete"]);
    let anna = store.add_member_with("t", "anna", "viewer", extra.clone()).await.unwrap();
    assert_eq!(anna["permissions"], extra, "as they were given");
    assert_eq!(anna["effective_permissions"].as_array().unwrap().len(), 8);
    let anna = store.update_member_role("t", "anna", "admin").await.unwrap();
    assert_eq!(anna["permissions"], extra);
    assert_eq!(anna["effective_permissions"].as_array().unwrap().len(), 25);
    refuses(store.update_member_role("t", "anna", "boss").await, "invalid role");
    refuses(store.update_member_role("t", "missing", "admin").await, "member not found");
}

#[on_both]
async fn the_owner_stays_until_the_ownership_is_transferred(world: World) {
    let store = BackplaneStore::over(&world);
    store.create_tenant("t", "free").await.unwrap();
    refuses(store.remove_member("t", "owner").await.map(Value::from), "cannot remove owner");
    refuses(store.update_member_role("t", "owner", "member").await, "cannot change owner role");
    refuses(store.update_member_role("t", "owner", "boss").await, "cannot change owner role");
    refuses(store.update_member_role("t", "owner", "owner").await, "cannot change owner role");
    refuses(store.add_member("t", "anna", "owner").await, "transfer");
    let anna = store.add_member("t", "anna", "viewer").await.unwrap();
    refuses(store.update_member_role("t", "anna", "owner").await, "transfer");
    refuses(store.transfer_ownership("t", "missing").await, "member not found");
    refuses(store.transfer_ownership("nope", "anna").await, "organization not found");
    let owner = store.transfer_ownership("t", "anna").await.unwrap();
    assert_eq!((&owner["id"], &owner["role"]["rank"]), (&anna["id"], &json!(4)));
    assert_eq!(store.get_tenant("t").await.unwrap()["owner_user_id"], anna["user_id"]);
    let members = store.members("t").await;
    let mut roles = roles(&members);
    roles.sort_unstable();
    assert_eq!(roles, ["ORGANIZATION_ADMIN", "ORGANIZATION_OWNER"]);
    store.transfer_ownership("t", "anna").await.unwrap();
    assert_eq!(store.remove_member("t", "owner").await, Ok(true), "an admin like any other");
    refuses(store.remove_member("t", "anna").await.map(Value::from), "cannot remove owner");
    assert_eq!(store.members("t").await.len(), 1, "twice to the same is once");
}

#[on_both]
async fn a_persons_tenants_come_with_the_role_in_each(world: World) {
    let store = BackplaneStore::over(&world);
    let first = store.create_tenant("first", "free").await.unwrap();
    world.pass(TimeDelta::seconds(1));
    store.create(json!({"name": "second", "owner": mail("other")})).await.unwrap();
    store.add_member("second", "owner", "member").await.unwrap();
    let mut orgs = store.user_organizations(first["owner_user_id"].as_str().unwrap()).await;
    orgs.as_array_mut().unwrap().sort_by_key(ToString::to_string);
    let expected = json!([["first", "ORGANIZATION_OWNER"], ["second", "ORGANIZATION_MEMBER"]]);
    assert_eq!(orgs, expected);
    assert_eq!(store.user_organizations(&world.acme.stranger).await, json!([]));
    let unknown = world.get(format!("/users/{UNKNOWN_ID}/organizations")).await;
    refuses(done(unknown), "user not found");
}

#[on_both]
async fn an_invitation_is_accepted_once_while_there_is_room(world: World) {
    let store = BackplaneStore::over(&world);
    store.create_tenant("t", "free").await.unwrap();
    let anna = store.invite_member("t", "anna", "admin").await.unwrap();
    assert_eq!(anna["token"].as_str().unwrap().len(), "cpin_".len() + 64);
    assert_eq!(anna["expires_at"], "2026-01-09T00:00:00Z", "a week");
    refuses(store.invite_member("t", "anna", "viewer").await, "pending");
    refuses(store.invite_member("t", "ben", "owner").await, "transfer");
    refuses(store.invite_member("t", "ben", "boss").await, "invalid role");
    refuses(store.invite_member("t", "owner", "admin").await, "already a member");
    refuses(store.invite_member("nope", "ben", "admin").await, "organization not found");
    for workspace in [UNKNOWN_ID, &world.acme.workspace] {
        let body = json!({"email": mail("ben"), "role": "viewer", "workspace_id": workspace});
        let refused = done(world.post("/organizations/t/invitations", body).await);
        refuses(refused, "workspace not found");
    }
    let seat = store.accept_invitation(&anna).await.unwrap();
    let accepted = (&seat["email"], &seat["status"], &seat["role"]["code"]);
    assert_eq!(accepted, (&json!(mail("anna")), &json!("active"), &json!("ORGANIZATION_ADMIN")));
    refuses(store.accept_invitation(&anna).await, "accepted");
    refuses(store.revoke_invitation(&anna).await, "accepted");

    // What is offered takes no seat; what is taken does.
    let mut offered = Vec::new();
    for user in ["ben", "carl", "dora"] {
        offered.push(store.invite_member("t", user, "member").await.unwrap());
    }
    store.accept_invitation(&offered[0]).await.unwrap();
    refuses(store.accept_invitation(&offered[1]).await, "member quota");
    assert_eq!(store.remove_member("t", "ben").await, Ok(true));
    store.accept_invitation(&offered[1]).await.unwrap();
    assert_eq!(store.remove_member("t", "carl").await, Ok(true));
    store.revoke_invitation(&offered[2]).await.unwrap();
    refuses(store.accept_invitation(&offered[2]).await, "revoked");
    let again = store.invite_member("t", "dora", "member").await.unwrap();
    world.pass(TimeDelta::days(7));
    refuses(store.accept_invitation(&again).await, "expired");
    let list = items(world.get("/organizations/t/invitations?status=expired").await);
    assert_eq!(each(&list, "email"), json!([mail("dora")]));
    refuses(store.accept_invitation(&json!({"token": "cpin_x"})).await, "invitation not found");
}
