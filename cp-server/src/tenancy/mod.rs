//! The customers and their environments.

pub mod artifacts;
pub mod groups;
pub mod ids;
mod isolation;
pub mod onboarding;
pub mod organizations;
pub mod projects;
pub mod quotas;
pub mod request_rates;
pub mod secret_refs;
pub mod settings;
pub mod workspaces;
