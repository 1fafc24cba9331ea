//! Checks license tokens from the command line: one JSON result per token.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use dp_verifier::{
    BuildError, Clock, ErrorCode, LicenseContext, LicenseState, SystemClock, Verifier,
};
use serde::Serialize;

/// Check license tokens against the issuer's published keys.
///
/// One JSON object is printed per token, in order:
///   {"ok":true,"license":{"state":"valid",…}}
///   {"ok":false,"code":"expired","detail":"expired 12 s ago"}
///
/// Exit status: 0 when every token is valid, 1 when one or more are refused, 2 when the command
/// line or the keys cannot be used; without keys, every token is refused as keys_unavailable.
#[derive(Parser)]
#[command(name = "dp-verify", version, verbatim_doc_comment, after_help = EXAMPLES)]
struct Args {
    /// The token; `-` or nothing reads tokens from standard input, one per line.
    token: Option<OsString>,

    /// After the word `bundle`: a bundle file, whose token is checked with --jwks, else with the
    /// keys in the file, which then is to be trusted like a key set.
    #[arg(value_name = "BUNDLE_FILE")]
    bundle: Option<PathBuf>,

    /// The issuer's key set (JWKS): a file, or an https URL (http on this machine).
    #[arg(long, value_name = "FILE|URL", required_unless_present = "bundle")]
    jwks: Option<String>,

    /// The authority behind the key set's URL, as a PEM file, instead of the public ones.
    #[arg(long, value_name = "FILE", requires = "jwks")]
    ca: Option<PathBuf>,

    /// The issuer that tokens must name, exactly: the control plane's base URL.
    #[arg(long)]
    issuer: String,

    /// The audience that tokens must name, exactly.
    #[arg(long)]
    audience: String,

    /// Judge as if it were this time, in seconds since 1970, instead of now.
    #[arg(long, value_name = "UNIX", allow_negative_numbers = true)]
    now: Option<i64>,

    /// By how many seconds the clocks may differ, up to 300.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    leeway: u32,

    /// Say on standard error, in words, how each license stands, or why the token is refused and what
    /// to do about it.
    #[arg(long)]
    explain: bool,
}

const EXAMPLES: &str = "Examples:
  dp-verify --jwks jwks.json --issuer https://cp.example --audience data-plane \"$LICENSE_TOKEN\"
  dp-verify --jwks https://cp.example/.well-known/jwks.json --issuer https://cp.example \\
      --audience data-plane --explain - < tokens.txt
  dp-verify --issuer https://cp.example --audience data-plane bundle license.json";

/// Lines are cut a little above the verifier's limit, so that no input fills the memory.
const MAX_LINE: usize = 17 * 1024;

/// How much of the input is read ahead, in bytes: enough lines to keep all processors busy.
const INPUT_BUFFER: usize = 1024 * 1024;

/// How many lines are checked together, spread over the processors.
const MAX_BATCH: usize = 4_096;

fn main() -> ExitCode {
    let args = Args::parse();
    if args.bundle.is_some() && args.token.as_ref().is_none_or(|word| word != "bundle") {
        eprintln!("dp-verify: there is more than one token; give many on standard input");
        return ExitCode::from(2);
    }
    let keys = match verifier(&args) {
        Ok(keys) => keys,
        Err(why) => {
            eprintln!("dp-verify: {why}");
            return ExitCode::from(2);
        }
    };
    if let Err(why) = &keys {
        eprintln!("dp-verify: {why}");
    }
    let check = |line: &[u8]| check(&keys, args.now, line);
    let mut output = BufWriter::new(io::stdout().lock());
    let printed = match (&args.token, &args.bundle) {
        (_, Some(_)) => {
            let token = keys.as_ref().ok().and_then(Verifier::bundled_token).unwrap_or_default();
            print(&mut output, [check(token.as_bytes())], args.explain)
        }
        (Some(token), None) if token != "-" => {
            print(&mut output, [check(token.as_encoded_bytes())], args.explain)
        }
        _ => {
            let input = BufReader::with_capacity(INPUT_BUFFER, io::stdin().lock());
            check_lines(input, &mut output, check, args.explain)
        }
    };
    match printed {
        Ok(_) if keys.is_err() => ExitCode::from(2),
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("dp-verify: {error}");
            ExitCode::from(2)
        }
    }
}

/// A verifier, or why the keys cannot be used. Then every token is refused for that reason, so that
/// there is a result for each all the same.
type Keys = Result<Verifier, String>;

