//! SCIM 2.0, as Microsoft Entra ID and Okta speak it.

mod foreign;
mod groups;
mod leavers;
mod provider;
mod service;
mod users;

pub use provider::{IdentityProvider, encoded, error, id, only, token_permissions, user};
