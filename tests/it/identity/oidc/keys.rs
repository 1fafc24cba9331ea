//! An issuer's keys, when they change, when it is down, and when it is hostile.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{mats, me, reason, trusting};
use crate::world::issuer::{Alg, Fault, Issuer};
use crate::world::{Answer, on_both};

on_both! {
    keys_rotate_while_tokens_are_in_flight(world) {
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

        // What its issuer no longer publishes stops working when the copy is over.
        issuer.drop_older_keys();
        world.pass(TimeDelta::seconds(295));
        me(&client, &before).await.expect(200);
        assert_eq!(issuer.asked_for_keys(), 2);
        world.pass(TimeDelta::seconds(5));
        let told = reason(me(&client, &before).await);
        assert!(told.contains("its issuer has no key"), "{told}");
        me(&client, &after).await.expect(200);
        assert_eq!(issuer.asked_for_keys(), 3);
    }

    an_unknown_key_makes_it_ask_once_in_a_while(world) {
        let issuer = Issuer::start().await;
        let (_, client) = trusting(&world, &issuer);
        me(&client, &issuer.token(mats(json!({})))).await.expect(200);
        world.pass(TimeDelta::seconds(30));
        let unknown = |n: usize| {
            issuer.key().sign(json!({"kid": format!("k{n}")}), &issuer.claims(mats(json!({}))))
        };
        let told = reason(me(&client, &unknown(0)).await);
        assert!(told.contains("its issuer has no key \"k0\""), "{told}");
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

    many_requests_at_the_start_ask_once(world) {
        let issuer = Issuer::start().await;
        let (_, client) = trusting(&world, &issuer);
        let tokens: Vec<String> =
            (0..50).map(|n| issuer.token(mats(json!({"jti": n.to_string()})))).collect();
        for answer in join_all(tokens.iter().map(|token| me(&client, token))).await {
            answer.expect(200);
        }
        assert_eq!(issuer.asked_for_keys(), 1);
    }

    how_long_a_copy_is_used_is_the_issuers_word_within_bounds(world) {
        let issuer = Issuer::start().await;
        let (_, client) = trusting(&world, &issuer);
        let far = crate::world::now().timestamp() + 1_000_000;
        let mut asked = 0;
        for (said, seconds) in [("max-age=0", 60), ("public, max-age=120", 120),
            ("max-age=999999999999", 3600), ("max-age=-5", 60), ("no-store", 600)]
        {
            issuer.cache_control(said);
            let token = issuer.token(mats(json!({"exp": far})));
            // The copy before is over in any case.
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

    known_keys_keep_working_for_a_day_when_the_issuer_is_down(world) {
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

    hostile_documents_are_refused_with_a_reason(world) {
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
        let many: Vec<Value> = (0..33).map(|n| with("kid", json!(n.to_string()))["keys"][0].clone()).collect();
        for (fault, why) in [
            (Fault::Status(500), "answered 500"),
            (Fault::Status(404), "answered 404"),
            (Fault::Huge, "answered with more than 65536 bytes"),
            (Fault::Redirect("https://evil.example/".into()), "redirects are not followed"),
            (Fault::Redirect(format!("{}/keys", issuer.url)), "redirects are not followed"),
            (Fault::WrongIssuer, "it says that its issuer is \"https://other.example\""),
            (Fault::KeysAt("http://keys.example/".into()), "is not an https URL"),
            (Fault::KeysAt("file:///etc/passwd".into()), "is not an https URL"),
            (Fault::KeysAt(format!("http://user@{}", &issuer.url[7..])), "a URL with a user in it"),
            (Fault::KeysAt("nonsense".into()), "is not a URL"),
            (Fault::KeysAt(format!("https://{}", "x".repeat(2048))), "a URL of 2056 bytes"),
            (Fault::Keys(json!([])), "it has no keys"),
            (Fault::Keys(json!({"keys": [key.public(), key.public()]})), "two keys are called"),
            (Fault::Keys(json!({"keys": [key.public(), symmetric]})), "it has a secret key in it"),
            (Fault::Keys(with("d", json!("AA"))), "it has a secret key in it"),
            (Fault::Keys(with("x", json!("AA"))), "is malformed"),
            (Fault::Keys(with("x", key.public()["y"].clone())), "is malformed"),
            (Fault::Keys(with("x", json!(1))), "is malformed"),
            (Fault::Keys(weak("n", &"_".repeat(171))), "is malformed"),
            (Fault::Keys(weak("e", "Aw")), "is malformed"),
            (Fault::Keys(weak("e", "AQABAA")), "is malformed"),
            (Fault::Keys(json!({"keys": [1]})), "a key is not an object"),
            (Fault::Keys(json!({"keys": many})), "it has more than 32 keys"),
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

    keys_for_other_uses_are_passed_over(world) {
        let issuer = Issuer::start().await;
        let key = issuer.rotate(Alg::Ps256);
        let with = |name: &str, value: Value| {
            let mut jwk = key.public();
            jwk[name] = value;
            jwk
        };
        for other in [
            with("use", json!("enc")), with("alg", json!("RSA-OAEP")), with("key_ops", json!(["sign"])),
            with("kty", json!("ZZ")), with("kid", json!("")), with("alg", json!("RS256")),
        ] {
            let others = json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "z"});
            issuer.fault(Fault::Keys(json!({"keys": [other, others]})));
            let (_, client) = trusting(&world, &issuer);
            let told = reason(me(&client, &issuer.token(mats(json!({})))).await);
            assert!(told.contains("its issuer has no key") || told.contains("is not one for"), "{told}");
        }
        // Without an `alg` a key is for whatever its kind can do.
        let mut jwk = key.public();
        jwk.as_object_mut().unwrap().remove("alg");
        issuer.fault(Fault::Keys(json!({"keys": [jwk]})));
        let (_, client) = trusting(&world, &issuer);
        me(&client, &issuer.token(mats(json!({})))).await.expect(200);
    }

    a_slow_issuer_holds_nobody_up_for_long(world) {
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
}

#[track_caller]
fn unavailable(answer: Answer, why: &str) {
    assert_eq!(answer.header("retry-after"), "5", "{}", answer.text());
    let problem = answer.refused(503, "unavailable");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(why), "{detail}");
}
