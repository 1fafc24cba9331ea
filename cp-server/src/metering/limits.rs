//! Limits: how much of a metric an organization, or a project, group or person of it, may use in a
//! window.

pub mod allocations;
pub mod checks;
mod enforcement;
pub mod levels;
pub mod percentages;
pub mod row;
pub mod windows;

use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

pub use self::enforcement::Enforced;
use self::percentages::Percentages;
pub use self::row::{Enforcement, Limit};
use self::windows::{Period, Window};
use super::budgets::cycle_rows as cycles;
use super::quantity::Quantity;
use crate::identity::scopes::{self, ScopeKind, ScopeRef};
use crate::kernel::access::ids::{OrganizationId, ProjectId, UserId};
use crate::kernel::access::place::Org;
use crate::kernel::access::products;
use crate::kernel::clock::after;
use crate::kernel::db::Conn;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::digits;
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::answer::{NoContent, Put};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Patch;
use crate::kernel::http::page::{List, Page};
use crate::kernel::section::Section;
use crate::kernel::text::Name;
use crate::metering::ids::LimitId;

crate::permissions! {
    /// Read usage limits and check them.
    LIMITS_READ = "limits:read", implied by ["org:read"];
    /// Set and remove usage limits.
    LIMITS_WRITE = "limits:write";
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "usage_limits",
    "limit",
    Export::Section(
        Section::many::<Limit>("usage_limits")
            .order("scope_kind, scope_id, metric, unit, window_kind, period, id"),
    ),
)
.permissions(PERMISSIONS);

