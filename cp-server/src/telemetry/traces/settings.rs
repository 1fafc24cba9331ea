//! The settings of traces.

use std::sync::Arc;

use axum::http::HeaderMap;
use ureq::tls::Certificate;
use url::Url;

/// The collector, and what it gets.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    pub url: Url,
    pub headers: HeaderMap,
    /// The certificate authorities to trust, instead of the public ones.
    pub authorities: Option<Arc<Vec<Certificate<'static>>>>,
    /// The name of this service.
    pub service: String,
    /// More attributes of this service.
    pub attributes: Vec<(String, String)>,
    /// The part of the traces that is recorded, from 0 to 1.
    pub ratio: f64,
}
