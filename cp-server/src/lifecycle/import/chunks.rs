//! The transactions of an import.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use cp_contracts::ProblemCode;
use serde_json::Value;
use tokio::sync::mpsc;

use super::answers::{LastLine, LineAnswer, LineStatus, Summary};
use super::applied::{Applied, Change};
use super::body::{Spool, Text};
use super::fields::{Fields, required};
use super::kind::Kind;
use super::kinds;
use crate::kernel::access::caller::{Caller, Scope};
use crate::kernel::app::App;
use crate::kernel::counts::Counts;
use crate::kernel::db::Conn;
use crate::kernel::db::rehearsals::Rehearsal;
use crate::kernel::effect::Effect;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json;
use crate::kernel::journal::draft::AuditDraft;
use crate::kernel::journal::record::{self, Entry};

/// The most attempts of a chunk when other requests are faster.
const ATTEMPTS: u32 = 5;

/// One import.
pub struct Import {
    pub app: App,
    pub caller: Caller,
    pub parts: Arc<Parts>,
    pub is_dry: bool,
}

/// A line, read.
struct Line {
    kind: Option<Kind>,
    fields: Result<Fields>,
}

/// The outcome of a line, and its change.
type Outcome = (LineAnswer, Option<Change>);

impl Import {
    /// Receives the body, applies its lines and sends their answers.
    pub async fn run(self, body: Body, answers: mpsc::Sender<Bytes>) {
        let last = match self.all(body, &answers).await {
            Ok(Some(summary)) => LastLine::Summary(summary),
            // The client is gone: what is committed stays.
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "an import ended before its last line");
                LastLine::Problem(error.document_below(self.app.settings.base_path()))
            }
        };
        let _ = answers.send(text_of(&[last])).await;
    }

    async fn all(&self, body: Body, answers: &mpsc::Sender<Bytes>) -> Result<Option<Summary>> {
        let mut spool = Spool::receive(body).await?;
        let mut summary = Summary { dry_run: self.is_dry, ..Summary::default() };
        let mut rehearsal = match self.is_dry {
            true => Some(self.app.db.rehearse().await?),
            false => None,
        };
        loop {
            let texts;
            (spool, texts) = spool.chunk().await?;
            if texts.is_empty() {
                return Ok(Some(summary));
            }
            if answers.is_closed() {
                return Ok(None);
            }
            if self.app.is_stopping() {
                let detail = "The server is stopping. Send the file again: the lines up to here \
                              are unchanged then.";
                return Err(Error::unavailable(detail, 10));
            }
            let done = match rehearsal {
                Some(before) => {
                    let (after, done) = self.rehearse(before, texts).await?;
                    rehearsal = Some(after);
                    done
                }
                None => self.apply(texts).await?,
            };
            done.iter().for_each(|answer| summary.add(answer.status));
            if answers.send(text_of(&done)).await.is_err() {
                return Ok(None);
            }
        }
    }

    /// Applies a chunk in one transaction, again if other requests were faster.
    async fn apply(&self, texts: Vec<Text>) -> Result<Vec<LineAnswer>> {
        let mut attempt = 1;
        loop {
            let mark = self.app.db.durability_mark();
            let mut cx = match self.app.db.begin_for(self.caller.share()).await {
                // Many wait for the writer, or the database fails over.
                Err(_) if attempt < ATTEMPTS => {
                    attempt += 1;
                    continue;
                }
                tx => self.cx(tx?),
            };
            let done = match self.lines(&mut cx, &texts, attempt == ATTEMPTS).await {
                Err(error) if error.is_retryable() && attempt < ATTEMPTS => {
                    attempt += 1;
                    continue;
                }
                done => done?,
            };
            let (answers, changes): (Vec<LineAnswer>, Vec<Option<Change>>) =
                done.into_iter().unzip();
            let entries: Vec<Entry<'_>> =
                changes.into_iter().flatten().map(Change::into_entry).collect();
            if entries.is_empty() {
                drop(cx);
                // The answers may depend on recent writes of other requests.
                self.app.db.wait_until_durable(mark).await?;
            } else {
                record::append(&mut cx, entries).await?;
                cx.commit(Effect::Rights).await?;
            }
            return Ok(answers);
        }
    }

    /// Tries a chunk. The rehearsal keeps its changes for the lines that follow.
    async fn rehearse(
        &self,
        rehearsal: Rehearsal,
        texts: Vec<Text>,
    ) -> Result<(Rehearsal, Vec<LineAnswer>)> {
        let mut cx = self.cx(rehearsal.0);
        let done = self.lines(&mut cx, &texts, true).await?;
        let mut rehearsal = Rehearsal(cx.tx);
        rehearsal.end_parts().await?;
        // An object that an earlier line would create has no ID yet.
        let answers = done.into_iter().map(|(answer, _)| LineAnswer { id: None, ..answer });
        Ok((rehearsal, answers.collect()))
    }

    /// Applies lines in the transaction. A refused line leaves nothing.
    async fn lines(
        &self,
        cx: &mut Cx<Scope>,
        texts: &[Text],
        is_last: bool,
    ) -> Result<Vec<Outcome>> {
        cx.tx.begin_part().await?;
        let mut done = Vec::with_capacity(texts.len());
        for text in texts {
            let counts = std::mem::take(&mut cx.counts);
            let (mut kind, mut applied) = Self::line(cx, text).await;
            if applied.as_ref().is_err_and(is_conflict) && !cx.tx.writes_alone() {
                // Another transaction may have created the object since it was looked up.
                cx.tx.undo_part().await?;
                cx.audit = AuditDraft::default();
                (kind, applied) = Self::line(cx, text).await;
            }
            match applied {
                Err(error) if is_fault(&error) || error.is_retryable() && !is_last => {
                    return Err(error.with("line", text.line));
                }
                applied => done.push(self.settle(cx, text.line, kind, applied, counts).await?),
            }
        }
        Ok(done)
    }

    /// Applies one line.
    async fn line(cx: &mut Cx<Scope>, text: &Text) -> (Option<Kind>, Result<Applied>) {
        let Line { kind, fields } = Line::read(text);
        let applied = match (kind, fields) {
            // On the heap: the operations have large futures.
            (Some(kind), Ok(fields)) => Box::pin(kinds::apply(cx, kind, fields)).await,
            (_, Err(refused)) => Err(refused),
            (None, Ok(_)) => Err(required("kind")),
        };
        (kind, applied)
    }

    /// Keeps or undoes the writes of a line.
    async fn settle(
        &self,
        cx: &mut Cx<Scope>,
        line: u64,
        kind: Option<Kind>,
        applied: Result<Applied>,
        mut counts: Counts,
    ) -> Result<Outcome> {
        let audit = std::mem::take(&mut cx.audit);
        let answer = |status, id, problem| LineAnswer { line, kind, status, id, problem };
        Ok(match applied {
            Ok(Applied { id, change: Some(mut change), .. }) => {
                cx.tx.keep_part().await?;
                counts.extend(std::mem::take(&mut cx.counts));
                cx.counts = counts;
                let status = match change.before {
                    Some(_) => LineStatus::Updated,
                    None => LineStatus::Created,
                };
                // An operation may know more than the object shows.
                change.before = change.before.or(audit.before);
                change.after = audit.after.unwrap_or(change.after);
                change.organization = audit.organization.or(change.organization);
                change.reason = audit.reason;
                (answer(status, Some(id), None), Some(change))
            }
            Ok(Applied { id, change: None, has_written }) => {
                if has_written {
                    cx.tx.undo_part().await?;
                }
                cx.counts = counts;
                (answer(LineStatus::Unchanged, Some(id), None), None)
            }
            Err(error) => {
                cx.tx.undo_part().await?;
                cx.counts = counts;
                let problem = error.document_below(self.app.settings.base_path());
                (answer(LineStatus::Refused, None, Some(problem)), None)
            }
        })
    }

    fn cx(&self, tx: Conn) -> Cx<Scope> {
        let mut cx = Cx::outside(&self.app, self.caller.clone(), Scope::Platform, tx);
        cx.parts = self.parts.clone();
        cx.is_rehearsal = self.is_dry;
        cx
    }
}

