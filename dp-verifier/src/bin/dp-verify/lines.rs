//! The check of many tokens, one per line.

use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::input::trimmed;
use crate::outcome::Checked;
use crate::output::print;

/// The maximum length of a line, a little above the verifier's limit. Longer lines are cut, so that
/// no input fills the memory.
const MAX_LINE: usize = 17 * 1024;

/// The size of the input buffer, in bytes: enough lines for all processors.
const INPUT_BUFFER: usize = 1024 * 1024;

/// The maximum number of lines in a batch, which all processors share.
const MAX_BATCH: usize = 4_096;

/// Checks each line of the input. Returns whether all tokens are valid.
pub(crate) fn check_lines(
    input: impl Read,
    output: &mut impl Write,
    check: impl Fn(&[u8]) -> Checked + Sync,
    explain: bool,
) -> io::Result<bool> {
    let mut input = BufReader::with_capacity(INPUT_BUFFER, input);
    let mut all_valid = true;
    let mut progress = Progress::start(explain);
    let mut blanks = Blanks::default();
    loop {
        let batch = read_batch(&mut input)?;
        let is_end = batch.is_empty();
        let batch = if is_end { blanks.at_end() } else { blanks.hold_back(batch) };
        let results = check_batch(&batch, &check);
        progress.add(&results);
        all_valid &= print(output, results, explain)?;
        if is_end {
            progress.end();
            return Ok(all_valid);
        }
    }
}

/// Empty lines that may be the last ones. Editors leave empty lines at the end of a file, so these
/// do not count. Every other empty line is a missing token. An input without a token is a missing
/// token too, with empty lines or without: an unset variable must not pass as valid.
#[derive(Default)]
struct Blanks {
    held: usize,
    has_token: bool,
}

impl Blanks {
    /// Returns the held empty lines and the lines of a batch, without the empty lines at its end.
    fn hold_back(&mut self, batch: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut lines = Vec::with_capacity(batch.len());
        for line in batch {
            if std::str::from_utf8(&line).is_ok_and(|text| trimmed(text).is_empty()) {
                self.held = self.held.saturating_add(1);
                continue;
            }
            self.has_token = true;
            lines.extend((0..self.held).map(|_| Vec::new()));
            self.held = 0;
            lines.push(line);
        }
        lines
    }

    fn at_end(&self) -> Vec<Vec<u8>> {
        match self.has_token {
            true => Vec::new(),
            false => vec![Vec::new()],
        }
    }
}

/// A line on the terminal that shows the progress.
struct Progress {
    is_shown: bool,
    checked: usize,
    refused: usize,
    started: Instant,
    shown: Instant,
}

impl Progress {
    /// The line is shown only on a terminal without other output.
    fn start(explain: bool) -> Self {
        let is_shown = !explain && io::stderr().is_terminal() && !io::stdout().is_terminal();
        let now = Instant::now();
        Self { is_shown, checked: 0, refused: 0, started: now, shown: now }
    }

    fn add(&mut self, results: &[Checked]) {
        let refused = results.iter().filter(|result| result.is_err()).count();
        self.checked = self.checked.saturating_add(results.len());
        self.refused = self.refused.saturating_add(refused);
        if self.is_shown && self.shown.elapsed() >= Duration::from_millis(100) {
            self.shown = Instant::now();
            eprint!("\r{self}");
        }
    }

    fn end(&self) {
        if self.is_shown && self.checked > 0 {
            eprintln!("\r{self}");
        }
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { checked, refused, .. } = self;
        let seconds = self.started.elapsed().as_secs();
        write!(f, "{checked} checked, {refused} refused, {seconds} s")
    }
}

/// Checks lines on all processors. The order stays.
fn check_batch(batch: &[Vec<u8>], check: &(impl Fn(&[u8]) -> Checked + Sync)) -> Vec<Checked> {
    let workers = thread::available_parallelism().map_or(1, |workers| workers.get());
    // With fewer lines per thread, the start of a thread costs more than it saves.
    let share = batch.len().div_ceil(workers).max(32);
    thread::scope(|scope| {
        let shares = batch.chunks(share).map(|lines| {
            scope.spawn(move || lines.iter().map(|line| check(line)).collect::<Vec<_>>())
        });
        let running: Vec<_> = shares.collect();
        let results = running.into_iter().map(|share| match share.join() {
            Ok(results) => results,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        results.flatten().collect()
    })
}

/// Reads a line, and later lines that have already arrived. So a slow writer sees each result at
/// once.
fn read_batch(input: &mut BufReader<impl Read>) -> io::Result<Vec<Vec<u8>>> {
    let mut batch = Vec::new();
    while let Some(line) = read_line(input)? {
        batch.push(line);
        if batch.len() >= MAX_BATCH || !input.buffer().contains(&b'\n') {
            break;
        }
    }
    Ok(batch)
}

/// Reads a line without its `\n`. Returns `None` at the end. The rest of an overlong line is
/// dropped: the verifier refuses its beginning for its length.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut is_begun = false;
    loop {
        let buffered = input.fill_buf()?;
        if buffered.is_empty() {
            return Ok(is_begun.then_some(line));
        }
        is_begun = true;
        let end = buffered.iter().position(|byte| *byte == b'\n');
        let part = buffered.get(..end.unwrap_or(buffered.len())).unwrap_or_default();
        let room = MAX_LINE.saturating_sub(line.len());
        line.extend(part.iter().take(room));
        let used = part.len().saturating_add(usize::from(end.is_some()));
        input.consume(used);
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}
