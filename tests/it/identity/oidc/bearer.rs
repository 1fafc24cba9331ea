use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{mats, me, reason, trusting};
use crate::world::issuer::{API, Alg, Issuer, base64url};
use crate::world::{World, on_both};

#[on_both]
async fn a_person_is_known_by_the_token_of_a_trusted_provider(world: World) {
    let issuer = Issuer::start().await;
    let (_, client) = trusting(&world, &issuer);
    let mut seen = Vec::new();
    for alg in Alg::ALL {
        issuer.rotate(alg);
        // Each algorithm's key is new: time lets it be asked for.
        world.pass(TimeDelta::seconds(30));
        let token = issuer.token(mats(json!({"name": "Mats"})));
        let found = me(&client, &token).await.expect(200);
        assert_eq!(found["kind"], "person", "{alg:?}");
        assert_eq!(found["user_id"], json!(world.acme.user), "{alg:?}");
        assert_eq!(found["name"], "Mats");
        seen.push(alg);
    }
    assert_eq!(seen.len(), 10);
    assert_eq!(issuer.asked_for_keys(), 10);
}

#[on_both]
async fn incomplete_token_is_refused_with_the_reason(world: World) {
    let issuer = Issuer::start().await;
    let (_, client) = trusting(&world, &issuer);
    let at = crate::world::now().timestamp();
    for (claims, why) in [
        (json!({"iss": "https://other.example"}), "is not trusted here"),
        (json!({"iss": format!("{}/", issuer.url)}), "is not trusted here"),
        (json!({"iss": null}), "it names no issuer (iss)"),
        (json!({"iss": 1}), "it names no issuer (iss)"),
        (json!({"aud": "other"}), "its audience (aud) \"other\" is not that"),
        (json!({"aud": null}), "it must have 1 to 32 audiences (aud)"),
        (json!({"aud": [1]}), "it must have 1 to 32 audiences (aud)"),
        (json!({"aud": vec![API; 33]}), "it must have 1 to 32 audiences (aud)"),
        (json!({"exp": at - 60}), "it has expired (exp)"),
        (json!({"exp": null}), "it has no exp"),
        (json!({"exp": "soon"}), "exp is not a number of seconds"),
        (json!({"exp": at.to_string()}), "exp is not a number of seconds"),
        (json!({"exp": -1}), "exp is not a number of seconds"),
        (json!({"exp": -0.5}), "exp is not a number of seconds"),
        (json!({"exp": 253_402_300_800_i64}), "exp is not a number of seconds"),
        (json!({"exp": 253_402_300_800.0}), "exp is not a number of seconds"),
        (json!({"exp": 1e300}), "exp is not a number of seconds"),
        (json!({"iat": [at]}), "iat is not a number of seconds"),
        (json!({"nbf": true}), "nbf is not a number of seconds"),
        (json!({"exp": at as f64 - 60.5}), "it has expired (exp)"),
        (json!({"nbf": at as f64 + 61.5}), "it is not valid yet"),
        (json!({"iat": null}), "it has no iat"),
        (json!({"iat": at + 61}), "it is not valid yet"),
        (json!({"nbf": at + 61}), "it is not valid yet"),
        (json!({"iat": at - 100, "nbf": at - 100, "exp": at - 100}), "it has expired"),
        (json!({"exp": at, "nbf": at}), "its end (exp) is before"),
        (json!({"sub": null}), "it has no subject in sub"),
        (json!({"sub": ""}), "it has no subject in sub"),
        (json!({"sub": 7}), "it has no subject in sub"),
        (json!({"nonce": "n"}), "it is an ID token (it has nonce)"),
        (json!({"at_hash": "h"}), "it is an ID token (it has at_hash)"),
        (json!({"typ": "ID"}), "it is not an access token according to its typ"),
        (json!({"typ": "Refresh"}), "it is not an access token"),
        (json!({"token_use": "id"}), "it is not an access token"),
        (json!({"events": {}}), "it is a logout token or an event"),
    ] {
        let over = if claims.get("sub").is_some() { claims.clone() } else { mats(claims.clone()) };
        let detail = reason(me(&client, &issuer.token(over)).await);
        assert!(detail.contains(why), "{claims}: {detail}");
    }
    // What clocks may differ by.
    for claims in [
        json!({"exp": at - 59, "iat": at - 300, "nbf": null}),
        json!({"iat": at + 60, "nbf": null}),
        json!({"nbf": at + 60}),
        json!({"typ": "Bearer", "iat": at}),
        // Fractions, in each spelling of JSON.
        json!({"exp": at as f64 + 600.5}),
        json!({"iat": at as f64 - 1.5, "nbf": at as f64 - 1.25}),
        json!({"iat": at as f64, "exp": at as f64 + 0.75, "nbf": at as f64 + 0.5}),
        json!({"exp": 4e9}),
        json!({"exp": 253_402_300_799_i64}),
    ] {
        me(&client, &issuer.token(mats(claims))).await.expect(200);
    }
}

