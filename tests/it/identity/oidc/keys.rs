//! An issuer's keys, when they change, when it is down, and when it is hostile.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{mats, me, reason, trusting};
use crate::world::issuer::{Alg, Fault, Issuer, SigningKey};
use crate::world::{Answer, World, on_both};

#[on_both]
async fn keys_rotate_while_tokens_are_in_flight(world: World) {
    let issuer = Issuer::start().await;
    let (_, client) = trusting(&world, &issuer);
    let before = issuer.token(mats(json!({})));
    me(&client, &before).await.expect(200);
    issuer.rotate(Alg::EdDsa);
    world.pass(TimeDelta::seconds(31));
    let after = issuer.token(mats(json!({})));
    me(&client, &after).await.expect(200);
    me(&client, &before).await.expect(200);
    assert_eq!(issuer.asked_for_keys(), 2, "the unknown key made it ask again");

    // A key that its issuer no longer publishes stops working when the cached copy expires.
    issuer.drop_older_keys();
    world.pass(TimeDelta::seconds(295));
    me(&client, &before).await.expect(200);
    assert_eq!(issuer.asked_for_keys(), 2);
    world.pass(TimeDelta::seconds(5));
    let detail = reason(me(&client, &before).await);
    assert!(detail.contains("its issuer has no key"), "{detail}");
    me(&client, &after).await.expect(200);
    assert_eq!(issuer.asked_for_keys(), 3);
}

#[on_both]
async fn an_unknown_key_makes_it_ask_once_in_a_while(world: World) {
    let issuer = Issuer::start().await;
    let (_, client) = trusting(&world, &issuer);
    me(&client, &issuer.token(mats(json!({})))).await.expect(200);
    world.pass(TimeDelta::seconds(30));
    let unknown = |n: usize| {
        issuer.key().sign(json!({"kid": format!("k{n}")}), &issuer.claims(mats(json!({}))))
    };
    let detail = reason(me(&client, &unknown(0)).await);
    assert!(detail.contains("its issuer has no key \"k0\""), "{detail}");
    assert_eq!(issuer.asked_for_keys(), 2, "one refresh, then 401");
    let tokens: Vec<String> = (0..200).map(unknown).collect();
    for answer in join_all(tokens.iter().map(|token| me(&client, token))).await {
        reason(answer);
    }
    assert_eq!(issuer.asked_for_keys(), 2);
    world.pass(TimeDelta::seconds(30));
    for answer in join_all(tokens.iter().map(|token| me(&client, token))).await {
        reason(answer);
    }
    assert_eq!(issuer.asked_for_keys(), 3, "two hundred at once ask once");
}

#[on_both]
async fn many_requests_at_the_start_ask_once(world: World) {
    let issuer = Issuer::start().await;
    let (_, client) = trusting(&world, &issuer);
    let tokens: Vec<String> =
        (0..50).map(|n| issuer.token(mats(json!({"jti": n.to_string()})))).collect();
    for answer in join_all(tokens.iter().map(|token| me(&client, token))).await {
        answer.expect(200);
    }
    assert_eq!(issuer.asked_for_keys(), 1);
}

#[on_both]
async fn how_long_a_copy_is_used_is_the_issuers_word_within_bounds(world: World) {
    let issuer = Issuer::start().await;
    let (_, client) = trusting(&world, &issuer);
    let far = crate::world::now().timestamp() + 1_000_000;
    let mut asked = 0;
    for (said, seconds) in [
        ("max-age=0", 60),
        ("public, max-age=120", 120),
        ("max-age=999999999999", 3600),
        ("max-age=-5", 60),
        ("no-store", 600),
    ] {
        issuer.cache_control(said);
        let token = issuer.token(mats(json!({"exp": far})));
        // The copy before has always expired.
        world.pass(TimeDelta::seconds(3600));
        asked += 1;
        me(&client, &token).await.expect(200);
        world.pass(TimeDelta::seconds(seconds - 5));
        me(&client, &token).await.expect(200);
        assert_eq!(issuer.asked_for_keys(), asked, "{said}");
        world.pass(TimeDelta::seconds(5));
        asked += 1;
        me(&client, &token).await.expect(200);
        assert_eq!(issuer.asked_for_keys(), asked, "{said}");
    }
}

