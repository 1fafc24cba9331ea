//! Forms as a browser reads, fills in and sends them.

use serde_json::Value;

/// An element's name, its attributes, and the text behind its start.
struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
}

impl Tag {
    fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn is(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// What a person enters a value in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// Strings, one a line.
    Lines,
    Number,
    /// One of these words, or some of them.
    Words(Vec<String>),
    Flag,
}

#[derive(Clone, Debug)]
pub struct Control {
    pub name: String,
    pub kind: Kind,
}

/// The form of a page.
pub struct Form {
    action: String,
    pub entries: Vec<(String, String)>,
    pub controls: Vec<Control>,
    /// The members of the input for which the form has no entry.
    pub missing: Vec<String>,
}

impl Form {
    /// Reads the form of a page.
    #[track_caller]
    pub fn of(page: &str) -> Self {
        let start = page.find("<form class=\"form\"").unwrap_or_else(|| panic!("no form: {page}"));
        let end = start + page[start..].find("</form>").expect("forms end");
        let tags = tags(&page[start..end]);
        let action = tags[0].get("action").unwrap().strip_prefix("/console").unwrap().to_owned();
        let mut form =
            Self { action, entries: Vec::new(), controls: Vec::new(), missing: Vec::new() };
        let mut select: Option<(String, Vec<String>, Option<String>)> = None;
        let mut is_lines = false;
        for (n, tag) in tags.iter().enumerate() {
            is_lines |= tag.text == "one a line";
            let name = tag.get("name").unwrap_or_default();
            let value = tag.get("value").unwrap_or_default();
            match (&*tag.name, tag.get("type").unwrap_or("text")) {
                ("input", "hidden") => form.entries.push((name.into(), value.into())),
                ("input", kind @ ("radio" | "checkbox")) => {
                    if tag.is("checked") {
                        form.entries.push((name.into(), value.into()));
                    }
                    form.add_word(name, value, kind == "checkbox");
                }
                ("input", _) => {
                    let is_number =
                        ["numeric", "decimal"].contains(&tag.get("inputmode").unwrap_or_default());
                    form.add(name, if is_number { Kind::Number } else { Kind::Text }, value);
                }
                ("textarea", _) => {
                    let kind = if is_lines { Kind::Lines } else { Kind::Text };
                    form.add(name, kind, tag.text.strip_prefix('\n').unwrap_or(&tag.text));
                    is_lines = false;
                }
                ("select", _) => select = Some((name.into(), Vec::new(), None)),
                ("option", _) => {
                    if let Some((_, words, chosen)) = &mut select {
                        words.push(value.into());
                        if tag.is("selected") || chosen.is_none() {
                            *chosen = Some(value.into());
                        }
                    }
                }
                ("/select", _) => {
                    let (name, words, chosen) = select.take().unwrap();
                    form.add(&name, Kind::Words(words), &chosen.unwrap_or_default());
                }
                ("code", _) if tags[n - 1].text.trim() == "Type" => {
                    form.entries.push(("_confirm".into(), tag.text.clone()));
                }
                _ => {}
            }
        }
        if let Some((_, typed)) = form.entries.iter().find(|(name, _)| name == "_confirm").cloned()
        {
            form.replace("_confirm", vec![typed]);
        }
        form
    }

    fn add(&mut self, name: &str, kind: Kind, value: &str) {
        if !name.starts_with('_') {
            self.controls.push(Control { name: name.into(), kind });
            self.entries.push((name.into(), value.into()));
        }
    }

    /// Adds a word to the control of its name.
    fn add_word(&mut self, name: &str, word: &str, is_box: bool) {
        match self.controls.iter_mut().find(|control| control.name == name) {
            Some(Control { kind: Kind::Words(words), .. }) => words.push(word.into()),
            Some(other) => panic!("{name} is twice in the form: {other:?}"),
            None => {
                let kind = match is_box && word == "true" {
                    true => Kind::Flag,
                    false => Kind::Words(vec![word.into()]),
                };
                self.controls.push(Control { name: name.into(), kind });
            }
        }
    }

    fn replace(&mut self, name: &str, values: Vec<String>) {
        self.entries.retain(|(known, _)| known != name);
        self.entries.extend(values.into_iter().map(|value| (name.to_owned(), value)));
    }

    fn kind(&self, name: &str) -> Option<Kind> {
        let control = self.controls.iter().find(|control| control.name == name);
        control.map(|control| control.kind.clone())
    }

