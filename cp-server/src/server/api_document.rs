//! The API's document and its page, which an application builds once.

use std::sync::OnceLock;

use serde_json::Value;

use super::examples::EXAMPLES;
use crate::kernel::app::{App, Part};
use crate::kernel::http::answer::Document;
use crate::kernel::http::openapi;
use crate::kernel::http::routes::Operations;

pub(super) const CACHE: &str = "public, max-age=300";

#[derive(Default)]
pub struct ApiDocument {
    value: OnceLock<Value>,
    json: OnceLock<Document>,
    page: OnceLock<Document>,
}

impl Part for ApiDocument {}

impl ApiDocument {
    /// Returns the OpenAPI document.
    pub(super) fn value(&self, app: &App) -> &Value {
        self.value.get_or_init(|| {
            let routes = Operations::of(app).build();
            openapi::document(&routes, &app.settings.base_url, &EXAMPLES)
        })
    }

    /// Returns the OpenAPI document as it is served.
    pub(super) fn json(&self, app: &App) -> &Document {
        self.json.get_or_init(|| {
            let text = serde_json::to_vec(self.value(app)).unwrap_or_default();
            Document::new("application/json", CACHE, text)
        })
    }

    /// Returns the page of all operations, which `render` creates once.
    pub(super) fn page(
        &self,
        app: &App,
        media_type: &'static str,
        render: impl FnOnce(&Value) -> String,
    ) -> &Document {
        self.page.get_or_init(|| Document::new(media_type, CACHE, render(self.value(app))))
    }
}
