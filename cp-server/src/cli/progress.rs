//! Progress bars on a terminal; silent where standard error is a pipe or a file.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

pub(super) fn rows() -> ProgressBar {
    bar("rows")
}

pub(super) fn events() -> ProgressBar {
    bar("events")
}

/// Shows that work of unknown length continues.
pub(super) fn waiting(message: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(message);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// The same beside output that arrives line by line: on a terminal, the lines show the progress.
pub(super) fn beside_output(message: &'static str) -> ProgressBar {
    if std::io::stdout().is_terminal() { ProgressBar::hidden() } else { waiting(message) }
}

fn bar(things: &'static str) -> ProgressBar {
    // indicatif draws on standard error, and only on a terminal.
    let bar = ProgressBar::no_length();
    let look = "{wide_bar} {human_pos} of {human_len} {msg}, {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(look) {
        bar.set_style(style);
    }
    bar.with_message(things)
}

pub(super) fn show(bar: &ProgressBar, done: u64, all: u64) {
    bar.set_length(all);
    bar.set_position(done);
}
