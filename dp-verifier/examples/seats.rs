//! A data plane that renews its own token and holds a seat, for the deployment of an example
//! installation.
//!
//! ```text
//! cargo run -p cp-server -- quickstart                    # leave it running
//!
//! # in a second terminal: the ID of the deployment, and a token of it
//! cargo run -p dp-verifier --features axum,fetch --example seats -- DEPLOYMENT_ID TOKEN
//!
//! curl -s http://127.0.0.1:8802/                          # in a third: the license, and the seat
//! ```
//!
//! Now stop the control plane: the data plane goes on until the lease ends, a minute after its last
//! heartbeat, and then answers 503 with the code `lease_lost`. Start the control plane again: the
//! data plane acquires another lease. Arguments name another control plane than
//! `http://127.0.0.1:8801`, and another place to listen than `127.0.0.1:8802`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::{Json, Router, routing::get};
use dp_verifier::cp_contracts::CheckInCode;
use dp_verifier::{
    Claim, HeldLease, Holder, LeaseLayer, Leases, LicenseContext, LicenseLayer, Verifier,
};

/// The pool that every license has. It is for people and for names of the app; in a pool of machines
/// the holder is a `Fingerprint`.
const POOL: &str = "seats";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let missing = "the arguments are: DEPLOYMENT_ID TOKEN [CONTROL_PLANE [LISTEN]]";
    let (Some(deployment), Some(token)) = (arguments.next(), arguments.next()) else {
        return Err(missing.into());
    };
    let issuer = arguments.next().unwrap_or_else(|| "http://127.0.0.1:8801".to_owned());
    let listen = arguments.next().unwrap_or_else(|| "127.0.0.1:8802".to_owned());
    let store = private_directory()?;

    let verifier = tokio::task::block_in_place(|| start(&issuer, &deployment, &token, &store))?;
    let holder = Holder::id(&format!("example at {listen}"));
    let seats = verifier.leases(&token);
    // A lease of this pool lasts until its release, unless the claim has a ttl.
    let claim = Claim::new(POOL, &holder).ttl(Duration::from_secs(60));
    let lease = seats.claim_async(&claim).await?;
    println!("seat {} until {:?}", lease.lease().seat, lease.expires_at());

    let seat = LeaseLayer::new(lease.clone());
    tokio::spawn(keep(seats, claim, lease, seat.clone()));
    let app = Router::new()
        .route("/", get(license))
        .layer(seat)
        // No request has to bring a token: that of the last check-in counts.
        .layer(LicenseLayer::new(verifier));
    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

/// Creates a directory that only this user may write. In a shared one, such as `/tmp`, another user could
/// be the first to create the files, with other keys.
fn private_directory() -> Result<PathBuf, Box<dyn std::error::Error>> {
    let home = std::env::home_dir().ok_or("this user has no home directory")?;
    let path = home.join(".dp-verifier-example");
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&path)?;
    Ok(path)
}

/// Builds a verifier that has checked in.
fn start(
    issuer: &str,
    deployment: &str,
    token: &str,
    store: &Path,
) -> Result<Verifier, Box<dyn std::error::Error>> {
    let verifier = Verifier::builder()
        .issuer(issuer)
        .audience("data-plane")
        .jwks_url(format!("{issuer}/.well-known/jwks.json"))
        .jwks_store(store.join("keys.json"))
        .check_in(format!("{issuer}/api/v1/deployments/{deployment}/check-in"), token)
        .token_store(store.join("token"))
        .build()?;
    // Within a minute of the deployment's newest token, such as that of the quickstart, the control
    // plane signs no other one. The verifier then checks in again by itself.
    for _ in 0..15 {
        let code = verifier.check_in_health().and_then(|health| health.code);
        if verifier.current().is_ok() || code != Some(CheckInCode::Valid) {
            break;
        }
        std::thread::sleep(Duration::from_secs(5));
    }
    if let Err(refusal) = verifier.current() {
        let health = verifier.check_in_health().unwrap_or_default();
        return Err(format!("{refusal} ({:?}, {:?})", health.code, health.last_error).into());
    }
    Ok(verifier)
}

/// Acquires another lease when one is lost.
async fn keep(seats: Leases, claim: Claim, mut lease: HeldLease, seat: LeaseLayer) {
    loop {
        println!("the seat is lost: {:?}", lease.lost().await);
        lease = loop {
            match seats.claim_async(&claim).await {
                Ok(lease) => break lease,
                Err(error) => eprintln!("no seat: {error}"),
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        };
        seat.replace(lease.clone());
    }
}

async fn license(license: LicenseContext) -> Json<LicenseContext> {
    Json(license)
}
