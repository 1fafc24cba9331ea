//! Service tokens as they are stored, with their privileges.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::identity::ids::TokenId;
use crate::identity::roles::system::rank_of;
use crate::kernel::access::caller::{Caller, Permissions, Privileges, Scope};
use crate::kernel::access::ids::{DeploymentId, OrganizationId};
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::db::record::Codes;
use crate::kernel::error::Result;
use crate::kernel::secret::sha256;

crate::record! {
    /// A machine's credential, without its secret.
    ServiceToken in service_tokens {
        id: TokenId,
        /// Null for a token of the platform.
        organization_id: Option<OrganizationId>,
        deployment_id: Option<DeploymentId>,
        name: String,
        permissions: Codes,
        expires_at: Option<DateTime<Utc>>,
        last_used_at: Option<DateTime<Utc>>,
        revoked_at: Option<DateTime<Utc>>,
        /// The user or the service token that created it; null if unknown.
        created_by: Option<Uuid>,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

/// Returns the privileges of a token with these codes. Codes imply no others.
pub fn held(codes: &[String]) -> Privileges {
    let permissions = Permissions::known(codes.iter().map(String::as_str));
    let held = Privileges { permissions, codes: codes.to_vec(), rank: 0 };
    Privileges { rank: rank_of(&held), ..held }
}

/// Returns the caller of a token that made an offer before. A token that has ended holds nothing.
pub async fn caller_of(app: &App, tx: &mut Conn, id: TokenId) -> Result<Caller> {
    let token: Option<ServiceToken> =
        tx.select("WHERE id = $1 AND revoked_at IS NULL").bind(id).opt().await?;
    let now = app.clock.now();
    let Some(token) = token.filter(|token| token.expires_at.is_none_or(|at| at > now)) else {
        return Ok(Caller::anonymous());
    };
    let scope = scope_of(token.organization_id, token.deployment_id);
    Ok(Caller::machine(id.0, token.name, scope, held(&token.permissions)))
}

/// Returns the scope of a token.
pub fn scope_of(organization: Option<OrganizationId>, deployment: Option<DeploymentId>) -> Scope {
    match (organization, deployment) {
        (None, _) => Scope::Platform,
        (Some(organization_id), None) => Scope::Organization { organization_id },
        (Some(organization_id), Some(deployment_id)) => {
            Scope::Deployment { organization_id, deployment_id }
        }
    }
}

/// The row of a new token.
pub(in crate::identity) struct Row {
    pub(in crate::identity) id: TokenId,
    pub(in crate::identity) scope: Scope,
    pub(in crate::identity) name: String,
    pub(in crate::identity) codes: Codes,
    pub(in crate::identity) expires_at: Option<DateTime<Utc>>,
    pub(in crate::identity) created_by: Option<Uuid>,
}

pub(in crate::identity) async fn insert(
    tx: &mut Conn,
    now: DateTime<Utc>,
    row: Row,
    text: &str,
) -> Result<ServiceToken> {
    let deployment = match row.scope {
        Scope::Deployment { deployment_id, .. } => Some(deployment_id),
        _ => None,
    };
    let sql = "INSERT INTO service_tokens
               (id, organization_id, deployment_id, name, permissions, secret_hash, expires_at,
                created_by, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)";
    let insert = tx
        .returning(sql)
        .bind(row.id)
        .bind(row.scope.organization())
        .bind(deployment)
        .bind(row.name)
        .bind(row.codes)
        .bind(sha256(text.as_bytes()).to_vec())
        .bind(row.expires_at)
        .bind(row.created_by)
        .bind(now);
    Ok(insert.one().await?)
}

/// The accuracy of `last_used_at`: it must not cost a write per request.
const USE_NOTED_EVERY: TimeDelta = TimeDelta::minutes(5);

/// Records the use of the token at intervals, independently of the request.
pub fn note_use(app: &App, id: TokenId, last: Option<DateTime<Utc>>, now: DateTime<Utc>) {
    if last.is_some_and(|at| now - at < USE_NOTED_EVERY) {
        return;
    }
    let app = app.clone();
    tokio::spawn(async move {
        let noted = async {
            let mut tx = app.db.begin().await?;
            let sql = "UPDATE service_tokens SET last_used_at = $2 WHERE id = $1";
            tx.q(sql).bind(id).bind(now).exec().await?;
            tx.commit().await
        };
        if let Err(error) = noted.await {
            tracing::debug!(%error, %id, "the use of a service token was not noted");
        }
    });
}
