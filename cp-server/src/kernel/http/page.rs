//! Lists: `?limit=&cursor=` in, `{"items": […], "next_cursor": …}` out, newest first, or by name.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::kernel::db::query::Rows;
use crate::kernel::db::record::Record;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::json;
use crate::kernel::http::json::refusal::{self, Refusal};
use crate::kernel::http::operation::Input;
use crate::kernel::secret::sha256;

pub const DEFAULT_LIMIT: i64 = 50;
pub const MOST: i64 = 500;
/// The size in bytes after which a page ends. The row that exceeds it is the last one.
const MOST_BYTES: usize = 1024 * 1024;

/// A page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub struct Page<T> {
    pub items: Vec<T>,
    /// The `?cursor=` of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next_cursor: self.next_cursor }
    }
}

/// The filter of a list without filters.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoFilter {}

/// The input of a list: its filter, limit and cursor.
#[derive(Debug)]
pub struct List<F = NoFilter> {
    pub filter: F,
    limit: i64,
    after: Option<Cursor>,
    /// The fingerprint of the list and its filter: a cursor continues only the list that issued it.
    list: [u8; 4],
}

/// The last item of the previous page: its ID, and its name in a list that is ordered by name.
#[derive(Debug)]
struct Cursor {
    id: Uuid,
    name: String,
}

impl<F> List<F> {
    /// Runs the query for this page. The query must have a `WHERE` and must not order or limit.
    pub async fn page<'c, R: Record + 'c>(&self, rows: Rows<'c, R>) -> Result<Page<R>> {
        let rows = match &self.after {
            Some(after) => rows.sql(" AND ").sql(R::KEY).and(" < ?", after.id),
            None => rows,
        };
        self.cut(rows.sql(" ORDER BY ").sql(R::KEY).sql(" DESC"), |_| "").await
    }

    /// Runs the query for a list that is ordered by a column of strings.
    pub async fn page_by<'c, R: Record + 'c>(
        &self,
        rows: Rows<'c, R>,
        column: &'static str,
        name: impl Fn(&R) -> &str,
    ) -> Result<Page<R>> {
        let rows = match &self.after {
            Some(after) => {
                let rows = rows.sql(" AND (").sql(column).sql(", ").sql(R::KEY);
                rows.and(") > (?", after.name.as_str()).and(", ?)", after.id)
            }
            None => rows,
        };
        self.cut(rows.sql(" ORDER BY ").sql(column).sql(", ").sql(R::KEY), name).await
    }

    async fn cut<'c, R: Record + 'c>(
        &self,
        rows: Rows<'c, R>,
        name: impl Fn(&R) -> &str,
    ) -> Result<Page<R>> {
        let (mut items, mut more) = rows.limit(self.limit + 1).until(MOST_BYTES).await?;
        let most = usize::try_from(self.limit).unwrap_or(usize::MAX);
        if items.len() > most {
            items.truncate(most);
            more = true;
        }
        let next_cursor = items.last().filter(|_| more).map(|last| {
            let id = last.key();
            URL_SAFE_NO_PAD
                .encode([id.as_bytes().as_slice(), &self.list, name(last).as_bytes()].concat())
        });
        Ok(Page { items, next_cursor })
    }
}

impl<F: DeserializeOwned + JsonSchema + Send + 'static> Input for List<F> {
    fn from_query(pairs: Vec<(String, String)>, about: &str) -> Result<Self> {
        let (page, mut filter): (Vec<_>, Vec<_>) =
            pairs.into_iter().partition(|(name, _)| name == "limit" || name == "cursor");
        filter.sort();
        let list = list_of(about, &filter);
        let (mut limit, mut after, mut refusals) = (DEFAULT_LIMIT, None, Vec::new());
        for (n, (name, value)) in page.iter().enumerate() {
            let read = match &**name {
                _ if page[..n].iter().any(|(earlier, _)| earlier == name) => {
                    Err(Refusal::new(name, "must be sent only once"))
                }
                "limit" => read_limit(value).map(|read| limit = read),
                _ => read_cursor(value, list).map(|read| after = Some(read)),
            };
            refusals.extend(read.err());
        }
        match json::read_pairs(refusal::LIST, &filter) {
            Ok(filter) if refusals.is_empty() => return Ok(Self { filter, limit, after, list }),
            Ok(_) => {}
            Err(others) => refusals.extend(others),
        }
        Err(refusal::error(refusals))
    }

    fn from_body(_: &[u8]) -> Result<Self> {
        Err(Error::bad_request("A list reads its input from the query string."))
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
                    "description": "The maximum number of items per page; a page of large items has fewer.",
                }),
            );
            members.insert(
                "cursor".into(),
                serde_json::json!({
                    "type": "string",
                    "description": "The `next_cursor` of the previous page.",
                }),
            );
        }
        schema
    }
}

fn list_of(about: &str, filter: &[(String, String)]) -> [u8; 4] {
    let text = serde_json::to_vec(&(about, filter)).unwrap_or_default();
    let hash = sha256(&text);
    [hash[0], hash[1], hash[2], hash[3]]
}

fn read_limit(text: &str) -> Result<i64, Refusal> {
    let limit = text
        .parse()
        .map_err(|_| Refusal::new("limit", &format!("must be an integer between 1 and {MOST}")))?;
    let refused = || format!("must be between 1 and {MOST} (got {limit})");
    match limit {
        1..=MOST => Ok(limit),
        _ => Err(Refusal::new("limit", &refused())),
    }
}

fn read_cursor(text: &str, list: [u8; 4]) -> Result<Cursor, Refusal> {
    let rule = "must be the `next_cursor` of a page of this list with the same filter";
    let refused = || Refusal::new("cursor", rule);
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
    let (id, rest) = bytes.split_at_checked(16).ok_or_else(refused)?;
    let name = rest.strip_prefix(&list).ok_or_else(refused)?;
    let name = String::from_utf8(name.to_vec()).ok().filter(|name| !name.contains('\0'));
    let id = Uuid::from_slice(id).map_err(|_| refused())?;
    Ok(Cursor { id, name: name.ok_or_else(refused)? })
}
