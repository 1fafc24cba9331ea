//! The guide for a customer's first person, done as it stands in the documents.

use std::path::Path;
use std::process::Command;

use cp_server::server;
use serde_json::Value;
use tokio::net::TcpListener;

use super::trusting;
use crate::world::issuer::Issuer;
use crate::world::{ROOT, World, on_both};

/// The commands below a heading of `docs/identity.md`.
fn commands(heading: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/identity.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, below) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let (_, block) = below.split_once("```sh\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

#[on_both]
async fn the_first_person_of_a_customer_logs_in_and_invites_the_second(world: World) {
    let issuer = Issuer::start().await;
    let (app, _) = trusting(&world, &issuer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = server::router(&app);
    let served = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let login = |who: &str| {
        let email = format!("{who}@new.example");
        issuer.token(serde_json::json!({"sub": who, "email": email, "email_verified": true}))
    };
    let owner = login("owner");
    let output = tokio::task::spawn_blocking(move || {
        Command::new("bash")
            .args(["-euo", "pipefail", "-c", &commands("The first person of a customer")])
            .env("CP_URL", url)
            .env("CP_TOKEN", ROOT)
            .env("OWNER", "owner@new.example")
            .env("LOGIN", owner)
            .output()
            .unwrap()
    });
    let output = output.await.unwrap();
    served.abort();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let answers: Vec<Value> = serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter::<Value>()
        .map(Result::unwrap)
        .collect();
    let [me, invitation] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(me["roles"], serde_json::json!(["ORGANIZATION_OWNER"]));
    assert_eq!(invitation["status"], "pending");
}
