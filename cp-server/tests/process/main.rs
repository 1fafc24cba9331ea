//! The process as an operator runs it: starting, refusing to start, ending, dying, and what the
//! runbooks ask for.
#![expect(unreachable_pub, reason = "nothing of a test binary is reachable from outside")]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod backups;
mod canaries;
mod cli;
mod clients;
#[path = "../../../tests/it/world/cluster.rs"]
mod cluster;
mod commands;
mod crash;
mod deliveries;
mod disk;
mod documents;
mod evidence;
mod export;
mod failover;
mod faults;
mod first_token;
mod growth;
mod import_files;
mod imports;
mod inclusion;
mod issuers;
mod key_files;
mod keygen_exports;
mod lease_layer;
mod leases;
mod life;
mod logs;
mod monitoring;
mod output_forms;
mod pooler;
mod provisioning;
mod resets;
mod restores;
mod runbooks;
mod seats;
mod secrets;
mod server;
#[path = "../../../tests/it/world/times.rs"]
mod times;
mod tls;
#[cfg(feature = "otlp")]
mod traces;
mod verbs;
mod warnings;
