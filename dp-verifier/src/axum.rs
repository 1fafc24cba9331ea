//! The integration with axum: a layer that admits requests with a license, and an extractor.

pub(crate) mod lease;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use cp_contracts::{LICENSE_TOKEN_ENV, LICENSE_TOKEN_HEADER, Problem, ProblemCode};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header, request::Parts};
use serde_json::Map;
use tower_layer::Layer;
use tower_service::Service;

use crate::ErrorCode::TokenMalformed;
use crate::files::trimmed;
use crate::verifier::Attempt;
use crate::{LicenseContext, NotEntitled, StatusRefresh, Verifier, VerifyError};

/// A layer that admits requests with a valid license token, and refuses others with a problem
/// document.
///
/// The layer reads the token from the first of these sources that has one: the `X-License-Token`
/// header, `Authorization: Bearer` if [that is allowed](Self::or_authorization), the
/// `LICENSE_TOKEN` environment variable, and the verifier's own token: that of the newest
/// check-in, or the [bundled token](Verifier::bundled_token). A request whose token refers to a new status list
/// [waits](Verifier::refresh_status) for that list. Handlers get the license as an argument of the
/// type [`LicenseContext`].
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use dp_verifier::{FeatureLayer, LicenseContext, LicenseLayer, Verifier};
///
/// async fn hello(license: LicenseContext) -> String {
///     format!("Hello, {}!", license.organization().name)
/// }
///
/// # fn app(verifier: Verifier) -> Router {
/// Router::new()
///     .route("/exports", get(hello).layer(FeatureLayer::new("exports_enabled")))
///     .route("/hello", get(hello))
///     .layer(LicenseLayer::new(verifier))
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LicenseLayer {
    verifier: Verifier,
    fallback: Option<Arc<str>>,
    takes_authorization: bool,
}

impl LicenseLayer {
    /// Creates a layer, and reads `LICENSE_TOKEN` once. White space around the token is trimmed. An
    /// empty variable counts as absent.
    #[must_use]
    pub fn new(verifier: Verifier) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the documented place of the variable")]
        let fallback = std::env::var(LICENSE_TOKEN_ENV).ok();
        let layer = Self { verifier, fallback: None, takes_authorization: false };
        layer.or_token(fallback.as_deref())
    }

    /// Uses this token, trimmed, for requests without one, instead of that of the environment
    /// variable.
    #[must_use]
    pub fn or_token(mut self, token: Option<&str>) -> Self {
        let token = token.map(trimmed).filter(|token| !token.is_empty());
        self.fallback = token.map(Arc::from);
        self
    }

    /// Also reads the token from `Authorization: Bearer …`, for data planes that do not use that
    /// header for their own users.
    #[must_use]
    pub fn or_authorization(mut self) -> Self {
        self.takes_authorization = true;
        self
    }

    fn license(&self, headers: &HeaderMap) -> Result<LicenseContext, VerifyError> {
        self.with_token(headers, |token| self.verifier.verify(token))?
    }

    fn attempt(&self, headers: &HeaderMap) -> Attempt {
        let attempt = self.with_token(headers, |token| self.verifier.verify_or_wait(token));
        attempt.unwrap_or_else(|refused| Attempt::Decided(Err(refused)))
    }

    fn with_token<T>(
        &self,
        headers: &HeaderMap,
        then: impl FnOnce(&str) -> T,
    ) -> Result<T, VerifyError> {
        let token = match single(headers, LICENSE_TOKEN_HEADER)? {
            None if self.takes_authorization => bearer(headers)?,
            token => token,
        };
        Ok(match token.or(self.fallback.as_deref()) {
            Some(token) => then(token),
            // An empty token is refused as `token_missing`.
            None => then(self.verifier.own_token().as_ref().map_or("", |token| token)),
        })
    }
}

/// Returns the value of a header that may occur once.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, VerifyError> {
    let mut values = headers.get_all(name).iter();
    let malformed = |detail| VerifyError::new(TokenMalformed, detail);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(malformed("the token's header occurs twice")),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(malformed("the token's header is not ASCII")),
        },
    }
}

/// Returns the token of `Authorization: Bearer` (RFC 6750 §2.1), or `None` for another scheme.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, VerifyError> {
    let credentials = single(headers, header::AUTHORIZATION.as_str())?;
    Ok(credentials.and_then(|credentials| {
        let (scheme, token) = credentials.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token)
    }))
}

impl<S> Layer<S> for LicenseLayer {
    type Service = LicenseService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LicenseService { inner, guard: Guard::License(self.clone()) }
    }
}

/// A layer that refuses requests whose license does not enable a feature. It must be inside a
/// [`LicenseLayer`]: on a route or router within the one that has the license layer.
#[derive(Clone, Debug)]
pub struct FeatureLayer {
    name: Arc<str>,
}

impl FeatureLayer {
    /// Creates a layer that requires this feature.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into() }
    }
}

impl<S> Layer<S> for FeatureLayer {
    type Service = LicenseService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LicenseService { inner, guard: Guard::Feature(Arc::clone(&self.name)) }
    }
}

/// The service of [`LicenseLayer`] and [`FeatureLayer`].
#[derive(Clone, Debug)]
pub struct LicenseService<S> {
    inner: S,
    guard: Guard,
}

#[derive(Clone, Debug)]
enum Guard {
    License(LicenseLayer),
    Feature(Arc<str>),
}

