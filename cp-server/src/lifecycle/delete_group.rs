//! The deletion of a group, in all slices.

use crate::kernel::access::products;
use crate::kernel::error::Result;
use crate::kernel::http::answer::NoContent;
use crate::kernel::http::cx::Cx;
use crate::metering::limits::allocations;
use crate::tenancy::ids::GroupId;
use crate::tenancy::{groups, organizations};

crate::routes! { groups:
    /// Deletes a group with its memberships and grants; refused while groups are below it.
    ///
    /// Its limits and allocations end. The parts of an allocation become parts of the one above.
    DELETE "/groups/{id}" GROUPS_WRITE => delete;
}

pub(super) async fn delete(cx: &mut Cx, id: GroupId) -> Result<NoContent> {
    // Before the budgets, so that this and a change of a budget do not deadlock. The members lose
    // the grants that they had through the group.
    organizations::touch(cx, cx.at).await?;
    let group = groups::load(cx, id).await?;
    products::refuse_changing(&cx.caller, group.product.as_str())?;
    allocations::leave_group(cx, id).await?;
    groups::end(cx, id).await?;
    Ok(NoContent)
}
