//! Checks license tokens from the command line, and takes and makes the files of a data plane without
//! a network: one JSON result each.

mod args;
mod lines;
mod output;

use std::fs::{self, OpenOptions};
use std::future::Future;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};

use clap::Parser;
use dp_verifier::{
    BuildError, ErrorCode, ImportError, ImportedFile, LicenseContext, LogKey, LogProof, LogRecord,
    StateRecord, StatusListInfo, Verifier, VerifyError, accept_log, log_record, reset_state,
    state_record, usage_report,
};

use self::args::{Args, Task};
use self::output::print;

fn main() -> ExitCode {
    let args = Args::parse();
    match args.task().map_err(str::to_owned).and_then(|task| run(&args, &task)) {
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            eprintln!("dp-verify: {why}");
            ExitCode::from(2)
        }
    }
}

/// Does what is asked for. Returns the exit status; fails when the command line cannot be used.
fn run(args: &Args, task: &Task<'_>) -> Result<u8, String> {
    if let (Task::Report, Some(state), Some(output)) = (task, &args.state, &args.output) {
        return report(args, state, output);
    }
    if let Task::Proof(file, key) = task {
        let key: LogKey = log_key(key)?.parse().map_err(|why| format!("the log key {why}"))?;
        let proof = key.proof(&read_proof(file)?).map(Accepted::Proof).map_err(Refusal::from);
        let printed = print(&mut io::stdout().lock(), [proof], args.explain);
        return printed.map(|is_good| u8::from(!is_good)).map_err(in_writing);
    }
    let kept = match task {
        Task::Log(state) => Some(Accepted::Log(log_record(state)?)),
        Task::AcceptLog(state, because) => Some(Accepted::Log(accept_log(state, because)?)),
        Task::State(state) => Some(Accepted::State(state_record(state)?)),
        Task::ResetState(state, because) => Some(Accepted::State(reset_state(state, because)?)),
        _ => None,
    };
    if let Some(kept) = kept {
        let printed = print(&mut io::stdout().lock(), [Ok(kept)], args.explain);
        return printed.map(|is_good| u8::from(!is_good)).map_err(in_writing);
    }
    let keys = verifier(args)?.map_err(|error| error.to_string())?;
    if let Err(Refusal { detail, .. }) = &keys {
        eprintln!("dp-verify: {detail}");
    }
    let mut output = BufWriter::new(io::stdout().lock());
    if let (Ok(verifier), Some(list)) = (&keys, &args.status_list)
        && let Err(error) = verifier.import_status_list(&read(list)?)
    {
        let refused = Checked::Err(error.into());
        return print(&mut output, [refused], args.explain).map(|_| 1).map_err(in_writing);
    }
    let proof = args.proof.as_deref().map(read_proof).transpose()?;
    if let (Ok(verifier), Some(_)) = (&keys, &proof)
        && verifier.log_health().is_none()
    {
        return Err("--proof needs --log-key".to_owned());
    }
    let check = |line: &[u8]| check(&keys, args.now, proof.as_deref(), line);
    let printed = match (task, &keys) {
        (Task::Import(file), Ok(verifier)) => {
            let taken = verifier.import(&read(file)?);
            let taken = taken.map(Accepted::File).map_err(Refusal::from);
            print(&mut output, [taken], args.explain)
        }
        (Task::Token(token), _) => {
            print(&mut output, [check(token.as_encoded_bytes())], args.explain)
        }
        (Task::Lines, _) => {
            lines::check_lines(io::stdin().lock(), &mut output, check, args.explain)
        }
        // Of a license file; the others are done already.
        _ => {
            let token = keys.as_ref().ok().and_then(Verifier::bundled_token).unwrap_or_default();
            print(&mut output, [check(token.as_bytes())], args.explain)
        }
    };
    match printed.map_err(in_writing)? {
        _ if keys.is_err_and(|refusal| refusal.code == ErrorCode::KeysUnavailable) => Ok(2),
        all_valid => Ok(u8::from(!all_valid)),
    }
}