#[on_both]
async fn known_keys_keep_working_for_a_day_when_the_issuer_is_down(world: World) {
    let issuer = Issuer::start().await;
    let (_, client) = trusting(&world, &issuer);
    let far = crate::world::now().timestamp() + 1_000_000;
    let token = issuer.token(mats(json!({"exp": far})));
    me(&client, &token).await.expect(200);
    issuer.stop().await;
    world.pass(TimeDelta::hours(1));
    me(&client, &token).await.expect(200);
    world.pass(TimeDelta::hours(23) - TimeDelta::seconds(1));
    me(&client, &token).await.expect(200);
    let key = issuer.rotate(Alg::Es384);
    let new = key.sign(json!({}), &issuer.claims(mats(json!({"exp": far}))));
    unavailable(me(&client, &new).await, "cannot be read");
    world.pass(TimeDelta::seconds(4));
    unavailable(me(&client, &token).await, "cannot be read");
    issuer.start_again().await;
    // It is not asked again at once.
    unavailable(me(&client, &token).await, "cannot be read");
    world.pass(TimeDelta::seconds(5));
    me(&client, &token).await.expect(200);
    me(&client, &new).await.expect(200);
}

#[on_both]
async fn hostile_documents_are_refused_with_a_reason(world: World) {
    let issuer = Issuer::start().await;
    let key = issuer.key();
    let with = |name: &str, value: Value| {
        let mut jwk = key.public();
        jwk[name] = value;
        json!({"keys": [jwk]})
    };
    let symmetric = json!({"kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256"});
    let rsa = issuer.rotate(Alg::Rs256).public();
    let weak = |name: &str, value: &str| {
        let mut jwk = rsa.clone();
        jwk[name] = json!(value);
        json!({"keys": [jwk]})
    };
    issuer.rotate(Alg::Es256);
    let far = crate::world::now().timestamp() + 1_000_000;
    let token = |n: usize| issuer.token(mats(json!({"exp": far, "jti": n.to_string()})));
    for (fault, why) in [
        (Fault::Status(500), "answered 500"),
        (Fault::Status(404), "answered 404"),
        (Fault::Huge, "answered with more than 65536 bytes"),
        (Fault::Redirect("https://evil.example/".into()), "redirects are not followed"),
        (Fault::Redirect(format!("{}/keys", issuer.url)), "redirects are not followed"),
        (Fault::WrongIssuer, "its issuer is \"https://other.example\""),
        (Fault::KeysAt("http://keys.example/".into()), "is not an https URL"),
        (Fault::KeysAt("file:///etc/passwd".into()), "is not an https URL"),
        (Fault::KeysAt(format!("http://user@{}", &issuer.url[7..])), "must not contain a user"),
        (Fault::KeysAt("nonsense".into()), "is not a URL"),
        (Fault::KeysAt(format!("https://{}", "x".repeat(2048))), "the URL has 2056 bytes"),
        (Fault::Keys(json!([])), "it has no keys"),
        (Fault::Keys(json!({"keys": [symmetric]})), "\"s\" is published with its secret half"),
        (Fault::Keys(with("d", json!("AA"))), "is published with its secret half"),
        (Fault::Keys(with("x", json!("AA"))), "is malformed"),
        (Fault::Keys(with("x", key.public()["y"].clone())), "is malformed"),
        (Fault::Keys(with("x", json!(1))), "is malformed"),
        (Fault::Keys(weak("n", &"_".repeat(171))), "is malformed"),
        (Fault::Keys(weak("e", "Aw")), "is malformed"),
        (Fault::Keys(weak("e", "AQABAA")), "is malformed"),
        (Fault::Keys(json!({"keys": [1]})), "none of its keys is usable: one is not an object"),
        (Fault::Keys(json!({"keys": {}})), "it has no keys"),
    ] {
        issuer.fault(fault.clone());
        let (_, client) = trusting(&world, &issuer);
        unavailable(me(&client, &token(1)).await, why);
        // A document that is refused replaces no good one.
        issuer.fault(Fault::None);
        let (_, client) = trusting(&world, &issuer);
        me(&client, &token(2)).await.expect(200);
        issuer.fault(fault);
        world.pass(TimeDelta::seconds(301));
        me(&client, &token(3)).await.expect(200);
    }
}

#[on_both]
async fn keys_for_other_uses_are_passed_over(world: World) {
    let issuer = Issuer::start().await;
    let key = issuer.rotate(Alg::Ps256);
    let with = |name: &str, value: Value| {
        let mut jwk = key.public();
        jwk[name] = value;
        jwk
    };
    for other in [
        with("use", json!("enc")),
        with("alg", json!("RSA-OAEP")),
        with("key_ops", json!(["sign"])),
        with("kty", json!("ZZ")),
        with("kid", json!("")),
        with("alg", json!("RS256")),
    ] {
        let others = json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "z"});
        issuer.fault(Fault::Keys(json!({"keys": [other, others]})));
        let (_, client) = trusting(&world, &issuer);
        let detail = reason(me(&client, &issuer.token(mats(json!({})))).await);
        let whys = ["its issuer has no key", "is not for"];
        assert!(whys.iter().any(|why| detail.contains(why)), "{detail}");
    }
    // Without an `alg` a key is for whatever its kind can do.
    let mut jwk = key.public();
    jwk.as_object_mut().unwrap().remove("alg");
    issuer.fault(Fault::Keys(json!({"keys": [jwk]})));
    let (_, client) = trusting(&world, &issuer);
    me(&client, &issuer.token(mats(json!({})))).await.expect(200);
}

