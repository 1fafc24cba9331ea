//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::Number;

/// Check license tokens against the issuer's published keys, and carry license files to and usage
/// reports from a data plane without a network.
///
/// One JSON object is printed per token or file, in order:
///   {"ok":true,"license":{"state":"valid",…}}
///   {"ok":true,"file":{"seq":2,…}}
///   {"ok":true,"proof":{"index":17,…}}
///   {"ok":true,"log":{"size":4711,…}}
///   {"ok":true,"state":{"withdrawn_keys":[],…}}
///   {"ok":false,"code":"expired","detail":"expired 12 s ago"}
///
/// With a --jwks URL, a line also has "warnings" when there is something that the operator should know,
/// such as that the published status list is older than the one held.
///
/// Exit status: 0 when every token is valid and the file was taken, 1 when one or more are refused,
/// 2 when the command line, the keys or the state file cannot be used; without keys, every token is
/// refused as keys_unavailable.
#[derive(Parser)]
#[command(name = "dp-verify", version, verbatim_doc_comment, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The token; `-` or nothing reads tokens from standard input, one per line. White space and a byte
    /// order mark around a token or a file are trimmed, and empty lines at the end do not count. Or one of the words
    /// `bundle` (check the token of a license file), `import` (take a license file into the state
    /// file), `proof` (check a proof that a token is in the issuer's log, by --log-key alone), `log`
    /// (tell what the state file keeps of that log; refused with the evidence when it contradicts
    /// itself), `state` (tell what else the state file keeps) and `report` (make the next usage
    /// report).
    #[arg(value_name = "TOKEN|bundle|import|proof|log|state|report")]
    pub(crate) word: Option<OsString>,

    /// The license file of `bundle` and `import`, or the file of `proof`. Without --jwks a license
    /// file must be signed by a key that an earlier file in the state file has led to; the first file
    /// is trusted as it is. For `log` the word `accept`: begin anew with a log that contradicts itself;
    /// the evidence is kept beside. For `state` the word `reset`: begin anew with keys, status lists,
    /// license files and the time, after a wrong document was taken; the log stays, and what was kept
    /// is kept beside.
    #[arg(value_name = "FILE|accept|reset")]
    pub(crate) file: Option<PathBuf>,

    /// The issuer's key set (JWKS): a file, or an https URL (http on this machine).
    #[arg(long, value_name = "FILE|URL")]
    pub(crate) jwks: Option<String>,

    /// The authority behind the key set's URL, as a PEM file, instead of the public ones.
    #[arg(long, value_name = "FILE", requires = "jwks")]
    pub(crate) ca: Option<PathBuf>,

    /// The issuer that tokens must name, exactly: the control plane's base URL.
    #[arg(long)]
    pub(crate) issuer: Option<String>,

    /// The audience that tokens must name, exactly.
    #[arg(long)]
    pub(crate) audience: Option<String>,

    /// The file that remembers keys, status lists and the numbers of files and reports, so that
    /// older ones are refused; made when there is none.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,

    /// A status list token, in a file, to be taken before anything is checked.
    #[arg(long, value_name = "FILE")]
    pub(crate) status_list: Option<PathBuf>,

    /// The public key of the issuer's log, `<origin>+<key id>+<base64>`, or a file with it. From then
    /// on, also without it when the state file is the same, every token that is not proved to be in
    /// the log is refused. With a --jwks URL, proofs are fetched and the log is watched.
    #[arg(long, value_name = "KEY|FILE")]
    pub(crate) log_key: Option<String>,

    /// Fail when the key of the issuer's log is not known, by --log-key or the state file. When it is,
    /// proofs are required anyway.
    #[arg(long)]
    pub(crate) require_inclusion: bool,

    /// Take tokens also without the proof that they are in the issuer's log, although its key is known.
    #[arg(long, conflicts_with = "require_inclusion")]
    pub(crate) allow_unlogged: bool,

    /// The proof (`.tlog-proof`) of the one token that is checked.
    #[arg(long, value_name = "FILE")]
    pub(crate) proof: Option<PathBuf>,

    /// Why `log accept` or `state reset` may begin anew; it is kept in the state file.
    #[arg(long, value_name = "REASON", requires = "state")]
    pub(crate) because: Option<String>,

    /// A counter of the usage report, once for each metric.
    #[arg(long, value_name = "NAME=VALUE", value_parser = counter, requires = "output")]
    pub(crate) counter: Vec<(String, Number)>,

    /// Where `report` writes the usage report; the file must not be there yet.
    #[arg(short, long, value_name = "FILE", requires = "state")]
    pub(crate) output: Option<PathBuf>,

    /// Judge as if it were this time, in seconds since 1970, instead of now.
    #[arg(long, value_name = "UNIX", allow_negative_numbers = true)]
    pub(crate) now: Option<i64>,

    /// By how many seconds the clocks may differ, up to 300.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) leeway: u32,

    /// Say on standard error, in words, how each license stands, or why the token is refused and what
    /// to do about it.
    #[arg(long)]
    pub(crate) explain: bool,
}

