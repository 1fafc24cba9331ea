//! Lines of licenses.

use super::super::applied::{Applied, json_of};
use super::super::fields::Fields;
use super::super::references;
use crate::kernel::error::Result;
use crate::kernel::http::answer::Created;
use crate::kernel::http::cx::Cx;
use crate::kernel::text::Explanation;
use crate::licensing::entitlement::License;
use crate::licensing::ids::LicenseId;
use crate::licensing::licenses::rows::load;
use crate::licensing::licenses::{create, reinstate, suspend, update};
use crate::licensing::statuses::{LicenseStatus, Why};

crate::text_enum! {
    /// The status of an imported license.
    Imported { Active = "active", Suspended = "suspended" }
}

pub async fn apply(cx: &mut Cx, mut fields: Fields) -> Result<Applied> {
    let deployment = references::deployment(cx, &mut fields).await?;
    let subscription = references::subscription(cx, &mut fields).await?;
    let status: Option<Imported> = fields.take("status")?;
    let reason: Option<Explanation> = fields.take("status_reason")?;
    let organization = Some(cx.at);
    let Some(known) = references::license(cx, deployment, subscription).await? else {
        fields.set("subscription_id", subscription);
        let Created(made) = create(cx, deployment, fields.read()?).await?;
        let switched = switch(cx, &made, status, reason).await?;
        return Applied::created(
            "licenses.create",
            organization,
            switched.as_ref().unwrap_or(&made),
        );
    };
    let stored = load(cx, known).await?;
    let before = json_of(&stored)?;
    let switched = switch(cx, &stored, status, reason).await?;
    let action = match &switched {
        Some(_) if status == Some(Imported::Suspended) => "licenses.suspend",
        Some(_) => "licenses.reinstate",
        None => "licenses.update",
    };
    let updated = match fields.without_equal(&before) {
        Some(changed) => Some(update(cx, known, changed.read()?).await?),
        None => switched,
    };
    match updated {
        Some(updated) => Applied::changed(action, organization, before, &updated),
        None => Ok(Applied::unchanged(known)),
    }
}

/// Gives the license the status of the line. Returns the license if that is a change.
async fn switch(
    cx: &mut Cx,
    license: &License,
    status: Option<Imported>,
    reason: Option<Explanation>,
) -> Result<Option<License>> {
    let id: LicenseId = license.id;
    let is_suspended = license.status == LicenseStatus::Suspended;
    match status {
        Some(Imported::Suspended) if !is_suspended => {
            suspend(cx, id, Why { reason }).await.map(Some)
        }
        Some(Imported::Active) if is_suspended => reinstate(cx, id, Why { reason }).await.map(Some),
        _ => Ok(None),
    }
}
