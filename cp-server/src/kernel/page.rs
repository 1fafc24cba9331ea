//! Lists: `?limit=&cursor=` in, `{"items": […], "next_cursor": …}` out, newest first.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::error::{Error, Result};
use super::json;
use super::operation::Input;
use super::query::Rows;
use super::record::Record;
use super::secret::sha256;

pub const DEFAULT_LIMIT: i64 = 50;
pub const MOST: i64 = 500;

/// One page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Ask for the next page with `?cursor=`; null on the last one.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next_cursor: self.next_cursor }
    }
}

/// A list that nothing narrows.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoFilter {}

/// What a list was asked for: its filter, and which page.
#[derive(Debug)]
pub struct List<F = NoFilter> {
    pub filter: F,
    limit: i64,
    after: Option<Uuid>,
    /// Fingerprint of the filter: a cursor goes on with the list that it came from, only.
    list: [u8; 4],
}

impl<F> List<F> {
    /// Runs the query for this page. The query has a `WHERE` and must not order or limit.
    pub async fn page<R: Record>(&self, rows: Rows<'_, R>) -> Result<Page<R>> {
        let rows = match self.after {
            Some(after) => rows.sql(" AND ").sql(R::KEY).and(" < ?", after),
            None => rows,
        };
        let rows = rows.sql(" ORDER BY ").sql(R::KEY).and(" DESC LIMIT ?", self.limit + 1);
        let mut items = rows.all().await?;
        let more = i64::try_from(items.len()).unwrap_or(i64::MAX) > self.limit;
        if more {
            items.pop();
        }
        let next_cursor = items.last().filter(|_| more).map(|last| {
            URL_SAFE_NO_PAD.encode([last.key().as_bytes().as_slice(), &self.list].concat())
        });
        Ok(Page { items, next_cursor })
    }
}

impl<F: DeserializeOwned + JsonSchema + Send + 'static> Input for List<F> {
    fn from_query(pairs: Vec<(String, String)>) -> Result<Self> {
        let (page, mut filter): (Vec<_>, Vec<_>) =
            pairs.into_iter().partition(|(name, _)| name == "limit" || name == "cursor");
        filter.sort();
        let list = list_of(&filter);
        let (mut limit, mut after) = (DEFAULT_LIMIT, None);
        for (name, value) in page {
            if name == "limit" {
                limit = value.parse().ok().filter(|n| (1..=MOST).contains(n)).ok_or_else(|| {
                    Error::invalid("limit", format!("limit: it takes 1 to {MOST}"))
                })?;
            } else {
                after = Some(read_cursor(&value, list)?);
            }
        }
        Ok(Self { filter: json::read_query(&filter)?, limit, after, list })
    }

    fn from_body(_: &[u8]) -> Result<Self> {
        Err(Error::bad_request("A list is asked for in the query string."))
    }

    fn schema(generator: &mut SchemaGenerator, _: bool) -> Schema {
        let mut schema = F::json_schema(generator);
        let object = schema.ensure_object();
        let members = object.entry("properties").or_insert_with(|| serde_json::json!({}));
        if let Some(members) = members.as_object_mut() {
            members.insert(
                "limit".into(),
                serde_json::json!({
                    "type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT_LIMIT,
                    "description": "Items of a page.",
                }),
            );
            members.insert(
                "cursor".into(),
                serde_json::json!({
                    "type": "string",
                    "description": "Where to go on: the `next_cursor` of the page before.",
                }),
            );
        }
        schema
    }
}

fn list_of(filter: &[(String, String)]) -> [u8; 4] {
    let text = serde_json::to_vec(filter).unwrap_or_default();
    let hash = sha256(&text);
    [hash[0], hash[1], hash[2], hash[3]]
}

fn read_cursor(text: &str, list: [u8; 4]) -> Result<Uuid> {
    let refused =
        || Error::invalid("cursor", "cursor: is not one that this list with this filter gave out");
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
    let (id, of) = bytes.split_at_checked(16).ok_or_else(refused)?;
    if of != list {
        return Err(refused());
    }
    Uuid::from_slice(id).map_err(|_| refused())
}
