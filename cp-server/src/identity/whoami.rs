//! whoami: the identity of a logged-in person, for data planes.

use chrono::TimeDelta;
use cp_contracts::{
    CONTRACTS_VERSION_HEADER, ContractVersion, ProblemCode, WhoAmIGroup, WhoAmIMembershipV1,
    WhoAmIOrganizationV2, WhoAmIResponseV1, WhoAmIResponseV2, WhoAmIRoleV1, WhoAmIRoleV2,
    WhoAmIUserV1, WhoAmIUserV2, WhoAmIWorkspaceV2,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::first_logins::{self, VerifiedIdentity};
use super::memberships::row::{AcceptedAs, MembershipStatus};
use super::roles::row::{RoleScope, union};
use crate::identity::ids::RoleId;
use crate::identity::settings::IdentitySettings;
use crate::kernel::access::caller::{CallerScope, Scope};
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::app::Part;
use crate::kernel::cache::{Asked, Cache, Mark};
use crate::kernel::db::record::Codes;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Rendered;
use crate::kernel::http::cx::Cx;
use crate::kernel::text::{Email, ProviderKey, Subject};
use crate::tenancy::ids::{GroupId, WorkspaceId};

crate::routes! { users:
    /// Returns a person, by identity provider and subject.
    ///
    /// `Contracts-Version: 2` requests the 2.x form; the default is 1.x. An organization's token
    /// sees that organization's members only, and its links count in that organization only. Send
    /// `email` only if the provider has verified it: an unknown subject with an invited address is
    /// linked to it, once.
    GET "/users/whoami" USERS_WHOAMI => whoami, may_write, unmetered, machine;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The key of the identity provider.
    provider: ProviderKey,
    /// The person's identifier at the provider, compared exactly.
    subject: Subject,
    /// The person's verified address, for a first login. An invalid address is ignored.
    email: Option<String>,
    /// False if the provider has not verified the address, which is then ignored. True when absent.
    email_verified: Option<bool>,
}

/// The answer in the form of the requested contract.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum WhoAmI {
    V2(WhoAmIResponseV2),
    V1(WhoAmIResponseV1),
}

/// The longest time until a change elsewhere is visible.
const REMEMBERED: TimeDelta = TimeDelta::seconds(1);

/// Cached answers, by the inputs that they depend on.
#[derive(Default)]
pub struct Identities(Cache<IdentityQuestion, (Mark, Rendered<WhoAmI>)>);

impl Part for Identities {}

/// The identity, the organization that the caller is restricted to, and the form of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdentityQuestion(ProviderKey, Subject, Option<OrganizationId>, ContractVersion);

async fn whoami(
    cx: &mut Cx<Scope>,
    _: CallerScope,
    identity: Identity,
) -> Result<Rendered<WhoAmI>> {
    let (version, held_to) = (contract(cx)?, cx.at.organization());
    let (provider, subject) = (identity.provider.clone(), identity.subject.clone());
    let asked = IdentityQuestion(provider, subject, held_to, version);
    let app = cx.app.clone();
    let (rights, identities) = (&app.rights, &Identities::of(&app).0);
    let known = identities.ask(asked, cx.now, cx.tx.is_idle(), |(mark, _)| rights.is_current(mark));
    let turn = match known.await {
        Asked::Known((_, known)) => return Ok(known),
        Asked::Missing(turn) => turn,
    };
    let since = rights.now();
    let mut rows = facts(cx, &identity).await?;
    if rows.is_empty() && link(cx, &identity).await? {
        rows = facts(cx, &identity).await?;
    }
    let Some(person) = rows.first() else { return Err(unknown()) };
    let answer = Rendered::new(&match version {
        ContractVersion::V1 => WhoAmI::V1(v1(&rows, person)),
        _ => WhoAmI::V2(v2(&rows, person)),
    })?;
    // This transaction is not committed yet, so its answer must not be cached for other callers.
    let organizations = rows.iter().filter_map(|row| row.organization_id);
    if !cx.tx.writes()
        && let Some(mark) = rights.mark(organizations, since)
    {
        turn.keep((mark, answer.clone()), cx.now + REMEMBERED);
    }
    Ok(answer)
}

fn unknown() -> Error {
    let detail = "No user is linked to this provider and subject here.";
    Error::new(ProblemCode::IdentityUnknown, detail)
}

fn contract(cx: &Cx<Scope>) -> Result<ContractVersion> {
    let header = cx.parts.headers.get(CONTRACTS_VERSION_HEADER);
    let asked = header.map(|value| value.to_str().unwrap_or("?"));
    ContractVersion::negotiate(asked).map_err(|unsupported| {
        let supported: Vec<String> = ContractVersion::ALL.iter().map(|v| format!("{v}")).collect();
        Error::new(
            ProblemCode::NotAcceptable,
            format!("{CONTRACTS_VERSION_HEADER}: {unsupported}."),
        )
        .with("supported", supported)
    })
}

