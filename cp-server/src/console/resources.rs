//! Resources: what the table of operations says about collections, things and their changes.
//!
//! A *collection* is a GET line whose answer has `items`. Its *thing* is the GET line whose answer is
//! one of these items. A new slice has both without a line here.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use serde_json::Value;

use super::schema::{self, Control, Field, Schemas, resolved};
use super::templates::matched;
use super::words;
use crate::kernel::access::permissions::Permission;
use crate::kernel::http::line::Line;
use crate::kernel::http::openapi;

/// What the description of a member says when its value is shown once.
const ONCE: [&str; 4] = [
    "Shown in this response only",
    "no other response has it",
    "It is a credential",
    "The secret that signs",
];

/// Fields that are credentials of data planes: a page without a session must not contain them.
const CREDENTIALS: [(&str, &str); 1] = [("bundles.inspect", "token")];

/// What the table says.
pub(super) struct Resources {
    operations: Vec<Operation>,
    /// What the slices say about their resources.
    descriptions: Descriptions,
    pub(super) schemas: Schemas,
}

/// The descriptions of the slices, by their names.
pub(super) type Descriptions = BTreeMap<&'static str, &'static str>;

/// A line of the table, as pages need it.
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// The first line of the documentation.
    pub(super) summary: String,
    pub(super) about: String,
    /// The parameters of the query string.
    pub(super) query: Vec<Field>,
    pub(super) input: Option<Value>,
    pub(super) output: Option<Value>,
}

/// A list, and its thing.
pub(super) struct Collection<'r> {
    pub(super) list: &'r Operation,
    /// The schema of an item.
    pub(super) item: &'r Value,
    /// The path of one item.
    pub(super) thing: Option<&'static str>,
    /// The member of the answer that continues the list, and the parameter that it becomes.
    pub(super) next: Option<(&'static str, &'static str)>,
}

impl Resources {
    pub(super) fn of(table: &[Line], descriptions: &Descriptions) -> Self {
        let mut generator = openapi::schemas();
        let has_page = |line: &&Line| {
            !(line.raw || line.root || line.machine || line.permission == Permission::PUBLIC)
        };
        let shaped: Vec<_> =
            table.iter().filter(has_page).map(|line| (line, line.shapes(&mut generator))).collect();
        let schemas = generator.take_definitions(true);
        let operations = shaped.into_iter().map(|(line, shapes)| {
            let (summary, about) = first_paragraph(line.doc);
            let input = shapes.input.map(Value::from);
            let (query, input) = match input {
                Some(input) if line.in_query() => (schema::fields(&schemas, &input), None),
                input => (Vec::new(), input),
            };
            Operation {
                name: line.name,
                method: line.method.clone(),
                path: line.path,
                summary,
                about,
                query,
                input,
                output: shapes.output.map(Value::from),
            }
        });
        let operations = operations.collect();
        Self { operations, descriptions: descriptions.clone(), schemas }
    }

    /// Returns the template of a path and the values in it. Literal segments win.
    pub(super) fn place(&self, path: &str) -> Option<(&'static str, Vec<String>)> {
        let fitting =
            self.operations.iter().filter_map(|one| Some((one.path, matched(one.path, path)?)));
        fitting.min_by_key(|(_, values)| values.len())
    }

    /// Returns what a resource is, in a sentence.
    pub(super) fn described(&self, operation: &Operation) -> String {
        let slice = operation.name.split('.').next().unwrap_or_default();
        match self.descriptions.get(slice) {
            Some(about) => first_paragraph(about).0,
            None => operation.summary.clone(),
        }
    }

    pub(super) fn named(&self, name: &str) -> Option<&Operation> {
        self.operations.iter().find(|one| one.name == name)
    }

    pub(super) fn on(&self, path: &str, method: &Method) -> Option<&Operation> {
        self.operations.iter().find(|one| one.path == path && one.method == *method)
    }

