//! Files that are read within bounds and replaced as a whole.

use std::fs::{self, File, OpenOptions, TryLockError};
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

/// A text without what editors, shells and mail programs put around it: white space, line ends, and
/// the byte order mark of UTF-8. What is inside is left as it is.
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// The same of bytes, as far as they are UTF-8.
pub(crate) fn trimmed_bytes(bytes: &[u8]) -> &[u8] {
    std::str::from_utf8(bytes).map_or(bytes, |text| trimmed(text).as_bytes())
}

/// The lines of a signed note as they were signed: each ends with one line feed.
pub(crate) fn note(text: &str) -> String {
    let text = trimmed(text).replace("\r\n", "\n");
    if text.is_empty() { text } else { text + "\n" }
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
///
/// It is the system's own lock on an empty file beside it, which stays there: the system ends the lock
/// with the process, however that ends. (Rejected: a lock that is the file's being there. What a crash
/// leaves has to be taken for old some time, and then two processes can remove it, the second one the
/// first one's new lock, and both hold it; so can one that was only slow.)
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// How long to wait for others before giving up.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Waits until nobody else changes the file.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(beside(path, ".lock"))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if begun.elapsed() > Self::PATIENCE => {
                    let why = "another process has held it for 20 seconds";
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, why));
                }
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(2)),
            }
        }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    use super::{Lock, beside, note, trimmed, trimmed_bytes};

    #[test]
    fn text_is_trimmed_at_its_edges_only() {
        for text in ["a b", "\u{feff}a b\r\n", " \u{feff} a b", "\n\na b\t\u{a0}\r\n\n"] {
            assert_eq!(trimmed(text), "a b", "{text:?}");
            assert_eq!(trimmed_bytes(text.as_bytes()), b"a b");
        }
        assert_eq!(trimmed(" \u{feff}\r\n"), "");
        assert_eq!(trimmed_bytes(b" \xff "), b" \xff ");
    }

    #[test]
    fn note_has_its_lines_as_they_were_signed() {
        for text in ["a\n\nb \n", "a\r\n\r\nb", "\u{feff}a\n\nb\n\n"] {
            assert_eq!(note(text).replace("b \n", "b\n"), "a\n\nb\n", "{text:?}");
        }
        assert_eq!(note("\r\n"), "");
    }

    #[test]
    fn lock_left_by_a_crash_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        // However old it is, and whatever is in it.
        std::fs::write(beside(&path, ".lock"), "4711").unwrap();
        drop(Lock::of(&path).unwrap());
        drop(Lock::of(&path).unwrap());
    }

    #[test]
    fn lock_many_ask_for_is_held_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let is_held = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let lock = Lock::of(&path).unwrap();
                        assert!(!is_held.swap(true, SeqCst));
                        std::thread::yield_now();
                        assert!(is_held.swap(false, SeqCst));
                        drop(lock);
                    }
                });
            }
        });
    }
}
