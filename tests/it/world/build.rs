//! Fills a template over the API: one of everything, twice.

use axum::http::Method;
use chrono::TimeDelta;
use cp_server::audit::integrator::integrate;
use cp_server::identity::bootstrap::{Handover, bootstrap};
use cp_server::kernel::access::ids::UserId;
use cp_server::kernel::http::line::{BASE, Line};
use cp_server::webhooks::fanout::{Position, step};
use serde_json::{Value, json};
use sqlx::types::Json;
use uuid::Uuid;

use super::{Client, ROOT, Tenant, World, everything, operations, sample};

impl World {
    /// Makes what every test finds. The clock moves between calls, so that lists have one order.
    pub(super) async fn fill(&mut self) {
        let own = bootstrap(&self.app, Handover::Own(ROOT));
        assert!(own.await.unwrap().is_none(), "a token that the operator chose is never shown");
        self.make("/plans", json!({"code": "internal", "name": "Internal", "is_public": false}))
            .await;
        // On the heap: the stack of a test is small.
        self.acme = Box::pin(self.tenant("acme")).await;
        self.globex = Box::pin(self.tenant("globex")).await;
        Box::pin(self.fill_sets()).await;
        let keys = self.get("/signing/keys").await.expect(200);
        let keys = keys["items"].as_array().unwrap();
        let successor = keys.iter().find(|key| key["state"] == "published").unwrap();
        self.successor = successor["kid"].as_str().unwrap().to_owned();
        let events = self.get("/audit?limit=1").await.expect(200);
        self.event = id(&events["items"][0]);
    }

    /// Sets one of each thing that its body alone identifies, where a deletion finds it.
    async fn fill_sets(&self) {
        let table = operations().table;
        for line in table.iter().filter(|line| line.method == Method::PUT) {
            let (_, collection) = line.path.rsplit_once('/').unwrap();
            let is_deletion =
                |other: &&Line| other.method == Method::DELETE && other.path == line.path;
            let Some(deletion) = table.iter().find(is_deletion) else { continue };
            if !collection.starts_with('{') && self.own(collection, false).is_none() {
                let path = self.path_of(deletion);
                let path = path.strip_prefix(BASE).unwrap();
                self.set(path, sample(line, "example")).await;
            }
        }
    }

    async fn make(&self, path: &str, body: Value) -> Value {
        self.clock.advance(TimeDelta::milliseconds(1));
        self.post(path, body).await.expect(201)
    }

    async fn set(&self, path: &str, body: Value) -> Value {
        self.clock.advance(TimeDelta::milliseconds(1));
        self.put(path, body).await.expect(201)
    }

    /// Creates a tenant over the API.
    pub async fn tenant(&mut self, slug: &str) -> Tenant {
        let mut t = Tenant { slug: slug.to_owned(), ..Tenant::default() };
        let person = async |name: &str| {
            let email = format!("{name}@{slug}.example");
            let user = self.make("/users", json!({"email": email, "display_name": name})).await;
            let user = id(&user);
            let subject = json!({"provider": "auth0", "subject": format!("auth0|{name}-{slug}")});
            let account = self.make(&format!("/users/{user}/auth-accounts"), subject).await;
            (user, id(&account))
        };
        (t.owner, _) = person("olga").await;
        (t.user, t.auth_account) = person("mats").await;
        (t.stranger, t.spare_auth_account) = person("sven").await;

        let body = json!({"name": capitalized(slug), "slug": slug, "owner_user_id": t.owner});
        t.org = id(&self.make("/organizations", body).await);
        let org = format!("/organizations/{}", t.org);
        let under =
            async |path: &str, body: Value| id(&self.make(&format!("{org}{path}"), body).await);
        t.workspace = under("/workspaces", json!({"name": "Production"})).await;
        t.spare_workspace = under("/workspaces", json!({"name": "Demo", "type": "demo"})).await;
        let role = json!({
            "code": "ANALYST", "name": "Analyst", "scope": "workspace", "rank": 1,
            "permissions": ["reports:read"],
        });
        t.role = under("/roles", role).await;
        let role = json!({"code": "GUEST", "name": "Guest", "scope": "workspace"});
        t.spare_role = under("/roles", role).await;
        t.membership = under("/memberships", json!({"user_id": t.user, "role": "admin"})).await;
        let seat = json!({"user_id": t.user, "role": "ANALYST"});
        let seats = format!("/workspaces/{}/memberships", t.workspace);
        t.workspace_membership = id(&self.make(&seats, seat).await);
        let deployment = json!({"name": "main", "type": "cloud", "region": "eu"});
        t.deployment = under("/deployments", deployment).await;
        t.spare_deployment = under("/deployments", json!({"name": "edge", "type": "onprem"})).await;
        t.subscription = under("/subscriptions", json!({"plan_code": "team"})).await;

        // In parts and on the heap: the stack of a test is small.
        Box::pin(self.license(&mut t)).await;
        Box::pin(self.groups(&mut t)).await;
        Box::pin(self.credentials(&mut t)).await;
        Box::pin(self.webhook(&mut t)).await;
        Box::pin(self.catalogue(&mut t)).await;
        Box::pin(self.session(&mut t)).await;
        integrate(&self.app).await.unwrap();
        step(&self.app, &Position::default()).await.unwrap();
        let deliveries = format!("/webhooks/{}/deliveries", t.others["webhooks"]);
        let deliveries = self.get(deliveries).await.expect(200);
        t.others.insert("webhook-deliveries".to_owned(), id(&deliveries["items"][0]));
        t
    }

