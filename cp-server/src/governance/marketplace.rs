//! The marketplace: the listings that a person sees, with their installations and ratings.
//!
//! # Design
//! The fold of effective answers decides which listings of the organization a person sees. Public
//! listings of other organizations are visible to all. Installations and ratings are counted from
//! rows, so no request can write a counter. A person reacts for itself. The installation of another
//! organization's listing is one of the whole organization, and creates a copy of the listing's
//! agent or connection. The reaction is the only reference from one organization to another.

pub mod listings;
pub mod reactions;

use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::listings::{list, published};
use self::reactions::{DECLARATION, Place, Reaction, ReactionKind};
use super::bindings;
use super::effective::facts::Question;
use super::effective::{listings as seen_listings, person};
use super::ids::ResourceId;
use super::resources::kinds::ResourceKind;
use super::resources::{Resource, copies};
use crate::kernel::access::caller::{CallerKind, Permission};
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::access::place::Org;
use crate::kernel::access::products;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{self, NoContent, Put};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Between;
use crate::kernel::text::Label;
use crate::tenancy::organizations;

crate::routes! {
    /// Listings of an organization and public ones of others, with installations and ratings.
    marketplace declares DECLARATION:
    /// Lists the published listings that a person sees, newest first.
    ///
    /// Without `user`, a person gets the listings for that person, and a machine gets the
    /// organization's own. Public listings of other organizations are included.
    GET "/organizations/{org}/marketplace" EFFECTIVE_READ => list;
    /// Installs a listing.
    ///
    /// A person installs a listing of the organization for itself; a machine names `user`. A public
    /// listing of another organization is installed once for the whole organization, which requires
    /// `resources:write` and creates a copy of its agent or connection.
    PUT "/organizations/{org}/marketplace/{listing}/installation" EFFECTIVE_READ => install, harmless;
    /// Removes an installation. A copy that it created stays.
    DELETE "/organizations/{org}/marketplace/{listing}/installation" EFFECTIVE_READ => uninstall, harmless;
    /// Rates a listing, or changes the rating. A person has one rating of a listing.
    PUT "/organizations/{org}/marketplace/{listing}/rating" EFFECTIVE_READ => rate, harmless;
    /// Removes a rating.
    DELETE "/organizations/{org}/marketplace/{listing}/rating" EFFECTIVE_READ => remove_rating, harmless;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInstallation {
    /// The person who installs a listing of the organization. Required for machines; a person names
    /// no other one. Absent for a listing of another organization.
    user: Option<UserId>,
    /// The product label of the list in which the person sees the listing. The listing's own when
    /// absent.
    product: Option<Label>,
    /// The guardrails of the copy of an agent: 1 to 50 IDs of guardrails of the organization.
    guardrails: Option<Vec<ResourceId>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRating {
    /// The stars.
    stars: Between<1, 5>,
    /// The person. Required for machines; a person names no other one.
    user: Option<UserId>,
    /// The product label of the list in which the person sees the listing. The listing's own when
    /// absent.
    product: Option<Label>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reactor {
    /// The person. Required for machines; a person names no other one. Absent for an installation
    /// by the organization.
    user: Option<UserId>,
}

/// An installation, and the copy that it created.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Installation {
    #[serde(flatten)]
    reaction: Reaction,
    /// The copy of another organization's agent or connection; null for a listing of the
    /// organization itself, and after the deletion of the copy.
    copy: Option<Resource>,
}

impl answer::Resource for Installation {
    const NOUN: &'static str = <Reaction as answer::Resource>::NOUN;
    const PATH: &'static str = <Reaction as answer::Resource>::PATH;
    fn name(&self) -> String {
        self.reaction.name()
    }
}

async fn install(
    cx: &mut Cx,
    (_, id): (Org, ResourceId),
    new: NewInstallation,
) -> Result<Put<Installation>> {
    refuse_suspended(cx).await?;
    let listing = find(cx, id).await?;
    if listing.organization_id != cx.at {
        return install_copy(cx, id, &listing, new).await;
    }
    if new.guardrails.is_some() {
        let detail = "`guardrails` must be absent for a listing of the organization itself.";
        return Err(Error::invalid("guardrails", detail));
    }
    let product = listing.within(new.product)?;
    let user = reactor(cx, &product, new.user)?;
    refuse_unseen(cx, id, &listing, product, user).await?;
    let place = Place { kind: ReactionKind::Installation, listing: id, user: Some(user) };
    let shown = |reaction| Installation { reaction, copy: None };
    Ok(match reactions::insert(cx, place, None).await? {
        Some(new) => Put::New(shown(new)),
        None => Put::Known(shown(reactions::find(cx, place).await?.ok_or_else(Error::stale)?)),
    })
}

/// Installs a public listing of another organization for the whole organization.
async fn install_copy(
    cx: &mut Cx,
    id: ResourceId,
    listing: &Listing,
    new: NewInstallation,
) -> Result<Put<Installation>> {
    refuse_installing(cx, new.user)?;
    products::refuse_reading(&cx.caller, &listing.product)?;
    let original = copies::original(cx, id).await?;
    products::refuse_changing(&cx.caller, &original.product)?;
    let is_agent = original.kind == ResourceKind::Agent;
    if new.guardrails.is_some() != is_agent {
        let rule = if is_agent { "is required for an agent" } else { "is allowed for agents only" };
        return Err(Error::invalid("guardrails", format!("`guardrails` {rule}.")));
    }
    let place = Place { kind: ReactionKind::Installation, listing: id, user: None };
    // The unique reaction decides which of several requests creates the copy.
    let Some(reaction) = reactions::insert(cx, place, None).await? else {
        let reaction = reactions::find(cx, place).await?.ok_or_else(Error::stale)?;
        let copy = copies::newest(cx, id).await?;
        return Ok(Put::Known(Installation { reaction, copy }));
    };
    organizations::touch(cx, cx.at).await?;
    let guardrails = match &new.guardrails {
        Some(ids) => bindings::guardrails(cx, ids).await?,
        None => Vec::new(),
    };
    let copy = copies::create(cx, id, original, &guardrails).await?;
    Ok(Put::New(Installation { reaction, copy: Some(copy) }))
}

async fn uninstall(cx: &mut Cx, (_, id): (Org, ResourceId), by: Reactor) -> Result<NoContent> {
    refuse_suspended(cx).await?;
    // What was installed can be removed, also after its publisher has withdrawn it.
    let sql = concat!(
        "SELECT organization_id FROM resources
         WHERE id = $1 AND (organization_id = $2 OR is_public AND ",
        published!(),
        " OR EXISTS (SELECT 1 FROM reactions r
                     WHERE r.organization_id = $2 AND r.listing_id = resources.id))"
    );
    let owner: Option<OrganizationId> = cx.tx.q(sql).bind(id).bind(cx.at).value().await?;
    let kind = ReactionKind::Installation;
    let user = match owner.ok_or_else(|| Error::not_found(NOUN))? {
        owner if owner == cx.at => Some(reactor(cx, "", by.user)?),
        _ => {
            refuse_installing(cx, by.user)?;
            None
        }
    };
    remove(cx, Place { kind, listing: id, user }).await
}

async fn rate(cx: &mut Cx, (_, id): (Org, ResourceId), new: NewRating) -> Result<Put<Reaction>> {
    refuse_suspended(cx).await?;
    let listing = find(cx, id).await?;
    let product = listing.within(new.product)?;
    let user = reactor(cx, &product, new.user)?;
    refuse_unseen(cx, id, &listing, product, user).await?;
    let place = Place { kind: ReactionKind::Rating, listing: id, user: Some(user) };
    if let Some(new) = reactions::insert(cx, place, Some(new.stars.0)).await? {
        return Ok(Put::New(new));
    }
    let before = reactions::find(cx, place).await?.ok_or_else(Error::stale)?;
    cx.audit.before = serde_json::to_value(&before).ok();
    reactions::update(cx, &before, new.stars.0).await.map(Put::Known)
}

async fn remove_rating(cx: &mut Cx, (_, id): (Org, ResourceId), by: Reactor) -> Result<NoContent> {
    refuse_suspended(cx).await?;
    let user = Some(reactor(cx, "", by.user)?);
    remove(cx, Place { kind: ReactionKind::Rating, listing: id, user }).await
}

async fn remove(cx: &mut Cx, place: Place) -> Result<NoContent> {
    let before = reactions::delete(cx, place).await?;
    cx.audit.target = Some((<Reaction as answer::Resource>::NOUN, answer::Resource::name(&before)));
    cx.audit.before = serde_json::to_value(before).ok();
    Ok(NoContent)
}

const NOUN: &str = "listing";

/// A published listing.
#[derive(sqlx::FromRow)]
struct Listing {
    organization_id: OrganizationId,
    product: String,
}

impl Listing {
    /// Returns the product of the list that contains the listing. A listing for all products is in
    /// the list of each product, with the groups of that product.
    fn within(&self, product: Option<Label>) -> Result<String> {
        match product.map(Label::into_string) {
            None => Ok(self.product.clone()),
            Some(product) if self.product.is_empty() || self.product == product => Ok(product),
            Some(_) => Err(Error::not_found(NOUN)),
        }
    }
}

/// Returns a published listing of the organization, or a public one of another organization.
async fn find(cx: &mut Cx, id: ResourceId) -> Result<Listing> {
    let sql = concat!(
        "SELECT organization_id, product FROM resources
         WHERE id = $1 AND (organization_id = $2 OR is_public) AND ",
        published!()
    );
    let found: Option<Listing> = cx.tx.q(sql).bind(id).bind(cx.at).opt().await?;
    found.ok_or_else(|| Error::not_found(NOUN))
}

/// Refuses a listing that the person does not see, and a person who is not a member.
async fn refuse_unseen(
    cx: &mut Cx,
    id: ResourceId,
    listing: &Listing,
    product: String,
    user: UserId,
) -> Result<()> {
    let question = Question {
        subject: Some(id.to_string()),
        ..Question::of_listings(cx.at, product, Some(user))
    };
    let seen = seen_listings(&mut cx.tx, &question, true, cx.now).await?;
    match listing.organization_id != cx.at || seen.iter().any(|one| one.id == id) {
        true => Ok(()),
        false => Err(Error::not_found(NOUN)),
    }
}

/// Returns the person of a reaction. A person reacts for itself; a machine names the person.
fn reactor(cx: &Cx, product: &str, user: Option<UserId>) -> Result<UserId> {
    let is_person = cx.caller.kind == CallerKind::Person;
    if is_person && user.is_some() && user != cx.caller.user {
        let detail = "`user` must be the caller: a person installs and rates for itself.";
        return Err(Error::new(ProblemCode::Forbidden, detail).at("user"));
    }
    person(cx, product, user)?.ok_or_else(|| {
        Error::invalid("user", "`user` is required for a caller that is not a person.")
    })
}

/// Refuses callers that do not install listings of other organizations.
fn refuse_installing(cx: &Cx, user: Option<UserId>) -> Result<()> {
    let permission = Permission::RESOURCES_WRITE;
    if !cx.caller.may_throughout(cx.at, permission) {
        let code = permission.as_str();
        let detail = format!("A listing of another organization requires the permission {code}.");
        return Err(Error::new(ProblemCode::Forbidden, detail).with("permission", code));
    }
    match user {
        Some(_) => {
            let detail = "`user` must be absent: the installation is one of the organization.";
            Err(Error::invalid("user", detail))
        }
        None => Ok(()),
    }
}

/// Refuses changes by callers of a suspended organization. The permission is one to read, which the
/// policy keeps.
async fn refuse_suspended(cx: &mut Cx) -> Result<()> {
    if cx.caller.is_of_platform() {
        return Ok(());
    }
    let sql = "SELECT 1 FROM organizations WHERE id = $1 AND status = 'suspended'";
    match cx.tx.q(sql).bind(cx.at).value::<i32>().await? {
        None => Ok(()),
        Some(_) => {
            let detail = "The organization is suspended: its data can be read but not changed.";
            Err(Error::new(ProblemCode::OrganizationSuspended, detail))
        }
    }
}
