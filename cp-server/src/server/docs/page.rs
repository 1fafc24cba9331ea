//! The page: a section for each resource, an entry for each operation.

use std::fmt::Write;

use serde_json::Value;

use crate::server::schema_words::{kind_of, members, resolved};

const STYLE: &str = include_str!("../docs.css");
/// How deep the fields of a request are listed. Only requests can omit fields: their required ones
/// are marked, but for the deepest.
const REQUEST_DEPTH: usize = 4;
/// How deep the fields of a response are listed: the example shows the rest.
const RESPONSE_DEPTH: usize = 1;

/// Text with the characters of HTML's syntax escaped.
pub(super) fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;")
}

/// Escaped text in which `code` is marked.
fn marked(text: &str) -> String {
    let mut html = String::new();
    for (n, part) in escaped(text).split('`').enumerate() {
        if n % 2 == 1 {
            let _ = write!(html, "<code>{part}</code>");
        } else {
            html.push_str(part);
        }
    }
    html
}

struct Operation<'d> {
    method: String,
    path: &'d str,
    value: &'d Value,
}

impl Operation<'_> {
    fn text(&self, member: &str) -> &str {
        self.value[member].as_str().unwrap_or_default()
    }

    fn tag(&self) -> &str {
        self.value["tags"][0].as_str().unwrap_or_default()
    }
}

