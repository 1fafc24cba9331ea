//! Waiting for the status of a token.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::slot::Slot;
use crate::first_request::FirstRequest;

/// The future of [`Verifier::refresh_status`](crate::Verifier::refresh_status).
#[must_use = "nothing waits unless this is awaited"]
pub struct StatusRefresh {
    pub(crate) slot: Option<Arc<Slot>>,
    /// The request for the proof that the token is in the log.
    pub(crate) proof: Option<Arc<FirstRequest>>,
}

impl Future for StatusRefresh {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let list = self.slot.as_ref().map(|slot| &slot.first_request);
        for asked in list.into_iter().chain(self.proof.as_deref()) {
            ready!(asked.poll(context));
        }
        Poll::Ready(())
    }
}
