//! The signing of a list: its `iat`, its content and its token.
//!
//! # Design
//! A data plane accepts no list that is older than its own. So the `iat` of a list is allocated in
//! the list's row, where it strictly increases, in the transaction that reads the list's content.
//! Two different lists never have the same `iat`, and a later `iat` never has older content, on any
//! number of replicas and across restarts. The row's lock prevents changes of the list in between.
//!
//! The clock proposes the `iat`. When the clock was set back, its proposal is older than the list
//! of the data planes, and the row continues from its last `iat`. It continues at most a day ahead
//! of the clock. Beyond that, either the clock or the last `iat` is wrong, and an operator decides
//! which.
//!
//! The signed token is stored, so that one replica signs and all replicas publish the same bytes.

use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::{
    LICENSE_LIST_BITS, LICENSE_LIST_ENTRIES, STATUS_LIST_TYP, StatusList, StatusListClaims,
    TokenStatus,
};
use serde_json::Map;

use super::rows::{LEEWAY, uri};
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::licensing::bundles::rows::BundleStatus;
use crate::licensing::ids::StatusListId;
use crate::licensing::keys::KeyState;
use crate::licensing::keys::keyring::Keyring;
use crate::licensing::keys::signer::{SignerPool, compact};
use crate::licensing::status_lists::StatusSettings;

/// The maximum by which many changes within a second may move a list ahead of the clock. It is
/// within the tolerance of data planes, which is a minute by default.
pub const BURST: TimeDelta = TimeDelta::seconds(30);
/// The maximum by which a list may be ahead of a clock that was set back.
pub const MOST_AHEAD: TimeDelta = TimeDelta::days(1);

/// The use of a signed list. Each use has its own lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Published,
    File,
}

impl Use {
    fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::File => "file",
        }
    }
}

/// A signed list as it is stored.
#[derive(Clone, Debug)]
pub struct SignedList {
    pub version: i64,
    pub kid: String,
    pub iat: i64,
    pub signed_at: DateTime<Utc>,
    pub token: String,
}

/// A list, and the state of its newest token.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct State {
    pub id: StatusListId,
    pub version: i64,
    pub last_iat: i64,
    signed_version: Option<i64>,
    kid: Option<String>,
    pub iat: Option<i64>,
    signed_at: Option<DateTime<Utc>>,
    /// The first instants after the stored token at which coverage of a bundle ends, or begins.
    ends_at: Option<DateTime<Utc>>,
    begins_at: Option<DateTime<Utc>>,
}

/// The state of the newest token of each list. The statement reads one index entry for the next end
/// of coverage, and one for the next begin, because each list is checked every second. With `MIN`,
/// PostgreSQL reads each bundle whose coverage has an end.
pub const STATES: &str =
    "SELECT l.id, l.version, l.last_iat, t.version AS signed_version, t.kid, t.iat,
            t.signed_at,
            (SELECT covered_until FROM bundles
             WHERE status_list_id = l.id AND covered_until > t.signed_at
             ORDER BY covered_until LIMIT 1) AS ends_at,
            (SELECT covered_from FROM bundles
             WHERE status_list_id = l.id AND covered_from > t.signed_at
             ORDER BY covered_from LIMIT 1) AS begins_at
     FROM status_lists l
     LEFT JOIN status_list_tokens t ON t.status_list_id = l.id AND t.purpose = $1
     WHERE l.retired_at IS NULL";

/// Returns the lists in use, oldest first, or one of them.
pub async fn states(tx: &mut Conn, what: Use, id: Option<StatusListId>) -> Result<Vec<State>> {
    let query = tx.q(STATES).bind(what.name()).and_some(" AND l.id = ?", id);
    Ok(query.sql(" ORDER BY l.created_at, l.id").all().await?)
}

impl State {
    /// Returns the instant since which the stored token is known, for a process that did not sign
    /// it. The clock of the signing server may differ from this one.
    pub fn known_since(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.signed_at.map_or(now, |at| at.min(now))
    }