crate::routes! {
    /// How much of a metric an organization, project, group or person may use in a window.
    limits declares DECLARATION:
    /// Lists the organization's usage limits, newest first.
    GET "/organizations/{org}/limits" LIMITS_READ => list;
    /// Sets a usage limit. There is one limit per scope, metric, unit, window and period.
    ///
    /// A `gauge` limit sums all time, whatever its period. An `enforce` limit refuses usage that is
    /// recorded with `mode: enforce`. An `observe` limit refuses nothing; its state is visible
    /// through the check.
    PUT "/organizations/{org}/limits" LIMITS_WRITE => put, local;
    /// Removes a limit.
    DELETE "/organizations/{org}/limits" LIMITS_WRITE => delete, local;
    /// Returns a usage limit.
    GET "/limits/{id}" LIMITS_READ => read;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitFilter {
    /// Only limits of this scope: `organization`, `project:<id>`, `group:<id>` or `user:<id>`.
    scope: Option<ScopeRef>,
    /// The same as `scope=project:<id>`.
    project: Option<ProjectId>,
    /// Only limits of this metric.
    metric: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLimit {
    /// The metric, 1 to 255 characters.
    metric: Name,
    /// The unit of the quantity. `count` when absent.
    unit: Option<Name>,
    /// The kind of window. `rolling` when absent.
    window: Option<Window>,
    /// The length of the window. `monthly` when absent.
    period: Option<Period>,
    /// The maximum quantity, at least 0. Null is unlimited; the field is required.
    #[serde(deserialize_with = "required")]
    #[schemars(required)]
    quantity: Option<Quantity>,
    /// The scope whose usage is limited: `organization`, `project:<id>`, `group:<id>` or
    /// `user:<id>`. `organization` when absent.
    scope: Option<ScopeRef>,
    /// The same as `scope` `project:<id>`.
    project_id: Option<ProjectId>,
    /// The usage beyond `quantity` that enforcement still admits, at least 0. 0 when absent; null
    /// is unlimited.
    #[serde(default)]
    overflow: Patch<Quantity>,
    /// Whether the limit refuses usage. `observe` when absent.
    enforcement: Option<Enforcement>,
    /// Up to 4 percentages, 1 to 100, at which the event `limits.near` is sent. At the limit itself it
    /// is `limits.reach`. No event is sent when absent.
    notify_at: Option<Percentages>,
}

fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Quantity>, D::Error> {
    Option::deserialize(deserializer)
}

/// The limit to remove.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    /// The metric of the limit.
    metric: Name,
    /// The unit. `count` when absent.
    unit: Option<Name>,
    /// The kind of window. `rolling` when absent.
    window: Option<Window>,
    /// The length of the window. `monthly` when absent.
    period: Option<Period>,
    /// The scope of the limit. `organization` when absent.
    scope: Option<ScopeRef>,
    /// The same as `scope=project:<id>`.
    project: Option<ProjectId>,
}

/// The properties that identify a limit.
struct Key {
    scope: ScopeRef,
    metric: String,
    unit: String,
    window: Window,
    period: Period,
}

impl Key {
    fn new(
        metric: Name,
        unit: Option<Name>,
        window: Option<Window>,
        period: Option<Period>,
        scope: ScopeRef,
    ) -> Self {
        Self {
            scope,
            metric: metric.into_string(),
            unit: unit.map_or_else(|| "count".to_owned(), Name::into_string),
            window: window.unwrap_or(Window::Rolling),
            period: period.unwrap_or(Period::Monthly),
        }
    }
}

/// The product of a limit: that of the budget of an allocation.
const PRODUCT: &str = "CASE WHEN cycle_id IS NULL THEN '' ELSE unit END";
/// The kinds of scopes that have limits.
const SCOPES: &[ScopeKind] =
    &[ScopeKind::Organization, ScopeKind::Project, ScopeKind::Group, ScopeKind::User];

/// Returns the scope that a request names by one of two fields; without both, the organization.
fn scope_of(
    cx: &Cx,
    scope: Option<ScopeRef>,
    project: Option<ProjectId>,
    project_field: &str,
) -> Result<ScopeRef> {
    let Some(scope) = scope else { return Ok(ScopeRef::project_or(project, cx.at)) };
    if project.is_some() {
        let detail =
            format!("`scope` cannot be combined with `{project_field}`. Send one of them.");
        return Err(Error::invalid("scope", detail));
    }
    scope.refuse_other("scope", SCOPES)?;
    Ok(scope.of(cx.at))
}

async fn list(cx: &mut Cx, _: Org, list: List<LimitFilter>) -> Result<Page<Limit>> {
    let filter = &list.filter;
    let scope = match filter.scope.is_some() || filter.project.is_some() {
        true => Some(scope_of(cx, filter.scope, filter.project, "project")?),
        false => None,
    };
    let query = cx
        .tx
        .select("WHERE organization_id = $1")
        .bind(cx.at)
        .and_some(" AND scope_kind = ?", scope.map(|scope| scope.kind))
        .and_some(" AND scope_id = ?", scope.map(|scope| scope.id))
        .and_some(" AND metric = ?", list.filter.metric.as_deref());
    let page: Page<Limit> = list.page(products::visible(query, &cx.caller, PRODUCT)).await?;
    // A scope with limits exists.
    if let (true, Some(scope)) = (page.items.is_empty(), scope) {
        let field = if list.filter.project.is_some() { "project" } else { "scope" };
        scopes::refuse_missing(cx, &[scope], &[field.to_owned()]).await?;
    }
    Ok(page)
}

async fn read(cx: &mut Cx, id: LimitId) -> Result<Limit> {
    let limit = cx.tx.select("WHERE id = $1 AND organization_id = $2").bind(id).bind(cx.at);
    let limit: Limit = limit.one().await?;
    if limit.cycle_id.is_some() {
        products::refuse_reading(&cx.caller, &limit.unit)?;
    }
    Ok(limit)
}

async fn put(cx: &mut Cx, _: Org, new: NewLimit) -> Result<Put<Limit>> {
    refuse_cycle(new.window)?;
    let scope = scope_of(cx, new.scope, new.project_id, "project_id")?;
    let field = if new.project_id.is_some() { "project_id" } else { "scope" };
    scopes::refuse_missing(cx, &[scope], &[field.to_owned()]).await?;
    let key = Key::new(new.metric, new.unit, new.window, new.period, scope);
    let overflow = new.overflow.over(Some(Quantity::default()));
    let enforcement = new.enforcement.unwrap_or(Enforcement::Observe);
    if let Some(before) = find(&mut cx.tx, cx.at, &key, true).await? {
        cx.audit.before = digits::value_of(&before).ok();
        let sql = "UPDATE usage_limits SET quantity = $3, enforcement = $4, updated_at = $5, overflow = $6,
                       notify_at = $7
                   WHERE id = $1 AND organization_id = $2";
        let update = cx.tx.returning(sql).bind(before.id).bind(cx.at).bind(new.quantity);
        let update = update.bind(enforcement).bind(after(before.updated_at, cx.now)).bind(overflow);
        let update = update.bind(new.notify_at);
        return Ok(Put::Known(update.one().await?));
    }
    let sql = "INSERT INTO usage_limits
               (id, organization_id, scope_kind, scope_id, project_id, group_id, user_id, metric,
                unit, window_kind, period, quantity, overflow, enforcement, created_at, updated_at,
                notify_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, $16)";
    let insert = cx
        .tx
        .returning(sql)
        .bind(LimitId::new(&cx.app.random, cx.now))
        .bind(cx.at)
        .bind(scope.kind)
        .bind(scope.id)
        .bind(scope.id_of(ScopeKind::Project))
        .bind(scope.id_of(ScopeKind::Group))
        .bind(scope.id_of(ScopeKind::User))
        .bind(key.metric)
        .bind(key.unit)
        .bind(key.window)
        .bind(key.period)
        .bind(new.quantity)
        .bind(overflow)
        .bind(enforcement)
        .bind(cx.now)
        .bind(new.notify_at);
    let made = insert.one().await;
    // Another request has set the limit since this one searched for it; start over.
    made.on_conflict("usage_limits_key", Error::stale)
        // The scope was deleted since.
        .on_conflict("reference", Error::stale)
        .map(Put::New)
}

/// Deletes the limits of a person who leaves the organization, allocations included.
pub async fn leave(cx: &mut Cx, user: UserId) -> Result<()> {
    let sql = "DELETE FROM usage_limits WHERE organization_id = $1 AND user_id = $2";
    cx.tx.q(sql).bind(cx.at).bind(user).exec().await?;
    Ok(())
}

async fn delete(cx: &mut Cx, _: Org, which: Removal) -> Result<NoContent> {
    refuse_cycle(which.window)?;
    let scope = scope_of(cx, which.scope, which.project, "project")?;
    let key = Key::new(which.metric, which.unit, which.window, which.period, scope);
    let Some(limit) = find(&mut cx.tx, cx.at, &key, true).await? else {
        return Err(not_set(cx, scope, which.project).await);
    };
    let sql = "DELETE FROM usage_limits WHERE id = $1 AND organization_id = $2";
    cx.tx.q(sql).bind(limit.id).bind(cx.at).exec().await?;
    cx.audit.before = digits::value_of(&limit).ok();
    Ok(NoContent)
}

async fn find(
    tx: &mut Conn,
    organization: OrganizationId,
    key: &Key,
    locked: bool,
) -> Result<Option<Limit>> {
    let query = tx
        .select(
            "WHERE organization_id = $1 AND metric = $2 AND unit = $3 AND window_kind = $4
               AND scope_kind = $5 AND scope_id = $6",
        )
        .bind(organization)
        .bind(&*key.metric)
        .bind(&*key.unit)
        .bind(key.window)
        .bind(key.scope.kind)
        .bind(key.scope.id);
    let query = match key.window {
        Window::Cycle => query.sql(" AND ").sql(cycles::ACTIVE),
        _ => query.and(" AND period = ? AND cycle_id IS NULL", key.period),
    };
    let query = if locked { query.locked() } else { query };
    Ok(query.opt().await?)
}

/// Refuses a window that only budgets set.
fn refuse_cycle(window: Option<Window>) -> Result<()> {
    match window {
        Some(Window::Cycle) => {
            let detail = "`window` must not be `cycle`. Budgets set these limits.";
            Err(Error::invalid("window", detail))
        }
        _ => Ok(()),
    }
}

/// Returns the refusal of a limit that is not set: 404 at the field of a scope that does not exist.
async fn not_set(cx: &mut Cx, scope: ScopeRef, project: Option<ProjectId>) -> Error {
    let field = if project.is_some() { "project" } else { "scope" };
    match scopes::refuse_missing(cx, &[scope], &[field.to_owned()]).await {
        Err(error) => error,
        Ok(()) => {
            let detail = "No limit is set for this scope, metric, unit and window.";
            Error::new(ProblemCode::LimitNotSet, detail)
        }
    }
}