/// The person, with one of their memberships: a row of the one statement that answers whoami.
#[derive(Clone, Debug, sqlx::FromRow)]
struct Fact {
    /// The organization that vouches for the link; null for the platform.
    linked_by: Option<OrganizationId>,
    user_id: UserId,
    email: String,
    display_name: Option<String>,
    is_active: bool,
    is_superadmin: bool,
    /// Null, like the fields below, in the one row of a person without memberships.
    scope: Option<RoleScope>,
    status: Option<MembershipStatus>,
    extra: Option<Codes>,
    accepted_as: Option<AcceptedAs>,
    role_id: Option<RoleId>,
    role_code: Option<String>,
    role_name: Option<String>,
    role_description: Option<String>,
    role_is_system: Option<bool>,
    role_permissions: Option<Codes>,
    organization_id: Option<OrganizationId>,
    organization_slug: Option<String>,
    organization_name: Option<String>,
    group_id: Option<GroupId>,
    group_name: Option<String>,
    workspace_id: Option<WorkspaceId>,
    workspace_slug: Option<String>,
    workspace_name: Option<String>,
    rbac_revision: Option<i64>,
}

/// Returns the rows of the person that are visible to the caller.
///
/// A caller of the platform sees people whom the platform links. An organization's token sees its
/// own members with taken seats, linked by the platform or by the organization. If both link the
/// identity, the owner of its provider decides.
async fn facts(cx: &mut Cx<Scope>, identity: &Identity) -> Result<Vec<Fact>> {
    let sql = "SELECT a.organization_id AS linked_by,
                      u.id AS user_id, u.email, u.display_name, u.is_active, u.is_superadmin,
                      m.scope, m.status, m.permissions AS extra, m.accepted_as,
                      r.id AS role_id, r.code AS role_code, r.name AS role_name,
                      r.description AS role_description, r.is_system AS role_is_system,
                      r.permissions AS role_permissions,
                      o.id AS organization_id, o.slug AS organization_slug,
                      o.name AS organization_name,
                      g.id AS group_id, g.name AS group_name,
                      w.id AS workspace_id, w.slug AS workspace_slug, w.name AS workspace_name,
                      w.rbac_revision
               FROM auth_accounts a
               JOIN users u ON u.id = a.user_id
               LEFT JOIN memberships m
                      ON m.user_id = u.id AND ($3 OR m.organization_id = $4)
               LEFT JOIN roles r ON r.id = m.role_id
               LEFT JOIN organizations o ON o.id = m.organization_id
               LEFT JOIN groups g ON g.id = m.group_id
               LEFT JOIN workspaces w ON w.id = m.workspace_id
               WHERE a.provider = $1 AND a.subject = $2
                 AND (a.organization_id IS NULL OR a.organization_id = $4)
               ORDER BY m.id";
    let held_to = cx.at.organization();
    let query = cx.tx.q(sql).bind(&identity.provider).bind(&identity.subject);
    let mut rows: Vec<Fact> = query.bind(held_to.is_none()).bind(held_to).all().await?;
    if held_to.is_none() {
        return Ok(rows);
    }
    // An organization cannot vouch for a superadmin.
    let is_vouched = |row: &Fact| row.linked_by.is_none() || !row.is_superadmin;
    let is_seat = |row: &Fact| row.status.is_some_and(|status| status != MembershipStatus::Invited);
    rows.retain(|row| is_seat(row) && is_vouched(row));
    let by_platform = rows.iter().any(|row| row.linked_by.is_none());
    let by_organization = rows.iter().any(|row| row.linked_by.is_some());
    if by_platform && by_organization {
        let keys = &IdentitySettings::of(&cx.app).providers;
        let is_of_platform = keys.iter().any(|one| one.key == identity.provider.as_str());
        rows.retain(|row| row.linked_by.is_none() == is_of_platform);
    }
    // A caller with only an invitation's token must not learn the name of a person who has a login
    // elsewhere.
    if rows.iter().any(|row| row.accepted_as == Some(AcceptedAs::Token)) {
        rows.iter_mut().for_each(|row| row.display_name = None);
    }
    Ok(rows)
}

