//! Reactions: the installations and ratings of listings, and their only writer.

use chrono::{DateTime, Utc};

use crate::governance::ids::{ReactionId, ResourceId};
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::clock::after;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::answer::Resource;
use crate::kernel::http::cx::Cx;
use crate::kernel::section::Section;

const NOUN: &str = "reaction";

pub static DECLARATION: Declaration = Declaration::of_organization(
    "reactions",
    NOUN,
    Export::Section(Section::many::<Reaction>("reactions")),
);

crate::text_enum! {
    /// A kind of reaction.
    ReactionKind { Installation = "installation", Rating = "rating" }
}

crate::record! {
    /// An installation or a rating of a listing.
    Reaction in reactions {
        id: ReactionId,
        organization_id: OrganizationId,
        kind: ReactionKind,
        listing_id: ResourceId,
        /// The person; null for an installation by the organization.
        user_id: Option<UserId>,
        /// 1 to 5 for a rating; null for an installation.
        stars: Option<i64>,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

impl Resource for Reaction {
    const NOUN: &'static str = NOUN;
    const PATH: &'static str = "organizations";
    fn name(&self) -> String {
        let Self { organization_id, listing_id, kind, .. } = self;
        let path = format!("{organization_id}/marketplace/{listing_id}/{kind}");
        match self.user_id {
            Some(user) => format!("{path}?user={user}"),
            None => path,
        }
    }
}

/// A place for one reaction: of a person, or of the organization when there is none.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub kind: ReactionKind,
    pub listing: ResourceId,
    pub user: Option<UserId>,
}

impl Place {
    /// Returns the ID that is unique among the reactions of one kind to the listing.
    fn reactor(self, organization: OrganizationId) -> uuid::Uuid {
        self.user.map_or(organization.0, |user| user.0)
    }
}

/// Inserts a reaction; `None` when there is one.
pub async fn insert(cx: &mut Cx, at: Place, stars: Option<i64>) -> Result<Option<Reaction>> {
    let sql = "INSERT INTO reactions
               (id, organization_id, kind, listing_id, reactor_id, user_id, stars, created_at,
                updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
               ON CONFLICT (organization_id, kind, listing_id, reactor_id) DO NOTHING";
    let id = ReactionId::new(&cx.app.random, cx.now);
    let insert = cx.tx.returning(sql).bind(id).bind(cx.at).bind(at.kind).bind(at.listing);
    let insert = insert.bind(at.reactor(cx.at)).bind(at.user).bind(stars).bind(cx.now);
    // The listing or the person was deleted since the look-up.
    insert.opt().await.on_conflict("reference", Error::stale)
}

pub async fn find(cx: &mut Cx, at: Place) -> Result<Option<Reaction>> {
    let tail = "WHERE organization_id = $1 AND kind = $2 AND listing_id = $3 AND reactor_id = $4";
    let row = cx.tx.select(tail).bind(cx.at).bind(at.kind).bind(at.listing);
    Ok(row.bind(at.reactor(cx.at)).opt().await?)
}

/// Sets the stars of a rating.
pub async fn update(cx: &mut Cx, before: &Reaction, stars: i64) -> Result<Reaction> {
    let sql = "UPDATE reactions SET stars = $3, updated_at = $4
               WHERE id = $1 AND organization_id = $2";
    let update = cx.tx.returning(sql).bind(before.id).bind(cx.at).bind(stars);
    let updated = update.bind(after(before.updated_at, cx.now)).opt().await?;
    updated.ok_or_else(Error::stale)
}

/// Deletes a reaction.
///
/// # Errors
/// 404 when there is none.
pub async fn delete(cx: &mut Cx, at: Place) -> Result<Reaction> {
    let sql = "DELETE FROM reactions
               WHERE organization_id = $1 AND kind = $2 AND listing_id = $3 AND reactor_id = $4";
    let delete = cx.tx.returning(sql).bind(cx.at).bind(at.kind).bind(at.listing);
    let deleted = delete.bind(at.reactor(cx.at)).opt().await?;
    deleted.ok_or_else(|| Error::not_found(at.kind.as_str()))
}

/// Deletes the reactions of a person who leaves the organization.
pub async fn leave(cx: &mut Cx, user: UserId) -> Result<()> {
    let sql = "DELETE FROM reactions WHERE organization_id = $1 AND user_id = $2";
    cx.tx.q(sql).bind(cx.at).bind(user).exec().await?;
    Ok(())
}