    /// Returns whether the stored token has the list's content, a key in use, and at most half of
    /// its time to live behind it.
    fn is_sound(&self, app: &App, since: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        let Some(kid) = &self.kid else { return false };
        let age = now - since;
        // A key that this replica does not know yet, or that does not sign here yet, is a newer
        // one.
        let is_over = matches!(
            Keyring::of(app).state_of(kid),
            Some(KeyState::Retiring | KeyState::Retired | KeyState::Compromised)
        );
        self.signed_version == Some(self.version)
            && !is_over
            && [self.ends_at, self.begins_at].iter().flatten().all(|turn| now < *turn)
            && (-BURST..StatusSettings::of(app).ttl / 2).contains(&age)
    }

    /// Returns whether the token is sound and no data plane has a newer one from a file.
    pub fn is_current(&self, app: &App, since: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        self.iat == Some(self.last_iat) && self.is_sound(app, since, now)
    }

    /// Returns whether the list may be signed now. A list near the clock is signed with every
    /// change. A list ahead of the clock is signed rarely, so that it does not advance further.
    ///
    /// Replicas with equal clocks together sign once a second. A replica whose clock differs from
    /// the signer's cannot determine the age of the token; it uses the instant of its own last
    /// signature.
    pub fn may_sign(&self, app: &App, own: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
        if self.last_iat < (now + BURST).timestamp() {
            return true;
        }
        let Some(at) = self.signed_at else { return true };
        if (TimeDelta::zero()..StatusSettings::of(app).ttl).contains(&(now - at)) {
            return now - at >= TimeDelta::seconds(1);
        }
        own.is_none_or(|at| now < at || now - at >= TimeDelta::seconds(10))
    }

    /// Returns by how much the list is ahead of the clock.
    pub fn ahead(&self, now: DateTime<Utc>) -> TimeDelta {
        TimeDelta::seconds(self.last_iat.saturating_sub(now.timestamp()).max(0))
    }
}

/// The content of a list at one instant.
pub struct Content {
    id: StatusListId,
    version: i64,
    iat: i64,
    marked: Vec<(i64, BundleStatus)>,
}

/// The entries that are not valid. Each part of the statement has its own index, which has only
/// marked bundles.
pub const MARKED: &str = "SELECT status_idx, status FROM bundles
     WHERE status_list_id = $1 AND status <> 'valid' AND over_at > $2
     UNION ALL
     SELECT status_idx, 'suspended' FROM bundles
     WHERE status_list_id = $1 AND covered_until <= $3 AND status = 'valid' AND over_at > $2
     UNION ALL
     SELECT status_idx, 'suspended' FROM bundles
     WHERE status_list_id = $1 AND covered_from > $3 AND status = 'valid' AND over_at > $2
     UNION ALL
     SELECT status_idx, 'revoked' FROM status_revocations
     WHERE status_list_id = $1 AND over_at > $2";

/// Allocates an `iat` and reads the list's content, in a transaction that writes. The transaction
/// locks the list's row until its end.
pub async fn content(tx: &mut Conn, id: StatusListId, now: DateTime<Utc>) -> Result<Content> {
    let sql = "UPDATE status_lists
               SET last_iat = CASE WHEN last_iat < $2 THEN $2 ELSE last_iat + 1 END
               WHERE id = $1 AND last_iat < $3
               RETURNING last_iat, version";
    let most = (now + MOST_AHEAD).timestamp();
    let next: Option<(i64, i64)> =
        tx.q(sql).bind(id).bind(now.timestamp()).bind(most).opt().await?;
    let (iat, version) = next.ok_or_else(too_far_ahead)?;
    let marked = tx.q(MARKED).bind(id).bind(now - LEEWAY).bind(now).all().await?;
    Ok(Content { id, version, iat, marked })
}

pub fn too_far_ahead() -> Error {
    let detail = "The server's clock is more than a day behind its newest status list. Set the clock. \
                  If the clock is right, run `cp-server clock accept`.";
    Error::unavailable(detail, 60)
}

