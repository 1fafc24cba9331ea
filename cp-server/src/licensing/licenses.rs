//! Licenses: the entitlement of one deployment under one subscription.

pub mod fetches;
pub mod file_numbers;
mod lists;
pub mod requests;
pub mod rows;
pub mod seats;
mod term;

use chrono::SecondsFormat;
use cp_contracts::ProblemCode;

use self::lists::{list, list_all};
use self::requests::{LicensePatch, NewLicense, Renewal, Transfer};
use self::rows::{load, stored};
use self::seats::check_seats;
use self::term::check_end;
use super::bundles::rows as bundles;
use super::coverage::marks::{self, Changed};
use super::entitlement::{License, LicenseRow, LicenseStatus};
use super::leases::kinds::{self, Of};
use super::leases::pools;
use super::leases::settings::SettingSource;
use super::plans;
use super::statuses::Why;
use super::subscriptions::rows as subscriptions;
use crate::kernel::access::ids::DeploymentId;
use crate::kernel::access::owners::note_owner;
use crate::kernel::clock::after;
use crate::kernel::db::record::Object;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::answer::Created;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Between;
use crate::kernel::section::Section;
use crate::kernel::text::Explanation;
use crate::licensing::ids::LicenseId;
use crate::tenancy::organizations::OrganizationStatus;

crate::permissions! {
    /// Read licenses and their bundles.
    LICENSES_READ = "licenses:read", implied by ["org:read"];
    /// Create, change, suspend and revoke licenses.
    LICENSES_WRITE = "licenses:write";
    /// Sign license tokens.
    LICENSES_ISSUE = "licenses:issue", bounded by Signing;
    /// Renew the license tokens of deployments, with the vendor's own life and audience.
    LICENSES_FETCH = "licenses:fetch", held by ["ORGANIZATION_ADMIN"], bounded by Signing,
        kept in suspension, confined to Deployment;
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "licenses",
    "license",
    Export::Section(Section::many_shown::<LicenseRow>("licenses")),
)
.permissions(PERMISSIONS);

crate::routes! {
    /// The entitlements of deployments under subscriptions.
    licenses declares DECLARATION:
    /// Lists the licenses of all organizations.
    GET "/licenses" LICENSES_READ => list_all;
    /// Lists the organization's licenses.
    GET "/organizations/{org}/licenses" LICENSES_READ => list;
    /// Licenses a deployment under one of its organization's subscriptions.
    POST "/deployments/{id}/licenses" LICENSES_WRITE => create, harmless;
    /// Returns a license with its effective values and their sources.
    GET "/licenses/{id}" LICENSES_READ => read;
    /// Changes a license.
    PATCH "/licenses/{id}" LICENSES_WRITE => update, harmless;
    /// Suspends a license until it is reinstated.
    POST "/licenses/{id}/suspend" LICENSES_WRITE => suspend, harmless;
    /// Reinstates a suspended license.
    POST "/licenses/{id}/reinstate" LICENSES_WRITE => reinstate, harmless;
    /// Revokes a license and its bundles permanently.
    POST "/licenses/{id}/revoke" LICENSES_WRITE => revoke, harmless;
    /// Extends a license to a later end.
    POST "/licenses/{id}/renew" LICENSES_WRITE => renew, harmless;
    /// Moves a license to another deployment of the organization; its bundles are revoked.
    POST "/licenses/{id}/transfer" LICENSES_WRITE => transfer, harmless;
}

pub(crate) async fn create(
    cx: &mut Cx,
    deployment: DeploymentId,
    new: NewLicense,
) -> Result<Created<License>> {
    marks::hold(cx, cx.at).await?;
    let subscription = match new.subscription_id {
        Some(id) => subscriptions::load(cx, id).await?,
        None => subscriptions::in_force(cx).await?,
    };
    let seat_cap = new.seat_cap.map(|cap| cap.0);
    check_seats(seat_cap, subscription.seat_cap, new.allow_more_seats)?;
    let valid_from = new.valid_from.map_or(cx.now, |at| at.0);
    let valid_until = new.valid_until.map(|at| at.0).or(subscription.ends_at);
    check_end(valid_from, valid_until, subscription.ends_at)?;
    let plan =
        plans::at_version(&mut cx.tx, subscription.plan_id, subscription.plan_version).await?;
    let below = [
        (SettingSource::Plan, &plan.leasing),
        (SettingSource::Subscription, &subscription.leasing),
    ];
    let id = LicenseId::new(&cx.app.random, cx.now);
    let sql = "INSERT INTO licenses
               (id, organization_id, deployment_id, subscription_id, seat_cap, features,
                valid_from, valid_until, grace_days, status, revision, created_at, updated_at,
                allow_more_seats, name, metadata, tags, leasing, token_ttl_seconds)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'active', 1, $10, $10, $11, $12, $13,
                       $14, $15, $16)";
    let insert = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.at)
        .bind(deployment)
        .bind(subscription.id)
        .bind(seat_cap)
        .bind(new.features)
        .bind(valid_from)
        .bind(valid_until)
        .bind(new.grace_days.0)
        .bind(cx.now)
        .bind(new.allow_more_seats)
        .bind(new.name)
        .bind(Object::default().merged("metadata", new.metadata)?)
        .bind(new.tags)
        .bind(new.leasing.over(&below)?)
        .bind(new.token_ttl_seconds.map(|ttl| ttl.0));
    named(insert.exec().await)?;
    written_and_marked(cx, id).await.map(Created)
}

