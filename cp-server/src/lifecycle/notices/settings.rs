//! The settings of notices.

use crate::kernel::app::Part;

/// The days before an end at which it is announced.
#[derive(Clone, Debug)]
pub struct NoticeDays(pub Vec<i64>);

impl Default for NoticeDays {
    fn default() -> Self {
        Self(vec![30, 14, 7, 1])
    }
}

impl Part for NoticeDays {}
