//! Rows survive the migrations that recreate their tables.

use chrono::{DateTime, Utc};
use cp_server::audit;
use cp_server::kernel::db::Db;
use serde_json::json;
use sqlx::migrate::Migrator;
use sqlx::types::Json;
use uuid::Uuid;

use crate::world::database::Database;
use crate::world::{World, now, on_both};

/// The last migration before groups and projects.
const BEFORE: i64 = 5;

async fn migrate_until(db: &Db, version: i64) {
    let mut some: Migrator = match db {
        Db::Sqlite { .. } => sqlx::migrate!("../migrations/sqlite"),
        Db::Postgres(_) => sqlx::migrate!("../migrations/postgres"),
    };
    some.migrations.to_mut().retain(|migration| migration.version <= version);
    match db {
        Db::Sqlite { write, .. } => some.run(write.pool()).await.unwrap(),
        Db::Postgres(pool) => some.run(&**pool).await.unwrap(),
    }
}

async fn an_older_installation_is_brought_along(db: Db) {
    migrate_until(&db, BEFORE).await;
    let (id, at): (Uuid, DateTime<Utc>) = (Uuid::from_u128(7), now());
    let limits = Json(json!({"projects": 4, "members": null, "coffee": 9}));
    for sql in [
        "INSERT INTO users (id, email, email_key, is_active, is_superadmin, created_at, updated_at)
         SELECT $1, 'a@b.example', 'a@b.example', TRUE, FALSE, $2, $2 WHERE $3 IS NOT NULL",
        "INSERT INTO organizations
             (id, name, slug, status, settings, metadata, revision, created_at, updated_at)
         SELECT $1, 'Acme', 'acme', 'active', $3, $3, 1, $2, $2",
        "INSERT INTO workspaces
             (id, organization_id, name, slug, type, isolation, status, rbac_revision,
              rbac_updated_at, created_at, updated_at)
         SELECT $1, $1, 'Prod', 'prod', 'prod', 'strict', 'active', 3, $2, $2, $2
         WHERE $3 IS NOT NULL",
        "INSERT INTO roles
             (id, code, name, scope, rank, permissions, is_system, created_at, updated_at)
         SELECT $1, 'SOME', 'Some', 'workspace', 1, $3, FALSE, $2, $2",
        "INSERT INTO memberships
             (id, organization_id, user_id, scope, workspace_id, role_id, status, permissions,
              created_at, updated_at)
         SELECT $1, $1, $1, 'workspace', $1, $1, 'active', $3, $2, $2",
        "INSERT INTO plans (id, code, version, created_at, updated_at)
         SELECT $1, 'gold', 1, $2, $2 WHERE $3 IS NOT NULL",
        "INSERT INTO plan_versions
             (plan_id, version, name, is_public, default_features, limits, created_at)
         SELECT $1, 1, 'Gold', TRUE, $3, $3, $2",
        r#"INSERT INTO audit_events
             (id, at, actor_kind, actor_id, actor_name, action, target_type, target_id, before, after)
           VALUES ($1, $2, 'system', $1, 'cli', 'bundles.issue', 'bundle',
                   '00000000-0000-0000-0000-000000000007', $3,
                   '{"jti": "00000000-0000-0000-0000-000000000007", "key_id": "k", "bundle_hash": "h"}')"#,
        "INSERT INTO subscriptions
             (id, organization_id, plan_id, plan_version, status, seat_cap, feature_overrides,
              starts_at, created_at, updated_at)
         SELECT $1, $1, $1, 1, 'active', 5, $3, $2, $2, $2",
    ] {
        let mut tx = db.begin().await.unwrap();
        tx.q(sql).bind(id).bind(at).bind(limits.clone()).exec().await.unwrap();
        tx.commit().await.unwrap();
    }
    db.migrate().await.unwrap();
    let mut tx = db.read();
    let sql = "SELECT w.isolation, w.rbac_revision, m.created_at
               FROM memberships m JOIN workspaces w ON w.id = m.workspace_id
               WHERE m.id = $1 AND w.project_id IS NULL AND m.group_id IS NULL";
    let kept: (String, i64, DateTime<Utc>) = tx.q(sql).bind(id).one().await.unwrap();
    assert_eq!(kept, ("strict".to_owned(), 3, at));
    let sql =
        "SELECT metric, quantity, source FROM quotas WHERE organization_id = $1 ORDER BY metric";
    let quotas: Vec<(String, Option<i64>, String)> = tx.q(sql).bind(id).all().await.unwrap();
    let none = |metric: &str| (metric.to_owned(), None, "none".to_owned());
    let from_plan = |metric: &str, n| (metric.to_owned(), n, "plan".to_owned());
    let expected = [
        none("api_calls_per_month"),
        none("artifact_retention_days"),
        none("artifacts_per_run"),
        none("compute_minutes_per_month"),
        none("concurrent_runs"),
        from_plan("members", None),
        from_plan("projects", Some(4)),
        none("requests_per_minute"),
        none("runs_per_month"),
        none("storage_bytes"),
    ];
    assert_eq!(quotas, expected, "a metric that the plan leaves out is not limited");
    drop(tx);

    let app = crate::world::app(db, cp_server::kernel::clock::Clock::manual(at).0, 5);
    cp_server::migrate(&app).await.unwrap();
    // The log now contains the events recorded before it, with their bundle.
    let evidence = audit::verify::Evidence::of(&app).await.unwrap();
    let report = audit::verify::verify(evidence, None, false, |_, _| {}).await.unwrap();
    assert_eq!((report.size, report.waiting), (1, 0));
    let sql = "SELECT COUNT(*) FROM audit_events
               WHERE seq = 0 AND jti = id AND kid = 'k' AND token_sha256 = 'h'";
    assert_eq!(app.db.read().q(sql).value().await.unwrap(), Some(1_i64));
    // Foreign keys hold: a foreign reference to a recreated row is still refused.
    let mut tx = app.db.begin().await.unwrap();
    let foreign = "UPDATE memberships SET workspace_id = $2 WHERE id = $1";
    assert!(tx.q(foreign).bind(id).bind(Uuid::from_u128(8)).exec().await.is_err());
}

