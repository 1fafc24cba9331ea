//! The seats that a data plane holds, with the control plane's consent.
//!
//! # Design
//!
//! One thread sends the heartbeats of all leases, one request at a time, so any number of leases
//! costs one thread and one connection. Claims of synchronous callers run on the callers' threads.
//!
//! The state of a lease is computed from its times when an app asks, never from the thread's
//! progress: a thread that waits for the network must not prolong a lease or end it early.
//!
//! A refusal that concerns one lease ends or delays that lease. A failed request says nothing about
//! the other leases except that the next request fails too, so all of them pause together.

mod acquire;
mod claim;
mod client;
mod error;
mod heartbeats;
mod held;
mod lease_clock;
mod schedule;
mod tenure;

pub use self::acquire::Leases;
pub use self::claim::Claim;
pub use self::error::LeaseError;
pub use self::held::HeldLease;
pub use self::tenure::LeaseState;
