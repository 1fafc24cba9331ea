//! The answers of an import, as they arrive.

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use serde_json::Value;

use crate::cli::output::Form;
use crate::cli::progress;
use crate::cli::target::Printer;
use crate::client;

/// The answers of an import: as a table, which is for people, only the refusals; else all lines.
pub(super) struct Results {
    bar: ProgressBar,
    form: Form,
    printer: Printer,
    rest: Vec<u8>,
    lines: u64,
    refused: u64,
    summary: Option<Value>,
    problem: Option<Value>,
}

impl Results {
    /// By default, answers are a table on a terminal, and JSON elsewhere.
    pub(super) fn new(form: Option<Form>) -> Self {
        Self {
            bar: progress::waiting("0 lines"),
            form: form.unwrap_or_else(Form::usual),
            printer: Printer::default(),
            rest: Vec::new(),
            lines: 0,
            refused: 0,
            summary: None,
            problem: None,
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
        let shown = match self.form {
            Form::Table if answer["status"] == "refused" => Some(refusal(&answer)),
            Form::Table => None,
            _ => Some(text.to_owned()),
        };
        if let Some(shown) = shown {
            let Self { bar, printer, .. } = self;
            bar.suspend(|| printer.say(&shown));
        }
    }

    /// Reports the outcome. Refused lines are an error.
    pub(super) fn end(mut self, status: u16) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        if status >= 400 {
            return Err(client::refusal(status, &self.rest));
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
        if self.form == Form::Table {
            self.printer.say(&counts);
        }
        self.printer.end().with_context(|| format!("{counts}; the answers were not all printed"))
    }
}

/// Words the refusal of a line.
fn refusal(answer: &Value) -> String {
    let text = |name: &str| answer["problem"][name].as_str().unwrap_or_default();
    let kind = answer["kind"].as_str().unwrap_or_default();
    format!("line {}: {kind}: {} ({})", answer["line"], text("detail"), text("code"))
}
