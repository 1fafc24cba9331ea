//! The identity provider of acme: its requests, and what comes back.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use crate::world::{Answer, Client, World};

/// An identity provider with a service token.
pub struct IdentityProvider {
    client: Client,
    /// The base path of the service.
    pub base: String,
}

impl IdentityProvider {
    /// The provider of acme, whose token holds what the guide names.
    pub async fn of_acme(world: &World) -> Self {
        let codes = token_permissions(world).await;
        let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
        Self::with(world, &codes).await
    }

    pub async fn with(world: &World, permissions: &[&str]) -> Self {
        let client = world.with_only(permissions).await;
        Self { client, base: format!("/api/v1/organizations/{}/scim/v2", world.acme.org) }
    }

    /// The provider of globex, with every permission.
    pub fn of_globex(world: &World) -> Self {
        let base = format!("/api/v1/organizations/{}/scim/v2", world.globex.org);
        Self { client: world.by(&world.globex.token), base }
    }

    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.client = self.client.with(name, value);
        self
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, Some(body)).await
    }

    /// A PATCH with these operations.
    pub async fn patch(&self, path: &str, operations: Value) -> Answer {
        let schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
        let body = json!({"schemas": [schema], "Operations": operations});
        self.send(Method::PATCH, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("content-type", "application/scim+json");
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let answer = self.client.send(request.body(body).unwrap()).await;
        if !answer.body.is_empty() {
            assert_eq!(answer.header("content-type"), "application/scim+json", "{}", answer.text());
        }
        answer
    }

    /// Creates a user with this address, and returns the ID.
    pub async fn user(&self, email: &str) -> String {
        id(&self.post("/Users", user(email)).await.expect(201))
    }

    /// Finds the only user that fits the filter.
    pub async fn find(&self, filter: &str) -> Value {
        only(self.get(&format!("/Users?filter={}", encoded(filter))).await)
    }

    pub async fn is_active(&self, id: &str) -> bool {
        let user = self.get(&format!("/Users/{id}")).await.expect(200);
        user["active"].as_bool().unwrap()
    }

    pub async fn set_active(&self, id: &str, active: bool) -> Answer {
        let operation = json!({"op": "replace", "path": "active", "value": active});
        self.patch(&format!("/Users/{id}"), json!([operation])).await
    }
}

/// What viewers read besides the permissions that the list of roles has.
const READS: [&str; 13] = [
    "budgets:read",
    "deployments:read",
    "effective:read",
    "groups:read",
    "licenses:read",
    "limits:read",
    "plans:read",
    "providers:read",
    "roles:read",
    "secrets:read",
    "subscriptions:read",
    "usage:read",
    "workspaces:read",
];

/// The permissions that the guide gives to the token.
pub async fn token_permissions(world: &World) -> Vec<String> {
    let roles = world.get("/roles?limit=100").await.expect(200);
    let viewer = roles["items"].as_array().unwrap().iter();
    let viewer = viewer.clone().find(|role| role["code"] == "ORGANIZATION_VIEWER").unwrap();
    let codes = viewer["permissions"].as_array().unwrap().iter();
    let codes = codes.map(|code| code.as_str().unwrap().to_owned());
    let reads = READS.iter().map(|code| (*code).to_owned());
    std::iter::once("members:provision".to_owned()).chain(codes).chain(reads).collect()
}

/// The only resource of a list.
#[track_caller]
pub fn only(answer: Answer) -> Value {
    let list = answer.expect(200);
    assert_eq!(list["totalResults"], 1, "{list}");
    list["Resources"][0].clone()
}

/// A new user, as Microsoft Entra ID describes one.
pub fn user(email: &str) -> Value {
    json!({
        "schemas": [
            "urn:ietf:params:scim:schemas:core:2.0:User",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
        ],
        "externalId": format!("id-of-{email}"), "userName": email, "active": true,
        "emails": [{"primary": true, "type": "work", "value": email}],
        "meta": {"resourceType": "User"},
        "name": {"formatted": "Anna Berg", "familyName": "Berg", "givenName": "Anna"},
        "roles": [],
    })
}

/// The whole body of a refusal.
pub fn error(status: u16, scim_type: Option<&str>, detail: &str) -> Value {
    let mut error = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": status.to_string(), "detail": detail,
    });
    if let Some(scim_type) = scim_type {
        error["scimType"] = scim_type.into();
    }
    error
}

pub fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

pub fn id(resource: &Value) -> String {
    resource["id"].as_str().unwrap().to_owned()
}
