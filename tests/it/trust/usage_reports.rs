use serde_json::json;

use crate::world::{World, now, on_both, usage_report};

#[on_both]
async fn a_report_is_taken_in_once_and_in_order(world: World) {
    let (deployment, license) = (&world.acme.deployment, &world.acme.license);
    let path = format!("/deployments/{deployment}/usage-reports");
    let first = world.get(&path).await.expect(200)["items"][0].clone();
    let hash = first["report_hash"].as_str().unwrap();
    let file = usage_report(deployment, license, 2, Some(hash));
    let second = world.post(&path, json!({"file": file})).await.expect(201);
    assert_eq!(
        world.named(&second),
        json!({
            "id": "<1>", "organization_id": "<acme's org>",
            "deployment_id": "<acme's deployment>", "sequence": 2,
            "report_hash": second["report_hash"], "received_at": now(),
            "report": world.named(&serde_json::from_str(&file).unwrap()),
        })
    );
    let seen = world.get(format!("/deployments/{deployment}")).await.expect(200);
    assert_eq!(seen["last_seen_at"], json!(now()));
    for old in [1, 2] {
        let file = usage_report(deployment, license, old, None);
        let refused = world.post(&path, json!({"file": file})).await;
        assert_eq!(refused.refused(409, "report_replayed")["last_sequence"], 2);
    }
    let forged = usage_report(deployment, license, 3, Some(&"0".repeat(64)));
    world.post(&path, json!({"file": forged})).await.refused(409, "conflict");
    // A report that was lost on the way does not stop the later ones.
    let later = usage_report(deployment, license, 5, Some(&"0".repeat(64)));
    world.post(&path, json!({"file": later})).await.expect(201);
    assert_eq!(world.get(&path).await.expect(200)["items"].as_array().unwrap().len(), 3);
}

#[on_both]
async fn a_report_of_another_deployment_or_license_is_refused(world: World) {
    let path = format!("/deployments/{}/usage-reports", world.acme.deployment);
    let (acme, globex) = (&world.acme, &world.globex);
    for (deployment, license) in [
        (&acme.spare_deployment, &acme.license),
        (&globex.deployment, &acme.license),
        (&acme.deployment, &globex.license),
    ] {
        let file = usage_report(deployment, license, 2, None);
        world.post(&path, json!({"file": file})).await.invalid("file");
    }
    for text in ["", "{}", "[]", "{\"kind\":1}", "x"] {
        world.post(&path, json!({"file": text})).await.invalid("file");
    }
}
