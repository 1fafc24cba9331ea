//! What every request passes. Nothing here knows a resource.

pub mod admission;
pub mod answer;
pub mod caller;
pub mod clock;
pub mod db;
pub mod endpoint;
pub mod error;
pub mod files;
pub mod idempotency;
pub mod ids;
pub mod installation;
pub mod json;
pub mod kek;
pub mod memory;
pub mod openapi;
pub mod operation;
pub mod page;
pub mod permissions;
pub mod place;
pub mod policy;
pub mod query;
pub mod rates;
pub mod record;
pub mod secret;
pub mod table;
pub mod text;
