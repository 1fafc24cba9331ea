//! The kinds of lines: each is applied by a file of its own.

pub mod deployments;
pub mod leases;
pub mod license_keys;
pub mod licenses;
pub mod memberships;
pub mod organizations;
pub mod plans;
pub mod subscriptions;
pub mod users;

use super::applied::Applied;
use super::fields::Fields;
use super::kind::Kind;
use super::references;
use crate::kernel::access::caller::Scope;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;

/// Applies a line: changes the object that it names, or creates one.
pub async fn apply(cx: &mut Cx<Scope>, kind: Kind, mut fields: Fields) -> Result<Applied> {
    match kind {
        Kind::Plan => return plans::apply(cx, fields).await,
        Kind::Organization => return organizations::apply(cx, fields).await,
        Kind::User => return users::apply(cx, fields).await,
        _ => {}
    }
    let organization = references::organization(cx, &mut fields).await?;
    let mut within = cx.visiting(organization);
    let applied = match kind {
        Kind::Membership => memberships::apply(&mut within, fields).await,
        Kind::Subscription => subscriptions::apply(&mut within, fields).await,
        Kind::Deployment => deployments::apply(&mut within, fields).await,
        Kind::License => licenses::apply(&mut within, fields).await,
        Kind::LicenseKey => license_keys::apply(&mut within, fields).await,
        // The kinds without an organization returned above.
        _ => leases::apply(&mut within, fields).await,
    };
    cx.take_back(within);
    applied
}
