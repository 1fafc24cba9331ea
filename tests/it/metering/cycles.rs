//! The ends of cycles: changes of the cadence, and cycles that no job has closed.

use chrono::TimeDelta;
use cp_server::metering::budgets::renewal;
use serde_json::{Value, json};

use super::record;
use crate::world::{World, on_both};

/// Sets a budget of 1000 enforced credits, and returns it.
async fn put(world: &World, change: Value, status: u16) -> Value {
    let mut body = json!({"credits": 1000, "enforcement": "enforce"});
    body.as_object_mut().unwrap().extend(change.as_object().cloned().unwrap());
    world.put(world.org("/budgets/copilot"), body).await.expect(status)
}

async fn open(world: &World) {
    world.post(world.org("/budgets/copilot/cycles"), json!({})).await.expect(201);
}

fn span(cycle: &Value) -> [&str; 2] {
    ["starts_at", "ends_at"].map(|end| cycle[end].as_str().unwrap())
}

async fn cycles(world: &World, product: &str) -> Vec<Value> {
    let path = world.org(&format!("/budgets/{product}/cycles"));
    world.get(path).await.expect(200)["items"].as_array().unwrap().clone()
}

#[on_both]
async fn changed_cadence_ends_the_active_cycle_after_now(world: World) {
    // To the first of April.
    world.pass(TimeDelta::days(89));
    put(&world, json!({}), 201).await;
    open(&world).await;
    let april = "2026-04-01T00:00:00Z";
    assert_eq!(span(&cycles(&world, "copilot").await[0]), [april, "2026-05-01T00:00:00Z"]);
    world.pass(TimeDelta::days(19));
    let changed = put(&world, json!({"renewal_day": 5}), 200).await;
    assert_eq!(span(&changed["cycle"]), [april, "2026-05-05T00:00:00Z"]);
    let yearly = put(&world, json!({"renewal_day": 5, "cadence": "yearly"}), 200).await;
    assert_eq!(span(&yearly["cycle"]), [april, "2027-03-05T00:00:00Z"]);
    // To the tenth of June.
    world.pass(TimeDelta::days(51));
    let monthly = put(&world, json!({"renewal_day": 5}), 200).await;
    assert_eq!(span(&monthly["cycle"]), [april, "2026-07-05T00:00:00Z"]);
    let manual = put(&world, json!({"cadence": "manual"}), 200).await;
    assert_eq!(manual["cycle"]["ends_at"], Value::Null);
    put(&world, json!({"renewal_day": 5}), 200).await;
    renewal::renew(&world.app).await.unwrap();
    assert_eq!(cycles(&world, "copilot").await.len(), 1, "it has not ended");
    // A cycle that has ended keeps its end; the next one follows the changed budget.
    world.pass(TimeDelta::days(30));
    let late = put(&world, json!({"renewal_day": 20}), 200).await;
    assert_eq!(span(&late["cycle"]), [april, "2026-07-05T00:00:00Z"]);
    renewal::renew(&world.app).await.unwrap();
    let all = cycles(&world, "copilot").await;
    assert_eq!(
        all.iter().map(span).collect::<Vec<_>>(),
        [["2026-07-05T00:00:00Z", "2026-07-20T00:00:00Z"], [april, "2026-07-05T00:00:00Z"]]
    );
}

/// Each of the overdue cycles has a window of its own, whether or not the job has opened it.
#[on_both]
async fn overdue_cycles_have_windows_of_their_own(world: World) {
    put(&world, json!({}), 201).await;
    open(&world).await;
    // To the tenth of March: the cycles of January and February have ended.
    world.pass(TimeDelta::days(67));
    let asking = |quantity: i64, at: &str| {
        json!({
            "metric": "cost", "unit": "usd", "product": "copilot", "mode": "enforce",
            "quantity": quantity, "observed_at": at,
        })
    };
    let refused = async |quantity: i64, at: &str| {
        let answer = world.post(world.org("/usage"), asking(quantity, at)).await;
        answer.refused(429, "limit_exceeded")["resets_at"].clone()
    };
    let (february, march) = ("2026-02-10T00:00:00Z", "2026-03-10T00:00:00Z");
    record(&world, asking(900, march)).await;
    assert_eq!(refused(200, march).await, "2026-04-01T00:00:00Z");
    record(&world, asking(1000, february)).await;
    assert_eq!(refused(1, february).await, "2026-03-01T00:00:00Z");
    record(&world, asking(100, march)).await;
    let path = "/limits/check?metric=credits&unit=copilot&window=cycle";
    let checked = world.get(world.org(path)).await.expect(200);
    assert_eq!(checked["used"], 1000);
    assert_eq!(
        checked["interval"],
        json!({"since": "2026-03-01T00:00:00Z", "until": "2026-03-31T23:59:59.999999Z"})
    );
}

/// Budgets that fail delay no other one, and one run opens all cycles that are due.
#[on_both]
async fn renewal_passes_by_budgets_that_fail(world: World) {
    // More than a page of them, and all of them are due before the others.
    for n in 0..101 {
        let path = world.org(&format!("/budgets/broken-{n}"));
        world.put(&path, json!({"credits": 1})).await.expect(201);
        world.post(format!("{path}/cycles"), json!({})).await.expect(201);
    }
    world.exec("UPDATE budgets SET cadence = 'never' WHERE product LIKE 'broken-%'").await;
    put(&world, json!({"renewal_day": 2}), 201).await;
    open(&world).await;
    world.pass(TimeDelta::days(60));
    renewal::renew(&world.app).await.unwrap();
    let all = cycles(&world, "copilot").await;
    assert_eq!(
        all.iter().map(span).collect::<Vec<_>>(),
        [
            ["2026-03-02T00:00:00Z", "2026-04-02T00:00:00Z"],
            ["2026-02-02T00:00:00Z", "2026-03-02T00:00:00Z"],
            ["2026-01-02T00:00:00Z", "2026-02-02T00:00:00Z"],
        ]
    );
    let active = all.iter().map(|cycle| cycle["status"] == "active").collect::<Vec<_>>();
    assert_eq!(active, [true, false, false]);
}

/// An instant before the cycle has no window, and never the sum of all earlier time.
#[on_both]
async fn check_before_the_cycle_is_refused(world: World) {
    let budget = json!({"credits": 1000, "enforcement": "observe"});
    put(&world, budget, 201).await;
    let event = json!({"metric": "cost", "unit": "usd", "product": "copilot", "quantity": 7});
    record(&world, event.clone()).await;
    world.pass(TimeDelta::days(1));
    open(&world).await;
    record(&world, event).await;
    let check = "/limits/check?metric=credits&unit=copilot&window=cycle";
    let path = |interval: &str| world.org(&format!("{check}{interval}"));
    let problem = world.get(path("&until=2026-01-02T12:00:00Z")).await.invalid("until");
    assert_eq!(
        problem["detail"],
        "`until` must be at least the cycle's beginning, 2026-01-03T00:00:00Z (got \
         2026-01-02T12:00:00Z)."
    );
    let late = "&since=2026-01-03T12:00:00Z&until=2026-01-03T06:00:00Z";
    world.get(path(late)).await.invalid("since");
    assert_eq!(world.get(path("")).await.expect(200)["used"], 7);
    // A caller may name another beginning.
    let earlier = "&since=2026-01-01T00:00:00Z&until=2026-01-02T12:00:00Z";
    assert_eq!(world.get(path(earlier)).await.expect(200)["used"], 7);
    let all = world.get(path("&since=2026-01-01T00:00:00Z")).await.expect(200);
    assert_eq!(all["used"], 14);
}