#[on_both]
async fn an_entry_that_is_not_usable_is_skipped(world: World) {
    let issuer = Issuer::start().await;
    let (rsa, key) = (issuer.rotate(Alg::Rs256), issuer.rotate(Alg::Es256));
    let good = key.public();
    let over = |jwk: &Value, name: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    };
    let other = over(&rsa.public(), "kid", json!("z"));
    let n = other["n"].as_str().unwrap();
    let padded = format!("{n}{}", "=".repeat((4 - n.len() % 4) % 4));
    let ec = json!({"kty": "EC", "crv": "P-256", "kid": "z", "x": "AA"});
    let nulls = ["x5c", "x5t", "key_ops", "d", "k", "oth", "use", "alg"];
    let nulls = nulls.iter().fold(good.clone(), |jwk, name| over(&jwk, name, Value::Null));
    for keys in [
        json!([good, good]),
        json!([over(&good, "alg", json!("ES384")), good]),
        json!([over(&good, "x", good["y"].clone()), good]),
        json!([over(&other, "kid", good["kid"].clone()), good]),
        json!([good, over(&other, "n", json!(padded))]),
        json!([over(&other, "n", json!(format!("AA{n}"))), good]),
        json!([over(&other, "n", json!("_".repeat(171))), good]),
        json!([over(&other, "e", json!("Aw")), good]),
        json!([over(&other, "kid", json!(7)), good]),
        json!([over(&other, "kid", json!("z".repeat(257))), good]),
        json!([over(&other, "use", json!(["sig"])), good]),
        json!([over(&other, "key_ops", json!("verify")), good]),
        json!([over(&other, "alg", json!(1)), good]),
        json!([over(&other, "d", json!("AA")), good]),
        json!([ec, good]),
        json!([json!({"kty": "oct", "k": "c2VjcmV0", "kid": "z"}), good]),
        json!([null, 1, "x", [], {}, {"kty": null}, good]),
        json!([nulls]),
    ] {
        issuer.fault(Fault::Keys(json!({"keys": keys})));
        let (_, client) = trusting(&world, &issuer);
        let answer = me(&client, &issuer.token(mats(json!({})))).await;
        assert_eq!(answer.status, 200, "{keys}: {}", answer.text());
    }
    // The entry of the token's own key is named with what is wrong with it.
    issuer.fault(Fault::Keys(json!({"keys": [over(&good, "x", json!("AA")), other]})));
    let (_, client) = trusting(&world, &issuer);
    let detail = reason(me(&client, &issuer.token(mats(json!({})))).await);
    assert!(detail.contains(&format!("its issuer's key {} is malformed", good["kid"])), "{detail}");
    // A reader of the set can sign with a key whose secret half is in it.
    let leaked = over(&over(&good, "kid", json!("z")), "d", json!("AA"));
    issuer.fault(Fault::Keys(json!({"keys": [good, leaked, other]})));
    let (_, client) = trusting(&world, &issuer);
    let detail = reason(me(&client, &issuer.token(mats(json!({})))).await);
    assert!(detail.contains("is published with its secret half"), "{detail}");
    let many = |n: usize| over(&good, "kid", json!(n.to_string()));
    let keys: Vec<Value> = (0..101).map(many).collect();
    issuer.fault(Fault::Keys(json!({"keys": keys})));
    let (_, client) = trusting(&world, &issuer);
    let token = |kid: &str| key.sign(json!({"kid": kid}), &issuer.claims(mats(json!({}))));
    me(&client, &token("99")).await.expect(200);
    let detail = reason(me(&client, &token("100")).await);
    assert!(detail.contains("is not among the first 100"), "{detail}");
}

#[on_both]
async fn a_token_without_a_key_id_is_verified_by_the_only_key_of_its_algorithm(world: World) {
    let issuer = Issuer::start().await;
    let key = issuer.key();
    let mut nameless = key.public();
    nameless.as_object_mut().unwrap().remove("kid");
    let (other, second) = (issuer.rotate(Alg::Rs256).public(), issuer.rotate(Alg::Es256).public());
    let claims = issuer.claims(mats(json!({})));
    for keys in [json!([key.public()]), json!([nameless]), json!([other, nameless])] {
        issuer.fault(Fault::Keys(json!({"keys": keys})));
        let (_, client) = trusting(&world, &issuer);
        for kid in [json!(null), json!("")] {
            me(&client, &key.sign(json!({"kid": kid}), &claims)).await.expect(200);
        }
    }
    for (keys, why) in [
        (json!([second]), "its signature does not match its issuer's key"),
        (json!([second, nameless]), "its header has no kid, and its issuer has several keys"),
        (json!([other]), "its issuer has no key for \"ES256\""),
    ] {
        issuer.fault(Fault::Keys(json!({"keys": keys})));
        let (_, client) = trusting(&world, &issuer);
        let detail = reason(me(&client, &key.sign(json!({"kid": null}), &claims)).await);
        assert!(detail.contains(why), "{detail}");
    }
    // A token that names a key is verified by that key only.
    issuer.fault(Fault::Keys(json!({"keys": [nameless]})));
    let (_, client) = trusting(&world, &issuer);
    let detail = reason(me(&client, &key.sign(json!({}), &claims)).await);
    assert!(detail.contains("its issuer has no key"), "{detail}");
}

