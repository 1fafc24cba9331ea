use chrono::TimeDelta;
use cp_server::kernel::secret::Kek;
use cp_server::licensing::keys::rekey::rekey;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{ROOT, World, on_both};

const SECRET: &str = "canary-0123456789-client-secret";

#[on_both]
async fn client_secret_is_not_kept_for_another_issuer(world: World) {
    let path = world.org("/identity-providers/own");
    let body = |issuer: &str| json!({"type": "oidc", "issuer": issuer, "client_id": "42"});
    let mut first = body("https://a.example");
    first["client_secret"] = SECRET.into();
    world.put(&path, first).await.expect(201);
    world.put(&path, body("https://b.example")).await.invalid("client_secret");
    assert_eq!(world.get(&path).await.expect(200)["issuer"], "https://a.example");
    for secret in [json!("another-client-secret"), Value::Null] {
        let mut sent = body("https://b.example");
        sent["client_secret"] = secret.clone();
        let replaced = world.put(&path, sent).await.expect(200);
        assert_eq!(replaced["client_secret"].is_null(), secret.is_null());
    }
    // Without a secret there is nothing to send anywhere.
    world.put(&path, body("https://c.example")).await.expect(200);
}

#[on_both]
async fn a_provider_is_set_whole_and_keeps_its_beginning(world: World) {
    let path = world.org("/identity-providers/oidc:acme%2Feu");
    let body = json!({
        "type": "OIDC", "issuer": "https://login.acme.example", "audience": "acme",
        "jwks_uri": "https://login.acme.example/keys", "sso_url": "https://login.acme.example/sso",
        "client_id": "42", "client_secret": SECRET, "certificate_ref": "vault://kv/cert",
        "email_domains": ["ACME.example", "acme.example"], "claim_map": {"email": "mail"},
        "role_map": {"boss": "ADMIN"}, "status": "disabled", "metadata": {"k": [1]},
    });
    let answer = world.put(&path, body).await;
    let location = answer.header("location").to_owned();
    let made = answer.expect(201);
    assert_eq!(
        world.named(&made),
        json!({
            "id": "<1>", "organization_id": "<acme's org>", "key": "oidc:acme/eu",
            "type": "oidc", "issuer": "https://login.acme.example", "audience": "acme",
            "jwks_uri": "https://login.acme.example/keys",
            "sso_url": "https://login.acme.example/sso", "client_id": "42",
            "client_secret": {"masked": true}, "management": null,
            "certificate_ref": "vault://kv/cert",
            "email_domains": ["acme.example"], "claim_map": {"email": "mail"},
            "role_map": {"boss": "ADMIN"}, "status": "disabled", "metadata": {"k": [1]},
            "shares_issuer": false,
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    assert_eq!(
        location,
        format!("/api/v1/organizations/{}/identity-providers/oidc%3Aacme%2Feu", world.acme.org)
    );
    let found = world.root().call(axum::http::Method::GET, &location, None).await;
    assert_eq!(found.expect(200), made);

    world.pass(TimeDelta::hours(1));
    let body = json!({"type": "saml", "issuer": "https://login.acme.example"});
    let replaced = world.put(&path, body).await.expect(200);
    assert_eq!(
        world.named(&replaced),
        json!({
            "id": "<1>", "organization_id": "<acme's org>", "key": "oidc:acme/eu",
            "type": "saml", "issuer": "https://login.acme.example", "audience": null,
            "jwks_uri": null, "sso_url": null, "client_id": null,
            "client_secret": {"masked": true}, "management": null, "certificate_ref": null,
            "email_domains": [],
            "claim_map": {}, "role_map": {}, "status": "active", "metadata": {}, "shares_issuer": false,
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T01:00:00Z",
        })
    );
    assert_eq!(replaced["id"], made["id"]);
    let events = world.get(world.org("/audit?action=providers.put&limit=1")).await.expect(200);
    let event = &events["items"][0];
    assert_eq!((&event["before"], &event["after"]), (&made, &replaced));
    assert_eq!(event["target_type"], "identity provider");
    assert_eq!(event["target_id"], "oidc:acme/eu");

    world.delete(&path).await.expect(204);
    world.get(&path).await.refused(404, "not_found");
    world.delete(&path).await.refused(404, "not_found");
    let again = world.put(&path, json!({"type": "saml", "issuer": "https://a.example"})).await;
    assert_eq!(again.expect(201)["client_secret"], Value::Null, "the old one is gone");
}

#[on_both]
async fn an_absent_secret_stays_and_null_removes_it(world: World) {
    let path = world.org("/identity-providers/okta");
    let set = async |secret: Value| {
        let mut body = json!({"type": "okta", "issuer": "https://okta.example"});
        if secret != json!("absent") {
            body["client_secret"] = secret;
        }
        let answer = world.put(&path, body).await;
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
        (answer.json()["client_secret"].clone(), opened(&world, "okta").await)
    };
    let masked = json!({"masked": true});
    assert_eq!(set(json!("absent")).await, (Value::Null, None));
    assert_eq!(set(json!("first")).await, (masked.clone(), Some("first".into())));
    assert_eq!(set(json!("absent")).await, (masked.clone(), Some("first".into())));
    assert_eq!(set(json!("second")).await, (masked, Some("second".into())));
    assert_eq!(set(json!(null)).await, (Value::Null, None));
}

#[on_both]
async fn providers_are_listed_by_key(world: World) {
    for (key, status) in [("b", "active"), ("B", "disabled"), ("a%2Fb", "active"), ("a", "active")]
    {
        let body = json!({"type": "google", "issuer": "https://g.example", "status": status});
        world.put(world.org(&format!("/identity-providers/{key}")), body).await.expect(201);
    }
    let keys = async |query: &str| {
        let path = world.org(&format!("/identity-providers{query}"));
        let page = world.get(&path).await.expect(200);
        let keys: Vec<String> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|provider| provider["key"].as_str().unwrap().to_owned())
            .collect();
        (keys, page["next_cursor"].as_str().map(str::to_owned))
    };
    assert_eq!(keys("").await.0, ["B", "a", "a/b", "b", "saml/main"]);
    assert_eq!(keys("?status=disabled").await.0, ["B"]);
    let (first, cursor) = keys("?limit=2").await;
    assert_eq!(first, ["B", "a"]);
    let (second, cursor) = keys(&format!("?limit=2&cursor={}", cursor.unwrap())).await;
    assert_eq!(second, ["a/b", "b"]);
    let (third, end) = keys(&format!("?limit=2&cursor={}", cursor.unwrap())).await;
    assert_eq!((third, end), (vec!["saml/main".to_owned()], None));
}

#[on_both]
async fn client_secret_is_in_no_answer_and_no_event(world: World) {
    let path = world.org("/identity-providers/acme");
    let body = json!({"type": "oidc", "issuer": "https://a.example", "client_secret": SECRET});
    let keyed = world.root().with("idempotency-key", "once");
    let mut answers = vec![keyed.put(&path, body.clone()).await.text()];
    answers.push(keyed.put(&path, body.clone()).await.text());
    answers.push(world.get(&path).await.text());
    answers.push(world.get(world.org("/identity-providers")).await.text());
    for wrong in
        [json!(["canary"]), json!({"canary": 1}), json!(1234567890), json!("canary".repeat(700))]
    {
        let mut body = body.clone();
        body["client_secret"] = wrong;
        let refused = world.put(&path, body).await;
        answers.push(refused.text());
        refused.invalid("client_secret");
    }
    let mut misplaced = body.clone();
    misplaced["clientSecret"] = json!(SECRET);
    let refused = world.put(&path, misplaced).await;
    answers.push(refused.text());
    refused.invalid("clientSecret");
    world.delete(&path).await.expect(204);
    answers.push(world.get("/audit?limit=500").await.text());
    for text in answers {
        assert!(!text.contains("canary") && !text.contains("1234567890"), "{text}");
    }
    let kept: i64 = world
        .value(
            "SELECT COUNT(*) FROM audit_events
             WHERE CAST(before AS TEXT) LIKE '%canary%' OR CAST(after AS TEXT) LIKE '%canary%'
                OR CAST(before AS TEXT) LIKE '%client-secret-of%'",
        )
        .await;
    assert_eq!(kept, 0);
}

#[on_both]
async fn a_client_secret_lies_sealed_and_bound_to_its_row(world: World) {
    let path = world.org("/identity-providers/acme");
    let body = json!({"type": "oidc", "issuer": "https://a.example", "client_secret": SECRET});
    world.put(&path, body).await.expect(201);
    let mut tx = world.app.db.read();
    let sql = "SELECT client_secret FROM identity_providers WHERE key = 'acme'";
    let sealed: Vec<u8> = tx.q(sql).value().await.unwrap().unwrap();
    assert!(!sealed.windows(6).any(|window| window == b"canary"));
    assert_eq!(opened(&world, "acme").await.as_deref(), Some(SECRET));
    // In another row it does not open, so the change of the key would find out.
    let mut tx = world.app.db.begin().await.unwrap();
    let sql = "UPDATE identity_providers SET client_secret = $1 WHERE key = 'saml/main'";
    tx.q(sql).bind(sealed).exec().await.unwrap();
    tx.commit().await.unwrap();
    let error = rekey(&world.app, &Kek::new(&[9; 32]).unwrap()).await.unwrap_err();
    assert!(format!("{error:#}").contains("identity_providers.client_secret"), "{error:#}");
}

#[on_both]
async fn change_of_the_key_encryption_key_seals_client_secrets_again(world: World) {
    let new = Kek::new(&[9; 32]).unwrap();
    rekey(&world.app, &new).await.unwrap();
    for tenant in [&world.acme, &world.globex] {
        let (id, sealed) = row(&world, &tenant.org, "saml/main").await;
        let plain = new.open(&purpose(&tenant.org, id), &sealed.unwrap()).unwrap();
        assert_eq!(plain.as_slice(), format!("client-secret-of-{}", tenant.slug).as_bytes());
    }
    // This server still holds the old one: nothing is sealed under it any more.
    let body = json!({"type": "oidc", "issuer": "https://a.example", "client_secret": SECRET});
    let path = world.org("/identity-providers/acme");
    world.put(&path, body).await.refused(503, "unavailable");
}

#[on_both]
async fn a_key_is_of_the_characters_that_it_may_have(world: World) {
    let body = json!({"type": "saml", "issuer": "https://a.example", "client_secret": null});
    let path = |key: &str| world.org(&format!("/identity-providers/{key}"));
    for key in ["a%20b", "%C3%A4", "a%00b", &"x".repeat(129)] {
        world.put(path(key), body.clone()).await.invalid("key");
        world.get(path(key)).await.refused(404, "not_found");
    }
    for key in ["%2F", "..%2F..", "a.b_c:d-e%2Ff", &"x".repeat(128)] {
        world.put(path(key), body.clone()).await.expect(201);
        world.get(path(key)).await.expect(200);
    }
    world
        .put(
            path("a"),
            json!({"type": "ldap", "issuer": "https://a.example", "client_secret": null}),
        )
        .await
        .invalid("type");
    world.put(path("a"), json!({"type": "saml", "issuer": "acme"})).await.invalid("issuer");
    world.put(path("a"), json!({"type": "saml"})).await.invalid("issuer");
}

#[on_both]
async fn a_condition_on_what_is_replaced_is_kept(world: World) {
    let path = world.org("/identity-providers/saml%2Fmain");
    let body = json!({"type": "saml", "issuer": "https://a.example", "client_secret": null});
    let tag = world.get(&path).await.header("etag").to_owned();
    let careful = world.root().with("if-match", tag);
    careful.put(&path, body.clone()).await.expect(200);
    careful.put(&path, body.clone()).await.refused(412, "precondition_failed");
    let new = world.org("/identity-providers/new");
    careful.put(&new, body.clone()).await.refused(412, "precondition_failed");
    world.root().with("if-match", "*").put(&new, body).await.refused(412, "precondition_failed");
}

/// The client secret as the server would open it.
async fn opened(world: &World, key: &str) -> Option<String> {
    let (id, sealed) = row(world, &world.acme.org, key).await;
    let plain = world.app.kek.open(&purpose(&world.acme.org, id), &sealed?).unwrap();
    Some(String::from_utf8(plain.to_vec()).unwrap())
}

async fn row(world: &World, organization: &str, key: &str) -> (Uuid, Option<Vec<u8>>) {
    let organization: Uuid = organization.parse().unwrap();
    let sql = "SELECT id, client_secret FROM identity_providers
               WHERE organization_id = $1 AND key = $2";
    world.app.db.read().q(sql).bind(organization).bind(key).one().await.unwrap()
}

fn purpose(organization: &str, id: Uuid) -> String {
    format!("identity provider {organization} {id} client_secret v1")
}

#[on_both]
async fn every_caller_reads_the_platforms_providers(world: World) {
    let empty = json!({"items": [], "next_cursor": null});
    assert_eq!(world.get("/identity-providers").await.expect(200), empty);
    let provider = |key: &str, body: Value| {
        cp_server::identity::oidc::provider::Provider::of_platform(
            key,
            serde_json::from_value(body).unwrap(),
        )
        .unwrap()
    };
    let (_, server) = world.server(|settings| {
        settings.identity.providers = vec![
            provider(
                "zitadel",
                json!({
                    "type": "zitadel", "issuer": "https://z.example", "audience": "111",
                    "client_id": "c", "client_secret": "canary-secret",
                }),
            ),
            provider("okta", json!({"type": "okta", "issuer": "https://okta.example/"})),
        ];
    });
    let list = json!({
        "items": [
            {
                "key": "zitadel", "type": "zitadel", "issuer": "https://z.example",
                "audience": "111", "has_management": false,
            },
            {
                "key": "okta", "type": "okta", "issuer": "https://okta.example/", "audience": null,
                "has_management": false,
            },
        ],
        "next_cursor": null,
    });
    for token in [ROOT, &world.acme.token, &world.acme.deployment_token] {
        let answer = server.clone().token(token).get("/identity-providers").await;
        assert_eq!(answer.expect(200), list);
    }
    server.get("/identity-providers").await.refused(401, "unauthenticated");
}
