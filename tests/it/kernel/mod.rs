//! What all operations have in common.

mod audit;
mod commits;
mod idempotency;
mod lists;
mod preconditions;
