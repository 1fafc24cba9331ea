//! Lines of organizations.

use cp_contracts::ProblemCode;

use super::super::applied::{Applied, json_of};
use super::super::fields::{Fields, id_of};
use super::super::references;
use crate::kernel::access::caller::Scope;
use crate::kernel::access::ids::UserId;
use crate::kernel::access::place::Org;
use crate::kernel::access::platform::Platform;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Created;
use crate::kernel::http::cx::Cx;
use crate::kernel::text::{Email, ExternalId};
use crate::lifecycle::{create, update};
use crate::tenancy::organizations::Organization;

pub async fn apply(cx: &mut Cx<Scope>, mut fields: Fields) -> Result<Applied> {
    let external_id: ExternalId = fields.identity("external_id")?;
    let known = cx.tx.select("WHERE external_id = $1").bind(&external_id).locked();
    let known: Option<Organization> = known.opt().await?;
    let Some(known) = known else {
        let Created(made) = create(cx, Platform, fields.read()?).await?;
        return Applied::created("organizations.create", Some(made.id), &made);
    };
    if let Some(owner) = fields.take::<String>("owner")? {
        refuse_other_owner(cx, &known, &owner).await?;
    }
    let before = json_of(&known)?;
    let Some(changed) = fields.without_equal(&before) else {
        return Ok(Applied::unchanged(known.id));
    };
    let patch = changed.read()?;
    let mut within = cx.visiting(known.id);
    let updated = update(&mut within, Org::named(known.id.to_string()), patch).await;
    cx.take_back(within);
    Applied::changed("organizations.update", Some(known.id), before, &updated?)
}

/// Refuses another owner than the organization has: a transfer is an operation of its own. The owner
/// is named as in the creation, by ID or e-mail address.
async fn refuse_other_owner(
    cx: &mut Cx<Scope>,
    organization: &Organization,
    owner: &str,
) -> Result<()> {
    let named = match id_of::<UserId>(owner) {
        Some(id) => Some(id),
        None => {
            let email: Result<Email, String> = owner.parse();
            let email =
                email.map_err(|rule| Error::invalid("owner", format!("`owner` {rule}.")))?;
            references::user_by_email(cx, &email).await?
        }
    };
    if named.is_some() && organization.owner_user_id == named {
        return Ok(());
    }
    let detail = "`owner` is only for a new organization. Use POST \
                  /organizations/{org}/transfer-ownership. If only the owner's e-mail address is \
                  new, use PATCH /users/{id}.";
    Err(Error::new(ProblemCode::UseTransferOwnership, detail).at("owner"))
}
