//! The pages of the problem codes, from the sections of `docs/errors.md`.

use std::fmt::Write;

use cp_contracts::ProblemCode;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};

use super::page::{escaped, shell};

const ERRORS: &str = include_str!("../../../../docs/errors.md");

/// Renders the list of all codes.
pub(super) fn list(base: &str) -> String {
    let mut page = begin(base, "Problem codes");
    let base = escaped(base);
    page.push_str(
        "<p>Every refusal is a problem document (RFC 9457). Match on its <code>code</code>, never on \
         its texts.</p><div class=scroll><table><tr><th>Code<th>Status<th>Meaning</tr>",
    );
    for code in ProblemCode::ALL {
        let (status, title) = (code.status(), code.title());
        let _ = write!(
            page,
            "<tr><td><a href=\"{base}/problems/{code}\"><code>{code}</code></a><td>{status}\
             <td>{title}</tr>"
        );
    }
    page + "</table></div></main></html>\n"
}

/// Renders the page of a code.
pub(super) fn page(base: &str, code: &ProblemCode) -> String {
    let mut page = begin(base, code.title());
    let _ = write!(
        page,
        "<div class=facts><span>Code <code>{code}</code></span><span>Status <code>{}</code></span>\
         </div>",
        code.status()
    );
    // The server has no other pages of the documents: their names stay, without a link.
    let is_link = |event: &Event<'_>| {
        matches!(event, Event::Start(Tag::Link { .. }) | Event::End(TagEnd::Link))
    };
    let events = Parser::new_ext(section(code), Options::ENABLE_TABLES);
    html::push_html(&mut page, events.filter(|event| !is_link(event)));
    let base = escaped(base);
    let _ = writeln!(
        page,
        "<p class=quiet><code>detail</code> explains the single refusal, and <code>request_id</code> \
         finds it in the server's log. See <a href=\"{base}/problems\">all problem codes</a> and the \
         <a href=\"{base}/docs\">API</a>.</p></main></html>"
    );
    page
}

/// The beginning of a page, with all codes as its navigation.
fn begin(base: &str, title: &str) -> String {
    let mut page = shell(&format!("{title} · License authority"), base, "");
    let base = escaped(base);
    for code in ProblemCode::ALL {
        let status = code.status();
        let _ = write!(
            page,
            "<li><a href=\"{base}/problems/{code}\">{code}<span>{status}</span></a></li>"
        );
    }
    let _ = write!(page, "</ul></nav><main><h1>{title}</h1>");
    page
}

/// The text of the section of a code.
fn section(code: &ProblemCode) -> &'static str {
    let mut sections = ERRORS.split("\n### ").skip(1);
    let found = sections.find_map(|section| {
        let (name, text) = section.split_once('\n')?;
        (name == code.as_str()).then(|| text.split("\n## ").next().unwrap_or(text))
    });
    found.unwrap_or_default()
}
