//! The signed head of the audit log, as pages show it.

use chrono::{DateTime, Utc};

use super::view::{View, text};
use super::words;

/// A checkpoint (C2SP tlog-checkpoint): the size of the tree, and its root.
pub(super) struct LogHead {
    pub(super) size: String,
    pub(super) root: String,
    /// When the checkpoint was signed, if the caller may know and the server does.
    pub(super) signed_at: Option<DateTime<Utc>>,
}

/// Reads the checkpoint. It uses a connection of its own, so it comes before the page's other reads.
pub(super) async fn read(view: &mut View) -> Option<LogHead> {
    let checkpoint = view.ops.text("log.checkpoint").await.ok()?;
    let mut lines = checkpoint.lines().skip(1);
    let (size, root) = (lines.next()?, lines.next()?);
    let number = size.parse::<serde_json::Number>();
    let size = number.map_or_else(|_| size.to_owned(), |number| words::number(&number));
    let root = root.to_owned();
    let state = view.visible("log.read", &[], "").await.ok()?;
    let signed_at = words::parse_instant(text(&state, "signed_at"));
    Some(LogHead { size, root, signed_at })
}
