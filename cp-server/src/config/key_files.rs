//! The key-encryption key: where it comes from, and its change.
//!
//! # Design
//!
//! The new key is in `kek.new` before the database is sealed under it, and each start finishes an
//! interrupted change. The old key first gets another name, then one rename puts the new key into
//! its place. So `kek` exists at every moment. No old key is ever overwritten: the backups of its
//! time open with it alone.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use zeroize::Zeroizing;

use super::Config;
use super::installation::Purpose;
use super::secret_file::secret_file;
use crate::backup::archive::Manifest;
use crate::kernel::app::App;
use crate::kernel::clock::Random;
use crate::kernel::db::Db;
use crate::kernel::files::sync_folder;
use crate::kernel::kek;
use crate::kernel::secret::Kek;
use crate::licensing::keys::rekey::rekey;

impl Config {
    /// Replaces the key-encryption key: seals everything in the database under the new one.
    ///
    /// A given key is read from the file. Otherwise a new one is created in the keys folder, and the
    /// old one stays beside it for the backups that need it.
    pub async fn rekey(&self, file: Option<&Path>) -> anyhow::Result<String> {
        self.refuse_in_use().await?;
        let app = self.connect(Purpose::Calling).await?;
        let done = self.rekey_in(&app, file).await;
        app.db.close().await;
        done
    }

    async fn rekey_in(&self, app: &App, file: Option<&Path>) -> anyhow::Result<String> {
        kek::check(app).await?;
        let random = Random::system();
        if let Some(path) = file {
            let new = Kek::from_setting(&secret_file(path)?)?;
            ensure!(
                !kek::opens(&app.db, &new).await?,
                "{} contains the present key-encryption key; create another one with \
                 `openssl rand -base64 32`",
                path.display()
            );
            rekey(app, &new).await?;
            return Ok(format!(
                "Everything is now sealed under the key of {}: set CP_KEY_ENCRYPTION_KEY_FILE of the \
                 servers to it, and start them. Keep the old key for earlier backups.",
                path.display()
            ));
        }
        ensure!(
            self.key_encryption_key.is_none() && self.key_encryption_key_file.is_none(),
            "the key-encryption key comes from CP_KEY_ENCRYPTION_KEY; create a new one in a file \
             with `openssl rand -base64 32` and pass it as --new-key-file"
        );
        let new = Kek::from_file(&self.new_kek_file(), true, &random)?;
        ensure!(
            !kek::opens(&app.db, &new).await?,
            "{} contains the present key-encryption key; remove it",
            self.new_kek_file().display()
        );
        rekey(app, &new).await?;
        let old = self.finish_rekey(&app.db, &random).await?.context("the new key is gone")?;
        Ok(format!(
            "Everything is now sealed under a new key in {}; the old one is now {}, for earlier \
             backups. Start the servers again.",
            self.kek_file().display(),
            old.display()
        ))
    }

    /// Moves the new key-encryption key into place if the database is sealed under it. Returns the
    /// new path of the old key.
    pub(super) async fn finish_rekey(
        &self,
        db: &Db,
        random: &Random,
    ) -> anyhow::Result<Option<PathBuf>> {
        let (now, next) = (self.kek_file(), self.new_kek_file());
        if !next.exists() {
            return Ok(None);
        }
        let new = Kek::from_file(&next, false, random)?;
        if !kek::is_known(db).await? || !kek::opens(db, &new).await? {
            return Ok(None);
        }
        let old = self.keep_old_kek()?;
        sync_folder(&now)?;
        fs::rename(&next, &now).with_context(|| format!("cannot replace {}", now.display()))?;
        sync_folder(&now)?;
        Ok(Some(old))
    }

    /// Gives the present key the first free name of an old one, and returns that name. Finds it again
    /// after an interruption.
    fn keep_old_kek(&self) -> anyhow::Result<PathBuf> {
        let now = self.kek_file();
        let content = |path: &Path| fs::read(path).ok().map(Zeroizing::new);
        let (present, mut number) = (content(&now), 1);
        loop {
            let old = self.old_kek_file(number);
            match fs::hard_link(&now, &old) {
                // An earlier version moved the key away.
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(old),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if present.is_some() && content(&old) == present {
                        return Ok(old);
                    }
                    number += 1;
                }
                linked => {
                    linked.with_context(|| format!("cannot create {}", old.display()))?;
                    return Ok(old);
                }
            }
        }
    }

    pub(super) fn kek_file(&self) -> PathBuf {
        self.keys_dir.join("kek")
    }

    fn new_kek_file(&self) -> PathBuf {
        self.keys_dir.join("kek.new")
    }

    fn old_kek_file(&self, number: u32) -> PathBuf {
        self.keys_dir.join(match number {
            1 => "kek.old".to_owned(),
            _ => format!("kek.old.{number}"),
        })
    }

    /// Returns the file with the key of a backup, if it is among the files beside the present key
    /// whose names begin with its name.
    pub fn kek_file_of(&self, manifest: &Manifest) -> Option<PathBuf> {
        let present = [Some(self.kek_file()), self.key_encryption_key_file.clone()];
        let mut found: Vec<PathBuf> = present.into_iter().flatten().flat_map(alike).collect();
        found.sort();
        found.into_iter().find(|path| {
            let kek = secret_file(path).and_then(|text| Kek::from_setting(&text));
            kek.is_ok_and(|kek| manifest.is_sealed_under(&kek, kek::CHECK))
        })
    }

    /// Returns the existing key-encryption key: a new one could not open anything.
    pub fn existing_kek(&self) -> anyhow::Result<Kek> {
        match self.given_kek()? {
            Some(kek) => Ok(kek),
            None => Kek::from_file(&self.kek_file(), false, &Random::system()),
        }
    }

    pub(super) fn given_kek(&self) -> anyhow::Result<Option<Kek>> {
        Ok(match (&self.key_encryption_key_file, &self.key_encryption_key) {
            (Some(path), _) => {
                let text = secret_file(path).context("CP_KEY_ENCRYPTION_KEY_FILE")?;
                Some(Kek::from_setting(&text)?)
            }
            (None, Some(text)) => Some(Kek::from_setting(text)?),
            (None, None) => None,
        })
    }
}

/// Lists the files in the folder of a file whose names begin with its name.
fn alike(file: PathBuf) -> Vec<PathBuf> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = fs::read_dir(folder.unwrap_or(Path::new("."))).into_iter().flatten().flatten();
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let begins = |path: &PathBuf| {
        path.file_name().is_some_and(|other| other.to_string_lossy().starts_with(&name))
    };
    entries.map(|entry| entry.path()).filter(begins).collect()
}
