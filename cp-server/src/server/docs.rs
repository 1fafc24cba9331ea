//! The API documentation for people.

use std::fmt::Write;

use axum::http::{HeaderValue, header};
use axum::response::Response;

use crate::kernel::app::Part;
use crate::kernel::error::Result;
use crate::kernel::http::answer::{Document, Documents};
use crate::kernel::http::line::Line;
use crate::kernel::http::routes::{Operations, Raw};

pub(super) async fn docs(raw: Raw) -> Result<Response> {
    static PAGES: Documents = Documents::new();
    let base = raw.app.settings.base_path();
    let text = || {
        Document::new(
            "text/html; charset=utf-8",
            "public, max-age=300",
            page(&Operations::of(&raw.app).build().table, base),
        )
    };
    let mut response = PAGES.at(base, text).render(&raw.parts.headers);
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    Ok(response)
}

/// Renders the table as a page that needs no script and no third party.
fn page(table: &[Line], base: &str) -> String {
    // The path goes into a quoted attribute and may contain HTML syntax.
    let base = base.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport \
         content=\"width=device-width\"><title>License authority API</title><style>\
         body{{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}}\
         code{{font-size:.9em}}td{{padding:.2rem 1rem .2rem 0;vertical-align:top}}\
         b{{display:inline-block;min-width:4rem}}</style>\
         <h1>License authority API</h1><p>Base <code>{base}/api/v1</code>; the machine-readable form is \
         <a href=\"{base}/api/v1/openapi.json\">openapi.json</a>. Send \
         <code>Authorization: Bearer &lt;token&gt;</code>; refusals are \
         <code>application/problem+json</code> (RFC 9457).</p>",
    );
    let mut slice = "";
    for line in table {
        let name = line.name.split('.').next().unwrap_or_default();
        if name != slice {
            let end = if slice.is_empty() { "" } else { "</table>" };
            let _ = write!(page, "{end}<h2>{}</h2><table>", name.replace('_', " "));
            slice = name;
        }
        let doc =
            line.doc.trim().replace('&', "&amp;").replace('<', "&lt;").replace("\n\n", "<br>");
        let _ = write!(
            page,
            "<tr><td><code><b>{}</b>{}</code><td>{doc}<br><small>{} · requires {}</small>",
            line.method,
            line.full_path(),
            line.name,
            line.permission.as_str()
        );
    }
    page + "</table>"
}
