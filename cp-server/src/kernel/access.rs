//! Callers, their permissions and their rate limits.

pub mod admission;
pub mod areas;
pub mod authentication;
pub mod buckets;
pub mod caller;
pub mod ids;
pub mod owners;
pub mod permissions;
pub mod personal;
pub mod place;
pub mod platform;
pub mod policy;
pub mod products;
pub mod rate_limits;
pub mod shares;
