//! Private files: created with mode 0600 from the first byte, refused when others can read them.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::kernel::clock::Random;

/// Creates an empty file with mode 0600, and its folder with 0700, unless it exists.
pub fn create_private(path: &Path) -> anyhow::Result<()> {
    create_folder(path)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            check_private(path, &open(path)?)
        }
        Err(error) => Err(error).with_context(|| format!("cannot create {}", path.display())),
    }
}

/// Writes a file that must not exist yet: a draft with mode 0600, synced, then linked.
///
/// The draft has a random name, so that the remains of a crash do not block a later start.
pub fn write_private(path: &Path, bytes: &[u8], random: &Random) -> anyhow::Result<()> {
    create_folder(path)?;
    let doing = || format!("cannot write {}", path.display());
    let draft = beside(path, &format!(".{:016x}.draft", u64::from_be_bytes(random.bytes())));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .with_context(|| format!("cannot create {}", draft.display()))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    // A hard link fails when the name exists; a rename would overwrite the file.
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft).with_context(doing)?;
    linked.with_context(doing)?;
    sync_folder(path)
}

/// Moves a file to a name that must be free. Returns whether there was one.
pub fn move_new(from: &Path, to: &Path) -> anyhow::Result<bool> {
    let doing = || format!("cannot move {} to {}", from.display(), to.display());
    // A hard link fails when the name exists; a rename would overwrite the file.
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        linked => linked.with_context(doing)?,
    }
    fs::remove_file(from).with_context(doing)?;
    Ok(true)
}

/// Syncs the folder of a file, so that the names in it survive a power cut.
pub fn sync_folder(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("cannot sync the folder {}", folder.display()))
}

/// Replaces a file as a whole, with mode 0600: readers find the old one or the new one. The content
/// after a power cut is not guaranteed.
pub fn replace_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let doing = || format!("cannot write {}", path.display());
    // Several processes may write at once.
    let draft = beside(path, &format!(".{}.draft", std::process::id()));
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .with_context(doing)?;
    let replaced = file.write_all(bytes).and_then(|()| fs::rename(&draft, path));
    if replaced.is_err() {
        // The draft may be the file that fills the disk.
        let _ = fs::remove_file(&draft);
    }
    replaced.with_context(doing)
}

/// Refuses a file that cannot be written, or a folder that is not writable.
pub fn check_writable(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let beside = match rustix::fs::access(folder, rustix::fs::Access::WRITE_OK) {
        // The folder is created, unless its parent refuses.
        Err(rustix::io::Errno::NOENT) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    };
    file.and(beside).with_context(|| {
        format!(
            "{} cannot be written; the file and its folder must be writable, because the \
             write-ahead log is kept beside it. Nothing was changed",
            path.display()
        )
    })
}

/// Returns a path in the same folder, with a suffix added to the file name.
pub fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(more);
    path.with_file_name(name)
}

/// Reads a file that only its owner may read.
///
/// The check uses the opened file: its name may refer to another file a moment later.
pub fn read_private(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut file = open(path)?;
    check_private(path, &file)?;
    read(path, &mut file)
}

/// Reads a file. Only its owner may read it if its content is private.
pub fn read_if(path: &Path, is_private: impl FnOnce(&[u8]) -> bool) -> anyhow::Result<Vec<u8>> {
    let mut file = open(path)?;
    let bytes = read(path, &mut file)?;
    if is_private(&bytes) {
        check_private(path, &file)?;
    }
    Ok(bytes)
}

fn read(path: &Path, file: &mut File) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Refuses a file that group or others can read, or that another user owns.
fn check_private(path: &Path, file: &File) -> anyhow::Result<()> {
    let found = file.metadata().with_context(|| format!("cannot read {}", path.display()))?;
    if is_handed_over(path) && found.mode() & 0o007 == 0 {
        return Ok(());
    }
    if found.mode() & 0o077 != 0 {
        anyhow::bail!(
            "{} can be read by others (mode {:o}): run `chmod 600 {0}`",
            path.display(),
            found.mode() & 0o777
        );
    }
    let me = rustix::process::geteuid().as_raw();
    if found.uid() != me && me != 0 {
        anyhow::bail!("{} belongs to user {}, not to user {me}", path.display(), found.uid());
    }
    Ok(())
}

/// Whether systemd passed this credential (systemd.exec(5), `LoadCredential=`). Such a file may
/// belong to root, and its group bits may be those of an access list that names this process's
/// user.
fn is_handed_over(path: &Path) -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|folder| path.starts_with(folder))
}

/// Creates the folder of a file with mode 0700, unless it exists.
pub fn create_folder(path: &Path) -> anyhow::Result<()> {
    let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) else { return Ok(()) };
    if !folder.exists() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot create the folder {}", folder.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_private_file_is_0600_and_a_loose_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/kek");
        let random = Random::seeded(9);
        write_private(&path, b"secret", &random).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(read_private(&path).unwrap(), b"secret");
        assert!(
            write_private(&path, b"other", &random).is_err(),
            "an existing file is never overwritten"
        );
        assert_eq!(read_private(&path).unwrap(), b"secret");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = read_private(&path).unwrap_err().to_string();
        assert!(error.contains("mode 640") && error.contains("chmod 600"), "{error}");
    }
}
