//! The settings of license keys.

use crate::kernel::app::Part;

#[derive(Clone, Debug, Default)]
pub struct LicenseKeySettings {
    /// The beginning of new keys, which the reader of keys ignores.
    pub prefix: Option<String>,
}

impl Part for LicenseKeySettings {}
