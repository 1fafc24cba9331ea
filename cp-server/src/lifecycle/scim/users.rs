//! The users of SCIM: the people of an organization.

use chrono::{DateTime, SecondsFormat, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::filter;
use super::patch;
use super::projection::Projection;
use super::protocol::{InScim, invalid_value, taken};
use super::resource::{Made, Resource, Shown};
use super::rows::{self, Description, Person};
use super::schemas::{self, MOST, Place};
use super::shapes::{USER, USER_SCHEMA, primary_email};
use crate::identity::memberships::scim_seats;
use crate::identity::memberships::seating;
use crate::identity::users::rows as users;
use crate::kernel::access::ids::UserId;
use crate::kernel::access::place::Org;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::NoContent;
use crate::kernel::http::cx::Cx;
use crate::kernel::text::{Email, Name};
use crate::lifecycle::leave_organization;

crate::routes! { scim:
    /// Lists the people of the organization as SCIM users.
    ///
    /// `filter` compares `id`, `userName`, `externalId`, `emails.value` and `active` with `eq`; `and` joins
    /// comparisons.
    GET "/organizations/{org}/scim/v2/Users" MEMBERS_PROVISION => list as "scim.list_users", throughout, machine, scim;
    /// Creates a SCIM user: offers the person a seat of the organization.
    ///
    /// The primary e-mail address identifies the person; without one, the user name must be an address.
    POST "/organizations/{org}/scim/v2/Users" MEMBERS_PROVISION => create as "scim.create_user", grants, throughout, machine, scim;
    /// Reads a SCIM user.
    GET "/organizations/{org}/scim/v2/Users/{id}" MEMBERS_PROVISION => read as "scim.read_user", throughout, machine, scim;
    /// Replaces the attributes of a SCIM user.
    ///
    /// `active: false` ends all seats of the person in the organization; `active: true` brings the person
    /// back. Without `active`, the person stays as before.
    PUT "/organizations/{org}/scim/v2/Users/{id}" MEMBERS_PROVISION => replace as "scim.replace_user", throughout, machine, scim;
    /// Changes attributes of a SCIM user (RFC 7644, section 3.5.2).
    PATCH "/organizations/{org}/scim/v2/Users/{id}" MEMBERS_PROVISION => update as "scim.update_user", throughout, machine, scim;
    /// Deletes a SCIM user: ends all seats of the person in the organization.
    DELETE "/organizations/{org}/scim/v2/Users/{id}" MEMBERS_PROVISION => delete as "scim.delete_user", throughout, machine, scim;
}

/// The query of a list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ScimQuery {
    /// Comparisons with `eq` that `and` joins, such as `userName eq "anna@example.com"`.
    pub(super) filter: Option<String>,
    /// The position of the first resource; 1 when absent or smaller.
    start_index: Option<i64>,
    /// The maximum number of resources, at most 200; 100 when absent. 0 returns only their number.
    count: Option<i64>,
    /// The attributes that the response has, separated by commas; all when absent.
    attributes: Option<String>,
    /// The attributes that the response lacks, separated by commas.
    excluded_attributes: Option<String>,
    /// Ignored: the order is that of the IDs.
    #[serde(rename = "sortBy")]
    #[expect(dead_code, reason = "clients may send it, and the standard lets a server ignore it")]
    sort_by: Option<String>,
    /// Ignored, like `sortBy`.
    #[serde(rename = "sortOrder")]
    #[expect(dead_code, reason = "clients may send it, and the standard lets a server ignore it")]
    sort_order: Option<String>,
}

impl ScimQuery {
    /// Returns the position of the first resource, and the number of resources.
    pub(super) fn window(&self) -> (i64, i64) {
        (self.start_index.unwrap_or(1).max(1), self.count.unwrap_or(100).clamp(0, MOST))
    }

    pub(super) fn projection(&self) -> Result<Projection> {
        Projection::new(self.attributes.as_deref(), self.excluded_attributes.as_deref())
    }
}

/// The query of one resource.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ScimView {
    /// The attributes that the response has, separated by commas; all when absent.
    attributes: Option<String>,
    /// The attributes that the response lacks, separated by commas.
    excluded_attributes: Option<String>,
}

impl ScimView {
    pub(super) fn projection(&self) -> Result<Projection> {
        Projection::new(self.attributes.as_deref(), self.excluded_attributes.as_deref())
    }
}

