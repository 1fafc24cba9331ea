//! SCIM 2.0 (RFC 7643, RFC 7644): an organization's identity provider manages its people and groups.
//!
//! # Design
//! - **The organization has its own view of a person.** A person is a record of the platform, found by
//!   the e-mail address like everywhere else. What the provider says (user name, names, addresses,
//!   external ID) is stored for the organization alone. So the provider of one organization cannot
//!   rename, disable or take over a person of another one.
//! - **A person takes a seat.** A new user is offered the seat of a viewer, like by any caller of an
//!   organization. `active: false` and DELETE end it at once, with everything that depends on it.
//! - **A repeated statement changes nothing.** Providers send the whole state again and again.
//! - **The ID is the person's user ID.** Every member has one, so a provider also finds the members
//!   that it has not created. Rejected: an ID for each organization, which other operations of this
//!   API would not accept.
//! - **A PATCH becomes a PUT.** Its operations change the JSON of the current resource, and one function
//!   makes the result so. Both ways of a provider to say the same have the same effect.

mod filter;
pub mod groups;
mod patch;
mod projection;
pub mod protocol;
pub mod resource;
pub mod rows;
mod schemas;
mod shapes;
mod teams;
pub mod users;

use serde_json::Value;

use self::protocol::InScim;
use self::resource::Shown;
use self::rows::{INACTIVE, USERS};
use self::schemas::Place;
use crate::kernel::access::place::Org;
use crate::kernel::declaration::Declaration;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;

crate::permissions! {
    /// Provision people and groups from an identity provider (SCIM).
    MEMBERS_PROVISION = "members:provision", held by ["ORGANIZATION_ADMIN"];
}

/// The people as the identity provider describes them.
pub static DECLARATION: Declaration = USERS.permissions(PERMISSIONS);
/// The groups of people who are not active.
pub static INACTIVE_MEMBERS: Declaration = INACTIVE;

crate::routes! {
    /// SCIM 2.0: an identity provider manages the people and groups of an organization.
    scim declares DECLARATION, INACTIVE_MEMBERS:
    /// Returns what this server supports of SCIM.
    GET "/organizations/{org}/scim/v2/ServiceProviderConfig" MEMBERS_PROVISION => read_config, throughout, machine, scim;
    /// Lists the types of SCIM resources.
    GET "/organizations/{org}/scim/v2/ResourceTypes" MEMBERS_PROVISION => list_resource_types, throughout, machine, scim;
    /// Reads a type of SCIM resources.
    GET "/organizations/{org}/scim/v2/ResourceTypes/{name}" MEMBERS_PROVISION => read_resource_type, throughout, machine, scim;
    /// Lists the schemas of SCIM resources.
    GET "/organizations/{org}/scim/v2/Schemas" MEMBERS_PROVISION => list_schemas, throughout, machine, scim;
    /// Reads the schema of a SCIM resource.
    GET "/organizations/{org}/scim/v2/Schemas/{urn}" MEMBERS_PROVISION => read_schema, throughout, machine, scim;
}

async fn read_config(cx: &mut Cx, _: Org) -> Result<Shown> {
    Shown::of(Place::of(cx).config())
}

async fn list_resource_types(cx: &mut Cx, _: Org) -> Result<Shown> {
    Shown::of(schemas::list(Place::of(cx).resource_types()))
}

async fn read_resource_type(cx: &mut Cx, (_, name): (Org, String)) -> Result<Shown> {
    named(Place::of(cx).resource_types(), &name, "resource type")
}

async fn list_schemas(cx: &mut Cx, _: Org) -> Result<Shown> {
    Shown::of(schemas::list(Place::of(cx).schemas()))
}

async fn read_schema(cx: &mut Cx, (_, urn): (Org, String)) -> Result<Shown> {
    named(Place::of(cx).schemas(), &urn, "schema")
}

fn named(all: Vec<Value>, id: &str, noun: &str) -> Result<Shown> {
    let found = all.into_iter().find(|one| one["id"] == id);
    Shown::of(found.ok_or_else(|| Error::not_found(noun))?)
}
