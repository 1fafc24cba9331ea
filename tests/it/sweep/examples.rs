//! For every line of the table, a request that succeeds in the world.

use axum::http::Method;
use cp_server::kernel::http::line::Line;
use serde_json::{Value, json};

use crate::world::zitadel::Zitadel;
use crate::world::{World, operations, sample, sample_patch, usage_report};

/// An ID of no record.
pub const UNKNOWN_ID: &str = "01900000-0000-7000-8000-000000000000";

impl World {
    /// The path of a line, naming acme's things; those that a deletion may take for `DELETE`.
    pub fn path_of(&self, line: &Line) -> String {
        let spare = line.method == Method::DELETE;
        self.path_with(line, |collection| {
            if collection == "identity-providers" && line.path.ends_with("/provision") {
                return "zitadel";
            }
            let own = self.own(collection, spare);
            let own = own.or_else(|| self.acme.others.get(collection).map(String::as_str));
            own.unwrap_or_else(|| panic!("the world has no {collection}: add one"))
        })
    }

    /// Acme's thing of a collection that the world fills by hand.
    pub fn own(&self, collection: &str, spare: bool) -> Option<&str> {
        let acme = &self.acme;
        let pick = |kept, deleted| if spare { deleted } else { kept };
        Some(match collection {
            "organizations" => &acme.org,
            "quotas" => "storage_bytes",
            "workspaces" => pick(&acme.workspace, &acme.spare_workspace),
            "users" => pick(&acme.user, &acme.stranger),
            "auth-accounts" => &acme.spare_auth_account,
            "roles" => pick(&acme.role, &acme.spare_role),
            "memberships" => &acme.membership,
            "groups" => pick(&acme.group, &acme.spare_group),
            "members" => &acme.user,
            "Users" => &acme.user,
            "Groups" => pick(&acme.group, &acme.spare_group),
            "ResourceTypes" => "User",
            "Schemas" => "urn:ietf:params:scim:schemas:core:2.0:User",
            "projects" => &acme.project,
            "artifacts" => &acme.artifact,
            "invitations" => &acme.invitation,
            "plans" => "internal",
            "problems" => "name_taken",
            "subscriptions" => &acme.subscription,
            "deployments" => pick(&acme.deployment, &acme.spare_deployment),
            "licenses" => &acme.license,
            "bundles" => &acme.bundle,
            "keys" => &self.successor,
            "status-lists" => &acme.status_list,
            "usage-reports" => &acme.usage_report,
            "identity-providers" => "saml%2Fmain",
            "secret-refs" => "app%2Ftoken",
            "usage" => &acme.usage_event,
            "limits" => &acme.limit,
            "budgets" => "studio",
            // The path of the budget or of the listing names them.
            "allocations" | "installation" | "rating" => "",
            "audit" => &self.event,
            "tile" => "0/000.p/1",
            "service-tokens" => pick(&acme.token_id, &acme.deployment_token_id),
            _ => return None,
        })
    }

    /// The same path to what does not exist.
    pub fn path_to_unknown(&self, line: &Line) -> String {
        self.path_with(
            line,
            |collection| if collection == "plans" { "missing" } else { UNKNOWN_ID },
        )
    }

    fn path_with<'a>(&self, line: &Line, id: impl Fn(&str) -> &'a str) -> String {
        let path = line.full_path();
        let mut collection = "";
        let mut parts = Vec::new();
        for part in path.split('/') {
            if part.starts_with('{') {
                parts.push(id(collection));
            } else {
                collection = part;
                parts.push(part);
            }
        }
        parts.join("/")
    }
}

/// What a successful request of the line carries.
pub struct Example {
    pub query: String,
    pub body: Option<Value>,
}

/// The query that names what the world has set at the path of a deletion; empty for other paths.
fn set_before(deletion: &Line) -> String {
    let is_set = |line: &Line| line.method == Method::PUT && line.path == deletion.path;
    let table = operations().table;
    let Some(put) = table.iter().find(|line| is_set(line) && !line.path.ends_with('}')) else {
        return String::new();
    };
    let members = sample(put, "example");
    let pairs = members.as_object().unwrap().iter();
    let mut query = url::form_urlencoded::Serializer::for_suffix(String::from("?"), 1);
    query.extend_pairs(pairs.map(|(name, value)| (name, value.as_str().unwrap())));
    query.finish()
}

