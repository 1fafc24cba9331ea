//! The commands and options, with their help.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, Args, CommandFactory, Parser, Subcommand};
use dp_verifier::cp_contracts::PoolUsage;
use serde_json::Number;

/// Check license tokens and license files; write usage reports for a data plane without a network
#[derive(Parser)]
#[command(name = "dp-verify", version, after_help = OUTPUT, term_width = 100)]
#[command(override_usage = "\
dp-verify --issuer <ISSUER> --audience <AUDIENCE> [OPTIONS] [TOKEN]
       dp-verify <COMMAND> [OPTIONS]")]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// The token; `-` or no token reads standard input, one token per line
    pub(crate) token: Option<OsString>,

    #[command(flatten)]
    pub(crate) options: Options,

    #[command(flatten)]
    pub(crate) early: EarlyOptions,
}

const OUTPUT: &str = "\
Output: one JSON object per token, {\"ok\":true,\"license\":{…}} or {\"ok\":false,\"code\":\"…\",\"detail\":\"…\"}
Exit status: 0 all valid; 1 some refused; 2 command line, keys or state file unusable

Example:
  dp-verify --jwks jwks.json --issuer https://cp.example --audience app \"$LICENSE_TOKEN\"";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Check the token of a license file, and store the file's keys and status list
    #[command(after_help = BUNDLE, override_usage = BUNDLE_USAGE)]
    Bundle(LicenseFile),

    /// Store the keys and the status list of a license file in the state file
    #[command(after_help = IMPORT, override_usage = IMPORT_USAGE)]
    Import(LicenseFile),

    /// Check a proof that a token is in the issuer's log
    #[command(after_help = PROOF, override_usage = PROOF_USAGE)]
    Proof {
        /// The proof (`.tlog-proof`)
        file: PathBuf,
    },

    /// Show what the state file stores about the issuer's log
    #[command(disable_help_subcommand = true, after_help = LOG, override_usage = LOG_USAGE)]
    Log {
        #[command(subcommand)]
        command: Option<LogCommand>,
    },

    /// Show what else the state file stores
    #[command(disable_help_subcommand = true, after_help = STATE, override_usage = STATE_USAGE)]
    State {
        #[command(subcommand)]
        command: Option<StateCommand>,
    },

    /// Write the next usage report
    #[command(after_help = REPORT, override_usage = REPORT_USAGE)]
    Report(Report),
}

#[derive(Args)]
pub(crate) struct LicenseFile {
    /// The license file
    pub(crate) file: PathBuf,
}

#[derive(Subcommand)]
pub(crate) enum LogCommand {
    /// Accept a log that contradicts itself, and follow it from its next checkpoint
    #[command(after_help = ACCEPT, override_usage = ACCEPT_USAGE)]
    Accept(Reason),
}

#[derive(Subcommand)]
pub(crate) enum StateCommand {
    /// Forget keys, status lists, license files and the time
    #[command(after_help = RESET, override_usage = RESET_USAGE)]
    Reset(Reason),
}

#[derive(Args)]
pub(crate) struct Reason {
    /// The reason, which the state file keeps
    #[arg(long, value_name = "REASON")]
    pub(crate) because: Option<String>,
}

#[derive(Args)]
pub(crate) struct Report {
    /// A counter of the report, once for each metric
    #[arg(long, value_name = "NAME=VALUE", value_parser = counter)]
    pub(crate) counter: Vec<(String, Number)>,

    /// The use of a pool of seats: the peak, and the number of refused holders
    #[arg(long, value_name = "NAME=PEAK,REFUSED", value_parser = pool)]
    pub(crate) pool: Vec<(String, PoolUsage)>,

    /// The report file, which must not exist yet
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// The options of one command, where they stand before the command.
#[derive(Args)]
pub(crate) struct EarlyOptions {
    #[arg(long = "because", hide = true)]
    pub(crate) early_because: Option<String>,

    #[arg(long = "counter", value_parser = counter, hide = true)]
    pub(crate) early_counter: Vec<(String, Number)>,

