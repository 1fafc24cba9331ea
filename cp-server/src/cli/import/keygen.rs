//! Keygen's lists as lines of an import.
//!
//! # Design
//! Keygen has no organizations: its users own licenses. An organization here has one subscription in
//! force, so each pair of an owner and a policy becomes an organization. A license without an owner
//! gets one of its own. Each license becomes a deployment with a license and its key. Machines become
//! leases of the pool `machines`, which the policy's plan defines. The IDs of Keygen become external
//! IDs, so a later export updates what an earlier one created.
//!
//! A subscription stays pinned to the version of the plan that it began with. So each license has its
//! caps as own values: those of its policy, too, which a later export may change. (Rejected: own
//! values only where the license differs from its policy. A license would fall back to the policy of
//! the first export.)

mod documents;
mod lines;
mod policies;

use std::path::Path;

use self::documents::Documents;
use self::lines::Converted;

/// Converts all lists in a folder.
pub(super) fn convert(folder: &Path) -> anyhow::Result<Converted> {
    let (documents, gaps) = Documents::read(folder)?;
    Ok(lines::of(&documents, gaps))
}
