//! Lines of deployments.

use super::super::applied::{Applied, json_of};
use super::super::fields::Fields;
use crate::kernel::access::place::Org;
use crate::kernel::error::Result;
use crate::kernel::http::answer::Created;
use crate::kernel::http::cx::Cx;
use crate::kernel::text::ExternalId;
use crate::licensing::deployments::{Deployment, create, update};

pub async fn apply(cx: &mut Cx, fields: Fields) -> Result<Applied> {
    let external_id: ExternalId = fields.identity("external_id")?;
    let known = cx.tx.select("WHERE organization_id = $1 AND external_id = $2");
    let known: Option<Deployment> = known.bind(cx.at).bind(&external_id).locked().opt().await?;
    let organization = cx.at;
    let Some(known) = known else {
        let org = Org::named(organization.to_string());
        let Created(made) = create(cx, org, fields.read()?).await?;
        return Applied::created("deployments.create", Some(organization), &made);
    };
    let before = json_of(&known)?;
    let Some(changed) = fields.without_equal(&before) else {
        return Ok(Applied::unchanged(known.id));
    };
    let updated = update(cx, known.id, changed.read()?).await?;
    Applied::changed("deployments.update", Some(organization), before, &updated)
}
