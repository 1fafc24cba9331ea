//! What is used, how much of it, and how much may be.

pub mod counters;
pub mod ids;
pub mod limits;
pub mod quantity;
pub mod reports;
pub mod usage;
