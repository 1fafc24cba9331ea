//! The secrets that sign: the newest one, and the one before until the end of its overlap.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::rows::{Webhook, WebhookId};
use super::signing::SigningSecret;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::kernel::sealed::Sealed;

pub(super) const SECRET: Sealed =
    Sealed { table: "webhook_secrets", noun: "webhook secret", column: "secret" };

/// Stores a new secret of the webhook.
pub(super) async fn keep<G>(
    cx: &mut Cx<G>,
    webhook: &Webhook,
    secret: &SigningSecret,
) -> Result<()> {
    let row = cx.app.random.uuid(cx.now);
    let sealed = SECRET.seal(cx, webhook.organization_id, row, secret.bytes()).await?;
    let sql = "INSERT INTO webhook_secrets (id, organization_id, webhook_id, secret, created_at)
               VALUES ($1, $2, $3, $4, $5)";
    let insert = cx.tx.q(sql).bind(row).bind(webhook.organization_id).bind(webhook.id);
    insert.bind(sealed).bind(cx.now).exec().await?;
    Ok(())
}

/// Ends the secrets of a webhook: the newest one after the overlap, and older ones at once.
pub(super) async fn end(
    tx: &mut Conn,
    id: WebhookId,
    now: DateTime<Utc>,
    overlap: TimeDelta,
) -> Result<()> {
    let older = "DELETE FROM webhook_secrets WHERE webhook_id = $1 AND expires_at IS NOT NULL";
    tx.q(older).bind(id).exec().await?;
    let newest = "UPDATE webhook_secrets SET expires_at = $2 WHERE webhook_id = $1";
    tx.q(newest).bind(id).bind(now + overlap).exec().await?;
    Ok(())
}

/// Returns the secrets that sign now, the newest first.
pub(super) async fn signing(
    app: &App,
    tx: &mut Conn,
    owner: Option<OrganizationId>,
    id: WebhookId,
) -> Result<Vec<SigningSecret>> {
    let sql = "SELECT id, secret FROM webhook_secrets
               WHERE webhook_id = $1 AND (expires_at IS NULL OR expires_at > $2)
               ORDER BY id DESC";
    let rows: Vec<(Uuid, Vec<u8>)> = tx.q(sql).bind(id).bind(app.clock.now()).all().await?;
    let open = |(row, sealed): (Uuid, Vec<u8>)| {
        SECRET.open(app, owner, row, &sealed).map(SigningSecret::stored)
    };
    rows.into_iter().map(open).collect()
}
