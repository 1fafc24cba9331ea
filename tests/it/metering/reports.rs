use serde_json::json;

use crate::world::{World, on_both, usage_report};

#[on_both]
async fn report_counts_are_usage_of_its_deployment(world: World) {
    let listed = world.get(world.org("/usage?metric=seats")).await.expect(200);
    let report = world.acme.usage_report.as_str();
    assert_eq!(
        world.named(&listed["items"][0]),
        world.named(&json!({
            "id": listed["items"][0]["id"], "organization_id": world.acme.org,
            "product": "", "group_id": null, "user_id": null, "credits": null,
            "credit_factor": null,
            "project_id": null, "deployment_id": world.acme.deployment, "run_id": null,
            "metric": "seats", "unit": "count", "quantity": 7, "metadata": {},
            "dims": {"usage_report_id": report, "license_id": world.acme.license},
            "idempotency_key": null, "observed_at": "2025-12-31T23:59:59.999999Z",
            "recorded_at": listed["items"][0]["recorded_at"],
        }))
    );
    let reports = format!("/deployments/{}/usage-reports", world.acme.deployment);
    let file = usage_report(&world.acme.deployment, &world.acme.license, 2, None);
    let noisy = file.replace(r#""seats":7"#, r#""seats":0.30000000000000004"#);
    world.post(&reports, json!({"file": noisy})).await.expect(201);
    let again = world.post(&reports, json!({"file": noisy})).await;
    again.refused(409, "report_replayed");
    let summary = world.get(world.org("/usage/summary")).await.expect(200);
    assert_eq!(
        summary["items"][1],
        json!({
            "metric": "seats", "unit": "count", "quantity": 7.3, "events": 2,
        })
    );
    let file = usage_report(&world.acme.deployment, &world.acme.license, 3, None);
    let ahead =
        file.replace(r#""until":"2026-01-01T00:00:00Z"#, r#""until":"2026-01-02T00:05:01Z"#);
    assert_ne!(ahead, file);
    world.post(&reports, json!({"file": ahead})).await.invalid("file");
    for bad in [r#""":7"#, r#""seats":1e300"#] {
        let file = usage_report(&world.acme.deployment, &world.acme.license, 3, None);
        let file = file.replace(r#""seats":7"#, bad);
        world.post(&reports, json!({"file": file})).await.invalid("file");
    }
}
