//! What every request passes. Nothing here knows a resource.

pub mod access;
pub mod app;
pub mod cache;
pub mod change;
pub mod clock;
pub mod completion;
pub mod counts;
pub mod db;
pub mod declaration;
pub mod digits;
pub mod drafts;
pub mod effect;
pub mod error;
pub mod files;
pub mod http;
pub mod journal;
pub mod kek;
pub mod outbound;
pub mod panics;
pub mod sealed;
pub mod secret;
pub mod section;
pub mod taken;
pub mod text;
pub mod traces;
