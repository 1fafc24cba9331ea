//! The indexes of the statements that run for every claim, heartbeat and refusal: none of them reads
//! a pool or the leases of a tenant.

use cp_server::kernel::db::Db;
use cp_server::kernel::db::query::Query;
use cp_server::kernel::db::record::Record;
use cp_server::licensing::leases::heartbeats::KEEP;
use cp_server::licensing::leases::refusals::{IDLE, USED};
use cp_server::licensing::leases::rows::{FREE, HOPELESS, OF_HOLDER, OF_LEASE, SeatRow};
use serde_json::json;
use uuid::Uuid;

use super::{claim, with_pools};
use crate::world::{World, now, on_both};

/// Adds live leases to the pool of a lease, as copies of it, and counts them for the planner.
async fn fill(world: &World, lease: Uuid) {
    let mut tx = world.app.db.begin().await.unwrap();
    let copies = tx.q2(
        "WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < 5000)
         INSERT INTO lease_seats
                (pool_id, n, organization_id, license_id, lease_id, holder, holder_kind, meta,
                 acquired_at, heartbeat_at, expires_at, overage, free_at)
         SELECT pool_id, n.n, organization_id, license_id, randomblob(16), 'holder-' || n.n,
                holder_kind, meta, acquired_at, heartbeat_at, expires_at, overage, free_at
         FROM lease_seats, n WHERE lease_id = $1",
        "INSERT INTO lease_seats
                (pool_id, n, organization_id, license_id, lease_id, holder, holder_kind, meta,
                 acquired_at, heartbeat_at, expires_at, overage, free_at)
         SELECT pool_id, more, organization_id, license_id, gen_random_uuid(), 'holder-' || more,
                holder_kind, meta, acquired_at, heartbeat_at, expires_at, overage, free_at
         FROM lease_seats, generate_series(2, 5000) more WHERE lease_id = $1",
    );
    assert_eq!(copies.bind(lease).exec().await.unwrap(), 4999);
    let pools = tx.q2(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000)
         INSERT INTO lease_pools
                (id, organization_id, license_id, name, kind, allocated, created_at, closed_at)
         SELECT randomblob(16), organization_id, license_id, name, kind, 0, created_at, created_at
         FROM lease_pools, n WHERE id = (SELECT pool_id FROM lease_seats WHERE lease_id = $1)",
        "INSERT INTO lease_pools
                (id, organization_id, license_id, name, kind, allocated, created_at, closed_at)
         SELECT gen_random_uuid(), organization_id, license_id, name, kind, 0, created_at, created_at
         FROM lease_pools, generate_series(1, 5000) n
         WHERE id = (SELECT pool_id FROM lease_seats WHERE lease_id = $1)",
    );
    assert_eq!(pools.bind(lease).exec().await.unwrap(), 5000);
    tx.commit().await.unwrap();
    let mut tx = world.app.db.begin().await.unwrap();
    tx.q("ANALYZE").exec().await.unwrap();
    tx.commit().await.unwrap();
}

/// The lines of the plan that say how seats and pools are found and sorted.
async fn plan(
    world: &World,
    statement: String,
    bind: impl for<'c> FnOnce(Query<'c>) -> Query<'c>,
) -> Vec<String> {
    let lines = world.plan(&statement, bind).await;
    let says = |line: &String| {
        ["lease_seats", "lease_pools", "ORDER BY", "Sort"].iter().any(|word| line.contains(word))
    };
    lines.into_iter().filter(says).collect()
}

fn select(tail: &str) -> String {
    format!("SELECT {} FROM {} {tail}", SeatRow::COLUMNS, SeatRow::TABLE)
}

#[on_both]
async fn claims_heartbeats_and_refusals_read_an_index_and_no_pool(world: World) {
    let endless = json!({"kind": "floating", "cap": null, "ttl_seconds": null});
    let ending = json!({"kind": "floating", "cap": null});
    with_pools(&world, json!({"endless": endless, "ending": ending})).await;
    let mut pools = Vec::new();
    for name in ["endless", "ending"] {
        let lease = claim(&world, &world.root(), name, "a").await.expect(201);
        let lease: Uuid = lease["id"].as_str().unwrap().parse().unwrap();
        fill(&world, lease).await;
        let sql = "SELECT pool_id FROM lease_seats WHERE lease_id = $1";
        let mut tx = world.app.db.read();
        pools.push((tx.q(sql).bind(lease).value::<Uuid>().await.unwrap().unwrap(), lease));
    }
    let at = now();
    for (pool, lease) in pools {
        let used = plan(&world, USED.into(), |q| q.bind(pool).bind(4_990_i64).bind(at)).await;
        let idle = plan(&world, IDLE.into(), |q| q.bind(pool).bind(10_i64).bind(at)).await;
        let hopeless = plan(&world, HOPELESS.into(), |q| {
            q.bind(pool).bind("a").bind(at).bind(9_i64).bind(Uuid::nil())
        });
        let hopeless = hopeless.await;
        let found = [
            (
                "lease_seats_pool_id_holder",
                plan(&world, select(OF_HOLDER), |q| q.bind(pool).bind("a")).await,
            ),
            ("lease_seats_lease_id", plan(&world, select(OF_LEASE), |q| q.bind(lease)).await),
            (
                "lease_seats_free",
                plan(&world, select(FREE), |q| q.bind(pool).bind(at).bind(9_i64)).await,
            ),
            ("lease_seats_free", used.clone()),
            (
                "lease_seats_lease_id",
                plan(&world, KEEP.into(), |q| q.bind(lease).bind(at).bind(at).bind(at).bind(at))
                    .await,
            ),
            ("lease_seats_pool_id_holder", hopeless.clone()),
            ("lease_seats_free", hopeless.clone()),
            ("lease_seats_persons", hopeless),
            ("lease_seats_idle", idle.clone()),
            ("lease_seats_free", idle),
            (
                if matches!(world.app.db, Db::Sqlite { .. }) {
                    "sqlite_autoindex_lease_seats_1"
                } else {
                    "lease_seats_pkey"
                },
                used,
            ),
        ];
        for (index, lines) in found {
            let uses = |word: &str| lines.iter().any(|line| line.contains(word));
            assert!(uses(index), "{index}: {lines:#?}");
            for bad in ["SCAN lease", "Seq Scan on lease", "USE TEMP B-TREE", "Sort"] {
                assert!(!uses(bad), "{index}, {bad}: {lines:#?}");
            }
        }
    }
}
