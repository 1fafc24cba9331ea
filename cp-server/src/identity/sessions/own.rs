//! The caller's own sessions: which browsers are signed in, and the end of one.

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, json_schema};
use serde::{Deserialize, Serialize};

use crate::identity::ids::SessionId;
use crate::identity::settings::IdentitySettings;
use crate::kernel::access::caller::{Authority, Caller, CallerScope, Permission, Scope};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::place::{Exposure, PathTarget};
use crate::kernel::app::Part;
use crate::kernel::db::Conn;
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

/// `/me/sessions/{id}`: a session of the calling person. Others look like missing ones.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
struct OfCaller(SessionId);

impl PathTarget for OfCaller {
    type Authorized = Scope;
    const EXPOSURE: Exposure = Exposure::Own;

    async fn authorize(&self, caller: &Caller, tx: &mut Conn, _: Permission) -> Result<Scope> {
        let authority = caller.authority();
        let sql = "SELECT EXISTS (SELECT 1 FROM sessions WHERE id = $1 AND user_id = $2
                                    AND ($3 OR organization_id = $4))";
        let query = tx.q(sql).bind(self.0).bind(caller.user);
        let query = query.bind(authority == Authority::Platform).bind(authority.organization());
        match query.value().await? {
            Some(true) => Ok(caller.scope),
            _ => Err(Error::not_found(Self::noun())),
        }
    }
    fn target(&self, _: Scope) -> (&'static str, String) {
        (Self::noun(), self.0.to_string())
    }
    fn parameters() -> Vec<Schema> {
        let about = "The ID of the session.";
        vec![json_schema!({"type": "string", "format": "uuid", "description": about})]
    }
    fn noun() -> &'static str {
        "session"
    }
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

async fn end_own(cx: &mut Cx<Scope>, OfCaller(id): OfCaller) -> Result<NoContent> {
    let tail = "WHERE id = $1 AND ended_at IS NULL AND expires_at > $2";
    let found: Option<OwnSession> = cx.tx.select(tail).bind(id).bind(cx.now).opt().await?;
    let before = found.ok_or_else(|| Error::not_found("session"))?;
    cx.audit.before = serde_json::to_value(before).ok();
    let sql = "UPDATE sessions SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL";
    cx.tx.q(sql).bind(id).bind(cx.now).exec().await?;
    Ok(NoContent)
}