    /// Returns the list at a path.
    pub(super) fn collection(&self, path: &str) -> Option<Collection<'_>> {
        let list = self.on(path, &Method::GET)?;
        let page = resolved(&self.schemas, list.output.as_ref()?);
        let members = page["properties"].as_object()?;
        let item = members.get("items").map(|items| &items["items"])?;
        if resolved(&self.schemas, item)["properties"].is_null() {
            return None;
        }
        let next = [("next_cursor", "cursor"), ("next", "after")];
        let next = next.into_iter().find(|(member, _)| members.contains_key(*member));
        Some(Collection { list, item, thing: self.thing_of(path, item), next })
    }

    fn thing_of(&self, collection: &str, item: &Value) -> Option<&'static str> {
        let reference = item["$ref"].as_str()?;
        let is_it = |one: &&Operation| {
            one.method == Method::GET
                && one.output.as_ref().is_some_and(|output| output["$ref"] == reference)
        };
        let below = |one: &&Operation| one.path.strip_prefix(collection).is_some_and(is_parameter);
        let things = || self.operations.iter().filter(is_it);
        let alone =
            |one: &&Operation| one.path.matches('{').count() == 1 && one.path.ends_with('}');
        things().find(below).or_else(|| things().find(alone)).map(|one| one.path)
    }

    /// Returns the GET lines directly below a path: the tabs of a thing.
    pub(super) fn below(&self, path: &str) -> impl Iterator<Item = &Operation> {
        let is_below = move |one: &&Operation| {
            let rest = one.path.strip_prefix(path).and_then(|rest| rest.strip_prefix('/'));
            one.method == Method::GET
                && rest.is_some_and(|rest| !rest.is_empty() && !rest.contains('{'))
        };
        self.operations.iter().filter(is_below)
    }

    /// Returns the POST lines directly below a path that are no list: the actions of a thing.
    pub(super) fn actions(&self, path: &str) -> impl Iterator<Item = &Operation> {
        self.operations.iter().filter(move |one| {
            let rest = one.path.strip_prefix(path).and_then(|rest| rest.strip_prefix('/'));
            one.method == Method::POST
                && rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['{', '/']))
                && self.on(one.path, &Method::GET).is_none()
        })
    }

    /// Whether a segment is the name of a list, such as `licenses`.
    pub(super) fn collection_named(&self, segment: &str) -> bool {
        let ending = format!("/{segment}");
        self.operations.iter().any(|one| {
            one.method == Method::GET
                && one.path.ends_with(&ending)
                && self.collection(one.path).is_some()
        })
    }

    /// Returns the operation that adds to a collection, and the parameter of the path that it needs.
    pub(super) fn adding(&self, path: &str) -> Option<(&Operation, Option<&'static str>)> {
        if let Some(post) = self.on(path, &Method::POST) {
            return Some((post, None));
        }
        if let Some(put) = self.on(path, &Method::PUT).filter(|_| self.collection(path).is_some()) {
            return Some((put, None));
        }
        let below = self.operations.iter().find(|one| {
            one.method == Method::PUT && one.path.strip_prefix(path).is_some_and(is_parameter)
        });
        below.map(|put| {
            (put, put.path.rsplit_once('/').map(|(_, last)| last.trim_matches(['{', '}'])))
        })
    }

    /// Returns the paths without parameters that have a page, and that need no question.
    pub(super) fn roots(&self) -> impl Iterator<Item = &Operation> {
        let has_page = |one: &&Operation| one.method == Method::GET && !one.path.contains('{');
        let needs_none = |one: &&Operation| one.query.iter().all(|field| !field.is_required);
        self.operations.iter().filter(has_page).filter(needs_none)
    }

    /// Returns the thing that a member such as `deployment_id` names.
    pub(super) fn referred(&self, member: &str) -> Option<&Operation> {
        let member = match member {
            "plan_code" => "plan_id",
            "kid" => "key_id",
            other => other,
        };
        let noun = member.strip_suffix("_id")?;
        let fits = |one: &&Operation| {
            let Some((path, last)) = one.path.rsplit_once('/') else { return false };
            let segment = path.rsplit('/').next().unwrap_or_default();
            let own = words::singular_name(segment);
            one.method == Method::GET
                && last.starts_with('{')
                && path.matches('{').count() == 0
                && (noun == own || noun.ends_with(&format!("_{own}")))
        };
        self.operations.iter().filter(fits).max_by_key(|one| one.path.len())
    }

    /// Returns the fields of an operation's input.
    pub(super) fn fields(&self, operation: &Operation) -> Vec<Field> {
        match &operation.input {
            Some(input) => {
                let mut fields = schema::fields(&self.schemas, input);
                if operation.name.starts_with("service_tokens.") {
                    offer_permissions(&mut fields);
                }
                fields
            }
            None => operation.query.clone(),
        }
    }

    /// Returns the entries of the forms at a path, and of these operations, that are secrets. A field
    /// within another one has the name of both.
    pub(super) fn secrets(&self, path: &str, calls: &[&str]) -> BTreeSet<String> {
        let template = self.place(path).map(|(template, _)| template);
        let put = template.and_then(|template| self.adding(template)).map(|(put, _)| put);
        let mut secrets = BTreeSet::new();
        for one in &self.operations {
            let is_here = template == Some(one.path) || put.is_some_and(|put| put.name == one.name);
            if is_here || calls.contains(&one.name) {
                add_secrets(&self.fields(one), "", &mut secrets);
                let own = CREDENTIALS.iter().filter(|(operation, _)| *operation == one.name);
                secrets.extend(own.map(|(_, field)| (*field).to_owned()));
            }
        }
        secrets
    }

    /// Returns the members of an answer.
    pub(super) fn members(&self, schema: &Value) -> Vec<(String, Value)> {
        schema::members(&self.schemas, schema)
    }

    /// Whether an answer contains a value that is shown once.
    pub(super) fn shows_once(&self, operation: &Operation) -> Vec<String> {
        let Some(output) = &operation.output else { return Vec::new() };
        let members =
            resolved(&self.schemas, output)["properties"].as_object().into_iter().flatten();
        let is_once = |member: &Value| {
            let about = member["description"].as_str().unwrap_or_default();
            ONCE.iter().any(|words| about.contains(words))
        };
        members.filter(|(_, member)| is_once(member)).map(|(name, _)| name.clone()).collect()
    }
}

