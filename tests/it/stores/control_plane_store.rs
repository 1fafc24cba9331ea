//! A `ControlPlaneStore`: organizations, teams, projects, billing, identity providers, secret
//! references, audit events; its usage and limits are in `windows`.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{Done, UNKNOWN_ID, at, done, each, found, id, items, named, refuses, with};
use crate::world::{Client, World, on_both};

/// The store's method names over the API. Organizations go by their slug.
pub struct ControlPlaneStore {
    client: Client,
}

impl ControlPlaneStore {
    pub fn over(world: &World) -> Self {
        Self { client: world.root() }
    }

    /// With the caller's own id.
    pub async fn create_org(&self, own_id: &str, slug: &str) -> Done {
        let body = json!({"external_id": own_id, "slug": slug, "name": slug.to_uppercase()});
        done(self.client.post("/organizations", body).await)
    }

    pub async fn get_org(&self, own_id: &str) -> Option<Value> {
        items(self.client.get(format!("/organizations?external_id={own_id}")).await).pop()
    }

    pub async fn create_team(&self, org: &str, slug: &str) -> Done {
        self.make(org, "groups", with(named(slug), json!({"slug": slug}))).await
    }

    /// Without a role, the role of a member.
    pub async fn add_team_member(&self, team: &str, user: &str, role: Option<&str>) -> Done {
        let path = format!("/groups/{team}/members/{user}");
        done(self.client.put(path, role_of(role)).await)
    }

    pub async fn team_members(&self, team: &str) -> Vec<Value> {
        items(self.client.get(format!("/groups/{team}/members")).await)
    }

    pub async fn create_project(&self, org: &str, slug: &str) -> Done {
        self.make(org, "projects", with(named(slug), json!({"slug": slug}))).await
    }

    /// Without a role, the role of a viewer; the store knows any role by its name.
    pub async fn add_project_team(&self, project: &str, team: &str, role: Option<&str>) -> Done {
        let path = format!("/projects/{project}/groups/{team}");
        done(self.client.put(path, role_of(role)).await)
    }

    pub async fn project_teams(&self, project: &str) -> Vec<Value> {
        items(self.client.get(format!("/projects/{project}/groups")).await)
    }

    pub async fn delete_project(&self, project: &str) -> Done {
        done(self.client.delete(format!("/projects/{project}")).await)
    }

    pub async fn upsert_billing_account(&self, org: &str, account: Value) -> Done {
        done(self.client.put(format!("/organizations/{org}/billing-account"), account).await)
    }

    pub async fn get_billing_account(&self, org: &str) -> Done {
        done(self.client.get(format!("/organizations/{org}/billing-account")).await)
    }

    pub async fn upsert_identity_provider(&self, org: &str, key: &str, provider: Value) -> Done {
        let path = format!("/organizations/{org}/identity-providers/{key}");
        done(self.client.put(path, provider).await)
    }

    pub async fn list_identity_providers(&self, org: &str, filter: &str) -> Vec<Value> {
        items(self.client.get(format!("/organizations/{org}/identity-providers?{filter}")).await)
    }

    pub async fn record_usage(&self, org: &str, event: Value) -> Done {
        self.make(org, "usage", event).await
    }

    /// Metric, unit and quantity of each sum.
    pub async fn summarize_usage(&self, org: &str, asked: &str) -> Done {
        let path = format!("/organizations/{org}/usage/summary?{asked}");
        let summary = done(self.client.get(path).await)?;
        let sums = summary["items"].as_array().unwrap().iter();
        Ok(sums.map(|sum| json!([sum["metric"], sum["unit"], sum["quantity"]])).collect())
    }

    pub async fn set_usage_limit(&self, org: &str, limit: Value) -> Done {
        done(self.client.put(format!("/organizations/{org}/limits"), limit).await)
    }

    /// None where no limit is set.
    pub async fn check_usage_limit(&self, org: &str, asked: &str) -> Option<Value> {
        found(self.client.get(format!("/organizations/{org}/limits/check?{asked}")).await)
    }

    pub async fn list_usage_limits(&self, org: &str) -> Vec<Value> {
        items(self.client.get(format!("/organizations/{org}/limits")).await)
    }

    /// Of a project, or of `none`: the whole organization's.
    pub async fn put_secret_ref(&self, org: &str, project: &str, name: &str, body: Value) -> Done {
        let path = format!("/organizations/{org}/secret-refs/{name}?project={project}");
        done(self.client.put(path, body).await)
    }

    pub async fn list_secret_refs(&self, org: &str, filter: &str) -> Vec<Value> {
        items(self.client.get(format!("/organizations/{org}/secret-refs?{filter}")).await)
    }

    pub async fn record_audit_event(&self, org: &str, event: Value) -> Done {
        self.make(org, "audit", event).await
    }

