//! Files that are read within bounds and replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// Reads a file, and of one that has more than `limit` bytes only one byte beyond, by which the
/// caller sees that it is too large.
pub(crate) fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(path)?.take(bound).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether others than the owner may read or write a file. Only Unix tells.
pub(crate) fn is_open_to_others(path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    let is_open = fs::metadata(path)
        .map(|file| std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o077 != 0);
    #[cfg(not(unix))]
    let is_open = fs::metadata(path).map(|_| false);
    is_open
}

/// Replaces a file as a whole: after a crash there is the old one or the new one. Only its owner may
/// read and write it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    // Nobody else writes to a name that has both: a thread does one thing at a time.
    name.push(format!(".{}.{:?}.new", std::process::id(), std::thread::current().id()));
    let new = path.with_file_name(name);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)
}
