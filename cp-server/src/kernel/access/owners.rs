//! The owners of rows: authorization begins with them.

use crate::kernel::access::ids::{OrganizationId, Owned};
use crate::kernel::db::Conn;

/// The organization that owns something.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Owner {
    pub id: OrganizationId,
    pub suspended: bool,
}

/// Returns the owner of a row. Reads look it up once a second, and those of a page once.
pub(in crate::kernel) async fn owner_of<T: Owned>(
    tx: &mut Conn,
    row: T,
) -> sqlx::Result<Option<Owner>> {
    if let Some(known) = tx.recall(T::OWNER, row) {
        return Ok(Some(known));
    }
    let finding = tx.finding();
    let found: Option<Owner> = tx.q(T::OWNER).bind(row).opt().await?;
    if let Some(owner) = found {
        if let Some(finding) = finding {
            finding.keep(T::OWNER, row, owner.id, owner);
        }
        tx.remember(T::OWNER, row, owner);
        // An organization owns itself.
        tx.remember(OrganizationId::OWNER, owner.id, owner);
    }
    Ok(found)
}

/// Notes that the organization owns the row, for the later reads of a page. A foreign key with the
/// organization must guarantee it.
pub fn note_owner<T: Owned>(tx: &mut Conn, organization: OrganizationId, row: T) {
    if let Some(owner) = tx.recall::<Owner>(OrganizationId::OWNER, organization) {
        tx.remember(T::OWNER, row, owner);
    }
}
