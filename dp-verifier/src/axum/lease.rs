//! The layer that admits requests while the app has a seat.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

#[cfg(feature = "fetch")]
use arc_swap::ArcSwap;
use axum_core::response::{IntoResponse, Response};
use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::{NoLicenseLayer, problem};
#[cfg(feature = "fetch")]
use crate::{HeldLease, LeaseState};
use crate::{Holder, LicenseContext, Verifier};

/// A layer that admits requests while the app has a seat, and refuses others with a problem document
/// with status 503 and the code `lease_lost`.
///
/// The seat is a lease that the app holds with the control plane's consent (feature `fetch`), or a
/// borrowed lease in a token, which needs no network. A late heartbeat refuses no request: the app
/// has its seat until the end of the lease.
///
/// ```no_run
/// # #[cfg(feature = "fetch")]
/// # fn app(lease: dp_verifier::HeldLease) -> axum::Router {
/// use axum::{Router, routing::get};
/// use dp_verifier::LeaseLayer;
///
/// Router::new().route("/render", get(async || "…")).layer(LeaseLayer::new(lease))
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LeaseLayer {
    source: Source,
}

#[derive(Clone)]
enum Source {
    #[cfg(feature = "fetch")]
    Held(Arc<ArcSwap<HeldLease>>),
    Token(Arc<TokenSource>),
}

/// A lease in a token, and its holder.
struct TokenSource {
    verifier: Verifier,
    token: String,
    holder: Holder,
}

impl LeaseLayer {
    /// Creates a layer that requires this lease. The layer keeps the seat: it is released when the
    /// app drops its router.
    #[cfg(feature = "fetch")]
    #[must_use]
    pub fn new(lease: HeldLease) -> Self {
        Self { source: Source::Held(Arc::new(ArcSwap::from_pointee(lease))) }
    }

    /// Creates a layer that requires the lease in a token for this holder, as
    /// [`Verifier::verify_lease`] checks it. It must be inside a
    /// [`LicenseLayer`](crate::LicenseLayer), whose license counts.
    #[must_use]
    pub fn of_token(verifier: Verifier, token: &str, holder: &Holder) -> Self {
        let (token, holder) = (crate::files::trimmed(token).to_owned(), holder.clone());
        Self { source: Source::Token(Arc::new(TokenSource { verifier, token, holder })) }
    }

    /// Requires another lease from now on, in all copies of the layer: a new one after a
    /// [loss](HeldLease::lost). A layer of a token is unchanged.
    #[cfg(feature = "fetch")]
    pub fn replace(&self, lease: HeldLease) {
        if let Source::Held(held) = &self.source {
            held.store(Arc::new(lease));
        }
    }

    fn refusal<B>(&self, request: &mut Request<B>) -> Option<Response> {
        match &self.source {
            #[cfg(feature = "fetch")]
            Source::Held(held) => match held.load().state() {
                LeaseState::Lost(code, refusal) => {
                    let reason = refusal.map(|refusal| refusal.to_string());
                    let reason = reason.unwrap_or_else(|| code.to_string());
                    Some(LeaseLost { reason }.into_response())
                }
                _ => None,
            },
            Source::Token(source) => {
                let TokenSource { verifier, token, holder } = &**source;
                let Some(license) = request.extensions().get::<LicenseContext>() else {
                    return Some(NoLicenseLayer.into_response());
                };
                match verifier.verify_lease(token, license, holder) {
                    Ok(lease) => {
                        request.extensions_mut().insert(lease);
                        None
                    }
                    Err(refused) => Some(LeaseLost { reason: refused.to_string() }.into_response()),
                }
            }
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "fetch")]
            Self::Held(held) => held.load().fmt(f),
            Self::Token(source) => source.holder.fmt(f),
        }
    }
}

impl<S> Layer<S> for LeaseLayer {
    type Service = LeaseService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LeaseService { inner, layer: self.clone() }
    }
}

/// The service of [`LeaseLayer`].
#[derive(Clone, Debug)]
pub struct LeaseService<S> {
    inner: S,
    layer: LeaseLayer,
}

impl<S, B> Service<Request<B>> for LeaseService<S>
where
    S: Service<Request<B>>,
    S::Response: IntoResponse,
{
    type Response = Response;
    type Error = S::Error;
    type Future = LeaseFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let state = match self.layer.refusal(&mut request) {
            None => State::Admitted { response: self.inner.call(request) },
            refusal => State::Refused { refusal },
        };
        LeaseFuture { state }
    }
}

pin_project_lite::pin_project! {
    /// The response of a service behind a [`LeaseLayer`], or the layer's refusal.
    pub struct LeaseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project_lite::pin_project! {
    #[project = Projected]
    enum State<F> {
        Admitted {
            #[pin]
            response: F,
        },
        Refused {
            refusal: Option<Response>,
        },
    }
}

impl<F, R, E> Future for LeaseFuture<F>
where
    F: Future<Output = Result<R, E>>,
    R: IntoResponse,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Admitted { response } => {
                response.poll(context).map_ok(IntoResponse::into_response)
            }
            // As in `LicenseFuture`: a future that is polled after its end does not panic.
            Projected::Refused { refusal } => match refusal.take() {
                Some(refusal) => Poll::Ready(Ok(refusal)),
                None => Poll::Pending,
            },
        }
    }
}

/// The refusal of a request while the app has no seat.
struct LeaseLost {
    reason: String,
}

impl IntoResponse for LeaseLost {
    fn into_response(self) -> Response {
        let detail = format!("The application has no seat of its license ({}).", self.reason);
        problem(503, "lease_lost", "The application has no seat", detail)
    }
}
