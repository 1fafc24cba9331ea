//! Requests, operations and responses: the table of operations and the eight steps of each.

pub mod answer;
pub mod cx;
pub mod endpoint;
mod erased;
pub mod idempotency;
pub mod in_process;
pub mod json;
pub mod line;
pub mod openapi;
pub mod operation;
pub mod page;
pub mod raw;
mod reading;
pub mod routes;
pub mod turns;
pub mod waiting;
