//! The people of an organization as its identity provider sees them, and their rows.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::filter::{self, Term};
use super::protocol::taken;
use super::shapes::primary_email;
use crate::identity::memberships::AcceptedAs;
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::db::query::{Query, Rows};
use crate::kernel::db::record::Object;
use crate::kernel::db::values::Row;
use crate::kernel::declaration::{Declaration, Erase, Export};
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::section::Section;
use crate::kernel::text::ExternalId;
use crate::tenancy::ids::GroupId;

pub(super) const USERS: Declaration = Declaration::of_organization(
    "scim_users",
    "user",
    Export::Section(Section::many::<ScimUser>("scim_users")),
)
.erases(Erase::Statement("DELETE FROM scim_users WHERE user_id = $1"));

pub(super) const INACTIVE: Declaration = Declaration::of_organization(
    "scim_inactive_members",
    "inactive member",
    Export::LeftOut("the identity provider has these groups, and sends them again"),
);

crate::record! {
    /// A person as the organization's identity provider describes them.
    ScimUser in scim_users {
        user_id: UserId,
        organization_id: OrganizationId,
        /// The name of the user at the provider.
        user_name: String,
        /// The provider's own reference, unique in the organization.
        external_id: Option<ExternalId>,
        /// The attributes `name`, `displayName` and `emails`.
        profile: Object,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

/// A person with or without a seat, and with or without a description by the provider.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Person {
    pub(super) id: UserId,
    pub(super) email: String,
    /// Whether the person has a seat in the organization, taken or offered.
    pub(super) is_active: bool,
    pub(super) user_name: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) profile: Option<Object>,
    pub(super) accepted_as: Option<AcceptedAs>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

const COLUMNS: &str = "u.id, u.email, m.id IS NOT NULL AS is_active, s.user_name, s.external_id,
    s.profile, s.accepted_as, COALESCE(s.created_at, m.created_at) AS created_at,
    COALESCE(s.updated_at, m.updated_at) AS updated_at";

/// The people of the organization `$1`: its members, and those whom the provider deactivated.
const FROM: &str = "(SELECT user_id FROM memberships
                     WHERE organization_id = $1 AND scope = 'organization'
                     UNION SELECT user_id FROM scim_users WHERE organization_id = $1) p
    JOIN users u ON u.id = p.user_id
    LEFT JOIN scim_users s ON s.organization_id = $1 AND s.user_id = u.id
    LEFT JOIN memberships m ON m.organization_id = $1 AND m.user_id = u.id
                           AND m.scope = 'organization'
    WHERE TRUE";

/// The same, for a condition on `u.id` that an index serves: the others are not read.
const KEYED: &str = "users u
    LEFT JOIN scim_users s ON s.organization_id = $1 AND s.user_id = u.id
    LEFT JOIN memberships m ON m.organization_id = $1 AND m.user_id = u.id
                           AND m.scope = 'organization'
    WHERE (s.user_id IS NOT NULL OR m.id IS NOT NULL)";

/// The attributes whose comparison leads to few people.
const KEYS: [&str; 5] = ["id", "username", "externalid", "emails", "emails.value"];

/// What the provider says about a person.
#[derive(Debug, PartialEq)]
pub(super) struct Description {
    pub(super) user_name: String,
    pub(super) external_id: Option<String>,
    pub(super) profile: Map<String, Value>,
}

impl Person {
    /// Returns the addresses by which the provider knows the person: those of `emails`, and the user
    /// name.
    pub(super) fn addresses(&self) -> Vec<String> {
        let Description { user_name, profile, .. } = self.description();
        let items = profile.get("emails").and_then(Value::as_array).into_iter().flatten();
        let addresses = items.filter_map(|item| item["value"].as_str()).map(str::to_owned);
        addresses.chain([user_name]).collect()
    }

    pub(super) fn description(&self) -> Description {
        Description {
            user_name: self.user_name.clone().unwrap_or_else(|| self.email.clone()),
            external_id: self.external_id.clone(),
            profile: self.profile.clone().unwrap_or_default().into_inner(),
        }
    }
}

