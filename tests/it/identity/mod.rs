//! People, their identities, roles and memberships, and the tokens of machines.

mod access;
mod directory;
mod invitations;
mod leaving;
mod memberships;
mod oidc;
mod people;
mod policy;
mod providers;
mod provisioning;
mod roles;
mod service_tokens;
mod users;
mod vouching;
mod whoami;
