//! The directory: the people of an organization with their groups.
//!
//! It has no table. One request creates a person and the person's seats, in one transaction, so that
//! an import needs one call a person and can be repeated.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::escalation::{refuse_becoming, refuse_but_superadmin};
use super::memberships::seating::{self, Seated};
use super::memberships::{MembershipRole, MembershipStatus, bump_user};
use super::scopes::{self, ScopeRef};
use super::users::rows::{self as users, Link, User};
use crate::identity::ids::{MembershipId, RoleId};
use crate::kernel::access::caller::{Authority, Permission};
use crate::kernel::access::ids::UserId;
use crate::kernel::access::place::Org;
use crate::kernel::db::query::Query;
use crate::kernel::db::record::Record;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{Put, Resource};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::page::{List, Page};
use crate::kernel::text::{Email, Name, ProviderKey, Subject};
use crate::tenancy::ids::GroupId;
use crate::tenancy::workspaces;

crate::routes! {
    /// The people of an organization with their groups.
    directory:
    /// Lists the organization's people, each with their groups.
    GET "/organizations/{org}/users" MEMBERS_READ => list;
    /// Adds a person to the organization and its groups, or changes the person's roles there.
    ///
    /// An address without a person creates one. A known person keeps each role that the request does
    /// not name, and each group.
    POST "/organizations/{org}/users" MEMBERS_WRITE => upsert, grants;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DirectoryFilter {
    /// Returns the people who have a group with this product label, and only those groups.
    product: Option<String>,
    /// Returns the people in this group or in a group below it.
    group: Option<GroupId>,
    /// Returns the person with this e-mail address only; upper and lower case are equal.
    email: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDirectoryPerson {
    /// The person, by ID. Either this or `email` is required.
    user_id: Option<UserId>,
    /// The person, by e-mail address; created if there is none.
    email: Option<Email>,
    /// The display name. Only callers of the platform can change that of a person who has one.
    display_name: Option<Name>,
    /// The role in the organization, by ID, code or short form. When absent, a new member is a
    /// viewer.
    role: Option<String>,
    /// The groups to add the person to, at most 100. The person keeps the other groups.
    #[serde(default)]
    #[schemars(length(max = 100))]
    groups: Vec<NewGroupSeat>,
    /// An identity of the person. Requires `users:write` on the platform.
    identity: Option<NewIdentity>,
}

/// A group of the person.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGroupSeat {
    /// The group.
    group_id: GroupId,
    /// A role of groups, by ID, code or short form. When absent, a new member has `member`.
    role: Option<String>,
}

/// A person's identity at a provider. The platform vouches for it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewIdentity {
    /// The key of the identity provider.
    provider: ProviderKey,
    /// The person's identifier at the provider, compared exactly.
    subject: Subject,
    /// The tenant of the provider, for the caller's information.
    idp_tenant: Option<Name>,
}

/// The largest number of groups in a request.
const MOST_GROUPS: usize = 100;

/// A person of an organization, with the person's groups.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DirectoryPerson {
    user: DirectoryUser,
    membership: DirectoryMembership,
    groups: Vec<DirectoryGroup>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct DirectoryUser {
    id: UserId,
    email: String,
    /// Null for callers of the organization until the person takes the seat.
    display_name: Option<Name>,
    /// Whether the person can log in. Null for callers of the organization until the person takes
    /// the seat.
    is_active: Option<bool>,
}

/// The person's seat in the organization.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DirectoryMembership {
    id: MembershipId,
    role: MembershipRole,
    status: MembershipStatus,
}

/// A group, with the person's seat in it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DirectoryGroup {
    id: GroupId,
    name: String,
    product: String,
    role: MembershipRole,
    status: MembershipStatus,
}

impl Resource for DirectoryPerson {
    const NOUN: &'static str = "membership";
    const PATH: &'static str = "memberships";
    fn name(&self) -> String {
        self.membership.id.to_string()
    }
}

