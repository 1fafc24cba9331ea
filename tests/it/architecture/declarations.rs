//! Every table of an organization is declared: who owns it, and what becomes of its rows.

use std::collections::BTreeSet;

use cp_server::kernel::declaration::{self, Export, OfProject};

use super::{root, sources};
use crate::world::{World, on_both};

const WITH: [&str; 2] = [
    "SELECT t.name FROM sqlite_master t JOIN pragma_table_info(t.name) c
     WHERE t.type = 'table' AND c.name = $1",
    "SELECT table_name::TEXT FROM information_schema.columns
     WHERE column_name = $1 AND table_schema = 'public'",
];

/// Tables whose rows follow their project by a foreign key: it updates and deletes them.
const FOLLOWING: [&str; 2] = [
    "SELECT t.name FROM sqlite_master t, pragma_foreign_key_list(t.name) f
     WHERE t.type = 'table' AND f.\"table\" = 'projects' AND f.\"from\" = 'project_id'
       AND f.on_update = $1 AND f.on_delete = $1",
    "SELECT t.relname::TEXT FROM pg_constraint f JOIN pg_class t ON t.oid = f.conrelid
     JOIN pg_class o ON o.oid = f.confrelid
     WHERE f.contype = 'f' AND o.relname = 'projects' AND f.confupdtype = LOWER(LEFT($1, 1))::\"char\"
       AND f.confdeltype = LOWER(LEFT($1, 1))::\"char\"",
];

async fn tables(world: &World, sql: [&'static str; 2], value: &str) -> BTreeSet<String> {
    let mut tx = world.app.db.read();
    let rows: Vec<(String,)> = tx.q2(sql[0], sql[1]).bind(value).all().await.unwrap();
    rows.into_iter().map(|(table,)| table).collect()
}

#[on_both]
async fn declarations_name_each_table_of_an_organization(world: World) {
    let declared: BTreeSet<String> = declaration::all()
        .iter()
        .filter(|one| one.tenant.as_ref().is_some_and(|tenant| tenant.owner != "id"))
        .map(|one| one.table.to_owned())
        .collect();
    let there = tables(&world, WITH, "organization_id").await;
    assert!(there.len() >= 20, "{there:?}");
    assert_eq!(declared, there, "declare the table in its slice");
}

#[on_both]
async fn declarations_say_what_a_project_does_to_its_rows(world: World) {
    let following = tables(&world, FOLLOWING, "CASCADE").await;
    for table in tables(&world, WITH, "project_id").await {
        let Some(one) = declaration::all().iter().find(|one| one.table == table) else {
            continue;
        };
        let Some(tenant) = &one.tenant else { continue };
        let is_handled = matches!(tenant.project, OfProject::Before(_));
        // Audit events keep the project that they name.
        let stays = matches!(tenant.purge, declaration::Purge::Stay(_));
        assert!(
            is_handled || stays || following.contains(&table),
            "{table} has a project, and neither a hook nor a foreign key that cascades"
        );
    }
}

#[on_both]
async fn declarations_export_each_table_or_give_a_reason(world: World) {
    drop(world);
    let all = declaration::all();
    let mut names = BTreeSet::new();
    for one in all {
        match one.tenant.as_ref().map(|tenant| &tenant.export) {
            Some(Export::Section(section)) => assert!(names.insert(section.name)),
            Some(Export::Sections(sections)) => {
                sections.iter().for_each(|section| assert!(names.insert(section.name)));
            }
            Some(Export::Within(other)) => {
                let other = all.iter().find(|all| all.table == *other).unwrap();
                let export = &other.tenant.as_ref().unwrap().export;
                assert!(matches!(export, Export::Sections(_) | Export::Section(_)));
            }
            Some(Export::LeftOut(reason)) => assert!(reason.len() > 20, "{reason}"),
            None => {}
        }
    }
}

/// Each place in which the example's name stands: its file, one migration in two folders, its test,
/// the module and the routes.
#[test]
fn an_ordinary_resource_is_one_file_a_migration_a_test_and_two_lines() {
    let mut places = BTreeSet::new();
    for folder in ["cp-server/src", "tests/it"] {
        for (file, text) in sources(folder) {
            let names = ["notes", "NoteId", "NewNote", "pub mod example;", "example::routes"];
            if names.iter().any(|name| text.contains(name)) {
                places.insert(format!("{folder}/{file}"));
            }
        }
    }
    for folder in ["sqlite", "postgres"] {
        let file = format!("tests/example/{folder}/0001_notes.sql");
        assert!(root().join(&file).is_file(), "{file}");
    }
    // This file, and those that list what the example adds to whole documents.
    let others = [
        "tests/it/architecture/declarations.rs",
        "tests/it/tenancy/export.rs",
        "tests/it/backup.rs",
        // A guide names no permission of the example.
        "tests/it/scim/service.rs",
        // A resource has pages without a line in the console.
        "tests/it/console/generated.rs",
    ];
    others.iter().for_each(|file| {
        places.remove(*file);
    });
    assert_eq!(
        places.into_iter().collect::<Vec<_>>(),
        [
            "cp-server/src/example.rs",
            "cp-server/src/lib.rs",
            "tests/it/example.rs",
            "tests/it/world/mod.rs",
        ]
    );
}
