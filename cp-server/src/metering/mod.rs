//! Metering: usage, its sums and limits, budgets and costs.

pub mod budgets;
pub mod costs;
pub mod counters;
pub mod ids;
pub mod limits;
pub mod quantity;
pub mod reports;
pub mod usage;
