//! Where the database is.

use std::ops::Deref;
use std::path::Path;

use anyhow::bail;

/// Where the database is; it may hold a password, so it does not show.
#[derive(Clone)]
pub struct DatabaseUrl(String);

impl Deref for DatabaseUrl {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl DatabaseUrl {
    /// The file, if it is one.
    pub(super) fn file(&self) -> Option<&Path> {
        let file = self.0.strip_prefix("sqlite:")?;
        Some(Path::new(file.trim_start_matches("//")))
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[database url]")
    }
}

pub(super) fn read(text: &str) -> anyhow::Result<DatabaseUrl> {
    let known = ["sqlite:", "postgres://", "postgresql://"];
    if !known.iter().any(|scheme| text.starts_with(scheme) && text.len() > scheme.len()) {
        bail!("it takes sqlite:data/control-plane.db or postgres://USER:PASSWORD@HOST/DATABASE");
    }
    if text.starts_with("sqlite:") && (text.contains(":memory:") || text.contains('?')) {
        bail!("it takes a file without options, such as sqlite:data/control-plane.db");
    }
    Ok(DatabaseUrl(text.to_owned()))
}
