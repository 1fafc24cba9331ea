//! The plans of the statements that the operations send: none of them reads a whole table of tenants.
//!
//! Only on SQLite, whose planner needs no rows to choose an index. PostgreSQL has the same indexes.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use crate::world::World;

/// What may read a whole table: pages of the platform's lists in the order of an index, bounded counts,
/// and searches for all that names a person.
const ALLOWED: [&str; 7] = [
    r"WHERE TRUE ORDER BY \w+\.id DESC LIMIT \$\d+ \+ 0$",
    r"^SELECT COUNT\(\*\) FROM \(SELECT 1 FROM \w+ WHERE [^()]* LIMIT \$1 \+ 0\) AS counted$",
    r" WHERE salt IS NOT NULL AND seq >= \$4 AND seq < \$5\) AS searched WHERE actor_id = \$1 OR words LIKE ",
    r"^SELECT .* FROM webhooks WHERE emails IS NOT NULL AND LOWER\(CAST\(emails AS TEXT\)\) LIKE ",
    r"^UPDATE webhook_attempts SET answer = NULL WHERE delivery_id IN \(SELECT d\.id FROM webhook_deliveries d ",
    // SQLite reads the rows that refer to a new one only while others lack theirs: never here.
    r"^INSERT ",
    // Of this sweep itself.
    r"^SELECT (COUNT\(\*\)|action) FROM audit_events( ORDER BY id DESC LIMIT 1)?$",
];

/// Returns the statements that read a whole table of tenants, each with those steps of its plan.
pub async fn reading_whole_tables(
    world: &World,
    statements: &BTreeSet<String>,
) -> BTreeMap<String, Vec<String>> {
    let allowed = ALLOWED.map(|pattern| Regex::new(pattern).unwrap());
    let (tables, indexes) = (tables_of_tenants(world).await, partial_indexes(world).await);
    let mut found = BTreeMap::new();
    for statement in statements {
        let text = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        let has_plan =
            ["SELECT ", "WITH ", "UPDATE ", "DELETE "].iter().any(|verb| text.starts_with(verb));
        if !has_plan || allowed.iter().any(|pattern| pattern.is_match(&text)) {
            continue;
        }
        let mut steps = plan(world, statement).await;
        steps.retain(|step| {
            let Some(rest) = step.strip_prefix("SCAN ") else { return false };
            let name = rest.split(' ').next().unwrap_or_default();
            let reads_part = indexes.iter().any(|index| rest.contains(index.as_str()));
            let called = tables_called(&text, name);
            // A statement may give one name to a table and to a common table expression.
            let is_table = !called.is_empty() && called.iter().all(|table| tables.contains(table));
            !reads_part && is_table
        });
        if !steps.is_empty() {
            found.insert(text, steps);
        }
    }
    found
}

/// The tables whose rows belong to organizations, and those of organizations and people.
async fn tables_of_tenants(world: &World) -> BTreeSet<String> {
    let sql = "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
               WHERE m.type = 'table' AND c.name = 'organization_id'";
    names(world, sql).await.chain(["organizations".into(), "users".into()]).collect()
}

/// The indexes that contain a part of their table.
async fn partial_indexes(world: &World) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE '%WHERE %'";
    names(world, sql).await.collect()
}

async fn names(world: &World, sql: &'static str) -> impl Iterator<Item = String> {
    let names: Vec<(String,)> = world.app.db.read().q(sql).all().await.unwrap();
    names.into_iter().map(|(name,)| name)
}

async fn plan(world: &World, statement: &str) -> Vec<String> {
    let numbers = Regex::new(r"\$(\d+)").unwrap();
    let numbers = numbers.captures_iter(statement).map(|found| found[1].parse().unwrap());
    let count: usize = numbers.max().unwrap_or(0);
    let nulls = || std::iter::repeat_n(None::<String>, count);
    world.plan(statement, |query| nulls().fold(query, |query, null| query.bind(null))).await
}

/// The tables that a statement gives this name; none for the name of a subquery.
fn tables_called(statement: &str, name: &str) -> Vec<String> {
    if Regex::new(&format!(r"\) (?:AS )?{name}\b")).unwrap().is_match(statement) {
        return Vec::new();
    }
    let alias = Regex::new(&format!(r"(?:FROM|JOIN|,|UPDATE) (\w+) (?:AS )?{name}\b")).unwrap();
    let tables: Vec<_> = alias.captures_iter(statement).map(|found| found[1].to_owned()).collect();
    if tables.is_empty() { vec![name.to_owned()] } else { tables }
}