    #[arg(long = "pool", value_parser = pool, hide = true)]
    pub(crate) early_pool: Vec<(String, PoolUsage)>,

    #[arg(short = 'o', long = "output", hide = true)]
    pub(crate) early_output: Option<PathBuf>,
}

/// The options of all commands, before the command or after it.
#[derive(Args)]
pub(crate) struct Options {
    /// The issuer's key set (JWKS): a file, or an https URL (http on loopback)
    #[arg(long, global = true, value_name = "FILE|URL")]
    pub(crate) jwks: Option<String>,

    /// The only certificate authorities to trust for the --jwks URL, in PEM
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// The issuer that tokens must name exactly: the control plane's base URL
    #[arg(long, global = true)]
    pub(crate) issuer: Option<String>,

    /// The audience that tokens must name exactly
    #[arg(long, global = true)]
    pub(crate) audience: Option<String>,

    /// The state file, which keeps keys, status lists and numbers of files
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,

    /// A status list token, imported before the check
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) status_list: Option<PathBuf>,

    /// The public key of the issuer's log: every token then needs a proof
    #[arg(long, global = true, value_name = "KEY|FILE")]
    pub(crate) log_key: Option<String>,

    /// Fail unless the log key is known, from --log-key or the state file
    #[arg(long, global = true)]
    pub(crate) require_inclusion: bool,

    /// Accept tokens without a proof although the log key is known
    #[arg(long, global = true)]
    pub(crate) allow_unlogged: bool,

    /// The proof (`.tlog-proof`) of the one token to check
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) proof: Option<PathBuf>,

    /// The time of the check, in seconds since 1970, instead of now
    #[arg(long, global = true, value_name = "UNIX", allow_negative_numbers = true)]
    pub(crate) now: Option<i64>,

    /// The allowed difference between clocks, up to 300
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) leeway: u32,

    /// Also explain each result in words, on standard error
    #[arg(long, global = true)]
    pub(crate) explain: bool,
}

/// The options that matter for a check, by name.
const CHECK: &[&str] = &[
    "jwks",
    "ca",
    "issuer",
    "audience",
    "state",
    "status_list",
    "log_key",
    "require_inclusion",
    "allow_unlogged",
    "proof",
    "now",
    "leeway",
    "explain",
];

const BUNDLE_USAGE: &str =
    "dp-verify bundle --issuer <ISSUER> --audience <AUDIENCE> [OPTIONS] <FILE>";

const BUNDLE: &str = "\
Without --jwks, the key that signed the file must come from an earlier file in the state file.
The first file is trusted as it is.

Example:
  dp-verify bundle license.lic --issuer https://cp.example --audience app --state state.json";

const IMPORT_USAGE: &str =
    "dp-verify import --issuer <ISSUER> --audience <AUDIENCE> --state <FILE> [OPTIONS] <FILE>";

const IMPORT: &str = "\
Without --jwks, the key that signed the file must come from an earlier file in the state file.
The first file is trusted as it is. A file that is older than an imported one is refused.

Example:
  dp-verify import refresh.lic --issuer https://cp.example --audience app --state state.json";

const PROOF_USAGE: &str = "dp-verify proof --log-key <KEY|FILE> [OPTIONS] <FILE>";

const PROOF: &str = "\
Example:
  dp-verify proof license.tlog-proof --log-key log.pub";

const LOG_USAGE: &str = "\
dp-verify log --state <FILE> [OPTIONS]
       dp-verify log accept --state <FILE> --because <REASON> [OPTIONS]";

const LOG: &str = "\
Exit status 1: the log contradicts what the state file stores. The output has the evidence.

Example:
  dp-verify log --state state.json --explain";

const ACCEPT_USAGE: &str = "dp-verify log accept --state <FILE> --because <REASON> [OPTIONS]";

const ACCEPT: &str = "\
The state file keeps the evidence and the reason.

Example:
  dp-verify log accept --state state.json --because 'the vendor restored a backup'";

