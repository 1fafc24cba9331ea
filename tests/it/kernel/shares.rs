//! What one organization may take of the connections to PostgreSQL.

use axum::http::Method;
use serde_json::json;

use crate::world::World;

/// Changes of one organization that wait for a row.
const WAITING: usize = 12;

#[tokio::test]
async fn changes_that_wait_for_a_row_leave_connections_to_others_on_postgres() {
    let Some(world) = World::on_postgres().await else { return };
    let mut tx = world.app.db.begin().await.unwrap();
    let held = tx.q("SELECT 1 FROM organizations WHERE id = $1 FOR UPDATE");
    let acme = world.acme.org.parse::<uuid::Uuid>().unwrap();
    held.bind(acme).exec().await.unwrap();
    let owner = world.by(&world.acme.token);
    let path = format!("/api/v1/organizations/{}/projects", world.acme.org);
    let create = |n: usize| {
        let (owner, path) = (owner.clone(), path.clone());
        async move {
            let body = json!({"name": format!("P{n}")});
            owner.call(Method::POST, &path, Some(body)).await
        }
    };
    let waiting: Vec<_> = (0..WAITING).map(|n| tokio::spawn(create(n))).collect();
    // Until those that may hold a connection wait for the row.
    let sql = "SELECT COUNT(*) FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while world.value::<i64>(sql).await == 0 {
        tokio::task::yield_now().await;
    }
    for n in 0..5 {
        let other = world.by(&world.globex.token);
        other.get(format!("/organizations/{}", world.globex.org)).await.expect(200);
        let body = json!({"name": format!("G{n}")});
        other.post(format!("/organizations/{}/projects", world.globex.org), body).await.expect(201);
    }
    assert!(waiting.iter().all(|one| !one.is_finished()));
    tx.commit().await.unwrap();
    for one in waiting {
        one.await.unwrap().expect(201);
    }
}