    pub async fn audit_events(&self, org: &str, filter: &str) -> Vec<Value> {
        items(self.client.get(format!("/organizations/{org}/audit?{filter}")).await)
    }

    pub async fn export(&self, org: &str, window: &str) -> Done {
        done(self.client.get(format!("/organizations/{org}/export?{window}")).await)
    }

    pub async fn make(&self, org: &str, what: &str, body: Value) -> Done {
        done(self.client.post(format!("/organizations/{org}/{what}"), body).await)
    }
}

fn role_of(role: Option<&str>) -> Value {
    role.map_or_else(|| json!({}), |role| json!({"role": role}))
}

#[on_both]
async fn slugs_and_own_ids_are_taken_once(world: World) {
    let store = ControlPlaneStore::over(&world);
    let org = store.create_org("org_x", "x").await.unwrap();
    assert_eq!(store.get_org("org_x").await.unwrap(), org);
    assert_eq!(store.get_org("org_y").await, None);
    refuses(store.create_org("org_y", "x").await, "slug");
    refuses(store.create_org("org_x", "y").await, "external_id");
    for slug in ["-a", "a-", "A", "a_b", "a b", &"a".repeat(65)] {
        refuses(store.create_org("org_z", slug).await, "slug");
    }
    for make in ["groups", "projects", "workspaces"] {
        let one = json!({"name": "One", "slug": "o", "external_id": "own"});
        store.make("x", make, one.clone()).await.unwrap();
        let again = with(one.clone(), json!({"external_id": "other"}));
        refuses(store.make("x", make, again).await, "slug");
        let again = with(one.clone(), json!({"slug": "p"}));
        refuses(store.make("x", make, again).await, "external_id");
        store.make("acme", make, one).await.unwrap();
    }
    // Below another team, or for another product, a team's slug is free again.
    let team = store.create_team("x", "ops").await.unwrap();
    let below = json!({"name": "Ops", "slug": "ops", "parent_id": team["id"]});
    store.make("x", "groups", below).await.unwrap();
    let product = json!({"name": "Ops", "slug": "ops", "product": "copilot"});
    store.make("x", "groups", product).await.unwrap();
    refuses(store.create_team("x", "ops").await, "slug");
}

#[on_both]
async fn a_team_member_is_added_again_with_another_role_only(world: World) {
    let store = ControlPlaneStore::over(&world);
    let team = id(&store.create_team("acme", "operators").await.unwrap());
    let user = &world.acme.stranger;
    let first = store.add_team_member(&team, user, None).await.unwrap();
    assert_eq!(first["role"]["code"], "GROUP_MEMBER");
    world.pass(TimeDelta::seconds(1));
    let again = store.add_team_member(&team, user, Some("admin")).await.unwrap();
    assert_eq!(again["role"]["code"], "GROUP_ADMIN");
    for same in ["id", "created_at", "user_id", "group_id", "status"] {
        assert_eq!(again[same], first[same], "{same}");
    }
    assert_eq!(store.team_members(&team).await, [again]);
    // A member of a team is in the organization, at least as its viewer.
    let path = world.org(&format!("/memberships?user_id={user}"));
    let seat = items(world.get(path).await);
    assert_eq!(each(&seat, "role")[0]["code"], "ORGANIZATION_VIEWER");
    refuses(store.add_team_member(&team, user, Some("boss")).await, "invalid role");
    refuses(store.add_team_member(&team, UNKNOWN_ID, None).await, "user not found");
    refuses(store.add_team_member(UNKNOWN_ID, user, None).await, "group not found");
}

#[on_both]
async fn a_team_is_granted_a_project_as_a_viewer_or_in_any_role(world: World) {
    let store = ControlPlaneStore::over(&world);
    let team = id(&store.create_team("acme", "operators").await.unwrap());
    let project = id(&store.create_project("acme", "app").await.unwrap());
    let first = store.add_project_team(&project, &team, None).await.unwrap();
    assert_eq!(first["role"]["code"], "PROJECT_VIEWER");
    refuses(store.add_project_team(&project, &team, Some("operator")).await, "invalid role");
    let role = json!({"code": "OPERATOR", "name": "Operator", "scope": "project"});
    store.make("acme", "roles", role).await.unwrap();
    world.pass(TimeDelta::seconds(1));
    let again = store.add_project_team(&project, &team, Some("operator")).await.unwrap();
    assert_eq!(again["role"]["code"], "OPERATOR");
    assert_eq!(again["created_at"], first["created_at"]);
    assert_eq!(store.project_teams(&project).await, [again]);
    refuses(store.add_project_team(&project, UNKNOWN_ID, None).await, "group not found");
    refuses(store.add_project_team(&project, &world.globex.group, None).await, "group not found");
    refuses(store.add_project_team(UNKNOWN_ID, &team, None).await, "project not found");
    world.delete(format!("/groups/{team}")).await.expect(204);
    assert_eq!(store.project_teams(&project).await, Vec::<Value>::new());
}

