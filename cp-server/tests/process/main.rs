//! The process as an operator runs it: starting, refusing to start, ending, dying, and what the
//! runbooks ask for.
#![expect(unreachable_pub, reason = "nothing of a test binary is reachable from outside")]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod backups;
mod canaries;
#[path = "../../../tests/it/world/cluster.rs"]
mod cluster;
mod commands;
mod crash;
mod disk;
mod evidence;
mod export;

mod faults;
mod first_token;
mod growth;
mod imports;
mod inclusion;
mod life;
mod resets;
mod runbooks;
mod secrets;
mod server;
mod tls;
