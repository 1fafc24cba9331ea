//! The files and keys of the command line.

use std::fs;
use std::path::Path;

use dp_verifier::LogKey;

pub(crate) fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Reads a proof, and restores its line ends.
pub(crate) fn read_proof(path: &Path) -> Result<String, String> {
    let text = read(path)?;
    Ok(format!("{}\n", trimmed(&text).replace("\r\n", "\n")))
}

/// Trims the white space and the byte order mark that editors, shells and mail programs add. The
/// verifier itself is strict.
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// Returns a log key, which the option contains or names as a file.
pub(crate) fn log_key(given: &str) -> Result<String, String> {
    // A text with a plus is a key; base64 may have slashes too.
    match given.parse::<LogKey>() {
        Ok(_) => Ok(given.to_owned()),
        Err(why) if given.contains('+') => Err(format!("the log key {why}")),
        Err(_) => read(Path::new(given)).map(|text| trimmed(&text).to_owned()),
    }
}
