//! The headers of every response, and the response to OPTIONS.

use std::collections::HashMap;
use std::sync::OnceLock;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::kernel::app::{App, Part};
use crate::kernel::http::line::BASE;
use crate::kernel::http::routes::Operations;

/// Paths that web pages of any origin may read: signed or public documents, without a credential.
const SHARED: [&str; 7] = [
    "/.well-known/jwks.json",
    "/status-lists",
    "/log/checkpoint",
    "/log/consistency",
    "/log/key",
    "/log/proof",
    "/log/tile/",
];

pub(super) fn secure(headers: &mut HeaderMap, is_https: bool) {
    if is_https {
        let year = HeaderValue::from_static("max-age=31536000; includeSubDomains");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The pages of the console have stricter ones.
    let defaults = [
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in defaults {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// Returns the `Allow` header of a path: the methods of its lines, HEAD for GET, and OPTIONS.
pub(super) fn allowed(app: &App, pattern: &str) -> Option<HeaderValue> {
    static METHODS: OnceLock<HashMap<String, HeaderValue>> = OnceLock::new();
    let methods = METHODS.get_or_init(|| {
        let mut methods: HashMap<String, String> = HashMap::new();
        for line in Operations::of(app).build().table {
            let names = methods.entry(line.full_path()).or_default();
            names.push_str(if line.reads() { "GET,HEAD" } else { line.method.as_str() });
            names.push(',');
        }
        let value = |names| HeaderValue::try_from(names + "OPTIONS").ok();
        methods.into_iter().filter_map(|(path, names)| Some((path, value(names)?))).collect()
    });
    methods.get(pattern).cloned()
}

/// Returns the response to OPTIONS without `Allow`: the headers of a browser's preflight (Fetch,
/// section 3.2.2) for public paths.
pub(super) fn options(path: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if is_shared(path) {
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "accept, if-none-match"),
            (header::ACCESS_CONTROL_MAX_AGE, "86400"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

fn is_shared(path: &str) -> bool {
    let path = path.strip_prefix(BASE).unwrap_or(path);
    SHARED.iter().any(|shared| path.starts_with(shared))
}