const STATE_USAGE: &str = "\
dp-verify state --state <FILE> [OPTIONS]
       dp-verify state reset --state <FILE> --because <REASON> [OPTIONS]";

const STATE: &str = "\
Example:
  dp-verify state --state state.json --explain";

const RESET_USAGE: &str = "dp-verify state reset --state <FILE> --because <REASON> [OPTIONS]";

const RESET: &str = "\
Use it after a wrong document was imported. The log and the numbers of usage reports stay.
The state file keeps the reason and what it has forgotten, under `former`.

Example:
  dp-verify state reset --state state.json --because 'file 7 has a wrong number'";

const REPORT_USAGE: &str = "dp-verify report --state <FILE> --output <FILE> [OPTIONS]";

const REPORT: &str = "\
Example:
  dp-verify report --state state.json --counter api_calls=120 --pool render=12,3 -o report.json";

/// The commands, each with the options that matter for it in its help. It accepts the others too,
/// so that one set of options fits all commands.
pub(crate) fn commands() -> clap::Command {
    let line = CommandLine::command();
    let global = line.get_arguments().filter(|option| option.is_global_set());
    let global: Vec<Arg> = global.cloned().collect();
    let showing = |command: clap::Command, shown: &[&str]| {
        let options = global.iter().cloned().map(|option| {
            let is_hidden = !shown.contains(&option.get_id().as_str());
            option.hide(is_hidden)
        });
        command.args(options)
    };
    let stored = ["state", "explain"];
    line.mut_subcommand("bundle", |command| showing(command, CHECK))
        .mut_subcommand("import", |command| {
            let shown = CHECK.iter().copied().filter(|option| *option != "proof");
            showing(command, &shown.collect::<Vec<_>>())
        })
        .mut_subcommand("proof", |command| showing(command, &["log_key", "explain"]))
        .mut_subcommand("log", |command| {
            let command = command.mut_subcommand("accept", |command| showing(command, &stored));
            showing(command, &stored)
        })
        .mut_subcommand("state", |command| {
            let command = command.mut_subcommand("reset", |command| showing(command, &stored));
            showing(command, &stored)
        })
        .mut_subcommand("report", |command| showing(command, &["state"]))
}

fn counter(text: &str) -> Result<(String, Number), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    let number: Number = value.parse().map_err(|_| format!("{value:?} is not a number"))?;
    if !is_exact(value, &number) {
        return Err(format!(
            "{value:?} has more digits than a report can contain; it has 15 exactly"
        ));
    }
    match name {
        "" => Err("the name is missing".to_owned()),
        name => Ok((name.to_owned(), number)),
    }
}

/// Returns whether a number still has the value of its text. A report contains doubles and integers
/// of 64 bits, and bills must not be rounded.
fn is_exact(text: &str, number: &Number) -> bool {
    decimal(text).is_some_and(|written| Some(written) == decimal(&number.to_string()))
}

/// Returns the significant digits of a JSON number, and the power of ten of the last one. Ignores
/// the sign.
fn decimal(text: &str) -> Option<(String, i64)> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse().ok()?),
        None => (text, 0_i64),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some((String::new(), 0));
    }
    let places = i64::try_from(fraction.len()).ok()?;
    let zeros = i64::try_from(digits.len().checked_sub(significant.len())?).ok()?;
    let power = exponent.checked_sub(places)?.checked_add(zeros)?;
    Some((significant.to_owned(), power))
}

fn pool(text: &str) -> Result<(String, PoolUsage), String> {
    let (name, numbers) = text.split_once('=').ok_or("must be NAME=PEAK,REFUSED")?;
    let (peak, refused) = numbers.split_once(',').ok_or("must be NAME=PEAK,REFUSED")?;
    let number = |text: &str| {
        text.parse::<u32>().map(i64::from).map_err(|_| format!("{text:?} is not a number"))
    };
    let usage =
        PoolUsage { peak: number(peak)?, refused: number(refused)?, ..PoolUsage::default() };
    match name {
        "" => Err("the name is missing".to_owned()),
        name => Ok((name.to_owned(), usage)),
    }
}
