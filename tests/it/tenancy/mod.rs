//! Organizations and their workspaces.

mod organizations;
mod workspaces;