#[on_both]
async fn a_billing_account_is_replaced_whole(world: World) {
    let store = ControlPlaneStore::over(&world);
    store.create_org("org_x", "x").await.unwrap();
    let first = store.get_billing_account("x").await.unwrap();
    assert_eq!((&first["plan"], &first["status"]), (&json!("free"), &json!("active")));
    let account = json!({
        "plan": "business", "billing_customer_id": "cus_123", "status": "trialing",
    });
    world.pass(TimeDelta::seconds(1));
    let set = store.upsert_billing_account("x", account.clone()).await.unwrap();
    assert_eq!(with(set.clone(), account), set);
    assert_eq!(set["created_at"], first["created_at"]);
    assert_eq!(store.get_billing_account("x").await.unwrap(), set);
    let set = store.upsert_billing_account("x", json!({"plan": "team"})).await.unwrap();
    let expected = json!({"plan": "team", "billing_customer_id": null, "status": "active"});
    assert_eq!(with(set.clone(), expected), set);
    refuses(store.upsert_billing_account("x", json!({})).await, "plan");
    refuses(
        store.upsert_billing_account("nope", json!({"plan": "team"})).await,
        "organization not found",
    );
}

#[on_both]
async fn an_identity_provider_is_replaced_whole_and_listed_by_key(world: World) {
    let store = ControlPlaneStore::over(&world);
    store.create_org("org_x", "x").await.unwrap();
    let full = json!({
        "type": "saml", "issuer": "https://acme.okta.com", "sso_url": "https://acme.okta.com/sso",
        "certificate_ref": "vault://identity/cert", "metadata": {"domains": ["acme.test"]},
    });
    let first = store.upsert_identity_provider("x", "idp_okta", full.clone()).await.unwrap();
    assert_eq!(with(first.clone(), full), first);
    assert_eq!(first["status"], "active");
    world.pass(TimeDelta::seconds(1));
    let less = json!({"type": "oidc", "issuer": "https://idp.test", "status": "disabled"});
    let second = store.upsert_identity_provider("x", "idp_okta", less.clone()).await.unwrap();
    let expected = json!({"sso_url": null, "certificate_ref": null, "metadata": {}});
    let expected = with(with(second.clone(), less), expected);
    assert_eq!((&expected, &second["created_at"]), (&second, &first["created_at"]));
    assert!(at(&second["updated_at"]) > at(&first["updated_at"]));
    for key in ["idp_b", "idp_A", "idp:1"] {
        let body = json!({"type": "oidc", "issuer": "https://idp.test"});
        store.upsert_identity_provider("x", key, body).await.unwrap();
    }
    let all = store.list_identity_providers("x", "").await;
    assert_eq!(each(&all, "key"), json!(["idp:1", "idp_A", "idp_b", "idp_okta"]));
    let disabled = store.list_identity_providers("x", "status=disabled").await;
    assert_eq!(disabled, [second]);
    let body = json!({"type": "telepathy", "issuer": "https://idp.test"});
    refuses(store.upsert_identity_provider("x", "k", body).await, "type");
    refuses(store.upsert_identity_provider("x", "k", json!({"type": "oidc"})).await, "issuer");
}

#[on_both]
async fn a_secret_reference_is_rotated_in_place_and_holds_no_value(world: World) {
    let store = ControlPlaneStore::over(&world);
    store.create_org("org_x", "x").await.unwrap();
    let project = id(&store.create_project("x", "api").await.unwrap());
    let at = |version: u32| json!({"provider": "vault", "ref": format!("vault://v{version}")});
    let first = store.put_secret_ref("x", "none", "tok", at(1)).await.unwrap();
    let own = store.put_secret_ref("x", &project, "tok", at(7)).await.unwrap();
    let rotation = json!({"rotated_at": "2026-01-02T00:00:00Z", "created_by": "user_ops"});
    let rotated = store.put_secret_ref("x", "none", "tok", with(at(2), rotation)).await.unwrap();
    assert_eq!((&rotated["id"], &rotated["created_at"]), (&first["id"], &first["created_at"]));
    assert_eq!(
        (&rotated["ref"], &rotated["created_by"]),
        (&json!("vault://v2"), &json!("user_ops"))
    );
    let a = store.put_secret_ref("x", "none", "a", at(1)).await.unwrap();
    assert_eq!(store.list_secret_refs("x", "project=none").await, [a, rotated]);
    assert_eq!(store.list_secret_refs("x", &format!("project={project}")).await, [own]);
    let all = store.list_secret_refs("x", "").await;
    assert_eq!(each(&all, "name"), json!(["a", "tok", "tok"]));
    for value in ["value", "secretValue", "secret_value"] {
        let body = with(at(3), json!({value: "super-secret-value"}));
        let refusal = store.put_secret_ref("x", "none", "tok", body).await.unwrap_err();
        assert!(refusal.contains(value) && !refusal.contains("super-secret"), "{refusal}");
    }
    refuses(store.put_secret_ref("x", UNKNOWN_ID, "tok", at(1)).await, "project not found");
    refuses(
        store.put_secret_ref("x", &world.acme.project, "tok", at(1)).await,
        "project not found",
    );
}

