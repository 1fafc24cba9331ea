//! Exports of Keygen that follow each other: changed caps, policies and values that are no numbers.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use super::server::{command, folder};

const POLICY: &str = "b3b1d3a0-0000-4000-8000-000000000001";
const USER: &str = "c4c2e4b1-0000-4000-8000-000000000001";

fn run(folder: &Path, words: &[&str]) -> Output {
    command(folder).args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn policy(id: &str, attributes: Value) -> Value {
    json!({"id": id, "type": "policies", "attributes": attributes})
}

fn license(n: u32, policy: &str, attributes: Value) -> Value {
    let mut license = json!({
        "id": format!("d5d3f5c2-0000-4000-8000-00000000000{n}"),
        "type": "licenses",
        "attributes": {"name": format!("L{n}"), "key": format!("KEY-OF-LICENSE-{n}")},
        "relationships": {
            "policy": {"data": {"type": "policies", "id": policy}},
            "owner": {"data": {"type": "users", "id": USER}},
        },
    });
    license["attributes"].as_object_mut().unwrap().extend(attributes.as_object().unwrap().clone());
    license
}

/// Writes an export, and converts it. Returns the lines and the gaps.
fn convert(folder: &Path, resources: &[Value]) -> (String, String) {
    let user = json!({
        "id": USER, "type": "users", "attributes": {"email": "peter@initech.example"},
    });
    let data: Vec<&Value> = [&user].into_iter().chain(resources).collect();
    std::fs::create_dir_all(folder.join("export")).unwrap();
    // With a byte order mark, as editors of some systems write it.
    let list = format!("\u{feff}{}", json!({"data": data}));
    std::fs::write(folder.join("export/all.json"), list).unwrap();
    let output = run(folder, &["import", "keygen", "export"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

/// Converts an export and imports it. Returns the answers.
fn import(folder: &Path, resources: &[Value]) -> Vec<Value> {
    let (lines, gaps) = convert(folder, resources);
    assert_eq!(gaps, "");
    std::fs::write(folder.join("lines.ndjson"), lines).unwrap();
    let output = run(folder, &["import", "lines.ndjson"]);
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The effective caps of a license: its machines, their overage, and its seats.
fn caps(folder: &Path, name: &str) -> (Value, Value, Value) {
    let output = run(folder, &["call", "licenses.list_all", "limit=500"]);
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = listed["items"].as_array().unwrap();
    let license = all.iter().find(|license| license["name"] == name).unwrap();
    let effective = &license["effective"];
    let machines = &effective["leasing"]["machines"];
    (
        machines["cap"]["value"].clone(),
        machines["overage"]["value"].clone(),
        effective["seat_cap"]["value"].clone(),
    )
}

#[test]
fn licenses_have_the_caps_of_the_latest_export() {
    let folder = folder();
    let folder = folder.path();
    assert!(run(folder, &["migrate"]).status.success());
    let limits = |machines: i64, users: i64| json!({"maxMachines": machines, "maxUsers": users});
    let export = |policy_limits: Value, inherited: Value, own: Value| {
        [
            policy(POLICY, policy_limits),
            license(1, POLICY, inherited),
            license(5, POLICY, own),
            // Some versions leave out what a license inherits.
            license(7, POLICY, json!({"maxMachines": null})),
        ]
    };
    let first = export(limits(3, 5), limits(3, 5), limits(10, 20));
    let answers = import(folder, &first);
    assert_eq!(answers.last().unwrap()["summary"]["refused"], 0, "{answers:#?}");
    let right = |machines: i64, users: i64| (json!(machines), json!("never"), json!(users));
    assert_eq!(caps(folder, "L1"), right(3, 5));
    assert_eq!(caps(folder, "L5"), right(10, 20));
    assert_eq!(caps(folder, "L7"), right(3, 5));
    let again = import(folder, &first);
    let summary = &again.last().unwrap()["summary"];
    assert_eq!(summary["unchanged"], summary["lines"], "{again:#?}");

    // The policy grows to the own caps of L5, and allows more than the cap.
    let mut second = export(limits(10, 20), limits(10, 20), limits(10, 20));
    second[0]["attributes"]["overageStrategy"] = json!("ALLOW_2X_OVERAGE");
    let answers = import(folder, &second);
    assert_eq!(answers.last().unwrap()["summary"]["refused"], 0, "{answers:#?}");
    for name in ["L1", "L5", "L7"] {
        assert_eq!(caps(folder, name), (json!(10), json!(100), json!(20)), "{name}");
    }

    // It shrinks again; one license keeps more. Without a limit of users, the seats stay.
    let third = export(json!({"maxMachines": 2}), json!({"maxMachines": 2}), limits(8, 9));
    let answers = import(folder, &third);
    assert_eq!(answers.last().unwrap()["summary"]["refused"], 0, "{answers:#?}");
    assert_eq!(caps(folder, "L1"), right(2, 20));
    assert_eq!(caps(folder, "L5"), right(8, 9));
    assert_eq!(caps(folder, "L7"), right(2, 20));
}

#[test]
fn limits_that_are_no_numbers_are_gaps_and_never_unlimited() {
    let folder = folder();
    let kinds = |lines: &str, kind: &str| -> Vec<Value> {
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["kind"] == kind).collect()
    };
    // serde_json reads the number beyond 64 bits as a float.
    let huge: Value = serde_json::from_str("99999999999999999999").unwrap();
    for wrong in [json!("3"), json!(true), json!(3.5), json!(-3), huge] {
        let limits = json!({"maxMachines": wrong});
        let of_policy = [policy(POLICY, limits.clone()), license(1, POLICY, json!({}))];
        let (lines, gaps) = convert(folder.path(), &of_policy);
        assert_eq!(lines.lines().count(), 1, "only the user is left: {lines}");
        assert!(gaps.contains("`maxMachines` must be a whole number"), "{gaps}");
        assert!(gaps.contains("the policy is left out"), "{gaps}");
        assert!(gaps.contains("its policy is left out: the license is left out"), "{gaps}");
        let of_license = [policy(POLICY, json!({"maxMachines": null})), license(1, POLICY, limits)];
        let (lines, gaps) = convert(folder.path(), &of_license);
        assert_eq!((kinds(&lines, "plan").len(), kinds(&lines, "license").len()), (1, 0));
        assert!(gaps.contains("the license is left out"), "{gaps}");
    }
    let exact = [policy(POLICY, json!({"maxMachines": 3.0})), license(1, POLICY, json!({}))];
    let (lines, gaps) = convert(folder.path(), &exact);
    assert_eq!(gaps, "");
    assert_eq!(kinds(&lines, "plan")[0]["leasing"]["machines"]["cap"], 3);
    assert_eq!(kinds(&lines, "license")[0]["leasing"]["machines"]["cap"], 3);
    let unknown = json!({"maxMachines": 3, "overageStrategy": "ALLOW_3X_OVERAGE"});
    let (_, gaps) = convert(folder.path(), &[policy(POLICY, unknown)]);
    assert!(gaps.contains("`overageStrategy` ALLOW_3X_OVERAGE has no equivalent"), "{gaps}");
}

#[test]
fn policies_whose_ids_differ_only_in_case_are_left_out() {
    let folder = folder();
    let upper = POLICY.to_uppercase();
    let resources = [
        policy(POLICY, json!({"maxMachines": 3})),
        policy(&upper, json!({"maxMachines": 9})),
        license(1, POLICY, json!({})),
    ];
    let (lines, gaps) = convert(folder.path(), &resources);
    assert_eq!(lines.lines().count(), 1, "only the user is left: {lines}");
    assert_eq!(
        gaps.matches("another policy has the same ID in other letters").count(),
        2,
        "{gaps}"
    );
}

#[test]
fn license_with_another_policy_keeps_its_key_after_the_steps_of_the_guide() {
    let folder = folder();
    let folder = folder.path();
    assert!(run(folder, &["migrate"]).status.success());
    let other = "b3b1d3a0-0000-4000-8000-000000000002";
    let with = |id: &str| {
        [
            policy(POLICY, json!({"maxMachines": 3})),
            policy(other, json!({"maxMachines": 9})),
            license(1, id, json!({})),
        ]
    };
    let id = |answers: &[Value], kind: &str| {
        let answer = answers.iter().find(|answer| answer["kind"] == kind).unwrap();
        answer["id"].as_str().unwrap().to_owned()
    };
    let first = import(folder, &with(POLICY));
    let license = id(&first, "license");
    let name = format!("external_id={USER}:{other}");
    let organization = format!("org={}", id(&first, "organization"));
    let subscription = format!("id={}", id(&first, "subscription"));
    let plan = format!("plan_code=keygen-{other}");
    for words in [
        &["call", "organizations.update", &organization, &name][..],
        &["call", "subscriptions.update", &subscription, &name, &plan],
    ] {
        let output = run(folder, words);
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    }
    let second = import(folder, &with(other));
    let summary = &second.last().unwrap()["summary"];
    assert_eq!((&summary["created"], &summary["refused"]), (&json!(0), &json!(0)), "{second:#?}");
    assert_eq!(id(&second, "license"), license);
    assert_eq!(caps(folder, "L1").0, 9);

    // Without these steps, another organization has a license, and its key is refused.
    let third = import(folder, &with(POLICY));
    let key = third.iter().find(|answer| answer["kind"] == "license_key").unwrap();
    assert_eq!(key["problem"]["code"], "code_taken");
    let detail = key["problem"]["detail"].as_str().unwrap();
    assert!(detail.contains(&license), "{detail}");
}
