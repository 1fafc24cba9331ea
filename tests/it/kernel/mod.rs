//! What all operations have in common.

mod audit;
mod cancellation;
mod commits;
mod completion;
mod idempotency;
mod lists;
mod preconditions;
mod refusals;
