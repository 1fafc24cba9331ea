//! What all operations have in common.

mod audit;
mod cancellation;
mod commits;
mod completion;
mod conditional_audit;
mod idempotency;
mod lists;
mod preconditions;
mod refusals;
mod shares;
