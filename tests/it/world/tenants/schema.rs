//! The tables of a database: their columns, references and unique indexes.

use std::collections::BTreeMap;

use super::raw::Raw;

/// The text of each query returns one row per column, key or member of an index.
const COLUMNS: [&str; 2] = [
    "SELECT m.name, c.name, c.type FROM sqlite_master m JOIN pragma_table_info(m.name) c
     WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY m.name, c.cid",
    "SELECT t.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod)
     FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid
     WHERE t.relkind = 'r' AND t.relnamespace = 'public'::regnamespace AND a.attnum > 0
       AND NOT a.attisdropped ORDER BY 1, a.attnum",
];
const REFERENCES: [&str; 2] = [
    "SELECT m.name, MAX(f.\"from\"), MAX(f.\"table\")
     FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f
     WHERE m.type = 'table' GROUP BY m.name, f.id HAVING COUNT(*) = 1",
    "SELECT t.relname::text, a.attname::text, o.relname::text
     FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid JOIN pg_class o ON o.oid = k.confrelid
     JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.conkey[1]
     WHERE k.contype = 'f' AND cardinality(k.conkey) = 1",
];
const UNIQUE: [&str; 2] = [
    "SELECT m.name, i.name, x.name,
            (SELECT s.sql FROM sqlite_master s WHERE s.name = i.name AND i.partial)
     FROM sqlite_master m JOIN pragma_index_list(m.name) i JOIN pragma_index_info(i.name) x
     WHERE m.type = 'table' AND i.\"unique\" ORDER BY m.name, i.name, x.seqno",
    "SELECT t.relname::text, i.relname::text, a.attname::text,
            ' WHERE ' || pg_get_expr(x.indpred, x.indrelid)
     FROM pg_index x JOIN pg_class t ON t.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
     CROSS JOIN LATERAL unnest(x.indkey) WITH ORDINALITY k (n, place)
     LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.n AND k.n > 0
     WHERE x.indisunique AND t.relnamespace = 'public'::regnamespace ORDER BY 1, 2, k.place",
];

#[derive(Debug, Default)]
pub struct Table {
    pub name: String,
    /// The names of the columns, and their types.
    pub columns: Vec<(String, String)>,
    /// The columns that alone refer to a row of another table.
    pub references: Vec<(String, String)>,
    pub unique: Vec<Unique>,
}

/// A unique index.
#[derive(Debug)]
pub struct Unique {
    name: String,
    /// Without expressions.
    pub columns: Vec<String>,
    /// The condition of a row that is in it.
    pub condition: String,
}

impl Table {
    pub fn place(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|(name, _)| name == column)
    }
}

/// Reads all tables.
pub async fn tables(raw: &mut Raw) -> Vec<Table> {
    let pick = usize::from(!raw.is_sqlite());
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    for row in raw.rows(COLUMNS[pick].to_owned()).await {
        let [Some(name), Some(column), Some(kind)] = &row[..] else { panic!("{row:?}") };
        let table = tables.entry(name.clone()).or_default();
        table.name.clone_from(name);
        table.columns.push((column.clone(), kind.clone()));
    }
    for row in raw.rows(REFERENCES[pick].to_owned()).await {
        let [Some(name), Some(column), Some(other)] = &row[..] else { panic!("{row:?}") };
        let table = tables.get_mut(name).unwrap();
        table.references.push((column.clone(), other.clone()));
    }
    for row in raw.rows(UNIQUE[pick].to_owned()).await {
        let [Some(name), Some(index), column, condition] = &row[..] else { panic!("{row:?}") };
        let table = tables.get_mut(name).unwrap();
        if table.unique.last().is_none_or(|last| last.name != *index) {
            let condition = condition.as_deref().unwrap_or_default();
            let condition = condition.split_whitespace().collect::<Vec<_>>().join(" ");
            let condition = condition.split_once("WHERE ").map_or("TRUE", |(_, rest)| rest);
            let unique = Unique {
                name: index.clone(),
                columns: Vec::new(),
                condition: condition.to_owned(),
            };
            table.unique.push(unique);
        }
        table.unique.last_mut().unwrap().columns.extend(column.clone());
    }
    tables.into_values().collect()
}