#[tokio::test]
async fn an_older_installation_is_brought_along_on_sqlite() {
    let database = Database::sqlite(None).await;
    an_older_installation_is_brought_along(database.db.clone()).await;
}

#[tokio::test]
async fn an_older_installation_is_brought_along_on_postgres() {
    if let Some(database) = Database::postgres(None).await {
        an_older_installation_is_brought_along(database.db.clone()).await;
    }
}

#[on_both]
async fn an_older_program_names_the_version_that_a_newer_schema_needs(world: World) {
    world
        .exec(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             SELECT 9001, 'later', success, checksum, 1 FROM _sqlx_migrations WHERE version = 1",
        )
        .await;
    let stored = "SELECT value FROM installation WHERE name = 'written by'";
    let stored = String::from_utf8(world.value::<Vec<u8>>(stored).await).unwrap();
    let (known, own) = stored.split_once(' ').unwrap();
    assert_eq!(known, Db::migrations("sqlite:").last().unwrap().to_string());
    let refusal = async || format!("{:#}", world.app.db.migrate().await.unwrap_err());
    let expected = |by: &str, needed: &str| {
        format!(
            "a newer version{by} wrote this database, and this cp-server {own} knows its schema only \
             up to {known}: use {needed} or a later one"
        )
    };
    let mut tx = world.app.db.begin().await.unwrap();
    let set = "UPDATE installation SET value = $1 WHERE name = 'written by'";
    tx.q(set).bind(&b"9001 7.1.0"[..]).exec().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(refusal().await, expected(", cp-server 7.1.0,", "cp-server 7.1.0"));
    world.exec("DELETE FROM installation WHERE name = 'written by'").await;
    assert_eq!(refusal().await, expected(" of cp-server", "that version"));
}
