//! Keys that cannot be rotated wrongly, licenses that can be revoked offline.

mod files;
mod key_lifecycle;
mod list_plans;
mod signing_service;
mod soak;
mod status_lists;
mod usage_reports;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cp_contracts::{StatusList, StatusListClaims, TokenStatus};
use serde_json::{Value, json};

use crate::world::{Client, ISSUER, World};

/// The header and the claims of a compact JWS, unverified.
pub(crate) fn parts(token: &str) -> (Value, Value) {
    let mut parts = token.split('.');
    let mut next = || {
        let bytes = URL_SAFE_NO_PAD.decode(parts.next().unwrap()).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    (next(), next())
}

/// Issues acme's license with these wishes.
pub async fn issue(world: &World, wishes: Value) -> Value {
    world.post(format!("/licenses/{}/bundles", world.acme.license), wishes).await.expect(201)
}

/// What the bundle's status list says of it now.
pub async fn status_of(client: &Client, bundle: &Value) -> TokenStatus {
    let entry = &bundle["payload"]["status"]["status_list"];
    let (list, _) = list_at(client, entry["uri"].as_str().unwrap()).await;
    list.status(entry["idx"].as_u64().unwrap()).unwrap()
}

/// A status list as it is served, decoded.
async fn list_at(client: &Client, uri: &str) -> (StatusList, StatusListClaims) {
    let path = uri.strip_prefix(ISSUER).unwrap();
    let answer = client.call(axum::http::Method::GET, path, None).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/statuslist+jwt");
    let (header, claims) = parts(&answer.text());
    assert_eq!(header, json!({"alg": "RS256", "typ": "statuslist+jwt", "kid": header["kid"]}));
    let claims: StatusListClaims = serde_json::from_value(claims).unwrap();
    assert_eq!(claims.sub, uri);
    let encoded = &claims.status_list;
    (StatusList::decode(encoded.bits, &encoded.lst, 1 << 14).unwrap(), claims)
}