async fn list(cx: &mut Cx, _: Org, list: List<DirectoryFilter>) -> Result<Page<DirectoryPerson>> {
    let filter = &list.filter;
    let query = cx
        .tx
        .select("WHERE memberships.organization_id = $1 AND memberships.scope = 'organization'")
        .bind(cx.at)
        .and_some(" AND users.email_key = ?", filter.email.as_ref().map(|e| e.to_lowercase()));
    let query = if filter.product.is_some() || filter.group.is_some() {
        // One group fulfills both filters.
        query
            .sql(
                " AND EXISTS (SELECT 1 FROM memberships s JOIN groups ON groups.id = s.group_id
                              WHERE s.organization_id = $1 AND s.user_id = memberships.user_id",
            )
            .and_some(" AND groups.product = ?", filter.product.as_deref())
            .and_some(crate::in_or_below!("groups.id"), filter.group)
            .sql(")")
    } else {
        query
    };
    let page: Page<PersonRow> = list.page(query).await?;
    // A group with people is one of the organization.
    if let (true, Some(group)) = (page.items.is_empty(), filter.group) {
        scopes::refuse_missing(cx, &[ScopeRef::group(group)], &["group".to_owned()]).await?;
    }
    let items = with_groups(cx, page.items, filter.product.as_deref()).await?;
    Ok(Page { items, next_cursor: page.next_cursor })
}

async fn upsert(cx: &mut Cx, _: Org, new: NewDirectoryPerson) -> Result<Put<DirectoryPerson>> {
    let user = match (new.user_id, &new.email) {
        (Some(id), None) => users::load_named(cx, id).await.map_err(|error| error.at("user_id"))?,
        (None, Some(email)) => users::by_email(cx, email).await?,
        _ => {
            let detail = "Exactly one of `user_id` and `email` is required.";
            return Err(Error::invalid("user_id", detail));
        }
    };
    refuse_groups(cx, &new.groups).await?;
    if let Some(name) = &new.display_name {
        set_name(cx, &user, name).await?;
    }
    // Before the seats: a person with an identity takes the seats that the platform gives.
    if let Some(identity) = new.identity {
        link(cx, &user, identity).await?;
    }
    let seated = seating::in_organization(cx, user.id, new.role.as_deref()).await?;
    let mut is_changed = seated != Seated::Unchanged;
    for (n, group) in new.groups.iter().enumerate() {
        let done = seating::in_group(cx, group.group_id, user.id, group.role.as_deref()).await;
        is_changed |= done.map_err(|error| in_group(error, n))? != Seated::Unchanged;
    }
    if is_changed {
        workspaces::bump(cx, cx.at, None).await?;
    }
    let tail = "WHERE memberships.organization_id = $1 AND memberships.scope = 'organization'
                  AND memberships.user_id = $2";
    let row: PersonRow = cx.tx.select(tail).bind(cx.at).bind(user.id).one().await?;
    let person = with_groups(cx, vec![row], None).await?.pop().ok_or_else(Error::stale)?;
    Ok(if seated == Seated::New { Put::New(person) } else { Put::Known(person) })
}

/// Refuses a group that is not of the organization, one that is named twice, and too many groups.
async fn refuse_groups(cx: &mut Cx, groups: &[NewGroupSeat]) -> Result<()> {
    if groups.len() > MOST_GROUPS {
        let detail = format!("`groups` must have at most {MOST_GROUPS} items.");
        return Err(Error::invalid("groups", detail));
    }
    let fields: Vec<String> = (0..groups.len()).map(|n| format!("groups[{n}].group_id")).collect();
    let scopes: Vec<ScopeRef> = groups.iter().map(|one| ScopeRef::group(one.group_id)).collect();
    if let Some(n) = (1..scopes.len()).find(|n| scopes[..*n].contains(&scopes[*n])) {
        let field = format!("groups[{n}].group_id");
        let detail = format!("`{field}` is the group of an earlier item. Name each group once.");
        return Err(Error::invalid(field, detail));
    }
    scopes::refuse_missing(cx, &scopes, &fields).await
}

/// Sets the display name of a person who has none. The platform can change that of any person, and
/// superadmins alone can change that of a superadmin.
async fn set_name(cx: &mut Cx, user: &User, name: &Name) -> Result<()> {
    let may_change = match user.is_superadmin {
        true => refuse_but_superadmin(&cx.caller).is_ok(),
        false => user.display_name.is_none() || cx.caller.is_of_platform(),
    };
    if !may_change || user.display_name.as_ref() == Some(name) {
        return Ok(());
    }
    users::set_display_name(cx, user, name).await?;
    bump_user(cx, user.id).await
}