/// A resource or a PATCH message in a request.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct ScimBody(Map<String, Value>);

impl JsonSchema for ScimBody {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ScimBody".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "A resource of SCIM, or the operations of a PATCH (RFC 7643, RFC 7644).",
            "properties": {
                "schemas": {
                    "type": "array", "items": {"type": "string"},
                    "description": "The URNs of the schemas that describe the other members.",
                },
            },
        })
    }
}

impl ScimBody {
    /// Returns the body without the parameters of the query string, which the kernel adds to it.
    pub(super) fn parts(self) -> Result<(Map<String, Value>, Projection)> {
        let mut body = self.0;
        let mut take = |name| match body.remove(name) {
            Some(Value::String(names)) => Some(names),
            _ => None,
        };
        let (attributes, excluded) = (take("attributes"), take("excludedAttributes"));
        let projection = Projection::new(attributes.as_deref(), excluded.as_deref())?;
        Ok((body, projection))
    }
}

async fn list(cx: &mut Cx, _: Org, query: ScimQuery) -> Result<Shown> {
    let filter = query.filter.as_deref().map(filter::parse).transpose()?.unwrap_or_default();
    let (projection, (start, count)) = (query.projection()?, query.window());
    let (total, people) = rows::page(cx, &filter, start, count).await?;
    let place = Place::of(cx);
    let shown = people.into_iter().map(|person| resource(&place, person).listed(&projection));
    Shown::of(schemas::page(total, start, shown.collect::<Result<_>>()?))
}

async fn read(cx: &mut Cx, (_, user): (Org, UserId), view: ScimView) -> Result<Shown> {
    let person = load(cx, user).await?;
    resource(&Place::of(cx), person).shown(&view.projection()?)
}

async fn create(cx: &mut Cx, _: Org, body: ScimBody) -> Result<Made> {
    let (body, projection) = body.parts()?;
    let (new, active) = desired(USER.read(body)?)?;
    let email = primary_email(&new.profile).unwrap_or(&new.user_name);
    let email: Email = email.parse().map_err(|_| {
        let detail = "`emails` is required, because `userName` is not an e-mail address.";
        invalid_value(detail)
    })?;
    let user = users::by_email(cx, &email).await?;
    let known = rows::find(cx, user.id).await?;
    if known.as_ref().is_some_and(|known| known.user_name.is_some()) {
        return Err(taken("The organization has a user for this person already."));
    }
    let is_member = known.is_some();
    // A person who was there before has the name that others know.
    if user.created_at == cx.now {
        set_name(cx, &user, &new.profile).await?;
    }
    rows::describe(cx, user.id, &new).await?;
    match (is_member, active.unwrap_or(true)) {
        (false, true) => scim_seats::seat(cx, user.id, None).await?,
        (true, false) => deactivate(cx, user.id).await?,
        (false, false) => keep_out(cx, user.id).await?,
        (true, true) => {}
    }
    let person = load(cx, user.id).await?;
    resource(&Place::of(cx), person).made(&projection)
}

/// Sets the display name of a new person.
async fn set_name(cx: &mut Cx, user: &users::User, profile: &Map<String, Value>) -> Result<()> {
    let whole = profile.get("displayName").or_else(|| profile.get("name")?.get("formatted"));
    let part = |part: &str| profile.get("name")?.get(part)?.as_str();
    let joined = [part("givenName"), part("familyName")].into_iter().flatten().collect::<Vec<_>>();
    let name = whole.and_then(Value::as_str).map_or_else(|| joined.join(" "), str::to_owned);
    match name.parse::<Name>() {
        Ok(name) => users::set_display_name(cx, user, &name).await,
        Err(_) => Ok(()),
    }
}

async fn replace(cx: &mut Cx, (_, user): (Org, UserId), body: ScimBody) -> Result<Shown> {
    let person = load(cx, user).await?;
    let (body, projection) = body.parts()?;
    let desired = desired(USER.read(body)?)?;
    change(cx, person, desired, &projection).await
}

async fn update(cx: &mut Cx, (_, user): (Org, UserId), body: ScimBody) -> Result<Shown> {
    let person = load(cx, user).await?;
    let (body, projection) = body.parts()?;
    let mut attributes = attributes(&person);
    patch::apply(&USER, &mut attributes, body)?;
    change(cx, person, desired(attributes)?, &projection).await
}