/// Renders the operations of the document that contain all words of the search.
pub(super) fn render(document: &Value, base: &str, search: &str) -> String {
    let mut tags: Vec<(&str, Vec<Operation<'_>>)> = Vec::new();
    for tag in document["tags"].as_array().into_iter().flatten() {
        tags.push((tag["name"].as_str().unwrap_or_default(), Vec::new()));
    }
    for (path, operations) in members(&document["paths"]) {
        for (method, value) in members(operations) {
            let operation = Operation { method: method.to_uppercase(), path, value };
            if let Some((_, found)) = tags.iter_mut().find(|(tag, _)| *tag == operation.tag())
                && contains(&operation, search)
            {
                found.push(operation);
            }
        }
    }
    tags.retain(|(_, found)| !found.is_empty());
    let mut page = head(base, search, &tags);
    for (tag, operations) in &tags {
        let mut tags = document["tags"].as_array().into_iter().flatten();
        let about =
            tags.find(|one| one["name"] == **tag).and_then(|one| one["description"].as_str());
        let about = marked(about.unwrap_or_default());
        let _ = write!(page, "<h2 id=\"{tag}\">{}</h2><p>{about}</p>", title(tag));
        for operation in operations {
            entry(&mut page, document, operation, !search.is_empty());
        }
    }
    if tags.is_empty() {
        page.push_str("<p>No operation contains these words.</p>");
    }
    page + "</main></html>\n"
}

fn title(tag: &str) -> String {
    let words = tag.replace('_', " ");
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// Whether the operation's name, path, words and fields contain all words of the search.
fn contains(operation: &Operation<'_>, search: &str) -> bool {
    let all = format!("{} {} {}", operation.method, operation.path, operation.value).to_lowercase();
    search.to_lowercase().split_whitespace().all(|word| all.contains(word))
}

/// The beginning of a page, up to the links of its navigation.
pub(super) fn shell(title: &str, base: &str, search: &str) -> String {
    let (base, search) = (escaped(base), escaped(search));
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style>\
         <nav aria-label=Contents><strong>License authority</strong>\
         <form action=\"{base}/docs\"><input name=q type=search maxlength=200 value=\"{search}\" \
         placeholder=\"Search operations\" aria-label=\"Search operations\"></form><ul>"
    )
}

fn head(base: &str, search: &str, tags: &[(&str, Vec<Operation<'_>>)]) -> String {
    let mut page = shell("API of the license authority", base, search);
    let base = escaped(base);
    for (tag, operations) in tags {
        let (title, count) = (title(tag), operations.len());
        let _ = write!(page, "<li><a href=\"#{tag}\">{title}<span>{count}</span></a></li>");
    }
    let _ = write!(
        page,
        "</ul></nav><main><h1>API</h1><p>All paths begin with <code>{base}/api/v1</code> unless \
         they are written in full. The machine-readable form is \
         <a href=\"{base}/api/v1/openapi.json\">openapi.json</a> (OpenAPI 3.1).</p><p>Send \
         <code>Authorization: Bearer TOKEN</code> with a service token or a person's access token. \
         Refusals are problem documents (RFC 9457) with a <code>code</code>: see \
         <a href=\"{base}/problems\">all problem codes</a>.</p>"
    );
    page
}

fn entry(page: &mut String, document: &Value, operation: &Operation<'_>, is_open: bool) {
    let (name, method) = (operation.text("operationId"), &operation.method);
    let path = operation.path.strip_prefix("/api/v1").unwrap_or(operation.path);
    let _ = write!(
        page,
        "<details id=\"{name}\"{}><summary><b class={}>{method}</b><code>{}</code>\
         <span>{}</span></summary><div class=in>",
        if is_open { " open" } else { "" },
        method.to_lowercase(),
        escaped(path),
        marked(operation.text("summary")),
    );
    for paragraph in operation.text("description").split("\n\n").filter(|text| !text.is_empty()) {
        let _ = write!(page, "<p>{}</p>", marked(paragraph));
    }
    let _ = write!(
        page,
        "<div class=facts><span>Operation <a href=\"#{name}\"><code>{name}</code></a></span>\
         <span>Permission <code>{}</code></span></div>",
        escaped(operation.text("x-permission"))
    );
    let parameters = operation.value["parameters"].as_array().map(Vec::as_slice);
    let parameters = parameters.unwrap_or_default();
    if !parameters.is_empty() {
        page.push_str("<h3>Parameters</h3>");
        table(page, |rows| {
            for one in parameters {
                let place = one["in"].as_str().unwrap_or_default();
                let kind = format!("{place}, {}", kind_of(document, &one["schema"]));
                let words = one["description"].as_str().or(one["schema"]["description"].as_str());
                row(rows, &one["name"], &kind, one["required"] == true, words.unwrap_or_default());
            }
        });
    }
    content(page, document, "Request", &operation.value["requestBody"], REQUEST_DEPTH);
    for (status, response) in members(&operation.value["responses"]) {
        if status.starts_with('2') {
            content(page, document, &format!("Response {status}"), response, RESPONSE_DEPTH);
        }
    }
    let refusals: Vec<&str> = members(&operation.value["responses"])
        .filter(|(_, response)| response.get("$ref").is_some())
        .map(|(status, _)| status.as_str())
        .collect();
    let _ = write!(page, "<p class=quiet>Refusals: {}.</p></div></details>", refusals.join(", "));
}

/// The fields of a request or a response, and its example.
fn content(page: &mut String, document: &Value, heading: &str, holder: &Value, depth: usize) {
    for (media_type, content) in members(&holder["content"]) {
        let schema = &content["schema"];
        let kind = kind_of(document, schema);
        let _ = write!(
            page,
            "<h3>{heading} · <code>{}</code> · {}</h3>",
            escaped(media_type),
            escaped(&kind)
        );
        let mut rows = String::new();
        fields(&mut rows, document, schema, "", depth);
        if !rows.is_empty() {
            table(page, |all| all.push_str(&rows));
        }
        if let Some(example) = content.get("example") {
            let text = serde_json::to_string_pretty(example).unwrap_or_default();
            let _ = write!(page, "<h3>Example</h3><pre>{}</pre>", escaped(&text));
        }
    }
}

fn table(page: &mut String, rows: impl FnOnce(&mut String)) {
    page.push_str("<div class=scroll><table><tr><th>Field<th>Type<th>Meaning</tr>");
    rows(page);
    page.push_str("</table></div>");
}

fn row(rows: &mut String, name: &Value, kind: &str, is_required: bool, words: &str) {
    let _ = write!(
        rows,
        "<tr><td><code>{}</code>{}<td>{}<td>{}</tr>",
        escaped(name.as_str().unwrap_or_default()),
        if is_required { " <em>required</em>" } else { "" },
        escaped(kind),
        marked(words)
    );
}

fn fields(rows: &mut String, document: &Value, schema: &Value, prefix: &str, depth: usize) {
    let schema = resolved(document, schema);
    let required = schema["required"].as_array().filter(|_| depth > 1);
    for (name, field) in members(&schema["properties"]) {
        let is_required = required.is_some_and(|all| all.iter().any(|one| one == name));
        let path = format!("{prefix}{name}");
        let inner = resolved(document, field);
        let words = field["description"].as_str().or(inner["description"].as_str());
        let kind = kind_of(document, field);
        row(rows, &path.as_str().into(), &kind, is_required, words.unwrap_or_default());
        if depth > 1 {
            let (items, mark) = match inner.get("items") {
                Some(items) => (items, "[]"),
                None => (inner, ""),
            };
            fields(rows, document, items, &format!("{path}{mark}."), depth - 1);
        }
    }
}
