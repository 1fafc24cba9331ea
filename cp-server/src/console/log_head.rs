//! The signed head of the audit log, as pages show it.

use super::view::View;
use super::words;

/// A checkpoint (C2SP tlog-checkpoint): the size of the tree, and its root.
pub(super) struct LogHead {
    pub(super) size: String,
    pub(super) root: String,
}

/// Reads the checkpoint. It uses a connection of its own, so it comes before the page's other reads.
pub(super) async fn read(view: &mut View) -> Option<LogHead> {
    let checkpoint = view.ops.text("log.checkpoint").await.ok()?;
    let mut lines = checkpoint.lines().skip(1);
    let (size, root) = (lines.next()?, lines.next()?);
    let number = size.parse::<serde_json::Number>();
    let size = number.map_or_else(|_| size.to_owned(), |number| words::number(&number));
    Some(LogHead { size, root: root.to_owned() })
}