/// Signs the content on a signing thread.
pub async fn sign(
    app: &App,
    content: Content,
    now: DateTime<Utc>,
    lifetime: TimeDelta,
) -> Result<SignedList> {
    let on = app.clone();
    SignerPool::of(app).run(move || make(&on, &content, now, lifetime)).await
}

fn make(
    app: &App,
    content: &Content,
    signed_at: DateTime<Utc>,
    lifetime: TimeDelta,
) -> Result<SignedList> {
    let mut list = StatusList::new(LICENSE_LIST_BITS, LICENSE_LIST_ENTRIES);
    for (idx, status) in &content.marked {
        let status = match status {
            BundleStatus::Revoked => TokenStatus::Invalid,
            BundleStatus::Suspended => TokenStatus::Suspended,
            BundleStatus::Valid => continue,
        };
        let idx = u64::try_from(*idx).map_err(Error::internal)?;
        list.set(idx, status).map_err(Error::internal)?;
    }
    let claims = StatusListClaims {
        sub: uri(app, content.id),
        iat: content.iat,
        exp: content.iat.saturating_add(lifetime.num_seconds()),
        ttl: StatusSettings::of(app).ttl.num_seconds(),
        status_list: list.to_claim(),
        extra: Map::new(),
    };
    let payload = serde_json::to_vec(&claims).map_err(Error::internal)?;
    let signer = Keyring::of(app).active()?;
    let token = compact(signer.as_ref(), STATUS_LIST_TYP, &payload)?;
    let kid = signer.jwk().kid.clone();
    Ok(SignedList { version: content.version, kid, iat: content.iat, signed_at, token })
}

/// Stores a token, unless a newer one is stored.
pub async fn keep(tx: &mut Conn, id: StatusListId, what: Use, signed: &SignedList) -> Result<()> {
    let sql = "INSERT INTO status_list_tokens
               (status_list_id, purpose, version, kid, iat, signed_at, token)
               VALUES ($1, $2, $3, $4, $5, $6, $7)
               ON CONFLICT (status_list_id, purpose) DO UPDATE
               SET version = excluded.version, kid = excluded.kid, iat = excluded.iat,
                   signed_at = excluded.signed_at, token = excluded.token
               WHERE status_list_tokens.iat < excluded.iat";
    let insert = tx
        .q(sql)
        .bind(id)
        .bind(what.name())
        .bind(signed.version)
        .bind(&*signed.kid)
        .bind(signed.iat)
        .bind(signed.signed_at)
        .bind(&*signed.token);
    insert.exec().await?;
    Ok(())
}

/// Returns the newest stored token for a use.
pub async fn newest(tx: &mut Conn, id: StatusListId, what: Use) -> Result<Option<SignedList>> {
    let sql = "SELECT version, kid, iat, signed_at, token FROM status_list_tokens
               WHERE status_list_id = $1 AND purpose = $2";
    let found: Option<(i64, String, i64, DateTime<Utc>, String)> =
        tx.q(sql).bind(id).bind(what.name()).opt().await?;
    Ok(found.map(|(version, kid, iat, signed_at, token)| SignedList {
        version,
        kid,
        iat,
        signed_at,
        token,
    }))
}

/// The validity of the list in a file. The license token sets the list's maximum age.
const IN_A_FILE: TimeDelta = TimeDelta::days(366);

/// Returns the list for a license file, in a transaction that writes. It is the list of the last
/// file while its content is unchanged, and a new one otherwise.
pub async fn for_file(
    app: &App,
    tx: &mut Conn,
    id: StatusListId,
    now: DateTime<Utc>,
) -> Result<SignedList> {
    let state = states(tx, Use::File, Some(id)).await?.pop();
    if state.is_some_and(|state| state.is_sound(app, state.known_since(now), now))
        && let Some(signed) = newest(tx, id, Use::File).await?
    {
        return Ok(signed);
    }
    let content = content(tx, id, now).await?;
    let signed = sign(app, content, now, IN_A_FILE).await?;
    keep(tx, id, Use::File, &signed).await?;
    Ok(signed)
}
