//! The identities of people and machines, and their rights.

pub mod bootstrap;
pub mod console_links;
pub mod directory;
pub mod escalation;
pub mod first_logins;
pub mod ids;
pub mod invitations;
pub mod inviter;
pub mod leavers;
pub mod login_caller;
pub mod me;
pub mod memberships;
pub mod oidc;
pub mod project_grants;
pub mod providers;
pub mod provisioning;
pub mod role_grants;
pub mod roles;
pub mod scopes;
pub mod service_tokens;
pub mod sessions;
pub mod settings;
pub mod users;
pub mod whoami;
pub mod workspace_access;
