//! Leases: who holds a seat of a license.

pub mod answers;
pub mod borrowing;
pub mod claim;
pub mod current;
mod erasure;
pub mod heartbeats;
pub mod holders;
pub mod holding;
pub mod hours;
pub mod kinds;
pub mod levels;
pub mod lists;
pub mod matching;
pub mod moves;
pub mod pools;
pub mod refusals;
pub mod restores;
pub mod revocations;
pub mod rows;
pub mod settings;
pub mod skew;
pub mod steps;
pub mod tenures;
pub mod tokens;
pub mod totals;
pub mod usage;

use chrono::TimeDelta;
use cp_contracts::Lease;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use self::borrowing::{BorrowSeconds, borrow, give_back};
use self::claim::Claim;
use self::current::{missing, refuse_unnamed};
use self::heartbeats::heartbeat;
use self::holders::NewHolder;
use self::hours::HourRow;
use self::lists::{list, list_for_deployment, list_for_organization, list_own};
use self::pools::{list as pools, reset};
use self::rows::{End, Facts, PoolRow, SeatRow};
use self::settings::{PoolKind, PoolName};
use self::steps::Claimed;
use self::tenures::TenureRow;
use self::usage::usage;
use crate::kernel::access::personal::OrOwn;
use crate::kernel::db::record::Object;
use crate::kernel::declaration::{Declaration, Erase, Export, Purge};
use crate::kernel::effect::Effect;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{NoContent, Put};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Between;
use crate::kernel::journal::record;
use crate::kernel::section::Section;
use crate::kernel::text::{Explanation, Name};
use crate::licensing::ids::{LeaseId, LicenseId, PoolId};
use crate::licensing::license_keys::rows::refuse_pool;

crate::permissions! {
    /// Read who holds which seat.
    LEASES_READ = "leases:read", held by ["ORGANIZATION_ADMIN"], confined to Deployment;
    /// Claim, keep and end leases.
    LEASES_WRITE = "leases:write", held by ["ORGANIZATION_ADMIN"], confined to Deployment;
}

pub static POOLS: Declaration = Declaration::of_organization(
    "lease_pools",
    "pool",
    Export::Section(Section::many::<PoolRow>("lease_pools")),
)
.permissions(PERMISSIONS);
pub static SEATS: Declaration = Declaration::of_organization(
    "lease_seats",
    "lease",
    Export::Section(Section::many::<SeatRow>("leases").condition("AND NOT is_vacant")),
)
.purge(Purge::After(|cx| Box::pin(revocations::revoke_all(cx, None))))
.erases(Erase::Steps(|tx, user, now| Box::pin(erasure::erase(tx, user, now))));
pub static COMPONENTS: Declaration = Declaration::of_organization(
    "lease_components",
    "component",
    Export::LeftOut("hashes that only the verifier can compute"),
);
pub static TENURES: Declaration = Declaration::of_organization(
    "lease_tenures",
    "ended lease",
    Export::Section(Section::many::<TenureRow>("lease_tenures")),
)
.erases(Erase::Statement(
    "UPDATE lease_tenures SET holder = NULL, user_id = NULL, label = NULL, meta = '{}'
     WHERE user_id = $1",
));
pub static HOURS: Declaration = Declaration::of_organization(
    "lease_hours",
    "hour of a pool",
    Export::Section(Section::many::<HourRow>("lease_hours").order("starts_at, pool_id")),
);

crate::routes! {
    /// Seats of licenses: who holds one, for how long, and how many are left.
    leases declares POOLS, SEATS, COMPONENTS, TENURES, HOURS:
    /// Returns the license's pools with their settings and use.
    GET "/licenses/{id}/pools" LICENSES_READ => pools, unmetered;
    /// Lists the license's leases.
    GET "/licenses/{id}/leases" LEASES_READ => list, unmetered;
    /// Lists the leases of the deployment's licenses.
    GET "/deployments/{id}/leases" LEASES_READ => list_for_deployment, unmetered;
    /// Lists the leases of the organization.
    GET "/organizations/{org}/leases" LEASES_READ => list_for_organization, unmetered;
    /// Lists the live leases of the calling person.
    GET "/me/leases" ANY => list_own;
    /// Returns the use of one of the license's pools, by hour or day, oldest first.
    GET "/licenses/{id}/leases/usage" LEASES_READ => usage, unmetered;
    /// Claims a seat. The same holder gets its own lease again, extended (200).
    ///
    /// A claim without a free seat is refused (409 `seats_exhausted`) with the instant at which one
    /// may be free. Repeat a claim whose answer was lost: the holder is its key.
    POST "/licenses/{id}/leases" LEASES_WRITE => claim,
        own_transaction, conditional_audit, unmetered, harmless;
    /// Ends all leases of the license's pools, borrowed ones too.
    ///
    /// A deployment's token may not: it keeps its own leases only.
    POST "/licenses/{id}/leases/reset" LEASES_WRITE => reset, unmetered, harmless, throughout;
    /// Returns a lease, also an ended one.
    GET "/leases/{id}" LEASES_READ => read, unmetered;
    /// Keeps a lease: a heartbeat. Before `not_before` it changes nothing.
    PUT "/leases/{id}" LEASES_WRITE => heartbeat,
        own_transaction, conditional_audit, unmetered, harmless, machine;
    /// Borrows a seat: the lease needs no heartbeat until the end of the borrowing. The answer has its
    /// token.
    POST "/leases/{id}/borrow" LEASES_WRITE => borrow, own_transaction, unmetered, harmless;
    /// Returns a borrowed seat before its end, if the pool allows it, and revokes its token.
    POST "/leases/{id}/return" LEASES_WRITE => give_back as "leases.return", unmetered, harmless;
    /// Ends a lease. An ended lease stays ended. A person may end the own leases without the
    /// permission.
    DELETE "/leases/{id}" LEASES_WRITE => release, conditional_audit, unmetered, harmless;
}

