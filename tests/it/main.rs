//! The authority from outside: each test has its own database, cloned from a template that was
//! filled over the API, and runs on SQLite and on PostgreSQL.
#![expect(unreachable_pub, reason = "nothing of a test binary is reachable from outside")]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod architecture;
mod audit;
mod backup;
mod console;
mod events;
mod example;
mod governance;
mod identity;
mod imports;
mod kernel;
mod leases;
mod license_keys;
mod licensing;
mod metering;
mod scim;
mod security;
mod stores;
mod sweep;
mod tenancy;
mod trust;
mod webhooks;
mod world;
