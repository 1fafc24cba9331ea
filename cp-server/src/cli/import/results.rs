//! The answers of an import, as they arrive.

use std::io::IsTerminal;

use anyhow::bail;
use indicatif::ProgressBar;
use serde_json::Value;

use crate::cli::progress;
use crate::cli::target::say;
use crate::client;

/// The answers of an import: on a terminal only the refusals, elsewhere all lines.
pub(super) struct Results {
    bar: ProgressBar,
    is_terminal: bool,
    rest: Vec<u8>,
    lines: u64,
    refused: u64,
    summary: Option<Value>,
    problem: Option<Value>,
    failed: Option<anyhow::Error>,
}

impl Results {
    pub(super) fn new() -> Self {
        Self {
            bar: progress::waiting("0 lines"),
            is_terminal: std::io::stdout().is_terminal(),
            rest: Vec::new(),
            lines: 0,
            refused: 0,
            summary: None,
            problem: None,
            failed: None,
        }
    }

    /// Reads a part of the answer.
    pub(super) fn take(&mut self, part: &[u8]) {
        self.rest.extend_from_slice(part);
        let rest = std::mem::take(&mut self.rest);
        let mut lines = rest.split_inclusive(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            if lines.peek().is_none() && !line.ends_with(b"\n") {
                self.rest = line.to_vec();
                break;
            }
            let line = String::from_utf8_lossy(line);
            self.line(line.trim_end());
        }
        self.bar.set_message(format!("{} lines, {} refused", self.lines, self.refused));
    }

    fn line(&mut self, text: &str) {
        let answer: Value = serde_json::from_str(text).unwrap_or_default();
        if answer["summary"].is_object() {
            self.summary = Some(answer["summary"].clone());
        } else if answer["line"].is_null() && answer["problem"].is_object() {
            self.problem = Some(answer["problem"].clone());
        } else {
            self.lines += 1;
            self.refused += u64::from(answer["status"] == "refused");
        }
        let shown = match self.is_terminal {
            false => Some(text.to_owned()),
            true if answer["status"] == "refused" => Some(refusal(&answer)),
            true => None,
        };
        if let Some(shown) = shown {
            let said = self.bar.suspend(|| say(&shown));
            self.failed = self.failed.take().or(said.err());
        }
    }

    /// Reports the outcome. Refused lines are an error.
    pub(super) fn end(self, status: u16) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        if status >= 400 {
            return Err(client::refusal(status, &self.rest));
        }
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let Some(summary) = self.summary else {
            let why = self.problem.as_ref().and_then(|problem| problem["detail"].as_str());
            let why = why.unwrap_or("the connection ended");
            bail!("the import ended after {} lines: {why} Send the file again.", self.lines);
        };
        let counts = ["created", "updated", "unchanged", "refused"]
            .map(|name| format!("{} {name}", summary[name]))
            .join(", ");
        if self.refused > 0 {
            bail!("{counts}");
        }
        if self.is_terminal {
            say(&counts)?;
        }
        Ok(())
    }
}

/// Words the refusal of a line.
fn refusal(answer: &Value) -> String {
    let text = |name: &str| answer["problem"][name].as_str().unwrap_or_default();
    let kind = answer["kind"].as_str().unwrap_or_default();
    format!("line {}: {kind}: {} ({})", answer["line"], text("detail"), text("code"))
}
