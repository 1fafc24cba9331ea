//! The customers, and the environments that they work in.

pub mod organizations;
pub mod quotas;
mod settings;
pub mod workspaces;
