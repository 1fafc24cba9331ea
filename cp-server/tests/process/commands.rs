//! The verbs of the daily work, on the database of this machine.

use std::path::Path;

use serde_json::{Value, json};

use tempfile::TempDir;

use super::server::{command, folder};

/// A folder with an installation: commands make none.
fn installation() -> TempDir {
    let folder = folder();
    assert!(command(folder.path()).arg("migrate").status().unwrap().success());
    folder
}

fn run(folder: &Path, args: &[&str]) -> Result<Value, String> {
    let output = command(folder).args(args).output().unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[test]
fn organizations_and_members_have_verbs_of_their_own() {
    let folder = installation();
    let run = |args: &[&str]| run(folder.path(), args);
    let made = run(&["org", "create", "Acme Corp", "--owner", "anna@acme.example"]).unwrap();
    assert_eq!(made["slug"], "acme-corp");
    assert_eq!(run(&["org", "show", "acme-corp"]).unwrap(), made);

    let added = ["member", "add", "acme-corp", "bert@acme.example", "--permission", "reports:read"];
    let added = run(&added).unwrap();
    assert_eq!(added["role"]["code"], "ORGANIZATION_MEMBER");
    assert_eq!(added["permissions"], json!(["reports:read"]));
    let listed = run(&["member", "list", "acme-corp", "--status", "invited"]).unwrap();
    assert_eq!(listed["items"], json!([added]));

    let quotas = run(&["org", "quota", "acme-corp"]).unwrap();
    assert_eq!(quotas["quotas"]["members"]["used"], 2);
    let check = run(&["org", "quota", "acme-corp", "members", "--amount", "2"]).unwrap();
    assert_eq!(check["allowed"], false);
    run(&["member", "add", "acme-corp", "cara@acme.example", "--role", "admin"]).unwrap();
    let refused = run(&["member", "add", "acme-corp", "dora@acme.example"]).unwrap_err();
    assert!(refused.contains("quota_exceeded (429): member quota exceeded: 3 of 3"), "{refused}");
    let refused = run(&["org", "show", "nowhere"]).unwrap_err();
    assert!(refused.contains("organization not found"), "{refused}");
}

#[test]
fn tokens_have_verbs_of_their_own() {
    let folder = installation();
    let run = |args: &[&str]| run(folder.path(), args);
    run(&["org", "create", "Acme"]).unwrap();
    let made = ["token", "create", "ci", "--permission", "org:read", "--organization", "acme"];
    let made = run(&[&made[..], &["--expires-at", "2040-01-01T00:00:00Z"]].concat()).unwrap();
    assert_eq!(made["expires_at"], "2040-01-01T00:00:00Z");
    let id = made["id"].as_str().unwrap();
    let rotated = run(&["token", "rotate", id, "--overlap-seconds", "60"]).unwrap();
    assert_eq!(rotated["id"], made["id"]);
    assert_ne!(rotated["token"], made["token"]);

    let deployment = ["call", "deployments.create", "org=acme", "name=edge", "type=onprem"];
    let deployment = run(&deployment).unwrap();
    let deployment = deployment["id"].as_str().unwrap();
    let data_plane = run(&["token", "create", "edge", "--deployment", deployment]).unwrap();
    assert_eq!(
        data_plane["permissions"],
        json!([
            "users:whoami",
            "usage:write",
            "limits:read",
            "effective:read",
            "leases:read",
            "leases:write",
            "licenses:fetch",
        ])
    );
    let listed = |more: &[&str]| run(&[&["token", "list", "--active"], more].concat()).unwrap();
    assert_eq!(listed(&["--organization", "acme"])["items"].as_array().unwrap().len(), 2);
    assert_eq!(listed(&["--deployment", deployment])["items"][0]["id"], data_plane["id"]);

    let revoked = command(folder.path()).args(["token", "revoke", id]).status().unwrap();
    assert!(revoked.success());
    assert_eq!(listed(&["--organization", "acme"])["items"].as_array().unwrap().len(), 1);
    assert_eq!(run(&["token", "whoami"]).unwrap()["kind"], "system");
    let refused = run(&["token", "create", "x"]).unwrap_err();
    assert!(refused.contains("--permission"), "{refused}");
}

#[test]
fn usage_is_recorded_and_added_up() {
    let folder = installation();
    let run = |args: &[&str]| run(folder.path(), args);
    run(&["org", "create", "Acme"]).unwrap();
    let once = ["usage", "record", "acme", "tokens", "0.1", "--unit", "k", "--key", "a"];
    let event = run(&once).unwrap();
    assert_eq!((&event["quantity"], &event["unit"]), (&json!(0.1), &json!("k")));
    assert_eq!(run(&once).unwrap(), event);
    let later = ["--at", "2020-01-01T00:00:00Z", "--enforce"];
    run(&[&["usage", "record", "acme", "tokens", "0.2", "--unit", "k"][..], &later].concat())
        .unwrap();
    let summary = run(&["usage", "summary", "acme", "--until", "2100-01-01T00:00:00Z"]).unwrap();
    let sum = json!({"metric": "tokens", "unit": "k", "quantity": 0.3, "events": 2});
    assert_eq!(summary["items"], json!([sum]));
    let refused = run(&["usage", "record", "acme", "tokens", "0.0000001"]).unwrap_err();
    assert!(refused.contains("at most 6 decimal places"), "{refused}");
}

#[test]
fn call_reads_a_value_by_the_schema_of_its_member() {
    let folder = installation();
    let run = |args: &[&str]| run(folder.path(), args);
    for (n, text) in ["1822", "true", "null", "1.10", "1e5", "007"].iter().enumerate() {
        let (name, own) = (format!("name={text}"), format!("external_id={text}"));
        let slug = format!("slug=s{n}");
        let made = run(&["call", "organizations.create", &name, &own, &slug]).unwrap();
        assert_eq!((&made["name"], &made["external_id"]), (&json!(text), &json!(text)));
    }
    let made = ["call", "organizations.create", "name=A", "external_id=12345678901234567890123"];
    let made = run(&[&made[..], &["metadata={\"tier\": 1}"]].concat()).unwrap();
    assert_eq!(made["external_id"], "12345678901234567890123");
    assert_eq!(made["metadata"], json!({"tier": 1}));
    let id = format!("org={}", made["id"].as_str().unwrap());
    let cleared = ["call", "organizations.update", &id, "--data", "{\"external_id\": null}"];
    assert_eq!(run(&cleared).unwrap()["external_id"], Value::Null);
    assert_eq!(
        run(&["call", "organizations.list", "limit=1"]).unwrap()["items"].as_array().unwrap().len(),
        1
    );
    let refused = run(&["call", "organizations.list", "limit=many"]).unwrap_err();
    assert!(refused.contains("limit"), "{refused}");
}
