//! Files: bounded reads, atomic replacement and locks.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Reads at most `limit` bytes of a file, and one byte more if the file is larger. The caller
/// checks the length.
pub(crate) fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(path)?.take(bound).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Trims what editors, shells and mail programs add around a text: white space, line ends and the
/// byte order mark of UTF-8. The inside of the text is unchanged.
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// Trims bytes in the same way if they are UTF-8.
pub(crate) fn trimmed_bytes(bytes: &[u8]) -> &[u8] {
    std::str::from_utf8(bytes).map_or(bytes, |text| trimmed(text).as_bytes())
}

/// Restores the line ends of a signed note: each line ends with one line feed.
pub(crate) fn note(text: &str) -> String {
    let text = trimmed(text).replace("\r\n", "\n");
    if text.is_empty() { text } else { text + "\n" }
}

/// Returns whether users other than the owner may read or write a file. Always `false` outside
/// Unix.
pub(crate) fn is_open_to_others(path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    let is_open = fs::metadata(path)
        .map(|file| std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o077 != 0);
    #[cfg(not(unix))]
    let is_open = fs::metadata(path).map(|_| false);
    is_open
}

/// Returns whether users other than the owner may write a file. Always `false` outside Unix.
#[cfg(feature = "fetch")]
pub(crate) fn is_writable_by_others(file: &File) -> io::Result<bool> {
    #[cfg(unix)]
    let is_writable = file
        .metadata()
        .map(|file| std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o022 != 0);
    #[cfg(not(unix))]
    let is_writable = file.metadata().map(|_| false);
    is_writable
}

/// A lock that one process holds while it reads, changes and replaces a file.
///
/// It is the operating system's lock on an empty file beside that file. The empty file stays there.
/// The system releases the lock when the process ends, even after a crash.
///
/// Rejected: a lock file whose existence is the lock. A crash leaves such a file behind, so it must
/// expire. Two processes can then remove it, the second one removes the first one's new lock, and
/// both hold the lock. A slow process has the same effect as a crash.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// The maximum wait for another process.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Waits for the lock.
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

/// Returns a path in the same directory, with `more` appended to the name.
pub(crate) fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(more);
    path.with_file_name(name)
}

/// The maximum number of links that lead to a file, as on Linux.
const MAX_LINKS: usize = 40;

/// Returns the path behind symbolic links, also for a file that does not exist yet. Its directory
/// must exist. So all names of a file have one lock, and a replacement replaces no link.
pub(crate) fn resolved(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::canonicalize(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        match fs::read_link(&path) {
            // A link to a file that does not exist yet.
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => break,
        }
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let name = path.file_name().ok_or(io::ErrorKind::NotFound)?;
    Ok(fs::canonicalize(directory.unwrap_or(Path::new(".")))?.join(name))
}

/// Creates a file and writes it to the disk. Leaves no file after an error of the write.
pub(crate) fn create(options: &mut OpenOptions, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = options.write(true).create_new(true).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    drop(file);
    if written.is_err() {
        // On a full disk, each attempt would leave a file.
        drop(fs::remove_file(path));
    }
    written
}

/// Replaces a file atomically: after a crash there is the old file or the new one. Only the owner
/// may read and write it. A symbolic link stays, and the file behind it is replaced.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = &resolved(path)?;
    // The name is unique to this thread of this process.
    let new = beside(path, &format!(".{}.{:?}.new", std::process::id(), thread::current().id()));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    create(&mut options, &new, bytes)?;
    fs::rename(&new, path).inspect_err(|_| drop(fs::remove_file(&new)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    use super::{Lock, beside, note, replace, trimmed, trimmed_bytes};

    /// The names in a directory, in alphabetical order.
    fn names(dir: &std::path::Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn replacement_that_fails_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        // No file can replace a directory with something in it.
        let path = dir.path().join("state");
        std::fs::create_dir_all(path.join("inside")).unwrap();
        assert!(replace(&path, b"new").is_err());
        assert_eq!(names(dir.path()), ["state"]);
    }

    #[cfg(unix)]
    #[test]
    fn replacement_through_a_link_replaces_the_file_behind_it() {
        use std::os::unix::fs::symlink;

        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("data")).unwrap();
        // The first link leads to a link, and the file does not exist yet.
        symlink("second", path("first")).unwrap();
        symlink("data/state", path("second")).unwrap();
        for text in ["old", "new"] {
            replace(&path("first"), text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(path("data/state")).unwrap(), text);
        }
        assert!(path("first").is_symlink() && path("second").is_symlink());
        assert_eq!(names(&path("data")), ["state"]);
        assert_eq!(super::resolved(&path("first")).unwrap(), {
            std::fs::canonicalize(path("data/state")).unwrap()
        });
        symlink("circle", path("circle")).unwrap();
        assert!(replace(&path("circle"), b"new").is_err());
    }

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
    fn lock_left_by_a_crash_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        // Its age and its content do not matter.
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
