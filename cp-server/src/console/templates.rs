//! Templates of paths: what they match, and paths with values in them.

use serde_json::Value;
use url::form_urlencoded;

use crate::kernel::http::line::BASE;
use crate::kernel::text::path_segment;

/// Returns the values of the parameters, if the path fits the template.
pub(super) fn matched(template: &str, path: &str) -> Option<Vec<String>> {
    let (mut names, mut parts) = (template.split('/'), path.split('/'));
    let mut values = Vec::new();
    loop {
        match (names.next(), parts.next()) {
            (None, None) => return Some(values),
            (Some(name), Some(part)) if name.starts_with('{') && !part.is_empty() => {
                // A form encodes a blank as `+`; in a path, `+` stands for itself.
                let pair = part.replace('+', "%2B");
                let (decoded, _) = form_urlencoded::parse(pair.as_bytes()).next()?;
                values.push(decoded.into_owned());
            }
            (Some(name), Some(part)) if name == part => {}
            _ => return None,
        }
    }
}

/// Returns the path of the console for a path of the API.
pub(super) fn page_of(location: &str) -> &str {
    location.find(BASE).map_or(location, |at| &location[at + BASE.len()..])
}

/// Returns the path with these values in the places of its parameters.
pub(super) fn filled(template: &str, values: &[String]) -> String {
    let mut values = values.iter();
    let parts = template.split('/').map(|part| match part.starts_with('{') {
        true => path_segment(values.next().map_or("", String::as_str)),
        false => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Returns the path of one item of a list: its own parameter is a member of the item.
pub(super) fn path_of_item(thing: &str, values: &[String], item: &Value) -> Option<String> {
    let count = thing.matches('{').count();
    let last = thing.rsplit('/').next()?.trim_matches(['{', '}']);
    let member = if item[last].is_string() { &item[last] } else { &item["id"] };
    let mut all: Vec<String> = values.iter().take(count - 1).cloned().collect();
    all.push(member.as_str()?.to_owned());
    Some(filled(thing, &all))
}
