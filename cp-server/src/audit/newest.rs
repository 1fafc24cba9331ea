//! The state of the log for its operators: its size, when it was signed, and a replay of its newest
//! events.
//!
//! `cp-server audit verify` replays the whole log, which takes minutes for a large one. This replay
//! begins at stored hashes near the end, so that a page can offer it.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::finding::{Finding, Stopped, Verified};
use super::key::SignedCheckpoint;
use super::replay::{Batch, Replay};
use super::verify::{check_rollback, last_signed, tree_at};
use crate::audit::Log;
use crate::kernel::access::caller::Scope;
use crate::kernel::access::ids::AuditEventId;
use crate::kernel::access::platform::Platform;
use crate::kernel::app::Part;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::journal::store;

crate::routes! { log:
    /// Returns the size of the log, and when its newest checkpoint was signed.
    GET "/log" AUDIT_READ => read;
    /// Replays the newest 10,000 events of the log, and compares them with its signed checkpoint.
    ///
    /// The content of each event must match its leaf, and the leaves the signed root. The command
    /// `cp-server audit verify` replays the whole log.
    GET "/log/verification" AUDIT_READ => verify;
}

/// The most events of a replay.
const AT_MOST: u64 = 10_000;

/// The size of the log, and its newest checkpoint.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LogState {
    /// The number of events with a position.
    size: u64,
    /// The number of events that the checkpoint covers; null before the first checkpoint.
    signed_size: Option<u64>,
    /// When the checkpoint was signed. Null for one that an earlier version signed.
    signed_at: Option<DateTime<Utc>>,
}

/// The result of a replay.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LogVerification {
    /// Whether every replayed event is what was signed.
    sound: bool,
    /// The number of events with a position.
    size: u64,
    /// The position of the first replayed event.
    from: u64,
    /// The number of replayed events.
    replayed: u64,
    /// The number of replayed events whose content was erased.
    erased: u64,
    /// The number of events that the checkpoint covers; null before the first checkpoint.
    signed_size: Option<u64>,
    /// The first difference; null in a sound log.
    finding: Option<LogFinding>,
}

/// The first difference between the stored events and what was signed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LogFinding {
    /// The position of the event; null when the difference is in no event.
    seq: Option<u64>,
    /// The ID of the event; null when the row is missing.
    event_id: Option<AuditEventId>,
    /// What differs.
    detail: String,
}

async fn read(cx: &mut Cx<Scope>, _: Platform) -> Result<LogState> {
    // The checkpoint first: the tree that is read after it is at least as large.
    let signed = store::checkpoint(&mut cx.tx).await?;
    let signed_at = store::checkpoint_signed_at(&mut cx.tx).await?;
    let size = store::tree(&mut cx.tx).await?.size;
    Ok(LogState { size, signed_size: signed.map(|(size, _)| size), signed_at })
}

async fn verify(cx: &mut Cx<Scope>, _: Platform) -> Result<LogVerification> {
    // One state: an erasure meanwhile would look like content that is missing.
    if !cx.tx.is_shared() {
        cx.release();
        cx.tx = cx.app.db.consistent_read().await?;
    }
    let key = Log::of(&cx.app).key(&cx.app, &mut cx.tx).await?;
    let mut seen = LogVerification {
        sound: false,
        size: 0,
        from: 0,
        replayed: 0,
        erased: 0,
        signed_size: None,
        finding: None,
    };
    let replayed = match last_signed(&mut cx.tx, &key).await {
        Ok(signed) => replay(cx, signed.as_ref(), &mut seen).await,
        Err(stopped) => Err(stopped),
    };
    match replayed {
        Ok(()) => seen.sound = true,
        Err(Stopped::Found(Finding { seq, event, what })) => {
            seen.finding = Some(LogFinding { seq, event_id: event, detail: what });
        }
        Err(Stopped::Failed(error)) => return Err(Error::internal(error)),
    }
    Ok(seen)
}

async fn replay(
    cx: &mut Cx<Scope>,
    signed: Option<&SignedCheckpoint>,
    seen: &mut LogVerification,
) -> Verified<()> {
    let tree = store::tree(&mut cx.tx).await?;
    seen.size = tree.size;
    seen.signed_size = signed.map(|signed| signed.size);
    if let Some(signed) = signed {
        check_rollback(signed, tree.size, "log_checkpoints")?;
    }
    seen.from = tree.size.saturating_sub(AT_MOST);
    let anchors = signed.map(|signed| ("log_checkpoints".to_owned(), signed)).into_iter().collect();
    let mut replay = Replay::new(tree_at(&mut cx.tx, seen.from).await?, anchors);
    while replay.tree.size < tree.size {
        let batch = Batch::next(&mut cx.tx, replay.tree.size, tree.size).await?;
        replay.batch(&batch)?;
        seen.replayed = replay.tree.size - seen.from;
    }
    replay.check_root(&tree)?;
    // The event that declares an erasure is behind the erased one.
    seen.erased = replay.check_erased()?;
    Ok(())
}
