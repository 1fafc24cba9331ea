//! The statements that copy the rows of one tenant.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::ops::RangeInclusive;

use regex::Regex;

use super::raw::Raw;
use super::schema::{Table, tables};
use crate::world::Tenant;

/// The entries of a status list that a copy may have, and the copies per list: 65,536 entries.
const ENTRIES: usize = 32;
const PER_LIST: u32 = 2048;
/// The newest audit events of the tenant that a copy has.
const EVENTS: usize = 10;

/// The slug of a copy.
pub fn slug(n: u32) -> String {
    format!("t{n:08x}")
}

/// The rows of a tenant, as statements that insert the same rows for each number in the table `n`.
pub struct Copies {
    is_sqlite: bool,
    inserts: Vec<String>,
    /// The statement that copies the status list for each number of a list in `n`.
    list: String,
}

/// A table, and the rows of the tenant.
struct Owned {
    table: Table,
    rows: Vec<Found>,
}

struct Found {
    /// Bytes and IDs are hexadecimal.
    values: Vec<Option<String>>,
    /// Whether the row is in each unique index.
    indexed: Vec<bool>,
}

impl Copies {
    pub async fn of(raw: &mut Raw, tenant: &Tenant) -> Self {
        let is_sqlite = raw.is_sqlite();
        let all = tables(raw).await;
        let mut writer = Writer::new(is_sqlite, tenant);
        let (mut owned, mut others) = (Vec::new(), Vec::new());
        for table in all {
            let is_first = ["organizations", "users"].contains(&table.name.as_str());
            let is_root = is_first || table.place("organization_id").is_some();
            if is_root { owned.push(table) } else { others.push(table) }
        }
        // Tables without an organization's ID that refer to one of these.
        while let Some(place) = others.iter().position(|table| {
            let refers = |(_, other): &(String, String)| owned.iter().any(|one| one.name == *other);
            table.references.iter().any(refers)
        }) {
            owned.push(others.swap_remove(place));
        }
        let mut found = Vec::new();
        for table in owned {
            let rows = rows(raw, &table, tenant, &writer.ids).await;
            writer.learn(&table, &rows);
            found.push(Owned { table, rows });
        }
        let mut inserts = Vec::new();
        for Owned { table, mut rows } in found {
            if table.name == "audit_events" {
                let place = table.place("id").unwrap();
                rows.sort_by(|one, other| other.values[place].cmp(&one.values[place]));
                rows.truncate(EVENTS);
            }
            let stride = rows.len() + 1;
            for (n, row) in rows.iter().enumerate() {
                inserts.push(writer.insert(&table, row, n + 1, stride));
            }
        }
        let lists = others.into_iter().find(|table| table.name == "status_lists").unwrap();
        let condition = condition(is_sqlite, "id", &hex_of(&tenant.status_list));
        let row = select(raw, &lists, &condition).await.remove(0);
        let list = writer.list(&lists, &row);
        Self { is_sqlite, inserts, list }
    }

    /// The statement that comes first.
    pub fn begin(&self) -> String {
        let blob = if self.is_sqlite { "BLOB" } else { "TEXT" };
        let columns = format!("k BIGINT, h TEXT, b {blob}, l TEXT, lb {blob}");
        format!("CREATE TEMP TABLE n ({columns})")
    }

    /// The transaction that adds these copies.
    pub fn script(&self, numbers: RangeInclusive<u32>) -> String {
        let blob = if self.is_sqlite { "X" } else { "" };
        let row = |n: u32| {
            let list = n / PER_LIST + 1;
            format!("({n}, '{n:08x}', {blob}'{n:08x}', '{list:08x}', {blob}'{list:08x}')")
        };
        let values: Vec<String> = numbers.clone().map(row).collect();
        let mut script =
            format!("BEGIN; DELETE FROM n; INSERT INTO n VALUES {};", values.join(", "));
        for insert in &self.inserts {
            script.push_str(insert);
        }
        script.push_str(&self.list);
        script + "COMMIT"
    }
}

fn hex_of(id: &str) -> String {
    id.replace('-', "")
}

/// The condition that a column of IDs has this value.
fn condition(is_sqlite: bool, column: &str, hex: &str) -> String {
    if is_sqlite { format!("\"{column}\" = X'{hex}'") } else { format!("\"{column}\" = '{hex}'") }
}