/// Makes the person so. What is so already does not change.
async fn change(
    cx: &mut Cx,
    before: Person,
    (new, active): (Description, Option<bool>),
    projection: &Projection,
) -> Result<Shown> {
    let active = active.unwrap_or(before.is_active);
    let is_known = before.user_name.is_some();
    if !is_known || before.description() != new {
        rows::describe(cx, before.id, &new).await?;
    }
    match (before.is_active, active) {
        (true, false) => deactivate(cx, before.id).await?,
        (false, true) => activate(cx, &before).await?,
        _ => {}
    }
    let person = load(cx, before.id).await?;
    let shown = resource(&Place::of(cx), person);
    // The event also lists what a leaver has left behind.
    if let Some(Value::Object(left_behind)) = cx.audit.after.take() {
        let mut after = shown.body.clone();
        after.extend(left_behind);
        cx.audit.after = Some(after.into());
    }
    shown.shown(projection)
}

/// Ends the person's seats, and keeps what brings the person back.
async fn deactivate(cx: &mut Cx, user: UserId) -> Result<()> {
    rows::keep_groups(cx, user).await?;
    let taken = scim_seats::unseat(cx, user).await?;
    leave_organization::leave(cx, user).await?;
    keep_out(cx, user).await?;
    rows::keep_acceptance(cx, user, taken).await
}

/// Closes the ways into the organization that need no seat, for a person who is not active.
async fn keep_out(cx: &mut Cx, user: UserId) -> Result<()> {
    let person = load(cx, user).await?;
    scim_seats::keep_out(cx, user, &person.addresses()).await
}

/// Brings the person back: in the organization as a viewer, and in the earlier groups.
async fn activate(cx: &mut Cx, person: &Person) -> Result<()> {
    scim_seats::seat(cx, person.id, person.accepted_as).await?;
    for group in rows::take_groups(cx, person.id).await? {
        seating::in_group(cx, group, person.id, None).await?;
    }
    rows::keep_acceptance(cx, person.id, None).await
}

async fn delete(cx: &mut Cx, (_, user): (Org, UserId)) -> Result<NoContent> {
    let person = load(cx, user).await?;
    if person.is_active {
        scim_seats::unseat(cx, user).await?;
        leave_organization::leave(cx, user).await?;
    }
    scim_seats::keep_out(cx, user, &person.addresses()).await?;
    rows::forget(cx, user).await?;
    Ok(NoContent)
}

async fn load(cx: &mut Cx, user: UserId) -> Result<Person> {
    rows::find(cx, user).await?.ok_or_else(|| Error::not_found("user"))
}

/// Returns what the attributes say: the description, and whether the person is active.
fn desired(mut attributes: Map<String, Value>) -> Result<(Description, Option<bool>)> {
    let mut text = |name| match attributes.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let (user_name, external_id) = (text("userName"), text("externalId"));
    let active = attributes.remove("active").and_then(|active| active.as_bool());
    let user_name = user_name.ok_or_else(|| invalid_value("`userName` is required."))?;
    Ok((Description { user_name, external_id, profile: attributes }, active))
}

/// Returns the attributes of a person that a client can change.
fn attributes(person: &Person) -> Map<String, Value> {
    let Description { user_name, external_id, profile } = person.description();
    let mut attributes = profile;
    attributes.insert("userName".into(), user_name.into());
    attributes.extend(external_id.map(|id| ("externalId".to_owned(), id.into())));
    attributes.insert("active".into(), person.is_active.into());
    attributes
}

fn resource(place: &Place, person: Person) -> Resource {
    let id = person.id.to_string();
    let location = place.url("Users", &id);
    let mut body = Map::from_iter([
        ("schemas".to_owned(), json!([USER_SCHEMA])),
        ("id".to_owned(), id.clone().into()),
    ]);
    body.extend(attributes(&person));
    // A person always has the address of their record.
    body.entry("emails")
        .or_insert_with(|| json!([{"value": person.email, "type": "work", "primary": true}]));
    body.insert("meta".into(), meta("User", person.created_at, person.updated_at, &location));
    Resource { noun: "user", id, location, body }
}

pub(super) fn meta(
    resource_type: &str,
    created: DateTime<Utc>,
    last_modified: DateTime<Utc>,
    location: &str,
) -> Value {
    let instant = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    json!({
        "resourceType": resource_type, "created": instant(created),
        "lastModified": instant(last_modified), "location": location,
    })
}
