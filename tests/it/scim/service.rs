//! What the service says about itself, and the paths below it.

use axum::http::Method;
use serde_json::{Value, json};

use super::{IdentityProvider, error, token_permissions};
use crate::world::{World, on_both};

#[on_both]
async fn service_describes_itself(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let base = format!("https://cp.example{}", provider.base);
    let config = provider.get("/ServiceProviderConfig").await.expect(200);
    let no = json!({"supported": false});
    let expected = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "documentationUri": "https://www.rfc-editor.org/rfc/rfc7644",
        "patch": {"supported": true},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": true, "maxResults": 200},
        "changePassword": no, "sort": no, "etag": {"supported": true},
        "authenticationSchemes": [{
            "type": "oauthbearertoken", "name": "Service token", "primary": true,
            "description": "A service token of the organization, as a bearer token.",
        }],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": format!("{base}/ServiceProviderConfig"),
        },
    });
    assert_eq!(config, expected);
    let types = provider.get("/ResourceTypes").await.expect(200);
    let resource_type = |name: &str, endpoint: &str, description: &str| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
            "id": name, "name": name, "endpoint": endpoint, "description": description,
            "schema": format!("urn:ietf:params:scim:schemas:core:2.0:{name}"),
            "meta": {"resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{name}")},
        })
    };
    let expected = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": 2, "startIndex": 1, "itemsPerPage": 2,
        "Resources": [
            resource_type("User", "/Users", "A person of the organization"),
            resource_type("Group", "/Groups", "A group of the organization"),
        ],
    });
    assert_eq!(types, expected);
    assert_eq!(provider.get("/ResourceTypes/Group").await.expect(200), types["Resources"][1]);
    let schemas = provider.get("/Schemas").await.expect(200);
    let names = |schema: &Value| -> Vec<String> {
        let attributes = schema["attributes"].as_array().unwrap().iter();
        attributes.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let user = &schemas["Resources"][0];
    assert_eq!(names(user), ["userName", "active", "displayName", "name", "emails"]);
    assert_eq!(names(&schemas["Resources"][1]), ["displayName", "members"]);
    let urn = user["id"].as_str().unwrap();
    assert_eq!(provider.get(&format!("/Schemas/{urn}")).await.expect(200), *user);
    assert_eq!(provider.get("/Schemas/x").await.expect(404), error(404, None, "schema not found"));
    provider.get("/ResourceTypes/x").await.expect(404);
}

#[on_both]
async fn refusals_have_the_form_of_the_standard(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    for (method, path, status) in [
        (Method::GET, "/Nothing", 404),
        (Method::GET, "", 404),
        (Method::POST, "/Bulk", 404),
        (Method::POST, "/Schemas", 405),
        (Method::DELETE, "/Users", 405),
        (Method::GET, "/Users/not-an-id", 404),
    ] {
        let refused = provider.send(method.clone(), path, None).await.expect(status);
        assert_eq!(refused["status"], status.to_string(), "{method} {path}");
        let schemas = json!(["urn:ietf:params:scim:api:messages:2.0:Error"]);
        assert_eq!(refused["schemas"], schemas, "{method} {path}");
        let mut members: Vec<&String> = refused.as_object().unwrap().keys().collect();
        members.sort();
        assert_eq!(members, ["detail", "schemas", "status"], "{method} {path}");
    }
    let stranger = world.by("junk").get(world.org("/scim/v2/Users")).await;
    assert_eq!(stranger.header("content-type"), "application/scim+json");
    assert_eq!(stranger.header("www-authenticate"), "Bearer");
    assert_eq!(stranger.expect(401)["status"], "401");
    // The slug leads to the service, too.
    let by_slug = world.get("/organizations/acme/scim/v2/Users").await.expect(200);
    assert_eq!(by_slug, provider.get("/Users").await.expect(200));
    let refused = provider.post("/Users", json!([])).await.expect(400);
    assert_eq!(refused["status"], "400");
}

/// The guide for operators names the permissions that the token needs.
#[on_both]
async fn guide_names_the_permissions_of_the_token(world: World) {
    let guide = include_str!("../../../docs/scim.md");
    let codes = token_permissions(&world).await;
    // The table of the tests has one resource more.
    for code in codes.iter().filter(|code| *code != "notes:read") {
        assert!(guide.contains(&format!("\"{code}\"")), "docs/scim.md does not name {code}");
    }
}
