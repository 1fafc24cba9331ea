//! The groups of SCIM: the groups of an organization with their members.

use std::collections::BTreeSet;

use cp_contracts::ProblemCode;
use serde_json::{Map, Value, json};

use super::filter;
use super::patch;
use super::protocol::{InScim, invalid_value, taken};
use super::resource::{Made, Resource, Shown};
use super::rows;
use super::schemas::{self, Place};
use super::shapes::{GROUP, GROUP_SCHEMA};
use super::teams::{self, Member};
use super::users::{ScimBody, ScimQuery, ScimView, meta};
use crate::identity::memberships::scim_seats;
use crate::identity::memberships::seating;
use crate::kernel::access::ids::UserId;
use crate::kernel::access::place::Org;
use crate::kernel::access::products;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::NoContent;
use crate::kernel::http::cx::Cx;
use crate::kernel::text::{ExternalId, Name, quoted};
use crate::lifecycle::delete_group;
use crate::tenancy::groups::{self, Group, Initial};
use crate::tenancy::ids::GroupId;
use crate::tenancy::workspaces;

crate::routes! { scim:
    /// Lists the groups of the organization as SCIM groups.
    ///
    /// `filter` compares `id`, `displayName`, `externalId` and `members.value` with `eq`; `and` joins
    /// comparisons.
    GET "/organizations/{org}/scim/v2/Groups" MEMBERS_PROVISION => list as "scim.list_groups", throughout, machine, scim;
    /// Creates a SCIM group: a root group of the organization.
    POST "/organizations/{org}/scim/v2/Groups" MEMBERS_PROVISION => create as "scim.create_group", throughout, machine, scim;
    /// Reads a SCIM group.
    GET "/organizations/{org}/scim/v2/Groups/{id}" MEMBERS_PROVISION => read as "scim.read_group", throughout, machine, scim;
    /// Replaces the attributes of a SCIM group.
    ///
    /// Without `members`, the members stay as before.
    PUT "/organizations/{org}/scim/v2/Groups/{id}" MEMBERS_PROVISION => replace as "scim.replace_group", grants, throughout, machine, scim;
    /// Changes attributes and members of a SCIM group (RFC 7644, section 3.5.2).
    PATCH "/organizations/{org}/scim/v2/Groups/{id}" MEMBERS_PROVISION => update as "scim.update_group", grants, throughout, machine, scim;
    /// Deletes a SCIM group; refused while groups are below it.
    DELETE "/organizations/{org}/scim/v2/Groups/{id}" MEMBERS_PROVISION => delete as "scim.delete_group", throughout, machine, scim;
}

/// The state of a group that a request asks for.
struct Desired {
    name: Name,
    external_id: Option<ExternalId>,
    /// `None` for the members as before.
    members: Option<BTreeSet<UserId>>,
}

async fn list(cx: &mut Cx, _: Org, query: ScimQuery) -> Result<Shown> {
    let filter = query.filter.as_deref().map(filter::parse).transpose()?.unwrap_or_default();
    let (projection, (start, count)) = (query.projection()?, query.window());
    let (total, groups) = teams::page(cx, &filter, start, count).await?;
    let ids: Vec<GroupId> = groups.iter().map(|group| group.id).collect();
    let with_members = projection.has("members");
    let mut members = if with_members { teams::members(cx, &ids).await? } else { <_>::default() };
    let (place, mut shown) = (Place::of(cx), Vec::new());
    for group in groups {
        let members = members.remove(&group.id).unwrap_or_default();
        let resource = resource(&place, group, &members);
        // The version is that of the whole group.
        shown.push(if with_members {
            resource.listed(&projection)?
        } else {
            resource.without_version(&projection)
        });
    }
    Shown::of(schemas::page(total, start, shown))
}

async fn read(cx: &mut Cx, (_, id): (Org, GroupId), view: ScimView) -> Result<Shown> {
    let (group, projection) = (load(cx, id).await?, view.projection()?);
    if !projection.has("members") {
        return Shown::of(resource(&Place::of(cx), group, &[]).without_version(&projection));
    }
    shown(cx, group).await?.shown(&projection)
}

async fn create(cx: &mut Cx, _: Org, body: ScimBody) -> Result<Made> {
    let (body, projection) = body.parts()?;
    let new = desired(GROUP.read(body)?, Some(BTreeSet::new()))?;
    products::refuse_changing(&cx.caller, "")?;
    let slug = teams::slug(cx, &new.name).await?;
    let initial = Initial {
        name: new.name,
        slug,
        parent_id: None,
        product: String::new(),
        description: None,
        external_id: new.external_id,
    };
    let group = groups::insert(cx, cx.at, initial).await.map_err(in_scim)?;
    set_members(cx, group.id, &BTreeSet::new(), &new.members.unwrap_or_default()).await?;
    shown(cx, group).await?.made(&projection)
}

async fn replace(cx: &mut Cx, (_, id): (Org, GroupId), body: ScimBody) -> Result<Shown> {
    let (body, projection) = body.parts()?;
    // An empty list removes all members.
    let has_members = body.keys().any(|name| name.eq_ignore_ascii_case("members"));
    let desired = desired(GROUP.read(body)?, has_members.then(BTreeSet::new))?;
    let group = load(cx, id).await?;
    let before = member_ids(cx, id).await?;
    let group = change(cx, group, &before, desired).await?;
    shown(cx, group).await?.shown(&projection)
}

