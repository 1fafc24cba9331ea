//! The output: one line of JSON for each result, and an explanation in words.

use std::io::{self, Write};

use dp_verifier::{
    ErrorCode, ImportedFile, LicenseContext, LicenseState, LogProof, LogRecord, StateRecord,
};
use serde::Serialize;

use crate::outcome::{Accepted, Checked, Refusal};

/// One line of output.
#[derive(Serialize)]
#[serde(untagged)]
enum Record<'a> {
    Valid {
        ok: bool,
        license: &'a LicenseContext,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        warnings: &'a [String],
    },
    Taken {
        ok: bool,
        file: &'a ImportedFile,
    },
    Logged {
        ok: bool,
        proof: &'a LogProof,
    },
    Log {
        ok: bool,
        log: &'a LogRecord,
    },
    State {
        ok: bool,
        state: &'a StateRecord,
    },
    Refused {
        ok: bool,
        code: ErrorCode,
        detail: &'a str,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        warnings: &'a [String],
    },
}

impl<'a> From<&'a Checked> for Record<'a> {
    fn from(result: &'a Checked) -> Self {
        match result {
            Ok(Accepted::License(license, warnings)) => Self::Valid { ok: true, license, warnings },
            Ok(Accepted::File(file)) => Self::Taken { ok: true, file },
            Ok(Accepted::Proof(proof)) => Self::Logged { ok: true, proof },
            Ok(Accepted::Log(log)) => Self::Log { ok: log.anomaly.is_none(), log },
            Ok(Accepted::State(state)) => Self::State { ok: true, state },
            Err(Refusal { code, detail, warnings }) => {
                Self::Refused { ok: false, code: *code, detail, warnings }
            }
        }
    }
}

/// Prints one result per line. Returns whether all results are good.
pub(crate) fn print(
    output: &mut impl Write,
    results: impl IntoIterator<Item = Checked>,
    explain: bool,
) -> io::Result<bool> {
    let mut all_valid = true;
    for result in results {
        all_valid &= match &result {
            Ok(Accepted::Log(log)) => log.anomaly.is_none(),
            result => result.is_ok(),
        };
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
    let (license, warnings) = match result {
        Ok(Accepted::License(license, warnings)) => (license, warnings),
        Ok(Accepted::File(file)) => {
            let what = if file.has_token { "A new license token" } else { "No new license token" };
            let list = match file.status_list {
                Some(_) if file.holds_newer_list => "a status list that is older than the held one",
                Some(_) => "a status list",
                None => "no status list",
            };
            return format!("File {} is imported. {what}, new keys, {list}.", file.seq);
        }
        Ok(Accepted::Proof(proof)) => {
            return format!(
                "{} at {} is entry {} of a log of {} entries.",
                proof.action(),
                proof.at(),
                proof.index(),
                proof.checkpoint().size(),
            );
        }
        Ok(Accepted::Log(log)) => return of_log(log),
        Ok(Accepted::State(state)) => return of_state(state),
        Err(Refusal { code, detail, warnings }) => {
            return format!("Refused ({code}): {detail}. {}{}", code.advice(), warned(warnings));
        }
    };
    let state = match license.state() {
        LicenseState::Valid => "Valid",
        LicenseState::Expiring => "Valid, but expires soon: ask for a new license token",
        LicenseState::Grace => "Expired and in its grace period: ask for a new license token now",
        LicenseState::Stale => {
            "Valid, but there is no recent status list: let this machine reach the control plane, or \
             import a license file"
        }
        LicenseState::LogAnomaly => {
            "Valid, but the issuer's log contradicts its seen history: ask the vendor, and keep the \
             state file"
        }
        LicenseState::ClockAnomaly => "Valid, but this machine's clock is behind: set it",
        other => other.as_str(),
    };
    format!(
        "{state}. {} for {} of {}, {} seats.{}",
        license.plan().name,
        license.deployment().name,
        license.organization().name,
        license.seat_cap(),
        warned(warnings),
    )
}

fn warned(warnings: &[String]) -> String {
    warnings.iter().map(|warning| format!(" Warning: {warning}.")).collect()
}

fn of_state(state: &StateRecord) -> String {
    let file = match &state.file {
        Some(file) => format!("File {} is the newest.", file.seq),
        None => "No license file is imported.".to_owned(),
    };
    let keys = match state.withdrawn_keys.len() {
        0 => String::new(),
        count => format!(" {count} keys are withdrawn."),
    };
    state.former.iter().fold(format!("{file}{keys}"), |text, former| {
        format!("{text} Reset at {}: {}.", former.until, former.because)
    })
}

fn of_log(log: &LogRecord) -> String {
    let kept = match (log.size, &log.anomaly) {
        (None, _) => "The state file has no log.".to_owned(),
        (Some(size), None) => format!("The log had {size} entries when it was last seen."),
        (Some(size), Some(anomaly)) => format!(
            "The log had {size} entries when it was last seen, and now contradicts that ({}). {} After \
             the vendor's explanation, accept the log with `dp-verify log accept`.",
            anomaly.code,
            anomaly.code.advice(),
        ),
    };
    log.former.iter().fold(kept, |text, former| {
        format!("{text} An earlier log was in use until {}: {}.", former.until, former.because)
    })
}
