//! Metering: usage, its sums and its limits.

pub mod counters;
pub mod ids;
pub mod limits;
pub mod quantity;
pub mod reports;
pub mod usage;
