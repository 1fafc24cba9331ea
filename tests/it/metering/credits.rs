//! Credits: one sum, however they are read.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::{millionths, record};
use crate::world::{World, on_both};

/// Whatever was recorded: the credits of the events, those of the budget, and the costs are one sum.
#[on_both]
async fn credits_of_events_budgets_and_costs_are_one_sum(world: World) {
    let mut runner = TestRunner::deterministic();
    let groups = [None, Some(&world.acme.group), Some(&world.acme.spare_group)];
    for round in 0..4 {
        let product = format!("p-{round}");
        let factor = (1..4_000_000_i64).new_tree(&mut runner).unwrap().current();
        let decimal = |n: i64| -> Value {
            serde_json::from_str(&format!("{}.{:06}", n / 1_000_000, n % 1_000_000)).unwrap()
        };
        let path = world.org(&format!("/budgets/{product}"));
        let body = json!({"credits": 1_000_000, "factor": decimal(factor)});
        world.put(&path, body).await.expect(201);
        world.post(format!("{path}/cycles"), json!({})).await.expect(201);
        let quantities = prop::collection::vec((0..50_000_000_i64, 0..3_usize, any::<bool>()), 12);
        let recorded = quantities.new_tree(&mut runner).unwrap().current();
        let events: Value = recorded
            .iter()
            .map(|(quantity, group, has_user)| {
                json!({
                    "metric": "cost", "unit": "usd", "quantity": decimal(*quantity),
                    "product": product,
                    "group_id": groups[*group],
                    "user_id": has_user.then_some(&world.acme.user),
                })
            })
            .collect();
        record(&world, events).await;
        let usage = world.org(&format!("/usage?product={product}&limit=500"));
        let usage = world.get(usage).await.expect(200)["items"].as_array().unwrap().clone();
        assert_eq!(usage.len(), recorded.len());
        let of_events: i128 = usage.iter().map(|event| millionths(&event["credits"])).sum();
        let budget = world.get(&path).await.expect(200);
        assert_eq!(millionths(&budget["used"]), of_events, "{budget}");
        for by in ["", "&group_by=day", "&group_by=user", "&group_by=group"] {
            let costs = world.org(&format!("/usage/costs?product={product}{by}"));
            let costs = world.get(costs).await.expect(200)["items"].as_array().unwrap().clone();
            let of_costs: i128 = costs.iter().map(|cost| millionths(&cost["credits"])).sum();
            assert_eq!(of_costs, of_events, "{by}: {costs:?}");
        }
    }
}