impl Line {
    fn read(text: &Text) -> Self {
        let refused = |error| Self { kind: None, fields: Err(error) };
        let Some(bytes) = &text.bytes else { return refused(Text::too_long()) };
        let mut members = match json::strict(bytes) {
            Ok(Value::Object(members)) => members,
            Ok(_) => return refused(Error::bad_request("The line must be a JSON object.")),
            Err(why) => {
                return refused(Error::bad_request(format!(
                    "The line must be strict JSON: {why}."
                )));
            }
        };
        let kind = match members.remove("kind").map(|kind| json::read_member("kind", kind)) {
            Some(Ok(kind)) => kind,
            Some(Err(error)) => return refused(error),
            None => return refused(required("kind")),
        };
        Self { kind: Some(kind), fields: Fields::of(kind, members) }
    }
}

impl Change {
    fn into_entry(self) -> Entry<'static> {
        Entry {
            action: self.action,
            organization: self.organization,
            target: self.target,
            before: self.before,
            after: Some(self.after),
            reason: self.reason,
            issued: None,
        }
    }
}

/// Whether the error is not about the line: the rest of the import would fail, too.
fn is_fault(error: &Error) -> bool {
    matches!(error.code(), ProblemCode::Internal | ProblemCode::Unavailable | ProblemCode::Timeout)
}

/// Whether the error is the conflict with another object. A full pool is none.
fn is_conflict(error: &Error) -> bool {
    let is_about_seats = *error.code() == ProblemCode::SeatsExhausted;
    error.code().status() == 409 && !is_about_seats && !error.is_retryable()
}

fn text_of<T: serde::Serialize>(lines: &[T]) -> Bytes {
    let mut text = Vec::new();
    for line in lines {
        // Only maps with keys that are not strings cannot be written, and no line has one.
        if serde_json::to_writer(&mut text, line).is_ok() {
            text.push(b'\n');
        }
    }
    text.into()
}
