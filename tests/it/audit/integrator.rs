use std::time::Duration;

use cp_server::audit::integrator::{self, integrate};
use cp_server::audit::verify::{Evidence, verify};
use cp_server::kernel::journal::store;
use futures_util::future::join_all;
use serde_json::json;

use super::checkpoint;
use crate::world::{ROOT, World};

async fn make_workspace(world: &World, n: usize) {
    let body = json!({"name": format!("W {n}")});
    world.post(world.org("/workspaces"), body).await.expect(201);
}

#[tokio::test]
async fn writers_on_several_replicas_make_one_dense_log() {
    let Some(world) = World::on_postgres().await else { return };
    let (second, client) = world.replica().await;
    let client = client.token(ROOT);
    let before = world.count_events().await;
    // Both integrate all the time, against each other, while both write.
    let running = [&world.app, &second].map(|app| tokio::spawn(integrator::run(app.clone())));
    let writes = (0..60).map(|n| {
        let by = if n % 2 == 0 { world.root() } else { client.clone() };
        let path = world.org("/audit");
        async move {
            let body = json!({"action": "a", "target_type": "t", "target_id": n.to_string()});
            by.post(path, body).await.expect(201);
        }
    });
    join_all(writes).await;
    while world.value::<i64>("SELECT COUNT(*) FROM audit_events WHERE seq IS NULL").await > 0 {
        tokio::time::timeout(Duration::from_secs(30), integrate(&world.app))
            .await
            .unwrap()
            .unwrap();
    }
    running.iter().for_each(tokio::task::JoinHandle::abort);
    let events = world.count_events().await;
    assert_eq!(events, before + 60);
    let dense = "SELECT COUNT(DISTINCT seq) FROM audit_events WHERE seq BETWEEN 0 AND
                 (SELECT COUNT(*) FROM audit_events) - 1";
    assert_eq!(world.value::<i64>(dense).await, events);
    assert_eq!(world.value::<i64>("SELECT size FROM log_tree").await, events);
    verify(Evidence::of(&world.app).await.unwrap(), None, false, |_, _| {}).await.unwrap();
}

#[tokio::test]
async fn an_integrator_that_dies_midway_leaves_its_work_to_another() {
    let Some(world) = World::on_postgres().await else { return };
    let before = checkpoint(&world).await;
    for n in 0..5 {
        make_workspace(&world, n).await;
    }
    let (second, _) = world.replica().await;
    let mut dying = world.app.db.begin().await.unwrap();
    let tree = store::hold(&mut dying, false).await.unwrap().unwrap();
    store::place(&mut dying, tree, 3).await.unwrap();
    // While it lives, others leave it to its work, and wait for nothing.
    assert_eq!(integrate(&second).await.unwrap(), 0);
    assert_eq!(checkpoint(&world).await, before, "uncommitted events are not in the checkpoint");
    drop(dying);
    let mut placed = 0;
    for _ in 0..1000 {
        placed += integrate(&second).await.unwrap();
        if placed > 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(placed, 5);
    verify(Evidence::of(&world.app).await.unwrap(), None, false, |_, _| {}).await.unwrap();
    let size: u64 = checkpoint(&world).await.lines().nth(1).unwrap().parse().unwrap();
    assert_eq!(size, before.lines().nth(1).unwrap().parse::<u64>().unwrap() + 5);
}

#[tokio::test]
async fn a_proof_that_is_asked_for_takes_those_that_wait_along() {
    let Some(world) = World::on_postgres().await else { return };
    for n in 0..3 {
        make_workspace(&world, n).await;
    }
    let path = format!("/licenses/{}/bundles?proof=wait", world.acme.license);
    let answers = join_all((0..4).map(|_| world.post(&path, json!({})))).await;
    for answer in answers {
        assert!(
            answer.expect(201)["proof"].as_str().unwrap().starts_with("c2sp.org/tlog-proof@v1")
        );
    }
    assert_eq!(integrate(&world.app).await.unwrap(), 0);
    verify(Evidence::of(&world.app).await.unwrap(), None, false, |_, _| {}).await.unwrap();
}