/// Returns the person, if the organization has them.
pub(super) async fn find(cx: &mut Cx, user: UserId) -> Result<Option<Person>> {
    let query = cx.tx.select_from(COLUMNS, KEYED).bind(cx.at);
    Ok(query.and(" AND u.id = ?", user).opt().await?)
}

/// Returns a page of the people that fit the filter, and their number.
pub(super) async fn page(
    cx: &mut Cx,
    filter: &[Term],
    start: i64,
    count: i64,
) -> Result<(i64, Vec<Person>)> {
    let is_keyed = filter.iter().any(|term| KEYS.contains(&&*term.attribute));
    let from = if is_keyed { KEYED } else { FROM };
    let total: Rows<'_, (i64,)> = cx.tx.select_from("COUNT(*)", from).bind(cx.at);
    let (total,) = narrowed(total, filter)?.one().await?;
    if count == 0 || start > total {
        return Ok((total, Vec::new()));
    }
    let people: Rows<'_, Person> = cx.tx.select_from(COLUMNS, from).bind(cx.at);
    let people = narrowed(people, filter)?.sql(" ORDER BY u.id");
    let people = people.limit(count).and(" OFFSET ?", start - 1);
    Ok((total, people.all().await?))
}

fn narrowed<'c, R: Row>(mut rows: Rows<'c, R>, filter: &[Term]) -> Result<Rows<'c, R>> {
    for Term { attribute, value } in filter {
        let key = value.to_lowercase();
        rows = match &**attribute {
            "id" => match value.parse::<UserId>() {
                Ok(id) => rows.and(" AND u.id = ?", id),
                Err(_) => rows.sql(" AND FALSE"),
            },
            "username" => rows.and(
                " AND u.id IN (SELECT user_id FROM scim_users
                               WHERE organization_id = $1 AND user_name_key = ?
                               UNION SELECT id FROM users WHERE email_key = ?)
                  AND COALESCE(s.user_name_key, u.email_key) = ?",
                key,
            ),
            "externalid" => rows.and(
                " AND u.id IN (SELECT user_id FROM scim_users
                               WHERE organization_id = $1 AND external_id = ?)",
                value.as_str(),
            ),
            "emails" | "emails.value" => rows.and(
                " AND u.id IN (SELECT user_id FROM scim_users
                               WHERE organization_id = $1 AND email_key = ?
                               UNION SELECT id FROM users WHERE email_key = ?)
                  AND COALESCE(s.email_key, u.email_key) = ?",
                key,
            ),
            // Providers name the type of the address, which does not matter here.
            "emails.type" => rows,
            "active" => rows.and(" AND (m.id IS NOT NULL) = ?", key == "true"),
            _ => return Err(filter::unknown("id, userName, externalId, emails.value, active")),
        };
    }
    Ok(rows)
}

