//! Lines of people.

use super::super::applied::{Applied, json_of};
use super::super::fields::Fields;
use crate::identity::users::rows::User;
use crate::identity::users::upsert;
use crate::kernel::access::caller::Scope;
use crate::kernel::access::platform::Platform;
use crate::kernel::error::Result;
use crate::kernel::http::answer::Put;
use crate::kernel::http::cx::Cx;
use crate::kernel::text::Email;

/// The operation that creates and changes people.
const UPSERT: &str = "users.upsert";

pub async fn apply(cx: &mut Cx<Scope>, fields: Fields) -> Result<Applied> {
    let email: Email = fields.identity("email")?;
    let known = cx.tx.select("WHERE email_key = $1").bind(email.key()).locked();
    let known: Option<User> = known.opt().await?;
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
