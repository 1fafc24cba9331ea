//! Lines of licenses.

use super::super::applied::{Applied, json_of};
use super::super::fields::Fields;
use super::super::references;
use crate::kernel::error::Result;
use crate::kernel::http::answer::Created;
use crate::kernel::http::cx::Cx;
use crate::licensing::licenses::rows::load;
use crate::licensing::licenses::{create, update};

pub async fn apply(cx: &mut Cx, mut fields: Fields) -> Result<Applied> {
    let deployment = references::deployment(cx, &mut fields).await?;
    let subscription = references::subscription(cx, &mut fields).await?;
    let organization = Some(cx.at);
    let Some(known) = references::license(cx, deployment, subscription).await? else {
        fields.set("subscription_id", subscription);
        let Created(made) = create(cx, deployment, fields.read()?).await?;
        return Applied::created("licenses.create", organization, &made);
    };
    let before = json_of(&load(cx, known).await?)?;
    let Some(changed) = fields.without_equal(&before) else {
        return Ok(Applied::unchanged(known));
    };
    let updated = update(cx, known, changed.read()?).await?;
    Applied::changed("licenses.update", organization, before, &updated)
}