/// Stores what the provider says about the person.
pub(super) async fn describe(cx: &mut Cx, user: UserId, new: &Description) -> Result<()> {
    refuse_taken(cx, user, &new.user_name).await?;
    let sql = "INSERT INTO scim_users
               (organization_id, user_id, user_name, user_name_key, external_id, email_key, profile,
                created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
               ON CONFLICT (organization_id, user_id) DO UPDATE
               SET user_name = $3, user_name_key = $4, external_id = $5, email_key = $6,
                   profile = $7, updated_at = $8";
    let email = primary_email(&new.profile).map(|email| email.to_lowercase());
    let insert = cx
        .tx
        .q(sql)
        .bind(cx.at)
        .bind(user)
        .bind(new.user_name.as_str())
        .bind(new.user_name.to_lowercase())
        .bind(new.external_id.as_deref())
        .bind(email)
        .bind(Object::bounded("profile", new.profile.clone())?)
        .bind(cx.now);
    insert
        .exec()
        .await
        .on_conflict("scim_users_user_name_key", user_name_taken)
        .on_conflict("scim_users_external_id", || {
            taken("`externalId` is already used by another user of the organization.")
        })?;
    Ok(())
}

/// Refuses the user name of a member that the provider has not described: the member's address.
async fn refuse_taken(cx: &mut Cx, user: UserId, user_name: &str) -> Result<()> {
    let sql = "SELECT 1 FROM memberships m JOIN users u ON u.id = m.user_id
               WHERE m.organization_id = $1 AND m.scope = 'organization' AND u.email_key = $2
                 AND u.id <> $3
                 AND NOT EXISTS (SELECT 1 FROM scim_users s
                                 WHERE s.organization_id = $1 AND s.user_id = u.id)";
    let query = cx.tx.q(sql).bind(cx.at).bind(user_name.to_lowercase()).bind(user);
    match query.value::<i32>().await? {
        Some(_) => Err(user_name_taken()),
        None => Ok(()),
    }
}

fn user_name_taken() -> Error {
    taken("`userName` is already used by another user of the organization.")
}

/// Removes what the provider has said about the person.
pub(super) async fn forget(cx: &mut Cx, user: UserId) -> Result<()> {
    let sql = "DELETE FROM scim_users WHERE organization_id = $1 AND user_id = $2";
    cx.tx.q(sql).bind(cx.at).bind(user).exec().await?;
    Ok(())
}

/// Keeps the groups of a person whose seats are about to end.
pub(super) async fn keep_groups(cx: &mut Cx, user: UserId) -> Result<()> {
    let sql = "INSERT INTO scim_inactive_members (organization_id, group_id, user_id)
               SELECT organization_id, group_id, user_id FROM memberships
               WHERE organization_id = $1 AND user_id = $2 AND scope = 'group'
               ON CONFLICT DO NOTHING";
    cx.tx.q(sql).bind(cx.at).bind(user).exec().await?;
    Ok(())
}

/// Keeps how the person had taken the seat that ended.
pub(super) async fn keep_acceptance(
    cx: &mut Cx,
    user: UserId,
    taken: Option<AcceptedAs>,
) -> Result<()> {
    let sql = "UPDATE scim_users SET accepted_as = $3, updated_at = $4
               WHERE organization_id = $1 AND user_id = $2";
    cx.tx.q(sql).bind(cx.at).bind(user).bind(taken).bind(cx.now).exec().await?;
    Ok(())
}

/// Removes and returns the groups that were kept.
pub(super) async fn take_groups(cx: &mut Cx, user: UserId) -> Result<Vec<GroupId>> {
    let sql = "SELECT group_id FROM scim_inactive_members
               WHERE organization_id = $1 AND user_id = $2 ORDER BY group_id";
    let groups: Vec<(GroupId,)> = cx.tx.q(sql).bind(cx.at).bind(user).all().await?;
    let sql = "DELETE FROM scim_inactive_members WHERE organization_id = $1 AND user_id = $2";
    cx.tx.q(sql).bind(cx.at).bind(user).exec().await?;
    Ok(groups.into_iter().map(|(group,)| group).collect())
}

/// Adds a person who is not active to a group, for the person's return.
pub(super) async fn keep_in(cx: &mut Cx, group: GroupId, user: UserId) -> Result<()> {
    let sql = "INSERT INTO scim_inactive_members (organization_id, group_id, user_id)
               VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    cx.tx.q(sql).bind(cx.at).bind(group).bind(user).exec().await?;
    Ok(())
}

/// Removes a person who is not active from a group.
pub(super) async fn keep_out(cx: &mut Cx, group: GroupId, user: UserId) -> Result<()> {
    let sql = "DELETE FROM scim_inactive_members
               WHERE organization_id = $1 AND group_id = $2 AND user_id = $3";
    cx.tx.q(sql).bind(cx.at).bind(group).bind(user).exec().await?;
    Ok(())
}

/// Returns which of the IDs are people of the organization, and whether each is active.
pub(super) async fn known(cx: &mut Cx, users: &[UserId]) -> Result<HashMap<UserId, bool>> {
    if users.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Rows<'_, (UserId, bool)> =
        cx.tx.select_from("u.id, m.id IS NOT NULL", KEYED).bind(cx.at);
    let rows = rows.sql(" AND u.id IN ");
    let rows = rows.rows([users], |query, of| of.iter().copied().fold(query, Query::bind));
    Ok(rows.all().await?.into_iter().collect())
}
