//! Files and keys that the command line names.

use std::fs;
use std::path::Path;

use dp_verifier::LogKey;

pub(crate) fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Reads a proof, whose lines may have got other ends on their way.
pub(crate) fn read_proof(path: &Path) -> Result<String, String> {
    let text = read(path)?;
    Ok(format!("{}\n", trimmed(&text).replace("\r\n", "\n")))
}

/// A text without the white space and the byte order mark that editors, shells and mail programs put
/// around it. The verifier itself is strict.
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// A log's key, which is given itself or as a file.
pub(crate) fn log_key(given: &str) -> Result<String, String> {
    // Base64 has slashes too, but a path has no plus and eight digits.
    match given.parse::<LogKey>() {
        Ok(_) => Ok(given.to_owned()),
        Err(why) if given.contains('+') => Err(format!("the log key {why}")),
        Err(_) => read(Path::new(given)).map(|text| trimmed(&text).to_owned()),
    }
}
