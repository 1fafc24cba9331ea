//! Organizations and their workspaces.

mod organizations;
mod quotas;
mod workspaces;
