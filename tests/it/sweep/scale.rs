//! The cost of every operation with few and with many organizations: it must not grow with them.
//!
//! # Design
//! Two worlds of one database have the same tenants, one has a hundred times as many. Each line of the
//! table of operations runs in both by turns, and the least processor time of several calls counts.
//! A change has another tenant each time, so that none finds what an earlier one left. Rejected: elapsed
//! time, which depends on the other work of the machine.

mod meter;
mod series;

use std::time::Duration;

use cp_server::kernel::access::place::Exposure;
use cp_server::kernel::http::line::Line;

use self::series::{Series, Side};
use crate::world::World;

/// The organizations of the worlds, unless `SCALE_FEW` and `SCALE_MANY` have other numbers. `SCALE_ONLY`
/// selects the operations whose names contain one of its parts, which commas separate.
const FEW: u32 = 1000;
const MANY: u32 = 100_000;

/// The largest ratio of the two costs.
const BOUND: f64 = 1.3;

/// A smaller difference is within the accuracy of the measurement.
const ACCURACY: Duration = Duration::from_micros(50);

/// The passes over the operations; those after the first are over the ones that grow.
const PASSES: usize = 3;

/// The operations whose cost may grow, and the reason.
const EXCEPTIONS: [(&str, &str); 3] = [
    ("audit.erase", "searches the whole log for a person"),
    ("overview.platform", "counts up to 10,000 rows of each kind"),
    ("issuance.daily", "counts up to 10,000 tokens of today"),
];

/// A row of the table.
struct Cost {
    name: &'static str,
    few: Duration,
    many: Duration,
    /// The bytes of the responses.
    bytes: [usize; 2],
}

impl Cost {
    fn ratio(&self) -> f64 {
        self.many.as_secs_f64() / self.few.as_secs_f64()
    }

    fn grows(&self) -> bool {
        self.ratio() > BOUND && self.many - self.few > ACCURACY
    }
}

fn count(name: &str, default: u32) -> u32 {
    let value = std::env::var_os(name);
    value.map_or(default, |value| value.to_str().unwrap().parse().unwrap())
}

/// Reads first, and the changes of the platform last: these change what all tenants share.
fn lines() -> Vec<Line> {
    let mut lines = crate::world::operations().table;
    let rank = |line: &Line| {
        let is_deletion = line.method == axum::http::Method::DELETE;
        let is_shared = !line.reads() && line.exposure == Exposure::Platform;
        (!line.reads(), is_shared, is_deletion)
    };
    lines.sort_by_key(rank);
    let only = std::env::var_os("SCALE_ONLY");
    let only = only.as_ref().map(|text| text.to_str().unwrap()).unwrap_or_default();
    lines.retain(|line| only.is_empty() || only.split(',').any(|name| line.name.contains(name)));
    lines
}

async fn compare(few: World, many: World) {
    let mut sides = [Side::new(few), Side::new(many)];
    let lines = lines();
    let mut all: Vec<Series> = lines.iter().map(Series::new).collect();
    // What grows is measured again later: other work of the machine lasts for some time.
    for pass in 0..PASSES {
        for series in &mut all {
            if pass == 0 || series.cost().is_some_and(|cost| cost.grows()) {
                Box::pin(series.run(&mut sides)).await;
                if let Some(cost) = series.cost() {
                    let (few, many) = (cost.few.as_micros(), cost.many.as_micros());
                    eprintln!("{}: {few} µs, {many} µs", cost.name);
                }
            }
        }
    }
    let mut costs: Vec<Cost> = all.iter().filter_map(Series::cost).collect();
    let failed = all.iter().filter(|series| series.cost().is_none());
    let failed: Vec<String> =
        failed.map(|series| format!("{}: {}", series.line.name, series.refusal)).collect();
    costs.sort_by(|one, other| other.ratio().total_cmp(&one.ratio()));
    println!("| operation | few, µs | many, µs | ratio | difference, µs | bytes | |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | --- |");
    for cost in &costs {
        let exception = EXCEPTIONS.iter().find(|(name, _)| *name == cost.name);
        let mark = match exception {
            Some(&(_, reason)) => reason,
            None if cost.grows() => "**grows**",
            None => "",
        };
        println!(
            "| {} | {} | {} | {:.2} | {} | {} / {} | {mark} |",
            cost.name,
            cost.few.as_micros(),
            cost.many.as_micros(),
            cost.ratio(),
            cost.many.as_micros().cast_signed() - cost.few.as_micros().cast_signed(),
            cost.bytes[0],
            cost.bytes[1],
        );
    }
    let grows = |cost: &&Cost| cost.grows();
    let is_excepted = |name: &str| EXCEPTIONS.iter().any(|(excepted, _)| *excepted == name);
    let growing: Vec<&str> = costs.iter().filter(grows).map(|cost| cost.name).collect();
    println!("{} operations, {} grow", costs.len(), growing.len());
    assert!(failed.is_empty(), "not measured: {failed:#?}");
    let growing: Vec<&str> = growing.into_iter().filter(|name| !is_excepted(name)).collect();
    assert!(growing.is_empty(), "the cost grows: {growing:?}");
}

#[tokio::test]
#[ignore = "fills databases for many minutes"]
async fn operations_with_many_tenants_cost_as_much_as_with_few_on_sqlite() {
    let few = World::crowded_on_sqlite(count("SCALE_FEW", FEW)).await;
    let many = World::crowded_on_sqlite(count("SCALE_MANY", MANY)).await;
    compare(few, many).await;
}

#[tokio::test]
#[ignore = "fills databases for many minutes"]
async fn operations_with_many_tenants_cost_as_much_as_with_few_on_postgres() {
    let Some(few) = World::crowded_on_postgres(count("SCALE_FEW", FEW)).await else { return };
    let many = World::crowded_on_postgres(count("SCALE_MANY", MANY)).await.unwrap();
    compare(few, many).await;
}
