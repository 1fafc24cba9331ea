//! Settings and arguments as a faulty application or its users write them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use dp_verifier_bindings::{
    Failure, Settings, Verifier, accept_log, log_record, reset_state, state_record,
};
use serde_json::{Value, json};

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../cp-contracts/vectors");

fn vector(file: &str, name: &str) -> Value {
    let text = std::fs::read_to_string(format!("{VECTORS}/{file}.json")).unwrap();
    let suite: Value = serde_json::from_str(&text).unwrap();
    let vectors = suite["vectors"].as_array().unwrap();
    vectors.iter().find(|vector| vector["name"] == name).unwrap().clone()
}

/// Returns the genuine token, its settings at its time, and more settings.
fn genuine(more: &Value) -> (String, Result<Verifier, Failure>) {
    let vector = vector("forms", "genuine_token_is_admitted");
    let mut settings = vector["settings"].clone();
    settings["fixed_time"] = vector["now"].clone();
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    let token = vector["steps"][0]["token"].as_str().unwrap().to_owned();
    (token, Verifier::from_json(&settings.to_string()))
}

fn code<T>(result: Result<T, Failure>) -> String {
    result.err().map(|failure| failure.code).unwrap_or_default()
}

#[test]
fn extreme_numbers_do_not_panic() {
    for more in [
        json!({ "fixed_time": i64::MAX }),
        json!({ "fixed_time": i64::MIN }),
        json!({ "time_floor": i64::MAX, "expiring_period": u64::MAX }),
        json!({ "time_floor": i64::MIN, "strict_clock": true, "leeway": 0 }),
        json!({ "leeway": 300, "cache": 0 }),
    ] {
        let (token, verifier) = genuine(&more);
        let verifier = verifier.unwrap();
        for now in [i64::MIN, -1, 0, i64::MAX] {
            assert_ne!(code(verifier.verify_at(&token, now)), "internal_error", "{more}");
            verifier.set_fixed_time(now).unwrap();
            assert_ne!(code(verifier.verify(&token)), "internal_error", "{more}");
            assert!(verifier.health().is_object() && verifier.readiness().is_object());
        }
    }
    // Without this limit, the process would end because the memory is missing.
    for cache in [1_000_001_u64, 1 << 40, u64::MAX] {
        let (_, verifier) = genuine(&json!({ "cache": cache }));
        assert_eq!(code(verifier), "settings_invalid");
    }
    let leeway = genuine(&json!({ "leeway": u32::MAX })).1;
    assert_eq!(code(leeway), "settings_invalid");
}

#[test]
fn holder_has_exactly_one_name() {
    let (token, verifier) = genuine(&json!({}));
    let verifier = verifier.unwrap();
    let license = verifier.verify(&token).unwrap();
    let claimed = |holder: Value| {
        let leases = verifier.leases("cpat_token");
        let claimed = leases.acquire("seats", &holder, &Value::Null, Some(&license));
        claimed.map_or_else(|failure| failure, |_| Failure::argument("claimed"))
    };
    for holder in [
        json!({}),
        json!({ "id": "a", "email": "s3cr3t@example.com" }),
        json!({ "text": "a", "user_id": "018f2a00-0000-7000-8000-000000000001" }),
        json!({ "provider": "oidc" }),
        json!({ "provider": "oidc", "machine_id": true }),
        json!({ "user_id": "s3cr3t" }),
        json!({ "id": 5 }),
        json!({ "machine_id": "s3cr3t" }),
        json!({ "name": "a" }),
        json!("s3cr3t"),
        json!(["s3cr3t"]),
        json!(null),
    ] {
        let failure = claimed(holder.clone());
        assert_eq!(failure.code, "argument_invalid", "{holder}");
        assert!(!failure.detail.contains("s3cr3t"), "{failure}");
    }
    let leases = verifier.leases("cpat_token");
    let options = json!({ "ttl": "s3cr3t" });
    let refused = leases.acquire("seats", &json!({ "id": "a" }), &options, Some(&license));
    let failure = refused.unwrap_err();
    assert_eq!(failure.code, "argument_invalid");
    assert!(!failure.detail.contains("s3cr3t"), "{failure}");
}

#[test]
fn usage_of_another_type_is_an_invalid_argument() {
    let verifier = genuine(&json!({})).1.unwrap();
    for counters in [json!([1]), json!({ "a": "s3cr3t" }), json!("s3cr3t")] {
        let failure = verifier.usage_report(&counters, &Value::Null).unwrap_err();
        assert_eq!(failure.code, "argument_invalid");
        assert!(!failure.detail.contains("s3cr3t"), "{failure}");
    }
}

#[test]
fn operator_reads_and_resets_a_state_file() {
    let folder = std::env::temp_dir().join(format!("dpv-state-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let state = folder.join("state.json");
    assert_eq!(code(state_record(&state)), "settings_invalid");
    assert_eq!(code(log_record(&state)), "settings_invalid");
    let vector = vector("log", "second_history_of_the_log_is_refused");
    let mut settings = vector["settings"].clone();
    settings.as_object_mut().unwrap().remove("state_file");
    settings["state_path"] = json!(state);
    settings["fixed_time"] = vector["now"].clone();
    let verifier = Settings::from_json(&settings.to_string()).unwrap().build().unwrap();
    for step in vector["steps"].as_array().unwrap() {
        let text = |name: &str| step[name].as_str().unwrap();
        let done = match text("do") {
            "verify_with_proof" => code(verifier.verify_with_proof(text("token"), text("proof"))),
            "import_file" => code(verifier.import_file(text("document"))),
            _ => String::new(),
        };
        assert_eq!(done, step["expect"]["code"].as_str().unwrap_or_default());
    }
    let health = verifier.health();
    drop(verifier);
    let record = log_record(&state).unwrap();
    assert_eq!(record["anomaly"]["code"], "split_view");
    assert_eq!(health["log"]["anomaly"], "split_view");
    assert_eq!(record["anomaly"]["seen"], health["log"]["seen"]);
    assert_eq!(record["anomaly"]["shown"], health["log"]["shown"]);
    operator_decides(&state);
    std::fs::remove_dir_all(folder).unwrap();
}

fn operator_decides(state: &Path) {
    assert_eq!(code(accept_log(state, " ")), "argument_invalid");
    assert_eq!(code(reset_state(state, "")), "argument_invalid");
    let accepted = accept_log(state, "restored").unwrap();
    assert_eq!(accepted["anomaly"], Value::Null);
    assert_eq!(accepted["former"][0]["because"], "restored");
    assert_eq!(code(accept_log(state, "again")), "settings_invalid");
    assert!(state_record(state).unwrap()["file"].is_object());
    let reset = reset_state(state, "wrong number").unwrap();
    assert_eq!(reset["file"], Value::Null);
    assert_eq!(reset["former"][0]["because"], "wrong number");
    assert_eq!(state_record(state).unwrap(), reset);
}
