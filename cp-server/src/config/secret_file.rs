//! Secrets in files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};

use super::values::Hidden;
use crate::kernel::files;
use crate::kernel::secret::Secret;

/// Reads a secret from a file that only its owner can read, without a byte order mark and trailing
/// line breaks.
pub(super) fn secret_file(path: &Path) -> anyhow::Result<Secret<String>> {
    let bytes = zeroize::Zeroizing::new(files::read_private(path)?);
    let text = std::str::from_utf8(&bytes).ok();
    let text = text.with_context(|| format!("{} must be UTF-8 text", path.display()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Returns a secret setting, or the content of the file that `{name}_FILE` names.
pub(super) fn secret_or_file(
    name: &str,
    secret: Option<&Hidden>,
    file: Option<&PathBuf>,
) -> anyhow::Result<Option<Hidden>> {
    let Some(path) = file else { return Ok(secret.cloned()) };
    let read = secret_file(path).with_context(|| format!("{name}_FILE"))?;
    Ok(Some(Arc::new(read)))
}

pub(super) fn bootstrap(text: &str) -> anyhow::Result<Hidden> {
    if text.len() < 16 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        bail!(
            "must have at least 16 characters and no blanks; create one with `openssl rand -hex 32`"
        );
    }
    Ok(Arc::new(Secret::new(text.to_owned())))
}
