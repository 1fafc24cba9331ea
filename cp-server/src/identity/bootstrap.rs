//! The first credential: the operator's own token, or a token that the first start creates.
//!
//! # Design
//! A created token is shown on a terminal, or written into a file that only the server's user can
//! read. It never goes into a log: more people read, copy and keep logs than may hold a token with
//! all permissions.
//!
//! The server writes the file before it commits the token, in the transaction that decides which of
//! several replicas creates one. A crash in between leaves a file whose token does not work yet.
//! The next start uses the token in the file, so the file is correct when the server serves.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use zeroize::Zeroizing;

use super::service_tokens::rows::{Row, insert};
use super::service_tokens::text::{bootstrap_id, compose, id_of};
use crate::identity::ids::TokenId;
use crate::kernel::access::caller::Scope;
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::db::installation::set_first;
use crate::kernel::db::record::Codes;
use crate::kernel::files;
use crate::kernel::secret::ShownOnce;

/// The source or the destination of the first token.
#[derive(Clone, Copy)]
pub enum Handover<'a> {
    /// The operator has a token.
    Own(&'a str),
    /// The caller shows the created token.
    Shown,
    /// The created token is written into this file, which only the server's user can read.
    File(&'a Path),
}

/// The first token, which was created now.
pub enum First {
    Shown(ShownOnce),
    File(PathBuf),
}

/// Ensures that the platform has a token: the operator's own, or a new one when none works.
pub async fn bootstrap(app: &App, handover: Handover<'_>) -> anyhow::Result<Option<First>> {
    let mut tx = app.db.begin().await?;
    let (id, text) = match handover {
        Handover::Own(own) => {
            (id_of(own).unwrap_or_else(|| bootstrap_id(own)), ShownOnce::new(own.into()))
        }
        Handover::Shown | Handover::File(_) => {
            let sql = "SELECT COUNT(*), COUNT(*) FILTER (WHERE revoked_at IS NULL)
                       FROM service_tokens WHERE organization_id IS NULL";
            let (ever, working): (i64, i64) = tx.q(sql).one().await?;
            if working > 0 || !set_first(&mut tx, &format!("bootstrap token {ever}"), &[]).await? {
                return Ok(None);
            }
            // From here on no other replica creates a token, until this transaction ends.
            match handover {
                Handover::File(path) => in_file(app, &mut tx, path).await?,
                _ => generated(app),
            }
        }
    };
    if is_known(&mut tx, id).await?
        || !set_first(&mut tx, &format!("service token {id}"), &[]).await?
    {
        return Ok(None);
    }
    let codes = Codes::from(vec!["*".to_owned()]);
    let (scope, name) = (Scope::Platform, "bootstrap".into());
    let row = Row { id, scope, name, codes, expires_at: None, created_by: None };
    insert(&mut tx, app.clock.now(), row, text.expose()).await?;
    tx.commit().await?;
    Ok(match handover {
        Handover::Own(_) => None,
        Handover::Shown => Some(First::Shown(text)),
        Handover::File(path) => Some(First::File(path.to_owned())),
    })
}

fn generated(app: &App) -> (TokenId, ShownOnce) {
    let id = TokenId::new(&app.random, app.clock.now());
    (id, compose(id, &app.random.bytes()))
}

async fn is_known(tx: &mut Conn, id: TokenId) -> anyhow::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM service_tokens WHERE id = $1)";
    Ok(tx.q(sql).bind(id).value().await?.unwrap_or(false))
}

/// Returns the token in the file: a new one, or the one that an interrupted start left there.
async fn in_file(app: &App, tx: &mut Conn, path: &Path) -> anyhow::Result<(TokenId, ShownOnce)> {
    let advice = "set CP_BOOTSTRAP_TOKEN_FILE to a file with a token of your own";
    if path.exists() {
        let found = Zeroizing::new(files::read_private(path)?);
        let text = std::str::from_utf8(&found).unwrap_or_default().trim();
        let Some(id) = id_of(text) else {
            bail!("{} is not a token of this server; remove the file, or {advice}", path.display());
        };
        if !is_known(tx, id).await? {
            return Ok((id, ShownOnce::new(text.to_owned())));
        }
        // The token was used and revoked.
        std::fs::remove_file(path).with_context(|| format!("cannot delete {}", path.display()))?;
    }
    let (id, text) = generated(app);
    let line = Zeroizing::new(format!("{}\n", text.expose()));
    let written = files::write_private(path, line.as_bytes(), &app.random);
    written.with_context(|| {
        format!("cannot write the first service token; make the folder writable, or {advice}")
    })?;
    Ok((id, text))
}
