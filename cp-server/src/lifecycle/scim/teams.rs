//! The groups of an organization as its identity provider sees them.

use std::collections::HashMap;

use super::filter::{self, Term};
use super::protocol::{refused, taken};
use crate::kernel::access::ids::UserId;
use crate::kernel::access::products;
use crate::kernel::db::query::{Query, Rows};
use crate::kernel::db::values::Row;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::secret::hex;
use crate::kernel::text::{Name, Slug};
use crate::tenancy::groups::Group;
use crate::tenancy::ids::GroupId;

/// The largest number of members in a response of several groups.
const LISTED_MEMBERS: i64 = 20_000;
/// The largest number that a derived slug ends with.
const NUMBERED: u32 = 20;

/// A member of a group.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Member {
    group_id: GroupId,
    pub(super) user_id: UserId,
    pub(super) user_name: String,
}

/// Returns the group, if the organization has it.
pub(super) async fn find(cx: &mut Cx, group: GroupId) -> Result<Option<Group>> {
    let query = cx.tx.select("WHERE id = $1 AND organization_id = $2").bind(group).bind(cx.at);
    let found: Option<Group> = query.opt().await?;
    if let Some(group) = &found {
        products::refuse_reading(&cx.caller, group.product.as_str())?;
    }
    Ok(found)
}

/// Returns a page of the groups that fit the filter, and their number.
pub(super) async fn page(
    cx: &mut Cx,
    filter: &[Term],
    start: i64,
    count: i64,
) -> Result<(i64, Vec<Group>)> {
    let total: Rows<'_, (i64,)> =
        cx.tx.select_from("COUNT(*)", "groups WHERE organization_id = $1").bind(cx.at);
    let total = products::visible(narrowed(total, filter)?, &cx.caller, "product");
    let (total,) = total.one().await?;
    if count == 0 || start > total {
        return Ok((total, Vec::new()));
    }
    let groups = cx.tx.select("WHERE organization_id = $1").bind(cx.at);
    let groups: Rows<'_, Group> = narrowed(groups, filter)?;
    let groups = products::visible(groups, &cx.caller, "product").sql(" ORDER BY groups.id");
    Ok((total, groups.limit(count).and(" OFFSET ?", start - 1).all().await?))
}

fn narrowed<'c, R: Row>(mut rows: Rows<'c, R>, filter: &[Term]) -> Result<Rows<'c, R>> {
    for Term { attribute, value } in filter {
        rows = match &**attribute {
            "id" => match value.parse::<GroupId>() {
                Ok(id) => rows.and(" AND groups.id = ?", id),
                Err(_) => rows.sql(" AND FALSE"),
            },
            "displayname" => rows.and(" AND LOWER(groups.name) = ?", value.to_ascii_lowercase()),
            "externalid" => rows.and(" AND groups.external_id = ?", value.as_str()),
            "members" | "members.value" => match value.parse::<UserId>() {
                Ok(user) => rows.and(
                    " AND groups.id IN (SELECT group_id FROM memberships
                                        WHERE organization_id = $1 AND user_id = ? AND scope = 'group'
                                        UNION SELECT group_id FROM scim_inactive_members
                                        WHERE organization_id = $1 AND user_id = ?)",
                    user,
                ),
                Err(_) => rows.sql(" AND FALSE"),
            },
            _ => return Err(filter::unknown("id, displayName, externalId, members.value")),
        };
    }
    Ok(rows)
}

/// Returns the members of the groups, those who are not active included.
pub(super) async fn members(
    cx: &mut Cx,
    groups: &[GroupId],
) -> Result<HashMap<GroupId, Vec<Member>>> {
    let mut members: HashMap<GroupId, Vec<Member>> = HashMap::new();
    if groups.is_empty() {
        return Ok(members);
    }
    let sql = "SELECT x.group_id, x.user_id, COALESCE(s.user_name, u.email) AS user_name
               FROM (SELECT group_id, user_id FROM memberships
                     WHERE organization_id = $1 AND scope = 'group'
                     UNION ALL SELECT group_id, user_id FROM scim_inactive_members
                     WHERE organization_id = $1) x
               JOIN users u ON u.id = x.user_id
               LEFT JOIN scim_users s ON s.organization_id = $1 AND s.user_id = x.user_id
               WHERE x.group_id IN ";
    let query = cx.tx.q(sql).bind(cx.at);
    let query = query.rows([groups], |query, of| of.iter().copied().fold(query, Query::bind));
    let query = query.sql(" ORDER BY x.group_id, x.user_id");
    let rows: Vec<Member> = query.limit(LISTED_MEMBERS + 1).all().await?;
    if i64::try_from(rows.len()).is_ok_and(|count| count > LISTED_MEMBERS) {
        let detail = format!(
            "The response would have more than {LISTED_MEMBERS} members. Send \
             excludedAttributes=members, or a smaller `count`."
        );
        return Err(refused("tooMany", detail));
    }
    for member in rows {
        members.entry(member.group_id).or_default().push(member);
    }
    Ok(members)
}

/// Returns a slug for a new root group, derived from its name.
///
/// # Errors
/// Fails with 409 if a root group has this name.
pub(super) async fn slug(cx: &mut Cx, name: &Name) -> Result<Slug> {
    let sql = "SELECT 1 FROM groups WHERE organization_id = $1 AND parent_id IS NULL
                 AND product = '' AND name = $2";
    if cx.tx.q(sql).bind(cx.at).bind(name).value::<i32>().await?.is_some() {
        return Err(taken("`displayName` is already used by another group of the organization."));
    }
    let Some(slug) = Slug::from_name(name.as_str()) else {
        // A name without a letter or digit.
        let random = format!("group-{}", hex(&cx.app.random.bytes::<6>()));
        return random.parse().map_err(|rule: String| Error::invalid("displayName", rule));
    };
    let numbered = (2..=NUMBERED).map(|n| slug.numbered(n));
    let candidates: Vec<Slug> = std::iter::once(slug.clone()).chain(numbered).collect();
    let sql = "SELECT slug FROM groups
               WHERE organization_id = $1 AND parent_id IS NULL AND product = '' AND slug IN ";
    let query = cx.tx.q(sql).bind(cx.at);
    let query = query
        .rows([&candidates], |query, all| all.iter().fold(query, |query, one| query.bind(one)));
    let used: Vec<(String,)> = query.all().await?;
    let is_free = |one: &Slug| used.iter().all(|(slug,)| slug != one.as_str());
    candidates.into_iter().find(is_free).ok_or_else(|| {
        taken("`displayName` is too similar to the names of other groups of the organization.")
    })
}
