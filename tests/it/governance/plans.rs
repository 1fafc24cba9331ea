//! The indexes of the statement behind each effective answer.

use cp_server::governance::effective::facts::SQL;
use uuid::Uuid;

use crate::world::World;

/// On PostgreSQL the statistics of a test's few rows decide, and those of a server are others.
#[tokio::test]
async fn effective_answer_reads_the_bindings_of_its_own_levels_only() {
    let world = World::on_sqlite().await;
    let plan = world.plan(SQL, |query| (1..=16).fold(query, |q, _| q.bind(None::<Uuid>))).await;
    let of_bindings: Vec<_> = plan.iter().filter(|line| line.contains(" b ")).collect();
    assert!(!of_bindings.is_empty(), "{plan:#?}");
    let indexes = [
        "USING INDEX bindings_scope (organization_id=? AND scope_kind=? AND scope_id=?)",
        // Of one resource.
        "USING INDEX bindings_resource (resource_id=?)",
    ];
    let is_narrow = |line: &&&String| indexes.iter().any(|index| line.contains(index));
    assert!(of_bindings.iter().all(|line| is_narrow(&line)), "{plan:#?}");
    assert!(of_bindings.iter().any(|line| line.contains(indexes[0])), "{plan:#?}");
}