/// Links the identity to the person whom an organization invited by the same verified address, if
/// the caller may vouch for it (first login).
async fn link(cx: &mut Cx<Scope>, identity: &Identity) -> Result<bool> {
    let email = identity.email.as_ref().filter(|_| identity.email_verified != Some(false));
    let Some(email) = email.and_then(|email| email.parse::<Email>().ok()) else {
        return Ok(false);
    };
    let verified = VerifiedIdentity {
        authority: cx.at.organization().into(),
        provider: identity.provider.as_str(),
        subject: identity.subject.as_str(),
        email: &email,
    };
    if !first_logins::is_due(&mut cx.tx, &verified, cx.now).await? {
        return Ok(false);
    }
    cx.begin().await?;
    Ok(first_logins::link(cx, &verified).await?.is_some())
}

/// Returns the person's grants. An inactive person's memberships are listed, but grant nothing.
fn grants(fact: &Fact) -> Vec<String> {
    let active = fact.is_active && fact.status == Some(MembershipStatus::Active);
    match (&fact.role_permissions, &fact.extra) {
        (Some(role), Some(extra)) if active => union(role, extra),
        _ => Vec::new(),
    }
}

/// Returns the groups of the person in the organization.
fn groups_in(rows: &[Fact], organization: OrganizationId) -> Vec<WhoAmIGroup> {
    let of_it = rows.iter().filter(|fact| fact.organization_id == Some(organization));
    let active = of_it.filter(|fact| fact.status == Some(MembershipStatus::Active));
    let group = |fact: &Fact| {
        let (id, name) = (fact.group_id?.0, fact.group_name.clone()?);
        Some(WhoAmIGroup { id, name, extra: Default::default() })
    };
    active.filter_map(group).collect()
}

fn v1(rows: &[Fact], person: &Fact) -> WhoAmIResponseV1 {
    let membership = |fact: &Fact| {
        Some(WhoAmIMembershipV1 {
            workspace_id: fact.workspace_id?.0,
            workspace_name: fact.workspace_name.clone()?,
            workspace_slug: fact.workspace_slug.clone()?,
            organization_id: fact.organization_id?.0,
            // This answer alone is in upper case: its published form.
            status: fact.status?.as_str().to_uppercase(),
            role: WhoAmIRoleV1 {
                id: fact.role_id?.0,
                code: fact.role_code.clone()?,
                name: fact.role_name.clone()?,
                description: fact.role_description.clone(),
                is_system: fact.role_is_system?,
                extra: Default::default(),
            },
            extra: Default::default(),
        })
    };
    WhoAmIResponseV1 {
        user: WhoAmIUserV1 {
            id: person.user_id.0,
            email: person.email.clone(),
            display_name: person.display_name.clone(),
            is_active: person.is_active,
            extra: Default::default(),
        },
        // The answer omits an inactive person's memberships, because readers could mistake them for
        // rights.
        memberships: rows.iter().filter(|fact| fact.is_active).filter_map(membership).collect(),
        extra: Default::default(),
    }
}

fn v2(rows: &[Fact], person: &Fact) -> WhoAmIResponseV2 {
    let role = |fact: &Fact| {
        Some(WhoAmIRoleV2 {
            code: fact.role_code.clone()?,
            name: fact.role_name.clone()?,
            extra: Default::default(),
        })
    };
    let workspace = |fact: &Fact| {
        Some(WhoAmIWorkspaceV2 {
            workspace_id: fact.workspace_id?.0,
            workspace_slug: fact.workspace_slug.clone()?,
            workspace_name: fact.workspace_name.clone()?,
            organization_id: fact.organization_id?.0,
            organization_slug: fact.organization_slug.clone()?,
            status: fact.status?.as_str().to_owned(),
            role: role(fact)?,
            permissions: grants(fact),
            groups: groups_in(rows, fact.organization_id?),
            rbac_revision: fact.rbac_revision?,
            extra: Default::default(),
        })
    };
    let organization = |fact: &Fact| {
        (fact.scope? == RoleScope::Organization).then_some(())?;
        Some(WhoAmIOrganizationV2 {
            organization_id: fact.organization_id?.0,
            organization_slug: fact.organization_slug.clone()?,
            organization_name: fact.organization_name.clone()?,
            status: fact.status?.as_str().to_owned(),
            role: role(fact)?,
            permissions: grants(fact),
            extra: Default::default(),
        })
    };
    let workspaces: Vec<_> = rows.iter().filter_map(workspace).collect();
    let superadmin = person.is_active && person.is_superadmin;
    WhoAmIResponseV2 {
        user: WhoAmIUserV2 {
            id: person.user_id.0,
            email: person.email.clone(),
            display_name: person.display_name.clone(),
            is_active: person.is_active,
            is_superadmin: superadmin,
            extra: Default::default(),
        },
        superadmin,
        rbac_revision: workspaces.iter().map(|w| (w.workspace_id, w.rbac_revision)).collect(),
        workspaces,
        organizations: rows.iter().filter_map(organization).collect(),
        extra: Default::default(),
    }
}