    /// Enters the members of an input.
    pub fn fill(&mut self, input: &Value) {
        for (name, value) in input.as_object().into_iter().flatten() {
            self.enter(name, value);
        }
    }

    pub fn enter(&mut self, name: &str, value: &Value) {
        let text = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let words = |items: &[Value]| items.iter().map(text).collect::<Vec<_>>();
        match (self.kind(name), value) {
            (Some(Kind::Flag), value) => {
                let checked = *value == Value::Bool(true);
                self.replace(name, if checked { vec!["true".into()] } else { Vec::new() });
            }
            (Some(Kind::Words(_)), Value::Array(items)) => self.replace(name, words(items)),
            (Some(Kind::Lines), Value::Array(items)) => {
                self.replace(name, vec![words(items).join("\r\n")]);
            }
            (Some(_), value) => self.replace(name, vec![text(value)]),
            (None, Value::Object(members)) => {
                for (member, value) in members {
                    match self.kind(&format!("{name}/0/name")) {
                        Some(_) => self.enter_row(name, member, value),
                        None => self.enter(&format!("{name}/{member}"), value),
                    }
                }
            }
            (None, _) => self.missing.push(name.to_owned()),
        }
    }

    /// Enters a named value into the row of its name, or into an empty row.
    fn enter_row(&mut self, name: &str, member: &str, value: &Value) {
        let key = |n: usize| format!("{name}/{n}/name");
        let is_row = |n: &usize| {
            let found = self.entries.iter().find(|(known, _)| *known == key(*n));
            found.is_none_or(|(_, text)| text == member || text.is_empty())
        };
        let n = (0..).find(is_row).unwrap();
        let (kind, text) = match value {
            Value::Null => ("null", String::new()),
            Value::Bool(flag) => ("flag", if *flag { "yes" } else { "no" }.to_owned()),
            Value::Number(number) => ("number", number.to_string()),
            Value::String(text) => ("text", text.clone()),
            nested => ("json", nested.to_string()),
        };
        self.replace(&key(n), vec![member.to_owned()]);
        self.replace(&format!("{name}/{n}/kind"), vec![kind.to_owned()]);
        self.replace(&format!("{name}/{n}/value"), vec![text]);
    }

    pub fn action(&self) -> &str {
        &self.action
    }

    pub fn pairs(&self) -> Vec<(&str, &str)> {
        self.entries.iter().map(|(name, value)| (&**name, &**value)).collect()
    }
}

/// Returns the refusal at an entry: the text of the error that its control names.
pub fn refusal_at(page: &str, name: &str) -> Option<String> {
    let anchor = format!("f-{}", name.replace(['/', '.', '_'], "-"));
    let tags = tags(page);
    let control = tags.iter().find(|tag| tag.get("id") == Some(&anchor))?;
    let mut described = control.get("aria-describedby")?.split_whitespace();
    let error = described.find_map(|id| {
        let is_error = |tag: &&Tag| tag.get("id") == Some(id) && tag.get("class") == Some("error");
        tags.iter().position(|tag| is_error(&tag))
    })?;
    // The text follows the icon.
    let end = error + tags[error..].iter().position(|tag| tag.name == "/p")?;
    let text: String = tags[error..end].iter().map(|tag| tag.text.as_str()).collect();
    let linked = page.contains(&format!("href=\"#{anchor}\""));
    (linked && !text.trim().is_empty()).then_some(text)
}

fn tags(html: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    for part in html.split('<').skip(1) {
        // No attribute of these pages contains a bare `>`.
        let (inside, text) = part.split_once('>').unwrap_or((part, ""));
        let (name, mut rest) = inside.split_once(' ').unwrap_or((inside, ""));
        let mut attributes = Vec::new();
        while !rest.trim().is_empty() {
            rest = rest.trim_start();
            let end = rest.find(['=', ' ']).unwrap_or(rest.len());
            let (key, after) = rest.split_at(end);
            match after.strip_prefix("=\"") {
                Some(quoted) => {
                    let (value, after) = quoted.split_once('"').expect("attributes are quoted");
                    attributes.push((key.to_owned(), plain(value)));
                    rest = after;
                }
                None => {
                    attributes.push((key.to_owned(), String::new()));
                    rest = after;
                }
            }
        }
        tags.push(Tag { name: name.to_owned(), attributes, text: plain(text) });
    }
    tags
}

fn plain(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    text.replace("&#39;", "'").replace("&amp;", "&")
}