/// Sets up what a line needs besides the world. A server that answers the line's requests lives as long
/// as the result.
pub async fn prepare(world: &World, line: &Line) -> Option<Zitadel> {
    if line.name == "licenses.create" {
        world.post(format!("/licenses/{}/revoke", world.acme.license), json!({})).await.expect(200);
    }
    if line.name == "console_links.create" {
        let settings = json!({"settings": {"console_links": true}});
        world.patch(world.org(""), settings).await.expect(200);
        let identity = format!("/auth-accounts/{}", world.acme.spare_auth_account);
        world.delete(identity).await.expect(204);
        let seat = json!({"user_id": world.acme.stranger, "role": "viewer"});
        world.post(world.org("/memberships"), seat).await.expect(201);
    }
    if line.name == "webhooks.test" {
        // No receiver listens there, and the answer comes at once.
        let path = format!("/webhooks/{}", world.acme.others["webhooks"]);
        world.patch(path, json!({"url": "http://127.0.0.1:1/"})).await.expect(200);
    }
    if line.name == "leases.return" {
        let path = format!("/leases/{}/borrow", world.acme.others["leases"]);
        world.post(path, json!({"seconds": 3600})).await.expect(200);
    }
    if !line.path.ends_with("/provision") {
        return None;
    }
    let zitadel = Zitadel::start().await;
    zitadel.set(|inner| {
        inner.known.add_user("283746501928374652", "mats@acme.example");
        inner.known.add_user("283746501928374653", "olga@acme.example");
    });
    let provider = world.org("/identity-providers/zitadel");
    world.put(provider, zitadel.body(json!({}))).await.expect(201);
    Some(zitadel)
}

