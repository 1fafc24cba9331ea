//! The bundles that a status list reads: signing it reads the marked ones, and touching it reads the
//! changed ones. Neither reads all bundles of the list.

use chrono::TimeDelta;
use cp_server::kernel::db::Conn;
use cp_server::kernel::db::query::Query;
use cp_server::licensing::ids::StatusListId;
use cp_server::licensing::status_lists::rows::Of;
use cp_server::licensing::status_lists::signing::{MARKED, STATES};

use crate::world::{World, now, on_both};

/// The indexes that have only bundles that a list says something about.
const OF_MARKS: [&str; 3] = ["bundles_marked", "bundles_covered_until", "bundles_covered_from"];

/// Adds valid bundles to the list, as copies of one. Their coverage ends some day.
async fn fill(tx: &mut Conn, bundle: &str) {
    let copies = tx.q2(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000)
         INSERT INTO bundles (id, organization_id, license_id, key_id, audience, bundle_hash, status,
                              issued_at, expires_at, over_at, status_list_id, status_idx,
                              covered_until)
         SELECT randomblob(16), organization_id, license_id, key_id, audience, bundle_hash, 'valid',
                issued_at, expires_at, over_at, status_list_id, (status_idx + n.n) % 65536, $2
         FROM bundles, n WHERE id = $1 ON CONFLICT DO NOTHING",
        "INSERT INTO bundles (id, organization_id, license_id, key_id, audience, bundle_hash, status,
                              issued_at, expires_at, over_at, status_list_id, status_idx,
                              covered_until)
         SELECT gen_random_uuid(), organization_id, license_id, key_id, audience, bundle_hash,
                'valid', issued_at, expires_at, over_at, status_list_id, (status_idx + n) % 65536,
                $2
         FROM bundles, generate_series(1, 5000) n WHERE id = $1 ON CONFLICT DO NOTHING",
    );
    let copies =
        copies.bind(bundle.parse::<uuid::Uuid>().unwrap()).bind(now() + TimeDelta::days(9));
    assert!(copies.exec().await.unwrap() > 4000);
}

/// The lines of the plan that say how bundles are found.
async fn plan(
    world: &World,
    statement: &str,
    bind: impl for<'c> FnOnce(Query<'c>) -> Query<'c>,
) -> Vec<String> {
    let lines = world.plan(statement, bind).await;
    lines.into_iter().filter(|line| line.contains(" bundles")).collect()
}

/// Adds valid bundles to the lists of these bundles, and counts them for the planner.
async fn fill_lists(world: &World, bundles: &[&str]) {
    let mut tx = world.app.db.begin().await.unwrap();
    for bundle in bundles {
        fill(&mut tx, bundle).await;
    }
    tx.commit().await.unwrap();
    let mut tx = world.app.db.begin().await.unwrap();
    tx.q("ANALYZE bundles").exec().await.unwrap();
    tx.commit().await.unwrap();
}

fn id(text: &str) -> uuid::Uuid {
    text.parse().unwrap()
}

#[on_both]
async fn signing_a_list_reads_its_marks_and_not_its_bundles(world: World) {
    fill_lists(&world, &[&world.acme.bundle]).await;
    let list = StatusListId(id(&world.acme.status_list));
    let marked =
        plan(&world, MARKED, |query| query.bind(list).bind(now()).bind(now() - TimeDelta::days(1)));
    let states = plan(&world, STATES, |query| query.bind("published"));
    for (found, parts) in [(marked.await, 3), (states.await, 2)] {
        assert_eq!(found.len(), parts, "{found:#?}");
        for line in &found {
            assert!(OF_MARKS.iter().any(|index| line.contains(index)), "{line} of {found:#?}");
        }
    }
}

#[on_both]
async fn touching_a_list_reads_the_changed_bundles_and_not_the_others(world: World) {
    // Acme's bundles are few among those of Globex.
    fill_lists(&world, &[&world.globex.bundle]).await;
    let cases = [
        (Of::Bundle(id(&world.acme.bundle)), ["sqlite_autoindex_bundles_1", "bundles_pkey"]),
        (Of::License(id(&world.acme.license)), ["bundles_license"; 2]),
        (Of::Organization(id(&world.acme.org)), ["bundles_organization"; 2]),
    ];
    for (of, indexes) in cases {
        let (Of::Bundle(value) | Of::License(value) | Of::Organization(value) | Of::Key(value)) =
            of;
        let found = plan(&world, of.lists(), |query| query.bind(now()).bind(value)).await;
        let uses = |index| found.iter().any(|line| line.contains(index));
        assert!(indexes.into_iter().any(uses), "{indexes:?}: {found:#?}");
        assert!(!uses("Seq Scan"), "{found:#?}");
    }
}
