//! Files that are read within bounds and replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

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

/// Held while a file is read, changed and replaced, so that no process undoes what another has done.
/// It is a file of its own beside it; dropping the lock removes that.
pub(crate) struct Lock {
    path: PathBuf,
}

impl Lock {
    /// How long to wait for others before giving up.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A lock that is held for longer than this is left over from a crash: it takes milliseconds.
    const MAX_AGE: Duration = Duration::from_secs(10);

    /// Waits until nobody else changes the file.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let path = beside(path, ".lock");
        let begun = Instant::now();
        loop {
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(_) => return Ok(Self { path }),
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Err(error) if begun.elapsed() > Self::PATIENCE => return Err(error),
                Err(_) => {}
            }
            let held = fs::metadata(&path).and_then(|file| file.modified());
            // A clock that was set back makes no lock old; patience ends that.
            if held.is_ok_and(|since| since.elapsed().is_ok_and(|age| age > Self::MAX_AGE)) {
                drop(fs::remove_file(&path));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // What cannot be removed is too old in a few seconds.
        drop(fs::remove_file(&self.path));
    }
}

/// A path in the same directory, whose name is longer by this.
pub(crate) fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(more);
    path.with_file_name(name)
}

/// Replaces a file as a whole: after a crash there is the old one or the new one. Only its owner may
/// read and write it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Nobody else writes to a name that has both: a thread does one thing at a time.
    let new = beside(path, &format!(".{}.{:?}.new", std::process::id(), thread::current().id()));
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
