//! The data plane's own token.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use uuid::Uuid;

use super::check_in::CheckInThread;
use crate::VerifyError;

/// The token of a data plane, and the thread that renews it.
pub(crate) struct CheckIns {
    pub(crate) thread: CheckInThread,
    pub(crate) deployment_id: Uuid,
    /// The base URL of the API.
    pub(crate) base: String,
    pub(crate) store: Option<PathBuf>,
    pub(crate) tokens: Tokens,
    /// The reason why the stored token is not used.
    pub(crate) refused_store: Option<VerifyError>,
}

/// The tokens in use. Readers never wait.
pub(crate) struct Tokens(ArcSwap<TokenPair>);

/// The newest token and the one before, which serves while the newest one is refused.
#[derive(Clone, Default)]
pub(crate) struct TokenPair {
    pub(crate) newest: Option<Arc<String>>,
    pub(crate) before: Option<Arc<String>>,
}

impl Tokens {
    pub(crate) fn starting_with(newest: Option<Arc<String>>) -> Self {
        Self(ArcSwap::from_pointee(TokenPair { newest, before: None }))
    }

    pub(crate) fn get(&self) -> Arc<TokenPair> {
        self.0.load_full()
    }

    /// Adds a token. Only the thread of the check-ins does so.
    pub(crate) fn add(&self, token: &Arc<String>) {
        let now = self.get();
        if now.newest.as_ref() != Some(token) {
            let (newest, before) = (Some(Arc::clone(token)), now.newest.clone());
            self.0.store(Arc::new(TokenPair { newest, before }));
        }
    }
}