/// Links an identity to the person. An organization must not decide who a person is elsewhere.
async fn link(cx: &mut Cx, user: &User, identity: NewIdentity) -> Result<()> {
    let field = "identity";
    cx.caller.on_platform(Permission::USERS_WRITE).map_err(|error| error.at(field))?;
    let NewIdentity { provider, subject, idp_tenant } = identity;
    if users::is_linked(cx, user.id, &provider, &subject).await? {
        return Ok(());
    }
    let refused = match user.is_superadmin {
        true => refuse_but_superadmin(&cx.caller),
        false => refuse_becoming(&cx.caller, &mut cx.tx, user.id).await,
    };
    refused.map_err(|error| error.at(field))?;
    let link = Link {
        user: user.id,
        authority: Authority::Platform,
        provider: provider.into_string(),
        subject: subject.into_string(),
        idp_tenant: idp_tenant.map(Name::into_string),
    };
    users::insert_link(cx, link).await.map(drop).map_err(|error| error.at("identity.subject"))
}

/// Names the item in the refusal of a seat in its group.
fn in_group(error: Error, n: usize) -> Error {
    match error.document().field.as_deref() {
        Some("role") => error.at(format!("groups[{n}].role")),
        // What the group's projects grant.
        Some("group") => error.at(format!("groups[{n}].group_id")),
        _ => error,
    }
}

#[derive(sqlx::FromRow)]
struct PersonRow {
    membership_id: MembershipId,
    status: MembershipStatus,
    accepted_at: Option<DateTime<Utc>>,
    user_id: UserId,
    email: String,
    display_name: Option<Name>,
    is_active: bool,
    role_id: RoleId,
    role_code: String,
    role_name: String,
    role_rank: i64,
}

impl Record for PersonRow {
    const TABLE: &'static str = "memberships
        JOIN roles ON roles.id = memberships.role_id
        JOIN users ON users.id = memberships.user_id";
    const COLUMNS: &'static str =
        "memberships.id AS membership_id, memberships.status,
        memberships.accepted_at, memberships.user_id, users.email, users.display_name, users.is_active, memberships.role_id,
        roles.code AS role_code, roles.name AS role_name, roles.rank AS role_rank";
    const KEY: &'static str = "memberships.id";
    fn key(&self) -> Uuid {
        self.membership_id.0
    }
}

#[derive(sqlx::FromRow)]
struct GroupRow {
    user_id: UserId,
    group_id: GroupId,
    name: String,
    product: String,
    status: MembershipStatus,
    role_id: RoleId,
    role_code: String,
    role_name: String,
    role_rank: i64,
}

/// Adds the groups of all people, in one statement.
async fn with_groups(
    cx: &mut Cx,
    people: Vec<PersonRow>,
    product: Option<&str>,
) -> Result<Vec<DirectoryPerson>> {
    let mut groups: HashMap<UserId, Vec<DirectoryGroup>> = HashMap::new();
    if !people.is_empty() {
        let sql = "SELECT memberships.user_id, groups.id AS group_id, groups.name, groups.product,
                          memberships.status, roles.id AS role_id, roles.code AS role_code,
                          roles.name AS role_name, roles.rank AS role_rank
                   FROM memberships JOIN groups ON groups.id = memberships.group_id
                   JOIN roles ON roles.id = memberships.role_id
                   WHERE memberships.organization_id = $1";
        let query = cx.tx.q(sql).bind(cx.at).and_some(" AND groups.product = ?", product);
        let query = query.sql(" AND memberships.user_id IN ");
        let query = query
            .rows([&people], |query, of| of.iter().map(|row| row.user_id).fold(query, Query::bind));
        let rows: Vec<GroupRow> = query.sql(" ORDER BY groups.name, groups.id").all().await?;
        for row in rows {
            let role = MembershipRole {
                id: row.role_id,
                code: row.role_code,
                name: row.role_name,
                rank: row.role_rank,
            };
            groups.entry(row.user_id).or_default().push(DirectoryGroup {
                id: row.group_id,
                name: row.name,
                product: row.product,
                role,
                status: row.status,
            });
        }
    }
    // An organization learns nothing about a person by offering a seat.
    let sees = |row: &PersonRow| row.accepted_at.is_some() || cx.caller.is_of_platform();
    let person = |row: PersonRow| DirectoryPerson {
        groups: groups.remove(&row.user_id).unwrap_or_default(),
        user: DirectoryUser {
            id: row.user_id,
            is_active: sees(&row).then_some(row.is_active),
            display_name: row.display_name.clone().filter(|_| sees(&row)),
            email: row.email,
        },
        membership: DirectoryMembership {
            id: row.membership_id,
            role: MembershipRole {
                id: row.role_id,
                code: row.role_code,
                name: row.role_name,
                rank: row.role_rank,
            },
            status: row.status,
        },
    };
    Ok(people.into_iter().map(person).collect())
}
