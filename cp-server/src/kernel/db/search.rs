//! Searches in lists: the beginning of a name, or a whole ID.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use crate::kernel::db::Conn;
use crate::kernel::db::query::Rows;
use crate::kernel::db::record::Record;
use crate::kernel::text::Reference;

/// The parameter `q`: the beginning of a name, or a whole ID.
///
/// Upper and lower case of ASCII letters are equal. `%` and `_` stand for themselves.
#[derive(Clone, Debug)]
pub struct Search {
    /// The text as the caller sent it, for IDs that are strings.
    text: String,
    /// The pattern of `LIKE` in lower case, with `\` as the escape character.
    pattern: String,
    id: Option<Uuid>,
}

impl From<&str> for Search {
    fn from(text: &str) -> Self {
        let mut pattern = String::with_capacity(text.len() + 1);
        for character in text.chars() {
            if matches!(character, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(character.to_ascii_lowercase());
        }
        pattern.push('%');
        Self { text: text.to_owned(), pattern, id: Uuid::try_parse(text).ok() }
    }
}

impl<'de> Deserialize<'de> for Search {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Reference::deserialize(deserializer).map(|text| Self::from(text.as_str()))
    }
}

impl JsonSchema for Search {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Search".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "maxLength": 255, "examples": ["acme"]})
    }
}

impl Conn {
    /// The text before and after a column by which comparisons fold ASCII letters, as the indexes of
    /// names do.
    pub fn folds(&self) -> (&'static str, &'static str) {
        if self.is_sqlite() { ("", " COLLATE NOCASE") } else { ("lower(", r#") COLLATE "C""#) }
    }
}

impl<R: Record> Rows<'_, R> {
    /// Keeps the rows whose name in one of these columns begins with the text, or whose ID, or
    /// string in one of the columns `ids`, is the text. Keeps all rows without a search.
    pub fn search(
        mut self,
        search: Option<&Search>,
        names: &[&'static str],
        ids: &[&'static str],
    ) -> Self {
        let Some(search) = search else { return self };
        // `lower` of the collation C, and `LIKE` of SQLite, fold ASCII letters only.
        let (before, after) =
            if self.is_sqlite() { ("", "") } else { ("lower(", r#" COLLATE "C")"#) };
        self = self.sql(" AND (").sql(R::KEY).and(" = ?", search.id);
        for name in names {
            self = self.sql(" OR ").sql(before).sql(name).sql(after);
            self = self.and(r" LIKE ? ESCAPE '\'", search.pattern.as_str());
        }
        for id in ids {
            self = self.sql(" OR ").sql(id).and(" = ?", search.text.as_str());
        }
        self.sql(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_pattern_takes_wildcards_literally() {
        let search = Search::from(r"Acme_50%\");
        assert_eq!(search.pattern, r"acme\_50\%\\%");
        assert_eq!((search.text.as_str(), search.id), (r"Acme_50%\", None));
        let id = Uuid::from_u128(7);
        assert_eq!(Search::from(id.to_string().as_str()).id, Some(id));
    }
}