async fn read(cx: &mut Cx, id: LicenseId) -> Result<License> {
    let license = load(cx, id).await?;
    // The foreign keys of both have the organization.
    note_owner(&mut cx.tx, cx.at, license.deployment_id);
    note_owner(&mut cx.tx, cx.at, license.subscription_id);
    Ok(license)
}

pub(crate) async fn update(cx: &mut Cx, id: LicenseId, patch: LicensePatch) -> Result<License> {
    let before = held(cx, id).await?;
    refuse_revoked(&before)?;
    let seat_cap = patch.seat_cap.over(before.seat_cap.map(Between)).map(|cap| cap.0);
    let allow_more_seats = patch.allow_more_seats.unwrap_or(before.allow_more_seats);
    if seat_cap != before.seat_cap {
        check_seats(seat_cap, before.subscription_seat_cap, allow_more_seats)?;
    }
    let terms = &before.terms;
    let valid_from = patch.valid_from.map_or(terms.valid_from, |at| at.0);
    let valid_until = patch.valid_until.map(|at| at.0).over(terms.valid_until);
    // The subscription may end earlier by now. Its end counts, and the rest may still be changed.
    if (valid_from, valid_until) != (terms.valid_from, terms.valid_until) {
        check_end(valid_from, valid_until, terms.subscription_ends_at)?;
    }
    let grace_days = patch.grace_days.map_or(terms.grace_days, |days| days.0);
    let levels = &before.levels;
    let leasing = match patch.leasing {
        Some(pools) => pools.over(&[
            (SettingSource::Plan, &levels.plan_leasing),
            (SettingSource::Subscription, &levels.subscription_leasing),
        ])?,
        None => levels.license_leasing.clone(),
    };
    let token_ttl = patch.token_ttl_seconds.over(before.token_ttl.license.map(Between));
    let sql = "UPDATE licenses
               SET seat_cap = $4, features = $5, valid_from = $6, valid_until = $7,
                   grace_days = $8, allow_more_seats = $9, revision = revision + 1, updated_at = $10,
                   name = $11, metadata = $12, tags = $13, leasing = $14,
                   token_ttl_seconds = $15
               WHERE id = $1 AND organization_id = $2 AND revision = $3";
    let update = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.at)
        .bind(before.revision)
        .bind(seat_cap)
        .bind(patch.features.unwrap_or(before.features))
        .bind(valid_from)
        .bind(valid_until)
        .bind(grace_days)
        .bind(allow_more_seats)
        .bind(after(before.updated_at, cx.now))
        .bind(patch.name.over(before.name))
        .bind(before.metadata.merged("metadata", patch.metadata)?)
        .bind(patch.tags.unwrap_or(before.tags))
        .bind(leasing)
        .bind(token_ttl.map(|ttl| ttl.0));
    written(update.exec().await)?;
    kinds::refuse_changes(cx, Of::License(id)).await?;
    written_and_marked(cx, id).await
}

pub async fn suspend(cx: &mut Cx, id: LicenseId, why: Why) -> Result<License> {
    let before = held(cx, id).await?;
    refuse_revoked(&before)?;
    let license = set_status(cx, &before, LicenseStatus::Suspended, why.reason).await?;
    bundles::suspend_all(cx, id).await?;
    Ok(license)
}

pub async fn reinstate(cx: &mut Cx, id: LicenseId, why: Why) -> Result<License> {
    let before = held(cx, id).await?;
    refuse_revoked(&before)?;
    let license = set_status(cx, &before, LicenseStatus::Active, why.reason).await?;
    bundles::reinstate_all(cx, id).await?;
    Ok(license)
}

async fn revoke(cx: &mut Cx, id: LicenseId, why: Why) -> Result<License> {
    let before = held(cx, id).await?;
    let license = set_status(cx, &before, LicenseStatus::Revoked, why.reason).await?;
    bundles::revoke_all(cx, id, "the license was revoked").await?;
    Ok(license)
}