/// The rows of a table that belong to the tenant.
async fn rows(raw: &mut Raw, table: &Table, tenant: &Tenant, ids: &BTreeSet<String>) -> Vec<Found> {
    let is_sqlite = raw.is_sqlite();
    let is = |column: &str, id: &str| condition(is_sqlite, column, &hex_of(id));
    let mut conditions = Vec::new();
    match table.name.as_str() {
        "organizations" => conditions.push(is("id", &tenant.org)),
        "users" => {
            let people = [&tenant.owner, &tenant.user, &tenant.stranger];
            conditions.extend(people.map(|id| is("id", id)));
        }
        _ => {
            if table.place("organization_id").is_some() {
                conditions.push(is("organization_id", &tenant.org));
            }
            for (column, other) in &table.references {
                if !["organizations", "status_lists"].contains(&other.as_str()) {
                    let kind = &table.columns[table.place(column).unwrap()].1;
                    if ["BLOB", "uuid"].contains(&kind.as_str()) {
                        conditions.extend(ids.iter().map(|id| is(column, id)));
                    }
                }
            }
        }
    }
    select(raw, table, &conditions.join(" OR ")).await
}

async fn select(raw: &mut Raw, table: &Table, condition: &str) -> Vec<Found> {
    let is_sqlite = raw.is_sqlite();
    let value = |(name, kind): &(String, String)| match (is_sqlite, kind.as_str()) {
        (true, "BLOB") => format!("HEX(\"{name}\")"),
        (true, _) => format!("CAST(\"{name}\" AS TEXT)"),
        (false, "bytea") => format!("ENCODE(\"{name}\", 'hex')"),
        (false, "uuid") => format!("REPLACE(\"{name}\"::text, '-', '')"),
        (false, _) => format!("\"{name}\"::text"),
    };
    let mut columns: Vec<String> = table.columns.iter().map(value).collect();
    // SQLite returns the empty text for the hexadecimal form of null.
    if is_sqlite {
        for (text, (name, _)) in columns.iter_mut().zip(&table.columns) {
            *text = format!("CASE WHEN \"{name}\" IS NOT NULL THEN {text} END");
        }
    }
    let indexed = |index: &super::schema::Unique| {
        format!("CASE WHEN {} THEN 'yes' ELSE 'no' END", index.condition)
    };
    columns.extend(table.unique.iter().map(indexed));
    let sql = format!("SELECT {} FROM \"{}\" WHERE {condition}", columns.join(", "), table.name);
    let width = table.columns.len();
    let found = raw.rows(sql).await.into_iter().map(|mut values| {
        let flags = values.split_off(width);
        let indexed = flags.iter().map(|text| text.as_deref() == Some("yes")).collect();
        for (value, (_, kind)) in values.iter_mut().zip(&table.columns) {
            if kind == "BLOB" {
                *value = value.as_ref().map(|hex| hex.to_lowercase());
            }
        }
        Found { values, indexed }
    });
    found.collect()
}

/// Writes the values of a copy as expressions over the table `n`.
struct Writer {
    is_sqlite: bool,
    /// The IDs of the tenant's rows, hexadecimal.
    ids: BTreeSet<String>,
    /// IDs, and the tenant's slug.
    names: Regex,
    entries: std::cell::Cell<usize>,
}

impl Writer {
    fn new(is_sqlite: bool, tenant: &Tenant) -> Self {
        let (first, rest) = tenant.slug.split_at(1);
        let id = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
        let names = format!("{id}|[{first}{}]{rest}", first.to_uppercase());
        let people = [&tenant.org, &tenant.owner, &tenant.user, &tenant.stranger];
        Self {
            is_sqlite,
            ids: people.map(|id| hex_of(id)).into(),
            names: Regex::new(&names).unwrap(),
            entries: std::cell::Cell::new(0),
        }
    }

    /// Adds the IDs of these rows.
    fn learn(&mut self, table: &Table, rows: &[Found]) {
        let alone = table.unique.iter().filter(|index| index.columns.len() == 1);
        for place in alone.filter_map(|index| table.place(&index.columns[0])) {
            let values = rows.iter().filter_map(|row| row.values[place].clone());
            let is_id = ["BLOB", "uuid"].contains(&table.columns[place].1.as_str());
            self.ids.extend(values.filter(|value| is_id && value.len() == 32));
        }
    }

