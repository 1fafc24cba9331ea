//! The life of an organization: what makes and ends one crosses every slice, so it lives above
//! them all.

pub mod export;
pub mod move_project;
mod purge;

use chrono::{SecondsFormat, TimeDelta};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::identity::{memberships, users};
use crate::kernel::access::caller::{Permission, Scope};
use crate::kernel::access::ids::UserId;
use crate::kernel::access::place::Org;
use crate::kernel::access::platform::Platform;
use crate::kernel::app::Part;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{Created, NoContent};
use crate::kernel::http::cx::Cx;
use crate::kernel::text::{Domain, Email, ExternalId, Name, PlanCode, Slug};
use crate::licensing::coverage::marks::{self, Changed};
use crate::licensing::{licenses, subscriptions};
use crate::tenancy::organizations::{self, Organization, OrganizationPatch};
use crate::tenancy::projects;

crate::routes! { organizations:
    /// Creates an organization with its subscription and quotas, and its owner when one is named.
    POST "/organizations" ORG_CREATE => create;
    /// Changes an organization.
    ///
    /// `settings` are merged one level deep, `features` member by member; null deletes a member.
    PATCH "/organizations/{org}" ORG_WRITE => update;
    /// Deletes an organization: suspends it, or purges it with everything it has.
    ///
    /// What its own people delete is suspended and kept until `retained_until`, as long as the
    /// platform's setting says; the platform can make it active again. `mode=purge` requires
    /// `org:delete` on the platform and `confirm` with the exact name, and `force=true` while the
    /// organization is retained or has projects or live licenses. Audit events stay.
    DELETE "/organizations/{org}" ORG_DELETE => delete;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrganization {
    name: Name,
    /// Made from the name when absent.
    slug: Option<Slug>,
    /// The owner: a user's id or e-mail address.
    owner: Option<String>,
    /// The owner, by id.
    owner_user_id: Option<UserId>,
    /// `free` when absent; then the first subscription that is made takes its place.
    plan_code: Option<PlanCode>,
    external_id: Option<ExternalId>,
    email_domain: Option<Domain>,
    #[serde(default)]
    settings: Map<String, Value>,
    #[serde(default)]
    metadata: Map<String, Value>,
}

/// For how long an organization is kept that its own people deleted.
#[derive(Clone, Copy, Debug)]
pub struct DeletionRetention(pub TimeDelta);

impl Part for DeletionRetention {}

crate::text_enum! {
    /// How an organization ends.
    DeleteMode { Suspend = "suspend", Purge = "purge" }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deletion {
    /// `suspend` when absent.
    mode: Option<DeleteMode>,
    /// The organization's exact name.
    confirm: Option<String>,
    force: Option<bool>,
}

async fn create(
    cx: &mut Cx<Scope>,
    _: Platform,
    new: NewOrganization,
) -> Result<Created<Organization>> {
    let owner = owner(cx, new.owner_user_id, new.owner.as_deref()).await?;
    let row = organizations::NewOrganization {
        name: new.name,
        slug: new.slug,
        external_id: new.external_id,
        email_domain: new.email_domain,
        owner,
        settings: new.settings,
        metadata: new.metadata,
    };
    let organization = organizations::insert(cx, row).await?;
    subscriptions::begin(cx, organization.id, new.plan_code.as_ref()).await?;
    if let Some(owner) = owner {
        memberships::seat_owner(cx, organization.id, owner).await?;
    }
    cx.trail.organization = Some(organization.id);
    Ok(Created(organization))
}

async fn owner(
    cx: &mut Cx<Scope>,
    id: Option<UserId>,
    name: Option<&str>,
) -> Result<Option<UserId>> {
    let id = match (id, name) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            let detail = "owner: name the owner by either owner or owner_user_id";
            return Err(Error::invalid("owner", detail));
        }
        (Some(id), None) => id,
        (None, Some(name)) => match name.parse::<UserId>() {
            Ok(id) => id,
            Err(_) => {
                let email: Email =
                    name.parse().map_err(|e| Error::invalid("owner", format!("owner: {e}")))?;
                users::by_email(cx, &email).await?.id
            }
        },
    };
    users::load(cx, id).await.map(|user| Some(user.id))
}

async fn update(cx: &mut Cx, _: Org, patch: OrganizationPatch) -> Result<Organization> {
    if !cx.caller.is_of_platform()
        && let Some(field) = patch.of_the_vendor()
    {
        let detail = format!("{field}: only the platform's own callers change it.");
        return Err(Error::new(ProblemCode::Forbidden, detail).at(field));
    }
    let before = organizations::load(cx).await?.status;
    let organization = organizations::update(cx, patch).await?;
    if organization.status != before {
        marks::update(cx, cx.at, Changed::Organization).await?;
    }
    Ok(organization)
}

async fn delete(cx: &mut Cx, _: Org, deletion: Deletion) -> Result<NoContent> {
    let organization = organizations::load(cx).await?;
    if deletion.mode.unwrap_or(DeleteMode::Suspend) == DeleteMode::Suspend {
        let is_own = !cx.caller.is_of_platform() && !cx.caller.is_narrowed;
        let until = cx.now.checked_add_signed(DeletionRetention::of(&cx.app).0);
        let suspended = organizations::suspend(cx, until.filter(|_| is_own)).await?;
        marks::update(cx, cx.at, Changed::Organization).await?;
        cx.trail.after = serde_json::to_value(suspended).ok();
        return Ok(NoContent);
    }
    // What goes is the vendor's, too: usage, subscriptions and the licenses that were issued.
    cx.caller.on_platform(Permission::ORG_DELETE)?;
    if deletion.confirm.as_deref() != Some(organization.name.as_str()) {
        let detail = "confirm: give the organization's exact name to purge it for ever";
        return Err(Error::invalid("confirm", detail));
    }
    if let Some(until) = organization.retained_until
        && until > cx.now
        && deletion.force != Some(true)
    {
        let detail = format!(
            "The organization was deleted by its own people and is retained until {}. Send \
             force=true to purge it earlier.",
            until.to_rfc3339_opts(SecondsFormat::Secs, true)
        );
        return Err(Error::conflict(detail).with("retained_until", until));
    }
    let (live, projects) = (licenses::rows::count_live(cx).await?, projects::count(cx).await?);
    if live + projects > 0 && deletion.force != Some(true) {
        let detail = format!(
            "{live} licenses are live, and there are {projects} projects; say force=true to purge \
             them too."
        );
        let error = Error::new(ProblemCode::OrganizationNotEmpty, detail);
        return Err(error.with("licenses", live).with("projects", projects));
    }
    purge::purge(cx).await?;
    Ok(NoContent)
}
