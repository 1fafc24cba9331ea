//! The issuer that the installation's tokens name, kept in its database.
//!
//! # Design
//! The base URL is a setting, and also the issuer of every token, status list and JWKS. A setting
//! changes by accident: a variable that a new host lacks falls back to its default. Data planes are
//! configured with one issuer and refuse tokens of another one, so such a change stops customers days
//! later. The first server that serves stores its issuer, and a server with another one refuses to
//! start unless the operator says that the change is meant. Commands that do not serve use the stored
//! one. A backup contains it.

use anyhow::{Context, bail};
use serde_json::json;

use super::status_lists::rows::LEEWAY;
use crate::App;
use crate::kernel::access::caller::Caller;
use crate::kernel::db::{Conn, Db, installation};
use crate::kernel::effect::Effect;

const NAME: &str = "issuer";

/// The issuer of the installation; `None` until a server has served.
pub async fn stored(db: &Db) -> anyhow::Result<Option<String>> {
    read(&mut db.read()).await
}

/// Stores this server's issuer where none is stored.
///
/// # Errors
/// When another one is stored, unless `is_accepted`.
pub async fn check(app: &App, is_accepted: bool) -> anyhow::Result<()> {
    let own = &*app.settings.base_url;
    let mut cx = app.change(Caller::system("cli")).await?;
    if installation::set_first(&mut cx.tx, NAME, own.as_bytes()).await? {
        return Ok(cx.commit(Effect::Harmless).await?);
    }
    // Of replicas that start together, one changes it.
    installation::hold(&mut cx.tx, NAME).await?;
    let stored = read(&mut cx.tx).await?.context("the issuer is stored")?;
    if stored == own {
        return Ok(());
    }
    let sql = "SELECT COUNT(*) FROM bundles WHERE over_at > $1 AND status <> 'revoked'";
    let live: i64 = cx.tx.q(sql).bind(cx.now - LEEWAY).value().await?.unwrap_or(0);
    if !is_accepted {
        bail!(
            "CP_BASE_URL: the issuer of this installation is {stored}, and the setting is {own}. \
             Live license tokens that name {stored}: {live}. Verifiers that are configured with \
             {stored} refuse tokens of {own}, and fetch keys and status lists from {stored}. Set \
             CP_BASE_URL={stored}; if the change is meant, start once with --accept-new-issuer, \
             configure the verifiers with {own}, issue the licenses again, and keep {stored} \
             reachable until the tokens that name it have ended"
        );
    }
    installation::replace(&mut cx.tx, NAME, own.as_bytes()).await?;
    cx.trail.before = Some(json!({"issuer": stored}));
    cx.trail.after = Some(json!({"issuer": own, "live_bundles": live}));
    cx.finish("issuer.accept", None, ("issuer", String::new()), Effect::Rights).await?;
    tracing::warn!(before = stored, issuer = own, live_bundles = live, "the issuer was changed");
    Ok(())
}

async fn read(conn: &mut Conn) -> anyhow::Result<Option<String>> {
    let stored = installation::value(conn, NAME).await?;
    let text = |bytes| String::from_utf8(bytes).context("installation.issuer is not text");
    stored.map(text).transpose()
}