#[on_both]
async fn recorded_audit_event_keeps_its_occurrence_time(world: World) {
    let store = ControlPlaneStore::over(&world);
    store.create_org("org_x", "x").await.unwrap();
    let project = store.create_project("x", "api").await.unwrap();
    let at = |hour: u32| {
        json!({
            "action": "run.create", "target_type": "run", "target_id": "run_1", "actor": "user_1",
            "project_id": project["id"], "metadata": {"n": hour},
            "occurred_at": format!("2025-06-01T{hour:02}:00:00Z"),
        })
    };
    let mut recorded = Vec::new();
    for hour in [3, 4, 5] {
        world.pass(TimeDelta::microseconds(1));
        let event = store.record_audit_event("x", at(hour)).await.unwrap();
        assert_eq!(with(event.clone(), at(hour)), event);
        recorded.insert(0, event);
    }
    let window = "since=2025-06-01T03:00:00Z&until=2025-06-01T05:00:00Z";
    assert_eq!(store.audit_events("x", window).await, recorded, "both ends are in it");
    let of_project = format!("project={}&action=run.create", id(&project));
    assert_eq!(store.audit_events("x", &of_project).await, recorded);
    let foreign = with(at(1), json!({"project_id": world.acme.project}));
    refuses(store.record_audit_event("x", foreign).await, "project not found");
    refuses(store.record_audit_event("nope", at(1)).await, "organization not found");
    // They outlive their project, and name it.
    store.delete_project(&id(&project)).await.unwrap();
    assert_eq!(store.audit_events("x", &of_project).await, recorded);
}

#[on_both]
async fn audit_trail_has_changes_in_their_order(world: World) {
    let store = ControlPlaneStore::over(&world);
    let next = || world.pass(TimeDelta::microseconds(1));
    store.create_org("org_x", "x").await.unwrap();
    next();
    let team = id(&store.create_team("x", "ops").await.unwrap());
    next();
    store.add_team_member(&team, &world.acme.user, Some("admin")).await.unwrap();
    next();
    let project = id(&store.create_project("x", "app").await.unwrap());
    next();
    store.add_project_team(&project, &team, None).await.unwrap();
    next();
    store.upsert_billing_account("x", json!({"plan": "team"})).await.unwrap();
    next();
    let provider = json!({"type": "oidc", "issuer": "https://idp.test"});
    store.upsert_identity_provider("x", "idp", provider).await.unwrap();
    store.record_usage("x", json!({"metric": "runs", "quantity": 1})).await.unwrap();
    next();
    store.set_usage_limit("x", json!({"metric": "runs", "quantity": 9})).await.unwrap();
    next();
    let secret = json!({"provider": "vault", "ref": "vault://v1"});
    store.put_secret_ref("x", "none", "tok", secret).await.unwrap();
    let mut events = store.audit_events("x", "").await;
    events.reverse();
    assert_eq!(
        each(&events, "action"),
        json!([
            "organizations.create",
            "groups.create",
            "groups.put_member",
            "projects.create",
            "projects.grant",
            "billing_account.put",
            "providers.put",
            "limits.put",
            "secret_refs.put",
        ])
    );
}

#[on_both]
async fn nothing_is_put_into_an_organization_that_is_not_there(world: World) {
    let store = ControlPlaneStore::over(&world);
    for org in ["nope", "org_nope", UNKNOWN_ID] {
        refuses(store.create_team(org, "a").await, "organization not found");
        refuses(store.create_project(org, "a").await, "organization not found");
        let usage = json!({"metric": "runs", "quantity": 1});
        refuses(store.record_usage(org, usage.clone()).await, "organization not found");
        refuses(store.set_usage_limit(org, usage).await, "organization not found");
        refuses(store.summarize_usage(org, "").await, "organization not found");
        let path = format!("/organizations/{org}/limits/check?metric=runs");
        refuses(done(world.get(path).await), "organization not found");
        let body = json!({"provider": "vault", "ref": "vault://v1"});
        refuses(store.put_secret_ref(org, "none", "a", body).await, "organization not found");
    }
}
