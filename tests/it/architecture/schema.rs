//! Both migration folders build the same schema: what one database refuses, the other does too.

use std::collections::BTreeMap;

use cp_server::kernel::db::Db;

use crate::world::World;

use super::root;

/// What a table is, in words that both databases share.
#[derive(Debug, Default, PartialEq)]
struct Table {
    /// Whether each column must have a value.
    columns: BTreeMap<String, bool>,
    /// Name, columns, and whether it is unique for some rows only.
    unique: BTreeMap<String, (String, bool)>,
    /// Columns, what they refer to, and what a deletion there does here.
    references: Vec<String>,
}

type Schema = BTreeMap<String, Table>;

#[tokio::test]
async fn both_databases_have_one_schema() {
    let (lite, Some(postgres)) = (World::on_sqlite().await, World::on_postgres().await) else {
        return;
    };
    let (lite, postgres) = (read(&lite.app.db, LITE).await, read(&postgres.app.db, POSTGRES).await);
    assert_eq!(lite.keys().collect::<Vec<_>>(), postgres.keys().collect::<Vec<_>>());
    for (name, table) in &lite {
        assert_eq!(*table, postgres[name], "{name}: SQLite on the left");
    }
    assert!(lite.len() >= 17, "{:?}", lite.keys());
}

#[test]
fn both_folders_have_the_same_files() {
    let files = |folder: &str| {
        let entries = std::fs::read_dir(root().join("migrations").join(folder)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(files("sqlite"), files("postgres"));
}

#[tokio::test]
async fn sqlite_tables_are_strict() {
    let world = World::on_sqlite().await;
    let sql = "SELECT COUNT(*) FROM pragma_table_list
               WHERE type = 'table' AND schema = 'main' AND NOT strict
                 AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '_sqlx%'";
    assert_eq!(world.value::<i64>(sql).await, 0);
}

/// Three statements: columns, unique indexes, foreign keys; each gives table, name and value.
type Statements = [&'static str; 3];

const LITE: Statements = [
    "SELECT t.name, c.name, CAST(c.\"notnull\" AS TEXT)
     FROM pragma_table_list t, pragma_table_xinfo(t.name) c
     WHERE t.schema = 'main' AND t.type = 'table'",
    "SELECT t.name, CASE i.origin WHEN 'pk' THEN 'primary key' ELSE i.name END,
            (SELECT GROUP_CONCAT(c.name, ' ' ORDER BY c.seqno) FROM pragma_index_info(i.name) c)
            || CASE i.partial WHEN 1 THEN ' partial' ELSE '' END
     FROM pragma_table_list t, pragma_index_list(t.name) i
     WHERE t.schema = 'main' AND t.type = 'table' AND i.\"unique\"
     UNION ALL
     SELECT t.name, 'primary key', c.name
     FROM pragma_table_list t, pragma_table_xinfo(t.name) c
     WHERE t.schema = 'main' AND t.type = 'table' AND c.pk = 1 AND c.type = 'INTEGER'",
    "SELECT t.name, 'reference',
            GROUP_CONCAT(f.\"from\", ' ' ORDER BY f.seq) || ' to ' || f.\"table\" || ' '
            || GROUP_CONCAT(f.\"to\", ' ' ORDER BY f.seq) || ' ' || f.on_delete
     FROM pragma_table_list t, pragma_foreign_key_list(t.name) f
     WHERE t.schema = 'main' AND t.type = 'table' GROUP BY t.name, f.id",
];

const POSTGRES: Statements = [
    "SELECT table_name::text, column_name::text,
            CASE is_nullable WHEN 'NO' THEN '1' ELSE '0' END
     FROM information_schema.columns WHERE table_schema = 'public'",
    "SELECT t.relname::text,
            CASE WHEN i.indisprimary THEN 'primary key' ELSE n.relname::text END,
            (SELECT STRING_AGG(a.attname, ' ' ORDER BY k.place)
             FROM UNNEST(i.indkey) WITH ORDINALITY AS k (number, place)
             JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number)
            || CASE WHEN i.indpred IS NULL THEN '' ELSE ' partial' END
     FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_class n ON n.oid = i.indexrelid
     WHERE i.indisunique AND t.relnamespace = 'public'::regnamespace",
    "SELECT t.relname::text, 'reference',
            (SELECT STRING_AGG(a.attname, ' ' ORDER BY k.place)
             FROM UNNEST(f.conkey) WITH ORDINALITY AS k (number, place)
             JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.number)
            || ' to ' || o.relname || ' ' ||
            (SELECT STRING_AGG(a.attname, ' ' ORDER BY k.place)
             FROM UNNEST(f.confkey) WITH ORDINALITY AS k (number, place)
             JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.number)
            || CASE f.confdeltype WHEN 'c' THEN ' CASCADE' WHEN 'n' THEN ' SET NULL'
                                  ELSE ' NO ACTION' END
     FROM pg_constraint f JOIN pg_class t ON t.oid = f.conrelid JOIN pg_class o ON o.oid = f.confrelid
     WHERE f.contype = 'f'",
];

async fn read(db: &Db, [columns, unique, references]: Statements) -> Schema {
    let mut schema = Schema::new();
    for (table, column, required) in rows(db, columns).await {
        schema.entry(table).or_default().columns.insert(column, required == "1");
    }
    for (table, name, columns) in rows(db, unique).await {
        let partial = columns.ends_with(" partial");
        schema.entry(table).or_default().unique.insert(name, (columns, partial));
    }
    for (table, _, reference) in rows(db, references).await {
        schema.entry(table).or_default().references.push(reference);
    }
    schema.retain(|name, _| !name.starts_with("_sqlx") && !name.starts_with("sqlite_"));
    schema.values_mut().for_each(|table| table.references.sort());
    schema
}

async fn rows(db: &Db, sql: &'static str) -> Vec<(String, String, String)> {
    db.read().q(sql).all().await.unwrap()
}