/// Fails when the command line cannot be used.
fn verifier(args: &Args) -> Result<Keys, BuildError> {
    let builder =
        Verifier::builder().issuer(&args.issuer).audience(&args.audience).leeway(args.leeway);
    let builder = match &args.bundle {
        Some(path) => builder.bundle_file(path),
        None => builder,
    };
    let builder = match &args.jwks {
        Some(url) if url.starts_with("https://") || url.starts_with("http://") => {
            builder.jwks_url(url)
        }
        Some(path) => builder.jwks_file(path),
        None => builder,
    };
    let builder = match &args.ca {
        Some(path) => builder.jwks_ca_file(path),
        None => builder,
    };
    match builder.build() {
        Ok(verifier) => match verifier.keys_health() {
            Some(health) if health.fetched_at.is_none() => {
                Ok(Err(health.last_error.unwrap_or_else(|| "there are no keys".to_owned())))
            }
            _ => Ok(Ok(verifier)),
        },
        Err(
            error @ (BuildError::KeysFile { .. }
            | BuildError::KeySet(_)
            | BuildError::BundleFile { .. }),
        ) => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}

type Checked = Result<LicenseContext, Refusal>;

struct Refusal {
    code: ErrorCode,
    detail: String,
}

fn check(keys: &Keys, now: Option<i64>, line: &[u8]) -> Checked {
    let verifier = keys
        .as_ref()
        .map_err(|why| Refusal { code: ErrorCode::KeysUnavailable, detail: why.clone() })?;
    // Text that is no UTF-8 is no token either. An empty text would count as a missing one.
    let token = std::str::from_utf8(line).unwrap_or("\u{fffd}");
    let checked = verifier.verify_at(token, now.unwrap_or_else(|| SystemClock.now()));
    checked.map_err(|error| Refusal { code: error.code(), detail: error.detail().to_owned() })
}

/// One line of output.
#[derive(Serialize)]
#[serde(untagged)]
enum Record<'a> {
    Valid { ok: bool, license: &'a LicenseContext },
    Refused { ok: bool, code: ErrorCode, detail: &'a str },
}

impl<'a> From<&'a Checked> for Record<'a> {
    fn from(result: &'a Checked) -> Self {
        match result {
            Ok(license) => Self::Valid { ok: true, license },
            Err(Refusal { code, detail }) => Self::Refused { ok: false, code: *code, detail },
        }
    }
}

/// Checks every line of the input. Returns whether all tokens are valid.
fn check_lines(
    mut input: BufReader<impl Read>,
    output: &mut impl Write,
    check: impl Fn(&[u8]) -> Checked + Sync,
    explain: bool,
) -> io::Result<bool> {
    let mut all_valid = true;
    let mut progress = Progress::start(explain);
    loop {
        let batch = read_batch(&mut input)?;
        if batch.is_empty() {
            progress.end();
            return Ok(all_valid);
        }
        let results = check_batch(&batch, &check);
        progress.add(&results);
        all_valid &= print(output, results, explain)?;
    }
}

/// A line on the terminal that tells how far it has come.
struct Progress {
    is_shown: bool,
    checked: usize,
    refused: usize,
    started: Instant,
    shown: Instant,
}

impl Progress {
    /// Shown only on a terminal where nothing else is written.
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

/// Checks lines on all processors, and keeps their order.
fn check_batch(batch: &[Vec<u8>], check: &(impl Fn(&[u8]) -> Checked + Sync)) -> Vec<Checked> {
    let workers = thread::available_parallelism().map_or(1, |workers| workers.get());
    // Below this, starting threads costs more than it saves.
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

/// Reads a line, and those after it that have arrived already, so that a slow writer sees each
/// result at once.
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

/// Reads up to the next `\n`, which alone is taken off; `None` at the end. The rest of an overlong
/// line is dropped: its beginning is refused for its length.
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

/// Prints one result per line. Returns whether all are valid.
fn print(
    output: &mut impl Write,
    results: impl IntoIterator<Item = Checked>,
    explain: bool,
) -> io::Result<bool> {
    let mut all_valid = true;
    for result in results {
        all_valid &= result.is_ok();
        serde_json::to_writer(&mut *output, &Record::from(&result))?;
        output.write_all(b"\n")?;
        if explain {
            output.flush()?;
            eprintln!("{}", in_words(&result));
        }
    }
    output.flush()?;
    Ok(all_valid)
}

fn in_words(result: &Checked) -> String {
    match result {
        Ok(license) => {
            let state = match license.state() {
                LicenseState::Valid => "Valid",
                LicenseState::Expiring => "Valid, but expires soon: ask for a new license token",
                LicenseState::Grace => {
                    "Expired and in its time of grace: ask for a new license token now"
                }
                other => other.as_str(),
            };
            format!(
                "{state}. {} for {} of {}, {} seats.",
                license.plan().name,
                license.deployment().name,
                license.organization().name,
                license.seat_cap(),
            )
        }
        Err(Refusal { code, detail }) => format!("Refused ({code}): {detail}. {}", code.advice()),
    }
}
