//! Organizations and their workspaces.

mod export;
mod groups;
mod onboarding;
mod organizations;
mod projects;
mod quotas;
mod request_rates;
mod secret_refs;
mod workspaces;
