//! The caller's own sessions: which browsers are signed in, and the end of one.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use crate::identity::ids::SessionId;
use crate::identity::settings::IdentitySettings;
use crate::kernel::access::caller::{Authority, CallerScope, Scope};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::platform::{ForAll, PlatformId};
use crate::kernel::app::Part;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::NoContent;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::page::{List, NoFilter, Page};

crate::routes! { sessions:
    /// Lists the caller's own sessions, the newest first. A login at an organization's provider sees
    /// those of that organization.
    GET "/me/sessions" ANY => list_own;
    /// Ends one of the caller's own sessions.
    DELETE "/me/sessions/{id}" ANY => end_own as "sessions.end";
}

impl PlatformId for SessionId {
    const NOUN: &'static str = "session";
}

crate::record! {
    /// The login of a person in a browser.
    OwnSession in sessions {
        id: SessionId,
        /// The provider at which the person signed in; `link` for a link to the console.
        provider: String,
        /// The organization that owns that provider; null for one of the platform.
        organization_id: Option<OrganizationId>,
        created_at: DateTime<Utc>,
        /// The latest request, to the minute.
        last_seen_at: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    }
}

/// A session of the caller.
#[derive(Debug, Serialize, JsonSchema)]
struct MySession {
    #[serde(flatten)]
    session: OwnSession,
    /// Whether this request belongs to it.
    is_current: bool,
}

/// The rows of the caller: by the person, and by the authority that vouches for the login.
const OWN: &str = "WHERE user_id = $1 AND ($2 OR organization_id = $3) AND ended_at IS NULL
                     AND expires_at > $4 AND last_seen_at > $5";

async fn list_own(
    cx: &mut Cx<Scope>,
    _: CallerScope,
    list: List<NoFilter>,
) -> Result<Page<MySession>> {
    let authority = cx.caller.authority();
    let idle = IdentitySettings::of(&cx.app).session.idle;
    let query = cx.tx.select(OWN).bind(cx.caller.user).bind(authority == Authority::Platform);
    let query = query.bind(authority.organization()).bind(cx.now).bind(cx.now - idle);
    let current = cx.caller.login.as_ref().and_then(|login| login.session);
    let page: Page<OwnSession> = list.page(query).await?;
    Ok(page.map(|session| MySession { is_current: current == Some(session.id.0), session }))
}

async fn end_own(cx: &mut Cx<Scope>, ForAll(id): ForAll<SessionId>) -> Result<NoContent> {
    let authority = cx.caller.authority();
    let tail =
        "WHERE user_id = $1 AND ($2 OR organization_id = $3) AND id = $4 AND ended_at IS NULL
                  AND expires_at > $5";
    let query = cx.tx.select(tail).bind(cx.caller.user).bind(authority == Authority::Platform);
    let query = query.bind(authority.organization()).bind(id).bind(cx.now);
    let found: Option<OwnSession> = query.opt().await?;
    let before = found.ok_or_else(|| Error::not_found("session"))?;
    cx.audit.before = serde_json::to_value(before).ok();
    let sql = "UPDATE sessions SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL";
    cx.tx.q(sql).bind(id).bind(cx.now).exec().await?;
    Ok(NoContent)
}
