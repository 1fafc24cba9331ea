//! The rows of links.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::types::Json;

use crate::identity::ids::ConsoleLinkId;
use crate::identity::inviter::Inviter;
use crate::identity::sessions::cookies;
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::kernel::secret::{ShownOnce, sha256};

/// How long a link works.
const LIFE: TimeDelta = TimeDelta::minutes(15);

/// A link that can be used.
#[derive(sqlx::FromRow)]
pub(super) struct Open {
    pub(super) id: ConsoleLinkId,
    pub(super) user_id: UserId,
    pub(super) organization_id: Option<OrganizationId>,
    /// The name of that organization.
    pub(super) organization: Option<String>,
    pub(super) inviter: Option<Json<Inviter>>,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) email: String,
}

/// Creates a link: for the operator, or for a person of an organization by a caller of it.
pub(super) async fn insert<G>(
    cx: &mut Cx<G>,
    user: UserId,
    invited: Option<(OrganizationId, Inviter)>,
) -> Result<(ShownOnce, DateTime<Utc>)> {
    let code = cookies::text(cx.app.random.bytes::<32>());
    let expires_at = cx.now + LIFE;
    let sql = "INSERT INTO console_links
               (id, code_hash, user_id, organization_id, created_at, expires_at, inviter)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let id = ConsoleLinkId::new(&cx.app.random, cx.now);
    let insert = cx.tx.q(sql).bind(id).bind(sha256(code.as_bytes()).to_vec()).bind(user);
    let (organization, inviter) = invited.unzip();
    let insert = insert.bind(organization).bind(cx.now).bind(expires_at);
    insert.bind(inviter.map(Json)).exec().await?;
    let url = format!("{}/console/enter?code={code}", cx.app.settings.base_url);
    Ok((ShownOnce::new(url), expires_at))
}