#[on_both]
async fn misleading_token_headers_are_refused(world: World) {
    let issuer = Issuer::start().await;
    let (_, client) = trusting(&world, &issuer);
    let key = issuer.rotate(Alg::Rs256);
    let claims = issuer.claims(mats(json!({})));
    let kid = key.kid.clone();
    for (header, why) in [
        (json!({"alg": "none"}), "its algorithm is not one of"),
        (json!({"alg": "HS256"}), "its algorithm is not one of"),
        (json!({"alg": "RS1"}), "its algorithm is not one of"),
        (json!({"alg": "rs256"}), "its algorithm is not one of"),
        (json!({"alg": ["RS256"]}), "alg in its header is not a string"),
        (json!({"alg": "PS256"}), "is not for \"PS256\""),
        (json!({"alg": "ES256"}), "is not for \"ES256\""),
        (json!({"kid": 7}), "kid in its header is not a string"),
        (json!({"kid": "k".repeat(257)}), "kid in its header has more than 256 bytes"),
        (json!({"crit": null}), "its header has crit"),
        (json!({"kid": "other"}), "its issuer has no key \"other\""),
        (json!({"typ": "license+jwt"}), "it is a license, not an access token"),
        (json!({"typ": "application/license+jwt"}), "it is a license, not an access token"),
        (json!({"typ": "statuslist+jwt"}), "is not that of an access token"),
        (json!({"typ": "logout+jwt"}), "is not that of an access token"),
        (json!({"typ": "secevent+jwt"}), "is not that of an access token"),
        (json!({"typ": "id_token+jwt"}), "is not that of an access token"),
        (json!({"crit": ["exp"]}), "its header has crit"),
        (json!({"b64": false}), "its header has b64"),
        (json!({"jku": "https://evil.example"}), "its header has jku"),
        (json!({"jwk": key.public()}), "its header has jwk"),
        (json!({"x5u": "https://evil.example"}), "its header has x5u"),
        (json!({"zip": "DEF"}), "its header has zip"),
        (json!({"x": "x".repeat(2048)}), "its header has more than 2048 bytes"),
    ] {
        let detail = reason(me(&client, &key.sign(header.clone(), &claims)).await);
        assert!(detail.contains(why), "{header}: {detail}");
    }
    for header in [
        json!({"typ": "JWT"}),
        json!({"typ": "AT+JWT"}),
        json!({"typ": "application/at+jwt"}),
        json!({}),
        json!({"x5t": "abc", "more": {"a": 1}}),
        json!({"typ": null, "x5c": null, "jku": null, "jwk": null, "cty": null}),
    ] {
        me(&client, &key.sign(header, &claims)).await.expect(200);
    }
    // A null claim is an absent one.
    let mut nulls = claims.clone();
    for name in ["nbf", "nonce", "at_hash", "events", "email", "name", "token_use", "azp"] {
        nulls[name] = Value::Null;
    }
    me(&client, &key.sign(json!({}), &nulls)).await.expect(200);

    // Two readers of such a text could see two different tokens.
    let good = format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#);
    let twice = format!(r#"{{"alg":"RS256","kid":"{kid}","alg":"none"}}"#);
    let text = claims.to_string();
    let doubled = text.replacen('{', r#"{"sub":"auth0|olga-acme","#, 1);
    for (header, payload) in [
        (&*twice, &*text),
        (&good, &doubled),
        (&good, "[]"),
        (&good, "{"),
        (&good, &format!("{text} x")),
        (&good, ""),
    ] {
        let detail = reason(me(&client, &key.sign_text(header, payload)).await);
        assert!(detail.contains("The token is not valid: its "), "{detail}");
    }
    let token = key.sign_text(&good, &text);
    me(&client, &token).await.expect(200);
    for bent in bent(&token) {
        reason(me(&client, &bent).await);
    }
}

#[on_both]
async fn an_opaque_token_gets_a_hint(world: World) {
    let issuer = Issuer::start().await;
    let (_, client) = trusting(&world, &issuer);
    for opaque in ["VjQr5k3bZ2", "ya29.a0AfH6", "eyJhbGciOiJkaXIifQ..iv.text.tag"] {
        let detail = reason(me(&client, opaque).await);
        assert!(detail.contains("configure the provider to issue JWTs"), "{detail}");
    }
    assert_eq!(issuer.asked_for_keys(), 0);
}

#[on_both]
async fn a_license_is_no_access_token_and_an_access_token_no_license(world: World) {
    let issuer = Issuer::start().await;
    let (_, client) = trusting(&world, &issuer);
    let license = world.post(format!("/licenses/{}/bundles", world.acme.license), json!({}));
    let license = license.await.expect(201)["token"].as_str().unwrap().to_owned();
    let detail = reason(me(&client, &license).await);
    assert!(detail.contains("it is a license"), "{detail}");

    // Even if both were of one issuer, audience and key.
    let jwks = world.anyone().call(Method::GET, "/.well-known/jwks.json", None).await;
    let key = issuer.rotate(Alg::Rs256);
    let verifier = |keys: &Value, audience: &str| {
        dp_verifier::Verifier::builder()
            .issuer(&issuer.url)
            .audience(audience)
            .jwks(keys.to_string().as_bytes())
            .build()
            .unwrap()
    };
    let payload = license.split('.').nth(1).unwrap();
    let mut claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    claims["iss"] = json!(issuer.url);
    let keys = json!({"keys": [key.public()]});
    for typ in ["at+jwt", "JWT"] {
        let token = key.sign(json!({"typ": typ}), &claims);
        let error = verifier(&keys, "data-plane").verify(&token).unwrap_err();
        assert_eq!(error.code().as_str(), "typ_wrong");
    }
    jwks.expect(200);
}

#[on_both]
async fn many_issuers_are_trusted_each_for_its_own(world: World) {
    let (one, two) = (Issuer::start().await, Issuer::start().await);
    let providers = vec![one.on_platform("auth0", json!({})), two.on_platform("other", json!({}))];
    let (_, client) = world.server(|settings| settings.identity.providers = providers);
    me(&client, &one.token(mats(json!({})))).await.expect(200);
    // The same subject at another provider is another identity.
    let problem = me(&client, &two.token(mats(json!({})))).await.refused(403, "forbidden");
    assert!(problem["detail"].as_str().unwrap().contains("provider \"other\""), "{problem}");
    // One provider's key makes no token of the other.
    let forged = two.key().sign(json!({}), &one.claims(mats(json!({}))));
    let detail = reason(me(&client, &forged).await);
    assert!(detail.contains("has no key"), "{detail}");
    let mut header = json!({"kid": one.key().kid});
    header["alg"] = json!("ES256");
    let forged = two.key().sign(header, &one.claims(mats(json!({}))));
    let detail = reason(me(&client, &forged).await);
    assert!(detail.contains("signature does not match its issuer's key"), "{detail}");
}

/// The token in other spellings, and with a byte changed here and there.
fn bent(token: &str) -> Vec<String> {
    let parts: Vec<&str> = token.split('.').collect();
    let mut bent = vec![
        format!("{token}="),
        format!("{token}."),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}..{}", parts[0], parts[2]),
        format!("{}.{}.{}", parts[0], parts[1], base64url("signature")),
        format!("{}.{}.{}", parts[0], parts[2], parts[1]),
        format!("{}{token}", "x".repeat(17_000)),
    ];
    for at in (0..token.len()).step_by(37) {
        let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
        let mut text = token.to_owned();
        text.replace_range(at..=at, other);
        bent.push(text);
    }
    bent
}