async fn renew(cx: &mut Cx, id: LicenseId, renewal: Renewal) -> Result<License> {
    let before = held(cx, id).await?;
    refuse_revoked(&before)?;
    if before.terms.organization_status == OrganizationStatus::Suspended {
        let detail = "The organization is suspended. Activate it to issue or renew licenses.";
        return Err(Error::new(ProblemCode::OrganizationSuspended, detail));
    }
    let valid_until = renewal.valid_until.0;
    if valid_until <= cx.now {
        let now = cx.now.to_rfc3339_opts(SecondsFormat::Secs, true);
        let detail = format!("`valid_until` must be later than now, {now}.");
        return Err(Error::invalid("valid_until", detail));
    }
    let terms = &before.terms;
    if let Some(end) = terms.valid_until.filter(|end| valid_until < *end) {
        let end = end.to_rfc3339_opts(SecondsFormat::Secs, true);
        let detail = format!(
            "`valid_until` must not be earlier than the license's end, {end}. A renewal does not \
             shorten a license; change `valid_until` instead."
        );
        return Err(Error::invalid("valid_until", detail));
    }
    check_end(terms.valid_from, Some(valid_until), terms.subscription_ends_at)?;
    let sql = "UPDATE licenses
               SET valid_until = $4, revision = revision + 1, updated_at = $5
               WHERE id = $1 AND organization_id = $2 AND revision = $3";
    let update = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.at)
        .bind(before.revision)
        .bind(valid_until)
        .bind(after(before.updated_at, cx.now));
    written(update.exec().await)?;
    written_and_marked(cx, id).await
}

async fn transfer(cx: &mut Cx, id: LicenseId, transfer: Transfer) -> Result<License> {
    let before = held(cx, id).await?;
    refuse_revoked(&before)?;
    cx.audit.reason = transfer.reason.map(Explanation::into_string);
    // A repeated transfer keeps what the deployment has got since.
    if before.deployment_id == transfer.deployment_id {
        return load(cx, id).await;
    }
    // The composite foreign key refuses a deployment of another organization.
    let sql = "UPDATE licenses
               SET deployment_id = $4, revision = revision + 1, updated_at = $5
               WHERE id = $1 AND organization_id = $2 AND revision = $3";
    let update = cx
        .tx
        .q(sql)
        .bind(id)
        .bind(cx.at)
        .bind(before.revision)
        .bind(transfer.deployment_id)
        .bind(after(before.updated_at, cx.now));
    written(named(update.exec().await).map_err(|error| match error.code() {
        ProblemCode::NotFound => Error::not_found("deployment").at("deployment_id"),
        _ => error,
    }))?;
    bundles::revoke_all(cx, id, "the license was transferred").await?;
    pools::close(cx, id, None).await?;
    written_and_marked(cx, id).await
}

/// Sets the status, and locks the license's row: a concurrent issuance is visible to it, or fails.
async fn set_status(
    cx: &mut Cx,
    before: &LicenseRow,
    status: LicenseStatus,
    reason: Option<Explanation>,
) -> Result<License> {
    cx.audit.reason = reason.as_ref().map(|reason| reason.as_str().to_owned());
    let sql = "UPDATE licenses
               SET status = $4, status_reason = $5, revision = revision + 1, updated_at = $6
               WHERE id = $1 AND organization_id = $2 AND revision = $3";
    let update = cx
        .tx
        .q(sql)
        .bind(before.id)
        .bind(cx.at)
        .bind(before.revision)
        .bind(status)
        .bind(reason)
        .bind(after(before.updated_at, cx.now));
    written(update.exec().await)?;
    written_and_marked(cx, before.id).await
}

/// Returns the license after a change, and writes its coverage.
async fn written_and_marked(cx: &mut Cx, id: LicenseId) -> Result<License> {
    marks::update(cx, cx.at, Changed::License(id)).await?;
    load(cx, id).await
}

/// Locks the license's row and returns the license before a change.
async fn held(cx: &mut Cx, id: LicenseId) -> Result<LicenseRow> {
    marks::hold(cx, cx.at).await?;
    stored(cx, id).await
}

/// Reports a statement that found another revision than the one that was read.
fn written<E: Into<Error>>(rows: Result<u64, E>) -> Result<()> {
    let is_stale = rows.map_err(Into::into)? == 0;
    if is_stale { Err(Error::stale()) } else { Ok(()) }
}

pub(super) fn refuse_revoked(license: &LicenseRow) -> Result<()> {
    if license.terms.license_status != LicenseStatus::Revoked {
        return Ok(());
    }
    let detail = "The license is revoked. Revocation is permanent; create a new license.";
    Err(Error::new(ProblemCode::LicenseRevoked, detail))
}

fn named<T>(done: Result<T, sqlx::Error>) -> Result<T> {
    done.on_conflict("licenses_deployment_id_subscription_id", || {
        let detail = "The deployment already has a live license under this subscription.";
        Error::new(ProblemCode::LicenseExists, detail)
    })
}