/// The largest `meta` of a lease, as JSON, in bytes.
const META_BYTES: usize = 1024;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLease {
    /// The pool. `seats` when absent.
    pool: Option<PoolName>,
    /// Who has the seat.
    holder: NewHolder,
    /// A description of the holder for people, 1 to 255 characters.
    label: Option<Name>,
    /// The caller's own values: an object of strings, at most 1 KiB.
    #[serde(default)]
    meta: Map<String, Value>,
    /// The time in seconds for which the lease lasts without a heartbeat, at least 60 and at most
    /// the pool's, which is used when absent.
    ttl_seconds: Option<Between<60, 2_678_400>>,
    /// Borrows the seat for this time in seconds, at most the pool's `borrow_seconds`: the lease
    /// needs no heartbeat until then. The answer has a lease token.
    borrow_seconds: Option<BorrowSeconds>,
    /// Whether the answer has a lease token, for checks without a network. False when absent.
    #[serde(default)]
    token: bool,
    /// Whether to take another holder's seat if none is free and the pool allows it. False when
    /// absent.
    #[serde(default)]
    take_over: bool,
}

impl NewLease {
    /// Creates the claim of a holder without further wishes, with or without a lease token.
    pub fn of(pool: PoolName, holder: NewHolder, token: bool) -> Self {
        Self {
            pool: Some(pool),
            holder,
            label: None,
            meta: Map::new(),
            ttl_seconds: None,
            borrow_seconds: None,
            token,
            take_over: false,
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The hash of the holder. A lease of another holder is not found.
    holder: Option<String>,
    /// The reason for the audit event, 1 to 4,000 characters.
    reason: Option<Explanation>,
}

/// Claims a seat, or extends the holder's lease.
pub async fn claim(cx: &mut Cx, license: LicenseId, new: NewLease) -> Result<Put<Lease>> {
    let (borrow_seconds, wants_token) = (new.borrow_seconds, new.token);
    let (mut claim, mut facts) = prepare(cx, license, new).await?;
    if let Some(seconds) = borrow_seconds {
        borrowing::check(claim.settings.borrow_seconds, seconds, "borrow_seconds")?;
    }
    claim.refuse_if_full(cx, &facts).await?;
    let borrow = match borrow_seconds {
        Some(seconds) => Some(borrowing::prepare(cx, &facts, seconds).await?),
        None => None,
    };
    cx.begin().await?;
    let Claimed { mut seat, is_new, taken_from } =
        take(cx, license, &mut claim, &mut facts).await?;
    if let Some(borrow) = &borrow {
        seat = borrowing::write(cx, &seat, borrow).await?;
    }
    let mut lease = answers::lease(&seat, &facts, cx.now)?;
    let is_floating = claim.settings.kind == PoolKind::Floating;
    // The tenures of a floating pool are their own record; an extended lease leaves none.
    if borrow.is_none() && (is_floating && taken_from.is_none() || !is_new) {
        cx.audit.omit();
    }
    if wants_token || borrow.is_some() {
        tokens::announce(cx, &seat, &facts).await?;
        if !cx.audit.is_omitted() {
            cx.audit.after = serde_json::to_value(&lease).ok();
            let target = ("lease", lease.id.to_string());
            record::record(cx, "leases.claim", Some(cx.at), target).await?;
            cx.audit.is_written = true;
        }
        cx.commit_early(Effect::Harmless).await?;
        lease.token = Some(tokens::sign(cx, seat, facts).await?);
    }
    Ok(if is_new { Put::New(lease) } else { Put::Known(lease) })
}

/// Claims a seat in the caller's transaction, without a borrowing and without a token.
pub(crate) async fn seat(cx: &mut Cx, license: LicenseId, new: NewLease) -> Result<Put<Lease>> {
    let (mut claim, mut facts) = prepare(cx, license, new).await?;
    let Claimed { seat, is_new, .. } = take(cx, license, &mut claim, &mut facts).await?;
    let lease = answers::lease(&seat, &facts, cx.now)?;
    Ok(if is_new { Put::New(lease) } else { Put::Known(lease) })
}

/// Checks a claim, as far as reads decide.
async fn prepare(cx: &mut Cx, license: LicenseId, new: NewLease) -> Result<(Claim, Facts)> {
    let name = match &new.pool {
        Some(pool) => pool.clone(),
        None => settings::SEATS.parse().map_err(|rule: String| Error::invalid("pool", rule))?,
    };
    check_meta(&new.meta)?;
    skew::refuse(&cx.app)?;
    refuse_pool(cx, name.as_str()).await?;
    let facts = rows::facts(&mut cx.tx, license, name.as_str()).await?;
    current::refuse_moved(cx, license, &facts)?;
    let settings = facts.settings(name.as_str())?.ok_or_else(|| {
        Error::not_found(&format!("pool {name}")).at("pool").with("pool", name.as_str())
    })?;
    facts.refuse_uncovered(cx.now)?;
    let ttl = match (new.ttl_seconds.map(|ttl| ttl.0), settings.ttl_seconds) {
        (Some(own), Some(most)) if own > most => {
            let rule = format!("`ttl_seconds` must be at most {most}, the pool's (got {own}).");
            return Err(Error::invalid("ttl_seconds", rule));
        }
        (own, _) => own,
    };
    let holder = new.holder.resolve(&mut cx.tx, cx.at, license, settings.kind).await?;
    let claim = Claim {
        // A pool without a row gets one when a seat is taken.
        pool: facts.pool_id.unwrap_or(PoolId(Uuid::nil())),
        name,
        settings,
        holder,
        label: new.label.map(Name::into_string),
        meta: Object::bounded("meta", new.meta)?,
        ttl,
        takes_over: new.take_over,
        borrows: new.borrow_seconds.is_some(),
    };
    Ok((claim, facts))
}

/// Takes a seat in the open transaction, and opens the pool before its first claim.
async fn take(
    cx: &mut Cx,
    license: LicenseId,
    claim: &mut Claim,
    facts: &mut Facts,
) -> Result<Claimed> {
    if facts.pool_id.is_none() || facts.pool_kind != Some(claim.settings.kind) {
        claim.pool = pools::open(cx, license, facts, &claim.name, claim.settings.kind).await?;
    }
    facts.set_pool(claim.pool, claim.name.as_str(), &claim.settings);
    claim.run(cx, facts).await
}

fn check_meta(meta: &Map<String, Value>) -> Result<()> {
    let size = serde_json::to_vec(meta).map_or(usize::MAX, |json| json.len());
    if size > META_BYTES || meta.values().any(|value| !value.is_string()) {
        let detail = format!(
            "`meta` must be an object of strings of at most {META_BYTES} bytes of JSON (got {size})."
        );
        return Err(Error::invalid("meta", detail));
    }
    Ok(())
}

async fn release(cx: &mut Cx, OrOwn(id): OrOwn<LeaseId>, release: Release) -> Result<NoContent> {
    let is_named = release.holder.is_some();
    refuse_unnamed(cx, is_named)?;
    let (seat, facts) = current::seat_of(cx, id).await?;
    if is_named && release.holder != seat.holder {
        return Err(missing());
    }
    cx.audit.reason = release.reason.map(Explanation::into_string);
    current::refuse_unopened(cx, &facts).await?;
    if seat.end_in(&facts, cx.now).is_some() {
        cx.audit.omit();
        return Ok(NoContent);
    }
    refusals::refuse_borrowed(&seat, cx.now)?;
    let reassign = facts.pool_settings()?.map_or(0, |settings| settings.reassign_seconds);
    current::end(cx, &seat, End::Released, TimeDelta::seconds(reassign)).await?;
    let is_own = seat.user_id.is_some_and(|user| cx.caller.is_user_in(user, cx.at));
    // The tenures of a floating pool are the record of what its holders do, and not of what others do.
    let is_recorded = facts.pool_kind == Some(PoolKind::Floating) && (is_named || is_own);
    if is_recorded && cx.audit.reason.is_none() {
        cx.audit.omit();
    }
    Ok(NoContent)
}

async fn read(cx: &mut Cx, id: LeaseId) -> Result<Lease> {
    let (seat, facts) = current::seat_of(cx, id).await?;
    answers::lease(&seat, &facts, cx.now)
}
