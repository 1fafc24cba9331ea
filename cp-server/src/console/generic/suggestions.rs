//! Suggested values: the newest things that a member such as `deployment_id` can name.

use serde_json::Value;

use crate::console::form::{Entries, Suggestions};
use crate::console::resources::name_of;
use crate::console::schema::{Control, Field};
use crate::console::view::{View, items};
use crate::console::words;
use crate::kernel::error::Result;
use crate::kernel::http::in_process::Seen;

/// Lists outside an organization, and lists with another name than the member.
const OTHERS: [(&str, &str); 3] = [
    ("plan_code", "plans.list"),
    ("user_id", "memberships.list"),
    ("owner_user_id", "memberships.list"),
];

/// Reads the suggestions of the fields.
pub(super) async fn of(view: &mut View, fields: &[Field]) -> Result<Suggestions> {
    let mut all = Suggestions::new();
    for field in fields {
        if !matches!(field.control, Control::Line("text")) {
            continue;
        }
        if let Some(found) = list(view, &field.name).await? {
            all.insert(field.name.clone(), found);
        }
    }
    Ok(all)
}

async fn list(view: &mut View, member: &str) -> Result<Option<Vec<(String, String)>>> {
    let resources = view.resources.clone();
    let known = OTHERS.iter().find(|(name, _)| *name == member).map(|(_, list)| *list);
    let own = || {
        let noun = member.strip_suffix("_id")?;
        let path = format!("/organizations/{{org}}/{}s", noun.replace('_', "-"));
        Some(resources.collection(&path)?.list.name)
    };
    let Some(operation) = known.or_else(own) else { return Ok(None) };
    let Some(line) = resources.named(operation) else { return Ok(None) };
    let organization = view.in_view().map(|id| id.to_string());
    let place: Vec<&str> = match (&organization, line.path.contains("{org}")) {
        (Some(organization), true) => vec![organization],
        (None, true) => return Ok(None),
        (_, false) => Vec::new(),
    };
    let seen: Seen<Value> = match view.ops.read(operation, &place, "limit=50").await {
        // Suggestions are a courtesy.
        Err(error) if error.document().status < 500 => return Ok(None),
        seen => seen?,
    };
    let items = items(&seen.value);
    let pair = |item: &Value| {
        let value = ["user_id", "id", "code"].into_iter().find_map(|name| item[name].as_str());
        let value = if member == "plan_code" { item["code"].as_str() } else { value };
        let label = name_of(item).or(item["plan_code"].as_str()).map(str::to_owned);
        value.map(|value| (value.to_owned(), label.unwrap_or_else(|| words::short(value))))
    };
    Ok(Some(items.iter().filter_map(pair).collect()))
}

/// Replaces names by their IDs, where exactly one suggestion has the name.
pub(super) fn replace(entries: &mut Entries, suggestions: &Suggestions) {
    for (name, text) in entries.iter_mut() {
        let Some(known) = suggestions.get(name) else { continue };
        let mut fitting = known.iter().filter(|(_, label)| label == text.trim());
        if let (Some((id, _)), None) = (fitting.next(), fitting.next()) {
            *text = id.clone();
        }
    }
}