fn in_writing(error: io::Error) -> String {
    error.to_string()
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Reads a proof, whose lines may have got other ends on their way.
fn read_proof(path: &Path) -> Result<String, String> {
    let text = read(path)?;
    Ok(format!("{}\n", trimmed(&text).replace("\r\n", "\n")))
}

/// A text without the white space and the byte order mark that editors, shells and mail programs put
/// around it. The verifier itself is strict.
fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// A log's key, which is given itself or as a file.
fn log_key(given: &str) -> Result<String, String> {
    // Base64 has slashes too, but a path has no plus and eight digits.
    match given.parse::<LogKey>() {
        Ok(_) => Ok(given.to_owned()),
        Err(why) if given.contains('+') => Err(format!("the log key {why}")),
        Err(_) => read(Path::new(given)).map(|text| trimmed(&text).to_owned()),
    }
}

/// Makes the next usage report.
fn report(args: &Args, state: &Path, output: &Path) -> Result<u8, String> {
    let failed = |error: io::Error| format!("{}: {error}", output.display());
    // Before the report is made and has used up its number.
    let mut file = OpenOptions::new().write(true).create_new(true).open(output).map_err(failed)?;
    let made = usage_report(state, args.counter.iter().cloned().collect());
    let text = made.map_err(|error| {
        // There is nothing in it.
        drop(fs::remove_file(output));
        error.to_string()
    })?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    println!("{}", serde_json::json!({ "ok": true, "report": output.display().to_string() }));
    Ok(0)
}

/// A verifier, or why there is none. Then every token is refused for that reason, so that there is a
/// result for each all the same.
type Keys = Result<Verifier, Refusal>;

/// Fails when the command line cannot be used.
fn verifier(args: &Args) -> Result<Result<Keys, BuildError>, String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let builder = Verifier::builder().issuer(text(&args.issuer)).audience(text(&args.audience));
    let builder = builder.leeway(args.leeway);
    let builder = match &args.log_key {
        Some(key) => builder.log_key(log_key(key)?),
        None => builder,
    };
    let builder = match (args.require_inclusion, args.allow_unlogged) {
        (true, _) => builder.require_inclusion(),
        (_, true) => builder.allow_unlogged(),
        _ => builder,
    };
    let builder = match args.now {
        Some(now) => builder.clock(move || now),
        None => builder,
    };
    let builder = match &args.state {
        Some(path) => builder.state_path(path),
        None => builder,
    };
    let builder = match (args.task(), &args.file) {
        (Ok(Task::Bundle), Some(path)) => builder.bundle_file(path),
        _ => builder,
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
    let unavailable =
        |detail| Refusal { code: ErrorCode::KeysUnavailable, detail, warnings: Vec::new() };
    Ok(match builder.build() {
        Ok(verifier) => match verifier.keys_health() {
            Some(health) if health.fetched_at.is_none() => {
                let why = health.last_error.unwrap_or_else(|| "there are no keys".to_owned());
                Ok(Err(unavailable(why)))
            }
            _ => Ok(Ok(verifier)),
        },
        Err(BuildError::BundleRefused { error, .. }) => Ok(Err(error.into())),
        Err(
            error @ (BuildError::KeysFile { .. }
            | BuildError::KeySet(_)
            | BuildError::BundleFile { .. }),
        ) => Ok(Err(unavailable(error.to_string()))),
        Err(error) => Err(error),
    })
}

type Checked = Result<Accepted, Refusal>;

enum Accepted {
    License(LicenseContext, Vec<String>),
    File(ImportedFile),
    Proof(LogProof),
    Log(LogRecord),
    State(StateRecord),
}

#[derive(Clone)]
struct Refusal {
    code: ErrorCode,
    detail: String,
    warnings: Vec<String>,
}

impl From<VerifyError> for Refusal {
    fn from(error: VerifyError) -> Self {
        let (code, detail) = (error.code(), error.detail().to_owned());
        Self { code, detail, warnings: Vec::new() }
    }
}

impl From<ImportError> for Refusal {
    fn from(error: ImportError) -> Self {
        let (code, detail) = (error.code(), error.detail().to_owned());
        Self { code, detail, warnings: Vec::new() }
    }
}

fn check(keys: &Keys, now: Option<i64>, proof: Option<&str>, line: &[u8]) -> Checked {
    let verifier = keys.as_ref().map_err(Refusal::clone)?;
    // Text that is no UTF-8 is no token either. An empty text would count as a missing one.
    let token = std::str::from_utf8(line).map_or("\u{fffd}", trimmed);
    if verifier.keys_health().is_some() {
        wait_for(verifier.refresh_status(token));
    }
    if let Some(proof) = proof {
        // What it says of the times is not asked for; a proof that does not hold is.
        match verifier.verify_with_proof(token, proof) {
            Err(error) if error.state().is_none() => return Err(error.into()),
            _ => {}
        }
    }
    let checked = match now {
        Some(now) => verifier.verify_at(token, now),
        None => verifier.verify(token),
    };
    let warnings = verifier.status_lists().iter().filter_map(StatusListInfo::warning).collect();
    match checked {
        Ok(license) => Ok(Accepted::License(license, warnings)),
        Err(error) => Err(Refusal { warnings, ..error.into() }),
    }
}

/// Waits on this thread.
fn wait_for(future: impl Future<Output = ()>) {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    while future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
        thread::park();
    }
}
