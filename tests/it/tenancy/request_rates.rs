use chrono::TimeDelta;
use serde_json::json;

use crate::world::{ROOT, on_both};

on_both! {
    an_organization_has_so_many_requests_in_a_minute(world) {
        let subscription = format!("/subscriptions/{}", world.acme.subscription);
        let free = json!({"plan_code": "free"});
        world.patch(&subscription, free).await.expect(200);
        let server = world.with_rate_limits().await;
        let acme = server.clone().token(&world.acme.token);
        let data_plane = server.clone().token(&world.acme.deployment_token);
        let root = server.clone().token(ROOT);

        let first = acme.get("/me").await;
        assert_eq!(first.header("ratelimit-policy"), "\"requests_per_minute\";q=10;w=60");
        assert_eq!(first.header("ratelimit"), "\"requests_per_minute\";r=9;t=60");
        first.expect(200);
        world.pass(TimeDelta::seconds(20));
        for left in (0..9).rev() {
            // All of its own tokens count together, whatever they are answered.
            let answer = data_plane.get("/users/whoami?provider=x&subject=y").await;
            let told = format!("\"requests_per_minute\";r={left};t=40");
            assert_eq!(answer.header("ratelimit"), told);
            answer.refused(404, "identity_unknown");
        }
        let answer = acme.get("/me").await;
        assert_eq!(answer.header("ratelimit"), "\"requests_per_minute\";r=0;t=40");
        assert_eq!(answer.header("retry-after"), "40");
        let problem = answer.refused(429, "rate_limited");
        assert_eq!(
            [&problem["metric"], &problem["limit"], &problem["used"], &problem["requested"]],
            [&json!("requests_per_minute"), &json!(10), &json!(10), &json!(1)]
        );
        assert_eq!(problem["organization_id"], world.acme.org);

        // Others are not held back: neither another organization, nor the platform, nor the public.
        server.clone().token(&world.globex.token).get("/me").await.expect(200);
        let answer = root.get(world.org("")).await;
        assert_eq!(answer.header("ratelimit"), "");
        answer.expect(200);
        let answer = acme.get("/.well-known/jwks.json").await;
        assert_eq!((answer.status, answer.header("ratelimit")), (200, ""));

        world.pass(TimeDelta::seconds(40));
        acme.get("/me").await.expect(200);
    }

    a_change_of_plan_is_heeded_at_once_and_unlimited_is_not_counted(world) {
        let subscription = format!("/subscriptions/{}", world.acme.subscription);
        let server = world.with_rate_limits().await;
        let (acme, root) = (server.clone().token(&world.acme.token), server.token(ROOT));
        assert_eq!(acme.get("/me").await.header("ratelimit"), "\"requests_per_minute\";r=299;t=60");
        let none = json!({"code": "none", "name": "None", "limits": {"requests_per_minute": 0}, "seat_cap": 5});
        root.post("/plans", none).await.expect(201);
        root.patch(&subscription, json!({"plan_code": "none"})).await.expect(200);
        acme.get("/me").await.refused(429, "rate_limited");
        let all = json!({"limits": {"requests_per_minute": null}});
        root.patch("/plans/none", all).await.expect(200);
        root.post("/plans/none/migrate", json!({})).await.expect(200);
        assert_eq!(acme.get("/me").await.header("ratelimit"), "");
    }
}
