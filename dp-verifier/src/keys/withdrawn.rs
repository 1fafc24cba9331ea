//! Keys that license files have withdrawn.

use std::collections::HashMap;

use super::key_id::KeyId;
use crate::error::quoted;
use crate::{ErrorCode, VerifyError};

/// The withdrawn keys: for each its `kid`, and the number of the license file that withdrew it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Withdrawn(HashMap<KeyId, (String, i64)>);

impl FromIterator<(KeyId, (String, i64))> for Withdrawn {
    fn from_iter<I: IntoIterator<Item = (KeyId, (String, i64))>>(keys: I) -> Self {
        Self(keys.into_iter().collect())
    }
}

impl Withdrawn {
    pub(crate) fn has(&self, id: &KeyId) -> bool {
        self.0.contains_key(id)
    }

    /// Returns the refusal for a `kid` if its key was withdrawn.
    pub(crate) fn refusal(&self, kid: &str) -> Option<VerifyError> {
        let (_, seq) = self.0.values().find(|(name, _)| name == kid)?;
        let detail = format!("key {} was withdrawn by license file {seq}", quoted(kid));
        Some(VerifyError::new(ErrorCode::KeyWithdrawn, detail))
    }
}
