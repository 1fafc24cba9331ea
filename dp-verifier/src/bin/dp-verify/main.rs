//! The command `dp-verify`: checks license tokens, and handles the files of a data plane without a
//! network.

mod args;
mod check;
mod commands;
mod input;
mod lines;
mod outcome;
mod output;

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use dp_verifier::cp_contracts::PoolUsage;
use dp_verifier::{
    ErrorCode, LogKey, Verifier, accept_log, log_record, reset_state, state_record,
    write_usage_report,
};
use serde_json::Number;

use self::args::Task;
use self::check::{check, verifier};
use self::commands::Options;
use self::input::{log_key, read, read_proof};
use self::outcome::{Accepted, Checked, Refusal};
use self::output::print;

fn main() -> ExitCode {
    match args::read().and_then(|(task, options)| run(task, &options)) {
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            eprintln!("dp-verify: {why}");
            ExitCode::from(2)
        }
    }
}

/// Runs a task. Returns the exit status. Fails when the command line, the keys or a file are
/// unusable.
fn run(task: Task, options: &Options) -> Result<u8, String> {
    let result = match task {
        Task::Token(_) | Task::Lines | Task::Bundle(_) | Task::Import(_) => {
            return check_all(&task, options);
        }
        Task::Report { state, output, counters, pools } => {
            return report(&state, &output, counters, pools);
        }
        Task::Proof { file, key } => {
            let key: LogKey = log_key(&key)?.parse().map_err(|why| format!("the log key {why}"))?;
            key.proof(&read_proof(&file)?).map(Accepted::Proof).map_err(Refusal::from)
        }
        Task::Log { state } => Ok(Accepted::Log(log_record(&state)?)),
        Task::AcceptLog { state, because } => Ok(Accepted::Log(accept_log(&state, &because)?)),
        Task::State { state } => Ok(Accepted::State(state_record(&state)?)),
        Task::ResetState { state, because } => Ok(Accepted::State(reset_state(&state, &because)?)),
    };
    let printed = print(&mut io::stdout().lock(), [result], options.explain);
    printed.map(|is_good| u8::from(!is_good)).map_err(in_writing)
}

/// Checks tokens, or imports a license file.
fn check_all(task: &Task, options: &Options) -> Result<u8, String> {
    let bundle = match task {
        Task::Bundle(file) => Some(file.as_path()),
        _ => None,
    };
    let keys = verifier(options, bundle)?.map_err(|error| error.to_string())?;
    if let Err(Refusal { detail, .. }) = &keys {
        eprintln!("dp-verify: {detail}");
    }
    let mut output = BufWriter::new(io::stdout().lock());
    if let (Ok(verifier), Some(list)) = (&keys, &options.status_list)
        && let Err(error) = verifier.import_status_list(&read(list)?)
    {
        let refused = Checked::Err(error.into());
        return print(&mut output, [refused], options.explain).map(|_| 1).map_err(in_writing);
    }
    let proof = options.proof.as_deref().map(read_proof).transpose()?;
    if let (Ok(verifier), Some(_)) = (&keys, &proof)
        && verifier.log_health().is_none()
    {
        return Err("--proof requires --log-key".to_owned());
    }
    let check = |line: &[u8]| check(&keys, options.now, proof.as_deref(), line);
    let printed = match (task, &keys) {
        (Task::Import(file), Ok(verifier)) => {
            let text = match read(file) {
                Ok(text) => text,
                Err(why) => return unreadable(&mut output, why, options),
            };
            let taken = verifier.import(&text).map(Accepted::File).map_err(Refusal::from);
            print(&mut output, [taken], options.explain)
        }
        (Task::Token(token), _) => {
            print(&mut output, [check(token.as_encoded_bytes())], options.explain)
        }
        (Task::Lines, _) => {
            lines::check_lines(io::stdin().lock(), &mut output, check, options.explain)
        }
        // The token of a license file; or no file can be imported without keys.
        _ => {
            let token = keys.as_ref().ok().and_then(Verifier::bundled_token).unwrap_or_default();
            print(&mut output, [check(token.as_bytes())], options.explain)
        }
    };
    match printed.map_err(in_writing)? {
        _ if keys.is_err_and(|refusal| refusal.code == ErrorCode::KeysUnavailable) => Ok(2),
        all_valid => Ok(u8::from(!all_valid)),
    }
}

/// Refuses a license file that cannot be read, as `bundle` does.
fn unreadable(output: &mut impl Write, why: String, options: &Options) -> Result<u8, String> {
    let detail = format!("the license file {why}");
    eprintln!("dp-verify: {detail}");
    let code = ErrorCode::KeysUnavailable;
    let refused = Checked::Err(Refusal { code, detail, warnings: Vec::new() });
    print(output, [refused], options.explain).map(|_| 2).map_err(in_writing)
}

fn in_writing(error: io::Error) -> String {
    error.to_string()
}

/// Writes the next usage report.
fn report(
    state: &Path,
    output: &Path,
    counters: Vec<(String, Number)>,
    pools: Vec<(String, PoolUsage)>,
) -> Result<u8, String> {
    let (counters, pools) = (counters.into_iter().collect(), pools.into_iter().collect());
    write_usage_report(state, output, counters, pools).map_err(|error| error.to_string())?;
    println!("{}", serde_json::json!({ "ok": true, "report": output.display().to_string() }));
    Ok(0)
}