/// Adds the license to an admitted request, or returns the refusal.
fn refusal<B>(
    request: &mut Request<B>,
    decision: Result<LicenseContext, VerifyError>,
) -> Option<Response> {
    match decision {
        Ok(license) => {
            request.extensions_mut().insert(license);
            None
        }
        Err(refused) => Some(refused.into_response()),
    }
}

impl<S, B> Service<Request<B>> for LicenseService<S>
where
    S: Service<Request<B>> + Clone,
    S::Response: IntoResponse,
{
    type Response = Response;
    type Error = S::Error;
    type Future = LicenseFuture<S, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let refusal = match &self.guard {
            Guard::License(layer) => match layer.attempt(request.headers()) {
                Attempt::Decided(decision) => refusal(&mut request, decision),
                Attempt::Pending(refresh) => {
                    // The later call must go to the service that was polled ready.
                    let unready = self.inner.clone();
                    let service = std::mem::replace(&mut self.inner, unready);
                    let held = Some(Held { service, layer: layer.clone(), request });
                    return LicenseFuture { state: State::Waiting { refresh, held } };
                }
            },
            Guard::Feature(name) => match request.extensions().get::<LicenseContext>() {
                Some(license) => {
                    license.require_feature(name).err().map(IntoResponse::into_response)
                }
                None => Some(NoLicenseLayer.into_response()),
            },
        };
        let state = match refusal {
            None => State::Admitted { response: self.inner.call(request) },
            refusal => State::Refused { refusal },
        };
        LicenseFuture { state }
    }
}

/// A request that waits for the status of its license.
struct Held<S, B> {
    service: S,
    layer: LicenseLayer,
    request: Request<B>,
}

pin_project_lite::pin_project! {
    /// The response of a service behind a layer of this crate, or the layer's refusal.
    pub struct LicenseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, S::Future>,
    }
}

pin_project_lite::pin_project! {
    #[project = Projected]
    enum State<S, B, F> {
        Waiting {
            refresh: StatusRefresh,
            held: Option<Held<S, B>>,
        },
        Admitted {
            #[pin]
            response: F,
        },
        Refused {
            refusal: Option<Response>,
        },
    }
}

impl<S, B> Future for LicenseFuture<S, B>
where
    S: Service<Request<B>>,
    S::Response: IntoResponse,
{
    type Output = Result<Response, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                Projected::Waiting { refresh, held } => {
                    ready!(Pin::new(refresh).poll(context));
                    let Some(Held { mut service, layer, mut request }) = held.take() else {
                        return Poll::Pending;
                    };
                    // The decision falls now, after any outcome: a request waits only once.
                    let decision = layer.license(request.headers());
                    match refusal(&mut request, decision) {
                        None => State::Admitted { response: service.call(request) },
                        refusal => State::Refused { refusal },
                    }
                }
                Projected::Admitted { response } => {
                    return response.poll(context).map_ok(IntoResponse::into_response);
                }
                // A future that is polled after its end may do anything; this one does not panic.
                Projected::Refused { refusal } => match refusal.take() {
                    Some(refusal) => return Poll::Ready(Ok(refusal)),
                    None => return Poll::Pending,
                },
            };
            state.set(next);
        }
    }
}

/// Extracts the license that [`LicenseLayer`] has verified for this request.
impl<S: Sync> FromRequestParts<S> for LicenseContext {
    type Rejection = NoLicenseLayer;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Self>().cloned().ok_or(NoLicenseLayer)
    }
}

/// The rejection of a handler that extracts a license on a route without a [`LicenseLayer`]: a
/// mistake in the app, with status 500.
#[derive(Clone, Copy, Debug)]
pub struct NoLicenseLayer;

impl IntoResponse for NoLicenseLayer {
    fn into_response(self) -> Response {
        let detail = "This route has no license layer. This is a mistake in the application.";
        problem(500, "internal", "The server failed", detail.to_owned())
    }
}

/// Returns a problem document (RFC 9457) with the refusal's code.
impl IntoResponse for VerifyError {
    fn into_response(self) -> Response {
        let code = self.code();
        let title = match code.http_status() {
            401 => "A valid license token is required",
            403 => "The license does not allow this now",
            _ => "The license cannot be judged now",
        };
        let mut response = problem(code.http_status(), code.as_str(), title, self.to_string());
        if response.status() == StatusCode::UNAUTHORIZED {
            // RFC 9110 §15.5.2 requires a challenge; there is no registered scheme for licenses.
            let challenge = HeaderValue::from_static("License");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// Returns a problem document (RFC 9457) with status 403 and the refusal's
/// [code](NotEntitled::code).
impl IntoResponse for NotEntitled {
    fn into_response(self) -> Response {
        let title = match &self {
            Self::State { .. } => "The license does not allow this now",
            _ => "The license does not include this",
        };
        problem(403, self.code(), title, self.to_string())
    }
}

fn problem(status: u16, code: &'static str, title: &str, detail: String) -> Response {
    let document = Problem {
        kind: format!("/problems/{code}"),
        title: title.to_owned(),
        status,
        detail,
        code: ProblemCode::from(std::borrow::Cow::Borrowed(code)),
        field: None,
        errors: Vec::new(),
        request_id: None,
        extra: Map::new(),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers =
        [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, serde_json::to_vec(&document).unwrap_or_default()).into_response()
}
