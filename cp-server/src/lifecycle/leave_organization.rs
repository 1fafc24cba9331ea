//! The end of a membership, in all slices.

use crate::governance::bindings;
use crate::governance::marketplace::reactions;
use crate::identity::ids::MembershipId;
use crate::identity::memberships;
use crate::kernel::access::ids::UserId;
use crate::kernel::access::personal::OrOwn;
use crate::kernel::error::Result;
use crate::kernel::http::answer::NoContent;
use crate::kernel::http::cx::Cx;
use crate::metering::limits;

crate::routes! { memberships:
    /// Ends a membership; one of the organization ends with all memberships below it.
    ///
    /// A person may end their own: an offered seat is declined, a taken one is left. The person's
    /// bindings, limits, installations and ratings in the organization end, too. The audit event lists the service tokens and
    /// open invitations that the person created.
    DELETE "/memberships/{id}" MEMBERS_DELETE => delete;
}

async fn delete(cx: &mut Cx, OrOwn(id): OrOwn<MembershipId>) -> Result<NoContent> {
    if let Some(user) = memberships::end(cx, id).await? {
        leave(cx, user).await?;
    }
    Ok(NoContent)
}

/// Ends what a person who left the organization has in the slices above the memberships.
pub(super) async fn leave(cx: &mut Cx, user: UserId) -> Result<()> {
    bindings::leave(cx, user).await?;
    limits::leave(cx, user).await?;
    reactions::leave(cx, user).await
}
