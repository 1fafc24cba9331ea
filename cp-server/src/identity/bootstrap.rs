//! The first credential: the operator's own token, or one that the first start makes.
//!
//! # Design
//! A token that the server makes is shown on a terminal, or written into a file that only the server's
//! user reads. It never goes into a log: logs are kept, copied and read by more people than may hold a
//! token with all permissions.
//!
//! The file is written before its token is committed, in the transaction that decides which of several
//! replicas makes one. A crash in between leaves a file whose token does not work yet; the next start
//! takes the token from the file, so that the file is right once the server serves.

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

/// Where the first token comes from, or goes to.
#[derive(Clone, Copy)]
pub enum Handover<'a> {
    /// The operator has one.
    Own(&'a str),
    /// The caller shows it.
    Shown,
    /// It is written into this file, which only the server's user reads.
    File(&'a Path),
}

/// The first token, which was made now.
pub enum First {
    Shown(ShownOnce),
    File(PathBuf),
}

/// Makes sure that there is a token of the platform: the operator's own (kept if it is there), or a
/// new one when none works.
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
            // From here on no other replica makes one, until this transaction ends.
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

/// The token in the file: a new one, or the one that a start left there that did not get further.
async fn in_file(app: &App, tx: &mut Conn, path: &Path) -> anyhow::Result<(TokenId, ShownOnce)> {
    let advice = "set CP_BOOTSTRAP_TOKEN_FILE to a file with a token of your own";
    if path.exists() {
        let found = Zeroizing::new(files::read_private(path)?);
        let text = std::str::from_utf8(&found).unwrap_or_default().trim();
        let Some(id) = id_of(text) else {
            bail!("{} is not a token of this server: remove it, or {advice}", path.display());
        };
        if !is_known(tx, id).await? {
            return Ok((id, ShownOnce::new(text.to_owned())));
        }
        // It was used, and works no more.
        std::fs::remove_file(path).with_context(|| format!("cannot delete {}", path.display()))?;
    }
    let (id, text) = generated(app);
    let line = Zeroizing::new(format!("{}\n", text.expose()));
    let written = files::write_private(path, line.as_bytes(), &app.random);
    written.with_context(|| {
        format!("the first service token cannot be written: make the folder writable, or {advice}")
    })?;
    Ok((id, text))
}
