//! Organizations and their workspaces.

mod export;
mod groups;
mod onboarding;
mod organizations;
mod overview;
mod projects;
mod quotas;
mod request_rates;
mod search;
mod secret_refs;
mod workspaces;
