//! What is read as a usage report counts upwards.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use cp_contracts::UsageReport;
use serde_json::{Value, json};

fn report() -> Value {
    serde_json::from_str(include_str!("../golden/2.11.0/usage_report.json")).unwrap()
}

#[test]
fn numbers_that_must_not_be_negative_are_not() {
    for (pointer, good, bad) in [
        ("/kind", vec![json!("usage_report")], vec![json!("report"), json!(null)]),
        ("/sequence", vec![json!(1), json!(i64::MAX)], vec![json!(0), json!(-1), json!(1.0)]),
        (
            "/counters/seats",
            vec![json!(0), json!(i64::MAX), json!(0.1)],
            vec![json!(-1), json!(-0.1), json!("1"), json!(null)],
        ),
        ("/leases/render/peak", vec![json!(0), json!(i64::MAX)], vec![json!(-1), json!(1.5)]),
        ("/leases/render/refused", vec![json!(0), json!(7)], vec![json!(-1), json!(null)]),
    ] {
        let with = |value: &Value| {
            let mut report = report();
            *report.pointer_mut(pointer).unwrap() = value.clone();
            serde_json::from_value::<UsageReport>(report)
        };
        for value in good {
            let read = serde_json::to_value(with(&value).unwrap()).unwrap();
            assert_eq!(read.pointer(pointer), Some(&value));
        }
        for value in bad {
            with(&value).expect_err(&format!("{pointer}: {value}"));
        }
    }
}