impl Operation {
    /// Returns the verb of the operation's name.
    fn verb(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    /// Returns what its button says: "New license", "Issue a token".
    pub(super) fn title_of_adding(&self, noun: &str) -> String {
        match self.verb() {
            verb @ ("issue" | "claim" | "link" | "record" | "import") => {
                format!("{} {}", words::label(verb), words::a(noun))
            }
            "put_member" | "add_member" => format!("Add {}", words::a(noun)),
            _ => format!("New {noun}"),
        }
    }

    /// Returns what the button of its form says: the verb first.
    pub(super) fn button_of_adding(&self, noun: &str) -> String {
        match self.verb() {
            verb @ ("issue" | "claim" | "link" | "record" | "import") => {
                format!("{} the {noun}", words::label(verb))
            }
            "put_member" | "add_member" => format!("Add the {noun}"),
            _ => format!("Create the {noun}"),
        }
    }
}

/// Adds the names of the fields whose values answers never return.
fn add_secrets(fields: &[Field], prefix: &str, secrets: &mut BTreeSet<String>) {
    for field in fields {
        let name = format!("{prefix}{}", field.name);
        if let Control::Group(fields) = &field.control {
            add_secrets(fields, &format!("{name}/"), secrets);
        }
        if field.is_secret {
            secrets.insert(name);
        }
    }
}

/// Offers the permissions of this server: a service token has no others.
fn offer_permissions(fields: &mut [Field]) {
    let codes = || Permission::all().iter().map(|one| one.as_str().to_owned()).collect();
    for field in fields.iter_mut().filter(|field| field.name == "permissions") {
        field.control = Control::Several(codes());
    }
}

/// Returns the first paragraph of a documentation, and what the others say to people, each as one line.
fn first_paragraph(doc: &str) -> (String, String) {
    let lines: Vec<&str> = doc.trim().lines().map(str::trim).collect();
    let end = lines.iter().position(|line| line.is_empty()).unwrap_or(lines.len());
    let (first, others) = lines.split_at(end);
    let first = first.join(" ").trim().replace('`', "");
    (first, without_code(&others.join(" ")))
}

/// Returns the sentences that are for people: not those about members, and not those that go on about
/// one of them.
fn without_code(text: &str) -> String {
    let mut is_left_out = false;
    let sentences = text.trim().split_inclusive(". ").filter(|sentence| {
        let goes_on =
            ["It ", "Its ", "This ", "They "].iter().any(|word| sentence.starts_with(word));
        is_left_out = sentence.contains('`') || is_left_out && goes_on;
        !is_left_out
    });
    sentences.collect::<String>().trim().to_owned()
}

/// Whether the rest of a path is one parameter.
fn is_parameter(rest: &str) -> bool {
    rest.strip_prefix("/{").is_some_and(|rest| rest.ends_with('}') && !rest.contains('/'))
}

/// Returns the words that name a thing.
pub(super) fn name_of(value: &Value) -> Option<&str> {
    let members = [
        "name",
        // A license has the name of its deployment until it has its own.
        "deployment_name",
        "display_name",
        "title",
        "email",
        "slug",
        "code",
        "key",
        "metric",
        "action",
    ];
    members.into_iter().find_map(|member| value[member].as_str())
}