    fn insert(&self, table: &Table, row: &Found, n: usize, stride: usize) -> String {
        let mut expressions: Vec<String> = Vec::new();
        for (place, value) in row.values.iter().enumerate() {
            let (name, kind) = &table.columns[place];
            let expression = match (value, name.as_str()) {
                (None, _) => "NULL".to_owned(),
                (Some(value), "status_list_id") => self.bytes(&value[..24], kind, "l"),
                (Some(_), "status_idx") => {
                    let entry = self.entries.replace(self.entries.get() + 1);
                    assert!(entry < ENTRIES, "the tenant has more than {ENTRIES} entries");
                    format!("(n.k % {PER_LIST}) * {ENTRIES} + {entry}")
                }
                (Some(value), _) => self.value(value, kind),
            };
            expressions.push(expression);
        }
        for place in self.to_distinguish(table, row, &expressions) {
            let value = row.values[place].as_ref().unwrap();
            let kind = &table.columns[place].1;
            expressions[place] = match kind.as_str() {
                "BLOB" | "bytea" | "uuid" => self.bytes(&value[..value.len() - 8], kind, "h"),
                "INTEGER" | "bigint" | "integer" => format!("-(n.k * {stride} + {n})"),
                _ => format!("{} || '-' || n.h", expressions[place]),
            };
        }
        let columns: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
        let mut sql = format!("INSERT INTO \"{}\" (\"{}\") ", table.name, columns.join("\", \""));
        writeln!(sql, "SELECT {} FROM n;", expressions.join(", ")).unwrap();
        sql
    }

    /// The columns that must differ between copies, besides those that do.
    fn to_distinguish(&self, table: &Table, row: &Found, written: &[String]) -> Vec<usize> {
        let mut found = Vec::new();
        for (index, is_indexed) in table.unique.iter().zip(&row.indexed) {
            let places: Vec<usize> =
                index.columns.iter().filter_map(|name| table.place(name)).collect();
            let is_written = |text: &String| text.contains("|| n.") || text.contains("(n.k");
            let differs = |place: &usize| is_written(&written[*place]) || found.contains(place);
            let is_null = |place: &usize| row.values[*place].is_none();
            if *is_indexed && !places.iter().any(differs) && !places.iter().any(is_null) {
                found.extend(places.last());
            }
        }
        found
    }

    fn value(&self, value: &str, kind: &str) -> String {
        match kind {
            "BLOB" | "bytea" | "uuid" if self.ids.contains(value) => {
                self.bytes(&value[..24], kind, "h")
            }
            "BLOB" => format!("X'{value}'"),
            "bytea" => format!("DECODE('{value}', 'hex')"),
            "INTEGER" | "REAL" => value.to_owned(),
            "TEXT" => self.text(value),
            _ => format!("({})::{kind}", self.text(value)),
        }
    }

    /// Bytes that end with a number of `n`.
    fn bytes(&self, first: &str, kind: &str, number: &str) -> String {
        match kind {
            _ if self.is_sqlite => {
                let bytes = if number == "l" { "lb" } else { "b" };
                format!("CAST(X'{first}' || n.{bytes} AS BLOB)")
            }
            "bytea" => format!("DECODE('{first}' || n.{number}, 'hex')"),
            _ => format!("('{first}' || n.{number})::uuid"),
        }
    }

    /// A text with the IDs and the slug of the copy.
    fn text(&self, value: &str) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let (mut parts, mut end) = (Vec::new(), 0);
        for name in self.names.find_iter(value) {
            let before = &value[end..name.start()];
            let known = match name.as_str() {
                id if id.len() == 36 && self.ids.contains(&hex_of(id)) => &id[..28],
                id if id.len() == 36 => continue,
                slug if slug.starts_with(char::is_uppercase) => "T",
                _ => "t",
            };
            parts.push(quoted(&format!("{before}{known}")));
            parts.push("n.h".to_owned());
            end = name.end();
        }
        parts.push(quoted(&value[end..]));
        parts.join(" || ")
    }

    /// The statement that copies a status list, full, for each list of the numbers in `n`.
    fn list(&self, table: &Table, row: &Found) -> String {
        let expression = |(place, value): (usize, &Option<String>)| {
            let (name, kind) = &table.columns[place];
            match (value, name.as_str()) {
                (None, _) if self.is_sqlite => "NULL".to_owned(),
                (None, _) => format!("NULL::{kind}"),
                (Some(value), "id") => self.bytes(&value[..24], kind, "l"),
                (Some(_), "allocated") => (PER_LIST as usize * ENTRIES).to_string(),
                (Some(value), _) => self.value(value, kind),
            }
        };
        let values: Vec<String> = row.values.iter().enumerate().map(expression).collect();
        let columns: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
        format!(
            "INSERT INTO status_lists (\"{}\") SELECT DISTINCT {} FROM n WHERE TRUE
             ON CONFLICT (id) DO NOTHING;",
            columns.join("\", \""),
            values.join(", "),
        )
    }
}