    /// The license, with its token, seat and key, and usage.
    async fn license(&self, t: &mut Tenant) {
        let org = format!("/organizations/{}", t.org);
        let under =
            async |path: &str, body: Value| id(&self.make(&format!("{org}{path}"), body).await);
        let licenses = format!("/deployments/{}/licenses", t.deployment);
        let license = json!({
            "subscription_id": t.subscription,
            "leasing": {"seats": {"borrow_seconds": 86400, "early_return": true}},
        });
        t.license = id(&self.make(&licenses, license).await);
        let bundle = self.make(&format!("/licenses/{}/bundles", t.license), json!({})).await;
        t.bundle = bundle["jti"].as_str().unwrap().to_owned();
        let list = bundle["payload"]["status"]["status_list"]["uri"].as_str().unwrap();
        t.status_list = list.rsplit('/').next().unwrap().to_owned();
        let seat = json!({"holder": {"id": "example"}});
        let lease = self.make(&format!("/licenses/{}/leases", t.license), seat).await;
        t.others.insert("leases".to_owned(), id(&lease));
        let key = self.make(&format!("/licenses/{}/keys", t.license), json!({})).await;
        t.others.insert("license-keys".to_owned(), id(&key));
        t.license_key = key["key"].as_str().unwrap().to_owned();
        let report = usage_report(&t.deployment, &t.license, 1, None);
        let reports = format!("/deployments/{}/usage-reports", t.deployment);
        t.usage_report = id(&self.make(&reports, json!({"file": report})).await);
        t.usage_event = under("/usage", json!({"metric": "calls", "quantity": 1})).await;
        let limit = json!({"metric": "calls", "quantity": 100});
        t.limit = id(&self.put(format!("{org}/limits"), limit).await.expect(201));
    }

    /// Groups and projects.
    async fn groups(&self, t: &mut Tenant) {
        let org = format!("/organizations/{}", t.org);
        let under =
            async |path: &str, body: Value| id(&self.make(&format!("{org}{path}"), body).await);
        let slug = t.slug.clone();
        t.group = under("/groups", json!({"name": "Sales"})).await;
        t.spare_group = under("/groups", json!({"name": "Support", "product": "console"})).await;
        for group in [&t.group, &t.spare_group] {
            let seat = format!("/groups/{group}/members/{}", t.user);
            self.clock.advance(TimeDelta::milliseconds(1));
            self.put(&seat, json!({})).await.expect(201);
        }
        t.project =
            under("/projects", json!({"name": "Apollo", "slug": format!("apollo-{slug}")})).await;
        let artifact = json!({
            "run_id": "run-1", "step_id": "build", "type": "log", "path": "out/build.log",
            "size_bytes": 1000,
        });
        let artifacts = format!("/projects/{}/artifacts", t.project);
        t.artifact = id(&self.make(&artifacts, artifact).await);
        for group in [&t.group, &t.spare_group] {
            let grant = format!("/projects/{}/groups/{group}", t.project);
            self.clock.advance(TimeDelta::milliseconds(1));
            self.put(&grant, json!({"role": "member"})).await.expect(201);
        }
    }

    /// What gives access.
    async fn credentials(&self, t: &mut Tenant) {
        let org = format!("/organizations/{}", t.org);
        let slug = t.slug.clone();
        let invitation = json!({"email": format!("ines@{slug}.example"), "role": "viewer"});
        let invitation = self.make(&format!("{org}/invitations"), invitation).await;
        (t.invitation, t.invitation_token) = (id(&invitation), text_of(&invitation));

        let provider = json!({
            "type": "saml", "issuer": format!("https://login.{slug}.example"),
            "client_secret": format!("client-secret-of-{slug}"),
        });
        self.set(&format!("{org}/identity-providers/saml%2Fmain"), provider).await;
        let reference = json!({"provider": "vault", "ref": format!("kv/{slug}#token")});
        self.set(&format!("{org}/secret-refs/app%2Ftoken"), reference).await;

        let tokens = format!("{org}/service-tokens");
        let all = json!({"name": "all", "permissions": everything()});
        let token = self.make(&tokens, all).await;
        (t.token_id, t.token) = (id(&token), text_of(&token));
        let tokens = format!("/deployments/{}/service-tokens", t.deployment);
        let token = self.make(&tokens, json!({"name": "data plane"})).await;
        (t.deployment_token_id, t.deployment_token) = (id(&token), text_of(&token));
    }

    /// A webhook. Events for it follow.
    async fn webhook(&self, t: &mut Tenant) {
        let webhook = json!({
            "url": format!("https://hooks.{}.example/events", t.slug), "types": ["resources.*"],
        });
        let path = format!("/organizations/{}/webhooks", t.org);
        let webhook = id(&self.make(&path, webhook).await);
        t.others.insert("webhooks".to_owned(), webhook);
    }

