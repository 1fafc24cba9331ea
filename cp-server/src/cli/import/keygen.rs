//! Keygen's lists as lines of an import.
//!
//! # Design
//! Keygen has no organizations: its users own licenses. An organization here has one subscription in
//! force, so each pair of an owner and a policy becomes an organization. A license without an owner
//! gets one of its own. Each license becomes a deployment with a license and its key. Machines become
//! leases of the pool `machines`, which the policy's plan defines. The IDs of Keygen become external
//! IDs, so a later export updates what an earlier one created.

mod documents;
mod lines;

use std::path::Path;

use self::documents::Documents;
use self::lines::Converted;

/// Converts all lists in a folder.
pub(super) fn convert(folder: &Path) -> anyhow::Result<Converted> {
    let (documents, gaps) = Documents::read(folder)?;
    Ok(lines::of(&documents, gaps))
}
