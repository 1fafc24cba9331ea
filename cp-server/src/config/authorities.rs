//! The certificate authorities of a file.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use ureq::tls::{Certificate, PemItem, parse_pem};

/// Reads the authorities of a PEM file, which replace the public ones. `setting` names it in a refusal.
pub fn authorities(setting: &str, path: &Path) -> anyhow::Result<Arc<Vec<Certificate<'static>>>> {
    let about = || format!("{setting}: {}", path.display());
    let pem = std::fs::read(path).with_context(about)?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        let item = item.map_err(|_| anyhow::anyhow!("{}: must be PEM", about()))?;
        if let PemItem::Certificate(certificate) = item {
            found.push(certificate);
        }
    }
    ensure!(!found.is_empty(), "{}: contains no certificate", about());
    Ok(Arc::new(found))
}