    /// A session of the owner, which no browser has.
    async fn session(&self, t: &mut Tenant) {
        let id = Uuid::new_v8(<[u8; 16]>::try_from(&t.org.as_bytes()[20..36]).unwrap());
        let (now, owner) = (self.clock.now(), t.owner.parse::<UserId>().unwrap());
        let mut tx = self.app.db.begin().await.unwrap();
        let sql = "INSERT INTO sessions
                   (id, secret_hash, state_hash, user_id, provider, issuer, subject, login,
                    created_at, last_seen_at, expires_at)
                   VALUES ($1, $2, $2, $3, 'world', '', $4, $5, $6, $6, $7)";
        let hash = id.as_bytes().to_vec();
        let insert = tx.q(sql).bind(id).bind(hash).bind(owner).bind(t.slug.as_str());
        let insert = insert.bind(Json(json!({}))).bind(now).bind(now + TimeDelta::days(3650));
        insert.exec().await.unwrap();
        tx.commit().await.unwrap();
        t.others.insert("sessions".to_owned(), id.to_string());
    }

    /// Ordinary resources, which follow from their lines, and what needs them.
    async fn catalogue(&self, t: &mut Tenant) {
        let org = format!("/organizations/{}", t.org);
        let under =
            async |path: &str, body: Value| id(&self.make(&format!("{org}{path}"), body).await);
        for line in operations().table {
            let collection = line.path.strip_prefix("/organizations/{org}/").unwrap_or_default();
            let is_listed =
                operations().table.iter().any(|one| one.path == line.path && one.reads());
            let is_ordinary =
                line.method == Method::POST && line.name.ends_with(".create") && is_listed;
            let is_known =
                self.own(collection, false).is_some() || t.others.contains_key(collection);
            if is_ordinary && !collection.is_empty() && !is_known {
                let made =
                    self.make(&format!("{org}/{collection}"), sample(&line, "example")).await;
                t.others.insert(collection.to_owned(), id(&made));
            }
        }

        let archive = json!({
            "kind": "connection", "name": "Archive", "product": "studio", "spec": {"type": "mcp"},
        });
        let archive = under("/resources", archive).await;
        let listing = json!({
            "kind": "listing", "name": "Archive", "product": "studio", "parent_id": archive,
        });
        let listing = under("/resources", listing).await;
        let reactions = format!("{org}/marketplace/{listing}");
        self.set(&format!("{reactions}/installation"), json!({"user": t.user})).await;
        self.set(&format!("{reactions}/rating"), json!({"user": t.user, "stars": 5})).await;
        t.others.insert("marketplace".to_owned(), listing);

        let budget = format!("{org}/budgets/studio");
        self.set(&budget, json!({"credits": 1000})).await;
        let cycle = json!({"starts_at": "2025-12-31T00:00:00Z"});
        let cycle = self.make(&format!("{budget}/cycles"), cycle).await;
        t.others.insert("budget-cycles".to_owned(), id(&cycle));
        let allocation = json!({"scope": format!("group:{}", t.group), "quantity": 100});
        self.set(&format!("{budget}/allocations"), allocation).await;
    }

    /// A token of this reach with these permissions: `path` is `""`, or where the reach begins.
    pub async fn new_token(&self, reach: &str, permissions: &[&str]) -> String {
        let body = json!({"name": "made by a test", "permissions": permissions});
        text_of(&self.post(format!("{reach}/service-tokens"), body).await.expect(201))
    }

    /// A caller who holds these permissions in acme, and nothing else.
    pub async fn with_only(&self, permissions: &[&str]) -> Client {
        let reach = format!("/organizations/{}", self.acme.org);
        self.by(&self.new_token(&reach, permissions).await)
    }
}

impl World {
    /// A person with this role in acme, who logs in with the role's name.
    pub async fn member(&self, role: &str) -> Client {
        let user = self.post("/users", json!({"email": format!("{role}@acme.example")})).await;
        let user = id(&user.expect(201));
        let link = json!({"provider": "auth0", "subject": role});
        self.post(format!("/users/{user}/auth-accounts"), link).await.expect(201);
        let seat = json!({"user_id": user, "role": role});
        self.post(self.org("/memberships"), seat).await.expect(201);
        self.person(role)
    }
}

/// The text of a usage report file.
pub fn usage_report(
    deployment: &str,
    license: &str,
    sequence: i64,
    previous: Option<&str>,
) -> String {
    let report = json!({
        "kind": "usage_report", "deployment_id": deployment, "license_id": license,
        "sequence": sequence, "previous": previous, "since": "2025-12-31T00:00:00Z",
        "until": "2026-01-01T00:00:00Z", "counters": {"seats": 7}, "contract": "2.7.0",
    });
    report.to_string()
}

fn id(made: &Value) -> String {
    made["id"].as_str().unwrap().to_owned()
}

fn text_of(token: &Value) -> String {
    token["token"].as_str().unwrap().to_owned()
}

fn capitalized(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    first.to_uppercase() + rest
}