/// The body of an ordinary line follows from its schema.
pub fn example(world: &World, line: &Line) -> Example {
    let acme = &world.acme;
    let query = |query: &str| Example { query: query.to_owned(), body: None };
    let body = |body| Example { query: String::new(), body: Some(body) };
    match line.name {
        "users.whoami" => query(&format!("?provider=auth0&subject=auth0%7Cmats-{}", acme.slug)),
        "workspaces.check_access" => query(&format!("?user={}", acme.user)),
        "licenses.affected_all" => query(&format!("?licenses={}", acme.license)),
        "overview.organizations" => query(&format!("?ids={}", acme.org)),
        "log.proof" => query(&format!("?jti={}", acme.bundle)),
        "log.consistency" => query("?from=1&to=2"),
        "search.find" => query("?q=acme"),
        "organizations.delete" => query("?mode=suspend"),
        "limits.check" | "limits.delete" => query("?metric=calls"),
        "costs.sum" => query("?product=studio"),
        "allocations.delete" => query(&format!("?scope=group:{}", acme.group)),
        "marketplace.uninstall" | "marketplace.remove_rating" => {
            query(&format!("?user={}", acme.user))
        }
        _ if line.method == Method::DELETE => query(&set_before(line)),
        "webhook_confirmations.show" => query("?token=another"),
        _ if line.method == Method::GET => query(""),
        "webhooks.test" | "webhooks.enable" | "webhooks.disable" | "webhook_deliveries.retry" => {
            query("")
        }
        "webhooks.create" | "webhooks.create_for_platform" => {
            body(json!({"url": "https://hooks.example.com/", "types": ["licenses.*"]}))
        }
        "webhook_confirmations.confirm" => query("?token=another"),
        "webhooks.replay" => body(json!({"since": "2026-01-01T00:00:00Z", "only": "all"})),
        "leases.return" | "sessions.logout" | "sessions.logout_everywhere" => query(""),
        "organizations.create" => body(json!({"name": "Initech"})),
        "workspaces.create" => body(json!({"name": "Test"})),
        "users.upsert" => body(json!({"email": "new@example.com"})),
        "directory.upsert" => body(json!({
            "email": "new@acme.example", "groups": [{"group_id": acme.group}],
        })),
        "users.update" => body(json!({"display_name": "Renamed"})),
        "subscriptions.update" => body(json!({"seat_cap": 21})),
        "licenses.update" => body(json!({"grace_days": 3})),
        "leases.claim" => body(json!({"holder": {"id": "another"}})),
        "leases.heartbeat" => body(json!({})),
        "license_keys.validate" => body(json!({"key": acme.license_key})),
        "users.link" => body(json!({"provider": "okta", "subject": "42"})),
        "invitations.create" => body(json!({"email": "new@acme.example", "role": "member"})),
        "invitations.resend" => body(json!({"expires_in_hours": 24})),
        "invitations.accept" => body(json!({"token": acme.invitation_token})),
        "scim.create_user" => body(json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": "anna@acme.example", "externalId": "00u1", "active": true,
            "name": {"givenName": "Anna", "familyName": "Berg"},
            "emails": [{"value": "anna@acme.example", "type": "work", "primary": true}],
        })),
        "scim.replace_user" => body(json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": "mats@acme.example", "displayName": "Mats",
        })),
        "scim.update_user" => body(json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "replace", "path": "active", "value": false}],
        })),
        "scim.create_group" => body(json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": "Marketing", "members": [{"value": acme.user}],
        })),
        "scim.replace_group" => body(json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Sales team",
        })),
        "scim.update_group" => body(json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [
                {"op": "add", "path": "members", "value": [{"value": acme.owner}]},
            ],
        })),
        "groups.create" => body(json!({"name": "Marketing"})),
        "groups.put_member" | "projects.grant" => body(json!({"role": "admin"})),
        "projects.create" => body(json!({"name": "Gemini"})),
        "projects.move" => body(json!({"organization": world.globex.org})),
        "artifacts.create" => body(json!({
            "run_id": "run-2", "step_id": "test", "type": "report", "path": "out/report.html",
        })),
        "quotas.adjust" => body(json!({"delta": 1})),
        "quotas.put" => body(json!({"quantity": "unlimited"})),
        "roles.create" => body(json!({"code": "AUDITOR", "name": "A", "scope": "organization"})),
        "memberships.create" | "workspaces.add_member" => {
            body(json!({"email": "sven@acme.example", "role": "viewer"}))
        }
        "console_links.create" => body(json!({"user_id": acme.stranger})),
        "memberships.update" => body(json!({"role": "viewer"})),
        "memberships.accept" => body(json!({})),
        "organizations.transfer_ownership" => body(json!({"user_id": acme.user})),
        "service_tokens.create_for_platform" | "service_tokens.create" => {
            body(json!({"name": "t", "permissions": ["org:read"]}))
        }
        "service_tokens.create_for_deployment" => body(json!({"name": "t"})),
        "service_tokens.rotate" => body(json!({"overlap_seconds": 60})),
        "plans.create" => body(json!({"code": "gold", "name": "Gold"})),
        "plans.migrate" => body(json!({"dry_run": false})),
        "subscriptions.create" => body(json!({"plan_code": "free", "status": "canceled"})),
        "subscriptions.cancel" => body(json!({"reason": "moved away"})),
        "deployments.create" => body(json!({"name": "lab", "type": "demo"})),
        "licenses.create" => body(json!({
            "subscription_id": acme.subscription,
        })),
        "licenses.renew" => body(json!({"valid_until": "2027-01-01T00:00:00Z"})),
        "licenses.transfer" => body(json!({"deployment_id": acme.spare_deployment})),
        "deployments.check_in" => body(json!({"contract": "2.10.0", "want": "auto"})),
        "licenses.token" => body(json!({"form": "token"})),
        "licenses.suspend" | "licenses.reinstate" | "licenses.revoke" | "bundles.revoke" => {
            body(json!({"reason": "asked for"}))
        }
        "bundles.inspect" => body(json!({"token": "eyJhbGciOiJSUzI1NiJ9.e30.c2ln"})),
        "bundles.issue" => body(json!({"ttl_seconds": 3600})),
        "keys.create" | "licenses.refresh" | "keys.publish" | "keys.retire" => body(json!({})),
        "keys.activate" | "keys.rotate" => body(json!({"emergency": true, "reason": "it leaked"})),
        "keys.compromise" => body(json!({"reason": "it leaked"})),
        "usage_reports.import" => {
            body(json!({"file": usage_report(&acme.deployment, &acme.license, 2, None)}))
        }
        "providers.put" => body(json!({
            "type": "oidc", "issuer": "https://login.example", "client_secret": "eyJ-canary",
        })),
        "providers.provision" => body(json!({"dry_run": false, "grants": "admins"})),
        "secret_refs.put" => body(json!({"provider": "vault", "ref": "kv/app#token"})),
        "billing_account.put" => {
            body(json!({"plan": "enterprise", "billing_customer_id": "cus_1"}))
        }
        "audit.erase" => body(json!({"user": acme.user, "reason": "asked for"})),
        "audit.record" => body(json!({"action": "deploy.done", "target_type": "release"})),
        "usage.record" => body(json!({"metric": "calls", "quantity": 1})),
        "budgets.put" => body(json!({"credits": 2000})),
        "budget_cycles.open" => body(json!({"name": "January"})),
        "allocations.put" => {
            body(json!({"scope": format!("group:{}", acme.group), "quantity": 400}))
        }
        "allocations.distribute" => {
            body(json!({"scopes": [format!("group:{}", acme.group)], "total": 300}))
        }
        "marketplace.install" => body(json!({"user": acme.user})),
        "marketplace.rate" => body(json!({"user": acme.user, "stars": 4})),
        "limits.put" => body(json!({"metric": "calls", "quantity": 200})),
        "bundles.issue_many" => body(json!({"ids": [acme.license]})),
        "imports.run" => {
            body(json!({"kind": "organization", "external_id": "crm-1", "name": "Initech"}))
        }
        _ if line.method == Method::PATCH => body(sample_patch(line)),
        _ => body(sample(line, "another")),
    }
}
