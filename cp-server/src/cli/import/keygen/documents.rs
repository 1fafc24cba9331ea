//! Saved answers of Keygen's API: JSON:API documents whose `data` is a list of resources.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value};

/// The least number that a float does not distinguish from the next one: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The resources of an export, by ID.
#[derive(Debug, Default)]
pub(super) struct Documents {
    pub(super) policies: BTreeMap<String, Resource>,
    pub(super) users: BTreeMap<String, Resource>,
    pub(super) licenses: BTreeMap<String, Resource>,
    pub(super) machines: BTreeMap<String, Resource>,
}

/// A resource with its attributes, and the resources that it refers to.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) id: String,
    pub(super) attributes: Map<String, Value>,
    /// The IDs of single resources, by the name of the relationship.
    related: BTreeMap<String, String>,
}

impl Documents {
    /// Reads all `.json` files of a folder. Also returns the types without an equivalent.
    pub(super) fn read(folder: &Path) -> anyhow::Result<(Self, Vec<String>)> {
        let name = folder.display();
        let entries = fs::read_dir(folder).with_context(|| format!("cannot read {name}"))?;
        let mut files = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                files.push(path);
            }
        }
        ensure!(!files.is_empty(), "{name} has no .json files");
        files.sort();
        let (mut documents, mut others) = (Self::default(), BTreeMap::new());
        for file in files {
            let at = || file.display().to_string();
            let text = fs::read_to_string(&file).with_context(at)?;
            // Editors of some systems begin a file with a byte order mark.
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            let document: Value = serde_json::from_str(text).with_context(at)?;
            documents.add(&document, &mut others).with_context(at)?;
        }
        let gaps = others
            .into_iter()
            .map(|(kind, count)| format!("{count} of type `{kind}`: the type has no equivalent"));
        Ok((documents, gaps.collect()))
    }

    fn add(&mut self, document: &Value, others: &mut BTreeMap<String, u64>) -> anyhow::Result<()> {
        let data = match &document["data"] {
            Value::Array(items) => items.as_slice(),
            item @ Value::Object(_) => std::slice::from_ref(item),
            _ => bail!("the file must be an answer of Keygen's API, with a list as `data`"),
        };
        let included = document["included"].as_array().into_iter().flatten();
        for item in data.iter().chain(included) {
            let kind = item["type"].as_str().context("a resource has no `type`")?;
            let resource = Resource::read(item)?;
            let of_kind = match kind {
                "policies" => &mut self.policies,
                "users" => &mut self.users,
                "licenses" => &mut self.licenses,
                "machines" => &mut self.machines,
                _ => {
                    *others.entry(kind.to_owned()).or_default() += 1;
                    continue;
                }
            };
            of_kind.insert(resource.id.clone(), resource);
        }
        Ok(())
    }
}

impl Resource {
    pub(super) fn read(item: &Value) -> anyhow::Result<Self> {
        let id = item["id"].as_str().context("a resource has no `id`")?.to_owned();
        let attributes = item["attributes"].as_object().cloned().unwrap_or_default();
        let mut related = BTreeMap::new();
        for (name, relationship) in item["relationships"].as_object().into_iter().flatten() {
            if let Some(id) = relationship["data"]["id"].as_str() {
                related.insert(name.clone(), id.to_owned());
            }
        }
        Ok(Self { id, attributes, related })
    }

    /// Returns the ID of a related resource. Older versions of the API have other names for some.
    pub(super) fn related(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.related.get(*name)).map(String::as_str)
    }

    /// Returns a string that is not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty())
    }

    /// Returns a number of at least 0; `None` for one that is absent or null.
    ///
    /// # Errors
    /// Fails for any other value, with the rule.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, String> {
        let Some(value) = self.attributes.get(name).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        // Some programs write a whole number as 3.0.
        let whole = value.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < EXACT);
        let number = value.as_i64().or(whole.map(|n| n as i64)).filter(|n| *n >= 0);
        let rule = || format!("`{name}` must be a whole number of at least 0 (got {value})");
        number.map(Some).ok_or_else(rule)
    }

    /// Whether an attribute is neither absent nor null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.attributes.get(name).is_some_and(|value| !value.is_null())
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.attributes.get(name) == Some(&Value::Bool(true))
    }
}