/// Answers without a body: that of a large group would be large for each new member.
async fn update(cx: &mut Cx, (_, id): (Org, GroupId), body: ScimBody) -> Result<NoContent> {
    let (body, _) = body.parts()?;
    let group = load(cx, id).await?;
    let before = member_ids(cx, id).await?;
    let mut attributes = Map::from_iter([("displayName".to_owned(), json!(group.name))]);
    attributes.extend(group.external_id.as_ref().map(|id| ("externalId".to_owned(), json!(id))));
    let members: Vec<Value> = before.iter().map(|id| json!({"value": id})).collect();
    attributes.insert("members".into(), members.into());
    patch::apply(&GROUP, &mut attributes, body)?;
    let desired = desired(attributes, Some(BTreeSet::new()))?;
    let group = change(cx, group, &before, desired).await?;
    cx.audit.after = Some(Value::Object(shown(cx, group).await?.body));
    Ok(NoContent)
}

async fn delete(cx: &mut Cx, (_, id): (Org, GroupId)) -> Result<NoContent> {
    load(cx, id).await?;
    delete_group::delete(cx, id).await
}

async fn load(cx: &mut Cx, id: GroupId) -> Result<Group> {
    teams::find(cx, id).await?.ok_or_else(|| Error::not_found("group"))
}

async fn member_ids(cx: &mut Cx, id: GroupId) -> Result<BTreeSet<UserId>> {
    let members = teams::members(cx, &[id]).await?.remove(&id).unwrap_or_default();
    Ok(members.into_iter().map(|member| member.user_id).collect())
}

/// Names the attribute of SCIM in the refusal of a value that another group has.
fn in_scim(error: Error) -> Error {
    match error.code() {
        ProblemCode::ExternalIdTaken => {
            taken("`externalId` is already used by another group of the organization.")
        }
        _ => error,
    }
}

/// Makes the group so. What is so already does not change.
async fn change(
    cx: &mut Cx,
    group: Group,
    before: &BTreeSet<UserId>,
    new: Desired,
) -> Result<Group> {
    products::refuse_changing(&cx.caller, group.product.as_str())?;
    if group.name != new.name.as_str() || group.external_id != new.external_id {
        let external_id = new.external_id.as_ref();
        groups::rename(cx, &group, &new.name, external_id).await.map_err(in_scim)?;
    }
    if let Some(members) = &new.members {
        set_members(cx, group.id, before, members).await?;
    }
    load(cx, group.id).await
}

/// Adds and removes members. Only the difference changes, so that concurrent requests about different
/// people do not undo each other.
async fn set_members(
    cx: &mut Cx,
    group: GroupId,
    before: &BTreeSet<UserId>,
    after: &BTreeSet<UserId>,
) -> Result<()> {
    let new: Vec<UserId> = after.difference(before).copied().collect();
    let known = rows::known(cx, &new).await?;
    for user in &new {
        match known.get(user) {
            Some(true) => drop(seating::in_group(cx, group, *user, None).await?),
            Some(false) => rows::keep_in(cx, group, *user).await?,
            None => return Err(no_such_member(&user.to_string())),
        }
    }
    for user in before.difference(after) {
        scim_seats::leave_group(cx, group, *user).await?;
        rows::keep_out(cx, group, *user).await?;
    }
    if before != after { workspaces::bump(cx, cx.at, None).await } else { Ok(()) }
}

fn no_such_member(id: &str) -> Error {
    let id = quoted(id);
    invalid_value(format!(
        "`members.value` must be the ID of a user of the organization (got {id})."
    ))
}

/// Returns what the attributes say. `absent` is what a request without members says.
fn desired(
    mut attributes: Map<String, Value>,
    absent: Option<BTreeSet<UserId>>,
) -> Result<Desired> {
    let name = attributes.get("displayName").and_then(Value::as_str);
    let name = name.ok_or_else(|| invalid_value("`displayName` is required."))?;
    let name = name.parse().map_err(|rule| invalid_value(format!("`displayName` {rule}.")))?;
    let external_id = attributes.get("externalId").and_then(Value::as_str).map(str::parse);
    let external_id = external_id.transpose();
    let external_id = external_id.map_err(|rule| invalid_value(format!("`externalId` {rule}.")))?;
    let members = match attributes.remove("members") {
        Some(Value::Array(items)) => {
            let mut members = BTreeSet::new();
            for item in &items {
                let id = item["value"].as_str().unwrap_or_default();
                members.insert(id.parse().map_err(|_| no_such_member(id))?);
            }
            Some(members)
        }
        _ => absent,
    };
    Ok(Desired { name, external_id, members })
}

async fn shown(cx: &mut Cx, group: Group) -> Result<Resource> {
    let members = teams::members(cx, &[group.id]).await?.remove(&group.id).unwrap_or_default();
    Ok(resource(&Place::of(cx), group, &members))
}

fn resource(place: &Place, group: Group, members: &[Member]) -> Resource {
    let id = group.id.to_string();
    let location = place.url("Groups", &id);
    let mut body = Map::from_iter([
        ("schemas".to_owned(), json!([GROUP_SCHEMA])),
        ("id".to_owned(), id.clone().into()),
        ("displayName".to_owned(), group.name.into()),
    ]);
    body.extend(group.external_id.map(|id| ("externalId".to_owned(), json!(id))));
    let member = |member: &Member| {
        json!({
            "value": member.user_id, "type": "User", "display": member.user_name,
            "$ref": place.url("Users", &member.user_id.to_string()),
        })
    };
    if !members.is_empty() {
        body.insert("members".into(), members.iter().map(member).collect());
    }
    body.insert("meta".into(), meta("Group", group.created_at, group.updated_at, &location));
    Resource { noun: "group", id, location, body }
}
