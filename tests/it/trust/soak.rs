//! A year of rotations: three servers, fifty data planes with copies of every age, and not one good
//! token refused.

use chrono::TimeDelta;
use cp_server::kernel::app::Part;
use cp_server::kernel::clock::{Clock, Random};
use cp_server::kernel::secret::Kek;
use cp_server::licensing::keys::keyring::Keyring;
use cp_server::licensing::keys::rotation;
use cp_server::{App, Settings, server};
use dp_verifier::{KeySet, Verifier};
use serde_json::json;

use crate::world::{AUDIENCE, Client, ISSUER, KEK, ROOT, World};

/// A data plane that looks at nothing but its copy of the JWKS.
struct DataPlane {
    verifier: Verifier,
    /// When it fetches again, in seconds since 1970.
    due: i64,
}

struct Replica {
    app: App,
    client: Client,
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        // xorshift64 (Marsaglia 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

const ROTATIONS: usize = 100;
const DATA_PLANES: usize = 50;

async fn soak(world: World) {
    let settings = || {
        let mut settings = Settings::new(ISSUER, AUDIENCE);
        // As often as the rule lets them: a key signs in the first moment in which it may.
        settings.keys.rotate_after = Some(TimeDelta::seconds(1));
        settings
    };
    let mut replicas = Vec::new();
    for seed in 11..14 {
        let clock = Clock::following(&world.clock);
        let kek = Kek::new(&KEK).unwrap();
        let random = Random::seeded(seed);
        let app = cp_server::app_with(
            crate::world::operations,
            world.app.db.clone(),
            clock,
            random,
            kek,
            settings(),
        );
        Keyring::of(&app).refresh(&app).await.unwrap();
        let client = Client::new(server::router(&app)).token(ROOT);
        replicas.push(Replica { app, client });
    }
    let mut dice = Dice(0x5eed);
    let mut now = crate::world::now();
    let keys = |replica: &Replica| KeySet::from_json(&Keyring::of(&replica.app).jwks()).unwrap();
    let mut planes: Vec<DataPlane> = (0..DATA_PLANES)
        .map(|_| DataPlane {
            verifier: Verifier::builder()
                .issuer(ISSUER)
                .audience(AUDIENCE)
                .jwks(Keyring::of(&replicas[0].app).jwks())
                .build()
                .unwrap(),
            due: now.timestamp(),
        })
        .collect();
    let path = format!("/licenses/{}/bundles", world.acme.license);
    let (mut tokens, mut kids) = (Vec::<(String, i64)>::new(), Vec::<String>::new());
    let mut verified = 0;
    while kids.len() <= ROTATIONS {
        let step = TimeDelta::seconds(30 + i64::try_from(dice.below(300)).unwrap());
        world.pass(step);
        now += step;
        // The replicas look at the clock and at the keys in no order, one of them not in this step.
        let late = dice.below(4);
        for n in [0, 1, 2].map(|n| (n + dice.below(3)) % 3) {
            if n != late {
                let app = &replicas[usize::try_from(n).unwrap()].app;
                rotation::tick(app).await.unwrap();
            }
        }
        let active: i64 =
            world.value("SELECT COUNT(*) FROM signing_keys WHERE state = 'active'").await;
        assert_eq!(active, 1);
        // A replica that missed the step learns of it within five seconds: before it serves again.
        for replica in &replicas {
            Keyring::of(&replica.app).refresh(&replica.app).await.unwrap();
        }
        let issuer = &replicas[usize::try_from(dice.below(3)).unwrap()];
        let bundle = issuer.client.post(&path, json!({"ttl_seconds": 3600})).await.expect(201);
        let kid = bundle["key_id"].as_str().unwrap().to_owned();
        if kids.last() != Some(&kid) {
            kids.push(kid);
        }
        let until = bundle["payload"]["exp"].as_i64().unwrap();
        tokens.push((bundle["token"].as_str().unwrap().to_owned(), until));
        tokens.retain(|(_, until)| *until > now.timestamp());

        for plane in &mut planes {
            // Its copy is between fresh and as old as a cache may make it: twice its maximum age.
            if plane.due <= now.timestamp() {
                let from = &replicas[usize::try_from(dice.below(3)).unwrap()];
                plane.verifier.replace_keys(keys(from));
                plane.due = now.timestamp() + i64::try_from(dice.below(600)).unwrap();
            }
            let any = usize::try_from(dice.below(tokens.len().try_into().unwrap())).unwrap();
            let newest = tokens.len() - 1;
            for (token, _) in [&tokens[newest], &tokens[any]] {
                let verdict = plane.verifier.verify_at(token, now.timestamp());
                assert!(verdict.is_ok(), "rotation {}: {verdict:?}", kids.len());
                verified += 1;
            }
        }
    }
    kids.sort_unstable();
    kids.dedup();
    assert_eq!(kids.len(), ROTATIONS + 1, "no key came back");
    assert!(verified > 30_000, "{verified} verifications");
}

#[tokio::test]
async fn no_good_token_is_refused_over_a_hundred_rotations() {
    // Three servers share a PostgreSQL; one file has one server.
    if let Some(world) = World::on_postgres().await {
        soak(world).await;
    }
}
