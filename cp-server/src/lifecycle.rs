//! The creation, change and end of organizations. These operations cross every slice, so this
//! module is above all slices.

pub mod affected;
pub mod delete_group;
pub mod export;
pub mod id_lists;
pub mod import;
pub mod leave_organization;
pub mod move_project;
pub mod notices;
pub mod overview;
mod purge;
pub mod scim;
pub mod search;
pub mod summaries;

use chrono::{SecondsFormat, TimeDelta};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use self::notices::{DECLARATION as NOTICES, LEVELS as NOTICE_LEVELS};
use crate::identity::{memberships, users};
use crate::kernel::access::caller::{Permission, Scope};
use crate::kernel::access::ids::UserId;
use crate::kernel::access::place::Org;
use crate::kernel::access::platform::Platform;
use crate::kernel::app::Part;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{Created, NoContent};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::SeatCap;
use crate::kernel::text::{Domain, Email, ExternalId, Name, PlanCode, Slug};
use crate::licensing::coverage::marks::{self, Changed};
use crate::licensing::{licenses, subscriptions};
use crate::tenancy::onboarding;
use crate::tenancy::organizations::{self, Organization, OrganizationPatch};
use crate::tenancy::projects;

crate::routes! { organizations declares NOTICES, NOTICE_LEVELS:
    /// Creates an organization with its subscription and quotas, and its owner when one is named.
    ///
    /// The organization starts with the groups of `GET /onboarding`.
    POST "/organizations" ORG_CREATE => create;
    /// Changes an organization.
    ///
    /// `settings` are merged one level deep. `features` are merged member by member; null deletes a
    /// member.
    PATCH "/organizations/{org}" ORG_WRITE => update, local;
    /// Deletes an organization: suspends it, or purges it with everything in it.
    ///
    /// A deletion by the organization's own callers suspends it until `retained_until`; a setting
    /// of the platform determines that time. The platform can make the organization active again.
    ///
    /// `mode=purge` requires `org:delete` on the platform, and `confirm` with the exact name. It
    /// also requires `force=true` while the organization is retained or has projects or live
    /// licenses. Audit events stay.
    DELETE "/organizations/{org}" ORG_DELETE => delete;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrganization {
    /// The display name, 1 to 255 characters.
    name: Name,
    /// Derived from the name when absent.
    slug: Option<Slug>,
    /// The owner: a user's ID or e-mail address. Not allowed together with `owner_user_id`.
    owner: Option<String>,
    /// The owner's user ID.
    owner_user_id: Option<UserId>,
    /// The plan's code. `free` when absent; the first subscription then replaces that default.
    plan_code: Option<PlanCode>,
    /// The seats of the first subscription, at least 1. When absent, the plan's; they then change
    /// with the plan.
    seat_cap: Option<SeatCap>,
    /// The caller's own reference, unique among organizations.
    external_id: Option<ExternalId>,
    /// The domain of the organization's e-mail addresses, such as `example.com`.
    email_domain: Option<Domain>,
    /// The organization's settings, as an object. Empty when absent.
    #[serde(default)]
    settings: Map<String, Value>,
    /// The caller's own data, as an object. Empty when absent.
    #[serde(default)]
    metadata: Map<String, Value>,
}

/// How long an organization is kept after a deletion by its own callers.
#[derive(Clone, Copy, Debug)]
pub struct DeletionRetention(pub TimeDelta);

impl Part for DeletionRetention {}

crate::text_enum! {
    /// The way an organization ends.
    DeleteMode { Suspend = "suspend", Purge = "purge" }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deletion {
    /// `suspend` when absent.
    mode: Option<DeleteMode>,
    /// The organization's exact name; required by `mode=purge`.
    confirm: Option<String>,
    /// Whether to purge an organization that is retained, or has projects or live licenses. False
    /// when absent.
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
    subscriptions::begin(cx, organization.id, new.plan_code.as_ref(), new.seat_cap).await?;
    if let Some(owner) = owner {
        memberships::seat_owner(cx, organization.id, owner).await?;
    }
    onboarding::create_groups(cx, organization.id).await?;
    cx.audit.organization = Some(organization.id);
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
            let detail = "`owner` and `owner_user_id` must not be sent together. Send one of them.";
            return Err(Error::invalid("owner", detail));
        }
        (Some(id), None) => id,
        (None, Some(name)) => match name.parse::<UserId>() {
            Ok(id) => id,
            Err(_) => {
                let email: Email =
                    name.parse().map_err(|e| Error::invalid("owner", format!("`owner` {e}.")))?;
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
        let detail = format!("`{field}` can be changed by callers of the platform only.");
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
        cx.audit.after = serde_json::to_value(suspended).ok();
        return Ok(NoContent);
    }
    // A purge also deletes what belongs to the vendor: usage, subscriptions and issued licenses.
    cx.caller.on_platform(Permission::ORG_DELETE)?;
    if deletion.confirm.as_deref() != Some(organization.name.as_str()) {
        let detail = "`confirm` must be the organization's exact name. A purge is permanent.";
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
            "The organization has {live} live licenses and {projects} projects. Send force=true to \
             purge them too."
        );
        let error = Error::new(ProblemCode::OrganizationNotEmpty, detail);
        return Err(error.with("licenses", live).with("projects", projects));
    }
    purge::purge(cx).await?;
    Ok(NoContent)
}
