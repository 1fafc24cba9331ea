//! The counters against a naive scan: whatever was recorded, and whatever is asked.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use super::{project, record};
use crate::world::{World, on_both};

const DAY: i64 = 86_400_000_000;
/// 2026-02-01T00:00:00Z, in microseconds.
const START: i64 = 1_769_904_000_000_000;

#[derive(Clone, Debug)]
struct Event {
    at: i64,
    /// Millionths.
    quantity: i64,
    metric: usize,
    project: Option<usize>,
}

/// Instants that crowd where it is difficult: at the edges of buckets.
fn instant() -> impl Strategy<Value = i64> {
    let around = |size: i64, most: i64| (0..most, -1..=1_i64).prop_map(move |(n, d)| n * size + d);
    prop_oneof![
        0..70 * DAY,
        around(DAY, 70),
        around(DAY / 24, 70 * 24),
        around(60_000_000, 1440),
        around(1_000_000, 120),
        0..20_i64,
    ]
    .prop_map(|offset| START + offset)
}

fn event() -> impl Strategy<Value = Event> {
    let quantity = prop_oneof![0..5_i64, 0..3_000_000_000_000_i64, Just(1_000_000)];
    (instant(), quantity, 0..2_usize, prop::option::of(0..2_usize))
        .prop_map(|(at, quantity, metric, project)| Event { at, quantity, metric, project })
}

fn text(micros: i64) -> String {
    let at: DateTime<Utc> = DateTime::from_timestamp_micros(micros).unwrap();
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn decimal(micros: i64) -> Value {
    let (whole, fraction) = (micros / 1_000_000, micros % 1_000_000);
    serde_json::from_str(&format!("{whole}.{fraction:06}")).unwrap()
}

fn number(value: &Value) -> i64 {
    (value.as_f64().unwrap() * 1e6).round() as i64
}

struct Recorded {
    world: World,
    projects: [String; 2],
    events: Vec<Event>,
}

impl Recorded {
    async fn add(&mut self, events: Vec<Event>) {
        let body: Value = events
            .iter()
            .map(|event| {
                json!({
                    "metric": format!("metric-{}", event.metric), "quantity": decimal(event.quantity),
                    "observed_at": text(event.at),
                    "project_id": event.project.map(|n| &self.projects[n]),
                })
            })
            .collect();
        assert_eq!(record(&self.world, body).await["recorded"], events.len());
        self.events.extend(events);
    }

    /// Events and millionths by metric, the slow way.
    fn scan(&self, since: i64, until: i64, project: Option<usize>) -> BTreeMap<String, (i64, i64)> {
        let mut sums = BTreeMap::new();
        for event in &self.events {
            let of = project.is_none() || event.project == project;
            if of && (since..=until).contains(&event.at) {
                let sum: &mut (i64, i64) =
                    sums.entry(format!("metric-{}", event.metric)).or_default();
                *sum = (sum.0 + 1, sum.1 + event.quantity);
            }
        }
        sums
    }

    async fn items(&self, since: i64, until: i64, more: &str) -> Vec<Value> {
        let path = format!("/usage/summary?since={}&until={}{more}", text(since), text(until));
        let summary = self.world.get(self.world.org(&path)).await.expect(200);
        summary["items"].as_array().unwrap().clone()
    }

    async fn compare(&self, since: i64, until: i64, project: Option<usize>) {
        let narrowed = project.map_or(String::new(), |n| format!("&project={}", self.projects[n]));
        let expected = self.scan(since, until, project);
        for group_by in ["metric", "day", "hour"] {
            // Hours of two months and two metrics are fewer than an answer holds.
            let more = format!("{narrowed}&group_by={group_by}");
            let mut found: BTreeMap<String, (i64, i64)> = BTreeMap::new();
            for item in self.items(since, until, &more).await {
                let sum = found.entry(item["metric"].as_str().unwrap().to_owned()).or_default();
                *sum =
                    (sum.0 + item["events"].as_i64().unwrap(), sum.1 + number(&item["quantity"]));
            }
            assert_eq!(found, expected, "{} to {} by {group_by}", text(since), text(until));
        }
        for (metric, (_, quantity)) in expected {
            let path = format!(
                "/limits/check?metric={metric}&since={}&until={}{narrowed}",
                text(since),
                text(until)
            );
            let check = self.world.get(self.world.org(&path)).await.expect(200);
            assert_eq!(number(&check["used"]), quantity, "{path}");
        }
    }
}

#[on_both]
async fn sums_are_those_of_a_naive_scan(world: World) {
    world.pass(TimeDelta::days(120));
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut draw =
        |strategy: BoxedStrategy<Vec<Event>>| strategy.new_tree(&mut runner).unwrap().current();
    let projects = [project(&world, "apollo").await, project(&world, "gemini").await];
    for metric in ["metric-0", "metric-1"] {
        for of in [None, Some(&projects[0]), Some(&projects[1])] {
            let body = json!({"metric": metric, "quantity": null, "project_id": of});
            world.put(world.org("/limits"), body).await.expect(201);
        }
    }
    let mut recorded = Recorded { world, projects, events: Vec::new() };
    for _ in 0..4 {
        recorded.add(draw(prop::collection::vec(event(), 150).boxed())).await;
        // Ends from where events are, and right beside them.
        let ends = draw(prop::collection::vec(event(), 24).boxed());
        let known = recorded.events.len();
        for (n, pair) in ends.chunks(2).enumerate() {
            let near = |event: &Event, d: i64| match n % 3 {
                0 => event.at,
                _ => recorded.events[usize::try_from(event.quantity).unwrap() % known].at + d,
            };
            let (a, b) = (near(&pair[0], n as i64 % 2), near(&pair[1], -(n as i64 % 2)));
            recorded.compare(a.min(b), a.max(b), pair[0].project).await;
        }
    }
    // Without ends it is everything.
    let all = recorded.scan(i64::MIN, i64::MAX, Some(0));
    let path = format!("/usage/summary?project={}", recorded.projects[0]);
    let summary = recorded.world.get(recorded.world.org(&path)).await.expect(200);
    for item in summary["items"].as_array().unwrap() {
        let sum = all[item["metric"].as_str().unwrap()];
        assert_eq!((item["events"].as_i64().unwrap(), number(&item["quantity"])), sum);
    }
}
