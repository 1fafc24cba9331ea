//! People, their identities, roles and memberships, and the tokens of machines.

mod access;
mod directory;
mod invitations;
mod leavers;
mod leaving;
mod memberships;
mod offers;
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
