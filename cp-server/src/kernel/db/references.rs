//! The order of tables by their foreign keys, as the database's own catalog has them.

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::db::Conn;
use crate::kernel::error::Result;

/// Returns the tables that have foreign keys or are referred to; a table comes before those that it
/// refers to.
///
/// A row is deleted before the rows that it refers to. Of tables that refer to each other, either
/// may come first.
pub async fn referring_first(tx: &mut Conn) -> Result<Vec<String>> {
    let references: Vec<(String, String)> = tx
        .q2(
            "SELECT t.name, f.\"table\" FROM sqlite_master t, pragma_foreign_key_list(t.name) f
             WHERE t.type = 'table' ORDER BY 1, 2",
            "SELECT t.relname::text, o.relname::text FROM pg_constraint f
             JOIN pg_class t ON t.oid = f.conrelid JOIN pg_class o ON o.oid = f.confrelid
             WHERE f.contype = 'f' AND f.connamespace = current_schema()::regnamespace
             ORDER BY 1, 2",
        )
        .all()
        .await?;
    Ok(sorted(&references))
}

fn sorted(references: &[(String, String)]) -> Vec<String> {
    let mut referred: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (table, other) in references {
        referred.entry(table).or_default().push(other);
        referred.entry(other).or_default();
    }
    let (mut seen, mut last_first) = (BTreeSet::new(), Vec::new());
    for table in referred.keys() {
        visit(table, &referred, &mut seen, &mut last_first);
    }
    last_first.reverse();
    last_first.into_iter().map(str::to_owned).collect()
}

/// Adds what the table refers to, and then the table.
fn visit<'t>(
    table: &'t str,
    referred: &BTreeMap<&'t str, Vec<&'t str>>,
    seen: &mut BTreeSet<&'t str>,
    last_first: &mut Vec<&'t str>,
) {
    if !seen.insert(table) {
        return;
    }
    for other in referred.get(table).into_iter().flatten() {
        visit(other, referred, seen, last_first);
    }
    last_first.push(table);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_comes_before_those_that_it_refers_to() {
        let references = [("b", "a"), ("c", "b"), ("c", "a"), ("a", "a"), ("d", "c")];
        let references: Vec<_> =
            references.iter().map(|(table, other)| ((*table).into(), (*other).into())).collect();
        assert_eq!(sorted(&references), ["d", "c", "b", "a"]);
    }
}
