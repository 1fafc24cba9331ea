//! Organizations and their workspaces.

mod groups;
mod organizations;
mod projects;
mod quotas;
mod secret_refs;
mod workspaces;
