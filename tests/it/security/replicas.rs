use cp_server::identity::bootstrap::{Handover, bootstrap};
use cp_server::kernel::app::Part;
use cp_server::kernel::clock::{Clock, Random};
use cp_server::kernel::db::Db;
use cp_server::kernel::secret::Kek;
use cp_server::licensing::keys::keyring::Keyring;
use cp_server::{Settings, licensing};

use crate::world::database::Database;
use crate::world::now;

/// Starts as the binary does. Returns the JWKS and whether a bootstrap token was created.
async fn start(db: Db, seed: u64) -> (Vec<u8>, bool) {
    let settings = Settings::new("https://cp.example", "data-plane");
    let (clock, _) = Clock::manual(now());
    let app = cp_server::app_with(
        crate::world::operations,
        db,
        clock,
        Random::seeded(seed),
        Kek::new(&[7; 32]).unwrap(),
        settings,
    );
    cp_server::migrate(&app).await.unwrap();
    licensing::keys::start::prepare(&app, None, None).await.unwrap();
    let token = bootstrap(&app, Handover::Shown).await.unwrap();
    (Keyring::of(&app).jwks().to_vec(), token.is_some())
}

async fn together(db: &Db) {
    let started = futures_util::future::join_all((1..=4).map(|seed| {
        let db = db.clone();
        async move { tokio::spawn(start(db, seed)).await.unwrap() }
    }));
    let started = started.await;
    assert!(started.iter().all(|(jwks, _)| *jwks == started[0].0), "one signing key");
    assert_eq!(started.iter().filter(|(_, token)| *token).count(), 1, "one bootstrap token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_that_start_together_agree_on_an_empty_database() {
    if let Some(database) = Database::postgres(None).await {
        together(&database.db).await;
    }
}
