//! Places that are a person's own rows.

use crate::kernel::access::areas::AreaKind;
use crate::kernel::access::caller::{Caller, Owner, Permission};
use crate::kernel::access::ids::{OrganizationId, Owned, UserId};
use crate::kernel::access::place::{Exposure, PathTarget};
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use schemars::Schema;
use serde::Deserialize;

/// A row of an organization that is about one person, such as a membership.
pub trait Personal: Owned {
    /// Finds the person's user ID by the row's ID `$1`.
    const PERSON: &'static str;
}

/// Resolves the row's organization if the row is about the calling person. What vouches for the
/// person must count in that organization.
async fn own<T: Personal>(
    row: T,
    caller: &Caller,
    tx: &mut Conn,
) -> Result<Option<OrganizationId>> {
    let Some(user) = caller.user else { return Ok(None) };
    // One statement, whether the row is another person's or missing.
    let person: Option<UserId> = tx.q(T::PERSON).bind(row).value().await?;
    if person != Some(user) {
        return Ok(None);
    }
    let owner: Option<Owner> = tx.q(T::OWNER).bind(row).opt().await?;
    Ok(owner.map(|owner| owner.id).filter(|owner| caller.is_user_in(user, *owner)))
}

macro_rules! personal {
    ($($(#[doc = $doc:literal])+ $name:ident, $exposure:expr, $areas:expr, $else:expr;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Deserialize)]
        #[serde(transparent)]
        pub struct $name<T>(pub T);

        impl<T: Personal> PathTarget for $name<T> {
            type Authorized = OrganizationId;
            const EXPOSURE: Exposure = $exposure;
            const AREAS: &'static [AreaKind] = $areas;

            async fn authorize(
                &self,
                caller: &Caller,
                tx: &mut Conn,
                permission: Permission,
            ) -> Result<OrganizationId> {
                if let Some(organization) = own(self.0, caller, tx).await? {
                    return Ok(organization);
                }
                $else(self.0, caller, tx, permission).await
            }
            async fn owner(&self, tx: &mut Conn) -> Result<Option<OrganizationId>> {
                self.0.owner(tx).await
            }
            fn target(&self, ground: Self::Authorized) -> (&'static str, String) {
                self.0.target(ground)
            }
            fn parameters() -> Vec<Schema> {
                T::parameters()
            }
            fn noun() -> &'static str {
                T::noun()
            }
        }
    )+};
}

personal! {
    /// `DELETE /memberships/{id}`: a row that its person may act on, beside callers with the
    /// permission.
    OrOwn, Exposure::Organization, T::AREAS, permitted;
    /// `POST /memberships/{id}/accept`: a row that only its person may act on.
    Own, Exposure::Own, &[], missing;
}

async fn permitted<T: Personal>(
    row: T,
    caller: &Caller,
    tx: &mut Conn,
    permission: Permission,
) -> Result<OrganizationId> {
    caller.in_organization(tx, row, permission).await
}

async fn missing<T: Personal>(
    _: T,
    _: &Caller,
    _: &mut Conn,
    _: Permission,
) -> Result<OrganizationId> {
    Err(Error::not_found(T::MISSING))
}
