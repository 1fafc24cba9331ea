//! Lines of people.

use cp_contracts::ProblemCode;

use super::super::applied::{Applied, json_of};
use super::super::fields::Fields;
use super::super::references;
use crate::identity::users::rows::User;
use crate::identity::users::upsert;
use crate::kernel::access::caller::Scope;
use crate::kernel::access::platform::Platform;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Put;
use crate::kernel::http::cx::Cx;
use crate::kernel::text::{Email, ExternalId};

/// The operation that creates and changes people.
const UPSERT: &str = "users.upsert";

pub async fn apply(cx: &mut Cx<Scope>, fields: Fields) -> Result<Applied> {
    let email: Email = fields.identity("email")?;
    let known = cx.tx.select("WHERE email_key = $1").bind(email.key()).locked();
    let known: Option<User> = known.opt().await?;
    refuse_other_address(cx, &fields, known.as_ref()).await?;
    let Some(known) = known else {
        let (Put::New(user) | Put::Known(user)) = upsert(cx, Platform, fields.read()?).await?;
        return Applied::created(UPSERT, None, &user);
    };
    let before = json_of(&known)?;
    let given = fields.clone();
    if fields.without_equal(&before).is_none() {
        return Ok(Applied::unchanged(known.id));
    }
    let (Put::New(user) | Put::Known(user)) = upsert(cx, Platform, given.read()?).await?;
    Applied::changed(UPSERT, None, before, &user)
}

/// Refuses the external ID of a person with another e-mail address. The address decides who logs in
/// as the person, so a line does not replace it: two lines may have the same external ID by mistake.
async fn refuse_other_address(
    cx: &mut Cx<Scope>,
    fields: &Fields,
    known: Option<&User>,
) -> Result<()> {
    if !fields.has("external_id") {
        return Ok(());
    }
    let external_id: ExternalId = fields.identity("external_id")?;
    let Some(holder) = references::user_by_external_id(cx, external_id.as_str()).await? else {
        return Ok(());
    };
    if known.is_some_and(|known| known.id == holder) {
        return Ok(());
    }
    let detail = format!(
        "`external_id` is that of user {holder}, who has another e-mail address. If the address is \
         new, change it with PATCH /users/{{id}}, then send the file again."
    );
    Err(Error::new(ProblemCode::ExternalIdTaken, detail).at("external_id"))
}