const EXAMPLES: &str = "Examples:
  dp-verify --jwks jwks.json --issuer https://cp.example --audience data-plane \"$LICENSE_TOKEN\"
  dp-verify --jwks https://cp.example/.well-known/jwks.json --issuer https://cp.example \\
      --audience data-plane --explain - < tokens.txt
  dp-verify --issuer https://cp.example --audience data-plane --state state.json bundle license.lic
  dp-verify --issuer https://cp.example --audience data-plane --state state.json import refresh.lic
  dp-verify --log-key log.pub proof license.tlog-proof
  dp-verify --state state.json --explain log
  dp-verify --state state.json --because 'backup restored' log accept
  dp-verify --state state.json --because 'file 7 was numbered wrongly' state reset
  dp-verify --state state.json --counter api_calls=120 --counter hours=1.5 -o report.json report";

/// What is to be done.
pub(crate) enum Task<'a> {
    /// Check one token.
    Token(&'a OsString),
    /// Check the tokens on standard input.
    Lines,
    /// Check the token of a license file.
    Bundle,
    /// Take a license file.
    Import(&'a PathBuf),
    /// Check a proof.
    Proof(&'a PathBuf, &'a str),
    /// Tell what is kept of the issuer's log.
    Log(&'a PathBuf),
    /// Begin anew with the log, for this reason.
    AcceptLog(&'a PathBuf, &'a str),
    /// Tell what else is kept.
    State(&'a PathBuf),
    /// Begin anew with everything but the log, for this reason.
    ResetState(&'a PathBuf, &'a str),
    /// Make a usage report.
    Report,
}

impl Args {
    /// The task, or why the words do not make sense together.
    pub(crate) fn task(&self) -> Result<Task<'_>, &'static str> {
        let word = self.word.as_ref();
        let is_of_tokens = !matches!(
            word.and_then(|word| word.to_str()),
            Some("proof" | "log" | "state" | "report")
        );
        if is_of_tokens && (self.issuer.is_none() || self.audience.is_none()) {
            return Err("--issuer and --audience are needed: what tokens must name");
        }
        match (word.and_then(|word| word.to_str()), &self.file) {
            (Some("bundle"), Some(_)) => Ok(Task::Bundle),
            (Some("import"), Some(_)) if self.state.is_none() => {
                Err("`import` needs --state: what would take the file otherwise?")
            }
            (Some("import"), Some(file)) => Ok(Task::Import(file)),
            (Some("proof"), Some(file)) => match &self.log_key {
                Some(key) => Ok(Task::Proof(file, key)),
                None => Err("`proof` needs --log-key"),
            },
            (Some("proof"), None) => Err("the file with the proof is missing"),
            (Some("log"), file) => match (&self.state, file, &self.because) {
                (None, ..) => Err("`log` needs --state"),
                (Some(state), None, None) => Ok(Task::Log(state)),
                (Some(state), Some(verb), Some(because)) if *verb == Path::new("accept") => {
                    Ok(Task::AcceptLog(state, because))
                }
                _ => Err("it is `log`, or `--because REASON log accept`"),
            },
            (Some("state"), file) => match (&self.state, file, &self.because) {
                (None, ..) => Err("`state` needs --state"),
                (Some(state), None, None) => Ok(Task::State(state)),
                (Some(state), Some(verb), Some(because)) if *verb == Path::new("reset") => {
                    Ok(Task::ResetState(state, because))
                }
                _ => Err("it is `state`, or `--because REASON state reset`"),
            },
            _ if self.because.is_some() => Err("--because is for `log accept` and `state reset`"),
            (Some("bundle" | "import"), None) => Err("the license file is missing"),
            (Some("report"), None) if self.output.is_some() => Ok(Task::Report),
            (Some("report"), None) => Err("`report` needs --state and -o"),
            (_, None) if self.output.is_some() => Err("-o is for `report`"),
            (_, Some(_)) => Err("there is more than one token; give many on standard input"),
            (None | Some("-"), None) if word.is_none_or(|word| word == "-") => Ok(Task::Lines),
            (_, None) => word.map(Task::Token).ok_or("there is no token"),
        }
    }
}

fn counter(text: &str) -> Result<(String, Number), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    let value = value.parse().map_err(|_| format!("{value:?} is not a number"))?;
    match name {
        "" => Err("the name is missing".to_owned()),
        name => Ok((name.to_owned(), value)),
    }
}