#[on_both]
async fn a_key_that_changed_under_its_name_is_fetched_once_in_a_while(world: World) {
    let issuer = Issuer::start().await;
    let (_, client) = trusting(&world, &issuer);
    let before = issuer.key();
    let after = issuer.rotate(Alg::Es256);
    issuer.fault(Fault::Keys(json!({"keys": [before.public()]})));
    let sign = |n: usize| {
        let claims = issuer.claims(mats(json!({"jti": n.to_string()})));
        after.sign(json!({"kid": before.kid}), &claims)
    };
    me(&client, &before.sign(json!({}), &issuer.claims(mats(json!({}))))).await.expect(200);
    let mut renamed = after.public();
    renamed["kid"] = json!(before.kid);
    issuer.fault(Fault::Keys(json!({"keys": [renamed]})));
    let detail = reason(me(&client, &sign(0)).await);
    assert!(detail.contains("its signature does not match its issuer's key"), "{detail}");
    assert_eq!(issuer.asked_for_keys(), 1, "it was just asked");
    world.pass(TimeDelta::seconds(30));
    let tokens: Vec<String> = (0..20).map(sign).collect();
    for answer in join_all(tokens.iter().map(|token| me(&client, token))).await {
        answer.expect(200);
    }
    assert_eq!(issuer.asked_for_keys(), 2);
    // Forged signatures make it ask no more often than unknown names do.
    for round in 3..5 {
        world.pass(TimeDelta::seconds(30));
        let forger = SigningKey::new(Alg::Es256);
        let forged = (0..20).map(|n| {
            let claims = issuer.claims(mats(json!({"jti": format!("f{n}")})));
            forger.sign(json!({"kid": before.kid}), &claims)
        });
        let forged: Vec<String> = forged.collect();
        for answer in join_all(forged.iter().map(|token| me(&client, token))).await {
            reason(answer);
        }
        assert_eq!(issuer.asked_for_keys(), round);
    }
    me(&client, &sign(0)).await.expect(200);
}

#[on_both]
async fn optional_members_of_the_metadata_may_be_null_or_of_other_types(world: World) {
    let issuer = Issuer::start().await;
    for over in [
        json!({"token_endpoint_auth_methods_supported": null, "end_session_endpoint": null,
               "authorization_response_iss_parameter_supported": null, "authorization_endpoint": null}),
        json!({"token_endpoint_auth_methods_supported": "none", "end_session_endpoint": 7,
               "authorization_response_iss_parameter_supported": "true", "token_endpoint": []}),
    ] {
        issuer.fault(Fault::Metadata(over));
        let (_, client) = trusting(&world, &issuer);
        me(&client, &issuer.token(mats(json!({})))).await.expect(200);
    }
    for (over, why) in [
        (json!({"issuer": null}), "it has no issuer"),
        (json!({"jwks_uri": null}), "its metadata have no jwks_uri"),
        (json!({"jwks_uri": 7}), "its metadata have no jwks_uri"),
    ] {
        issuer.fault(Fault::Metadata(over));
        let (_, client) = trusting(&world, &issuer);
        unavailable(me(&client, &issuer.token(mats(json!({})))).await, why);
    }
}

#[on_both]
async fn slow_issuer_delays_callers_only_briefly(world: World) {
    let issuer = Issuer::start().await;
    issuer.fault(Fault::Slow);
    let provider = issuer.on_platform("auth0", json!({}));
    let (_, client) = world.server(|settings| {
        settings.identity.providers = vec![provider];
        settings.identity.fetch.timeout = Duration::from_millis(300);
    });
    let began = Instant::now();
    let token = issuer.token(mats(json!({})));
    let answers = join_all((0..100).map(|_| me(&client, &token))).await;
    for answer in answers {
        unavailable(answer, "did not answer within");
    }
    assert!(began.elapsed() < Duration::from_secs(15), "all waited for one request");
}

#[track_caller]
fn unavailable(answer: Answer, why: &str) {
    assert_eq!(answer.header("retry-after"), "5", "{}", answer.text());
    let problem = answer.refused(503, "unavailable");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(why), "{detail}");
}
