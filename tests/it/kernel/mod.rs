//! What all operations have in common.

mod audit;
mod idempotency;
mod lists;
mod preconditions;
