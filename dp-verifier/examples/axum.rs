//! A data plane in forty lines, run against the control plane's example.
//!
//! ```text
//! cargo run -p cp-server -- quickstart                    # prints a license token; leave it running
//! cargo run -p dp-verifier --features axum,fetch --example axum           # in a second terminal
//!
//! TOKEN=eyJ…                                              # in a third: the license token
//! curl -s -H "X-License-Token: $TOKEN" http://127.0.0.1:8802/             # the license, with its state
//! curl -s -H "X-License-Token: $TOKEN" http://127.0.0.1:8802/alerts       # a feature of the license
//! curl -s -H "X-License-Token: $TOKEN" http://127.0.0.1:8802/workspaces/9 # a limit: 9 of 10 are in use
//! curl -s -H "X-License-Token: $TOKEN" http://127.0.0.1:8802/workspaces/10
//! curl -si http://127.0.0.1:8802/                                         # no token: 401, a problem
//! ```
//!
//! Now stop the control plane: the data plane goes on. Arguments name another control plane than
//! `http://127.0.0.1:8801`, and another place to listen than `127.0.0.1:8802`.

use axum::{Json, Router, extract::Path, routing::get};
use dp_verifier::{
    FeatureLayer, LicenseContext, LicenseLayer, LicenseState, NotEntitled, Verifier,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let issuer = arguments.next().unwrap_or_else(|| "http://127.0.0.1:8801".to_owned());
    let listen = arguments.next().unwrap_or_else(|| "127.0.0.1:8802".to_owned());
    let verifier = Verifier::builder()
        .issuer(&issuer)
        .audience("data-plane")
        .jwks_url(format!("{issuer}/.well-known/jwks.json"))
        .build()?;
    if let Some(error) = verifier.keys_health().and_then(|health| health.last_error) {
        eprintln!("Every license is refused until the keys can be had: {error}");
    }
    let app = Router::new()
        .route("/alerts", get(alerts).layer(FeatureLayer::new("alerts_enabled")))
        .route("/workspaces/{used}", get(create_workspace))
        .route("/", get(license))
        .layer(LicenseLayer::new(verifier));
    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

async fn license(license: LicenseContext) -> Json<LicenseContext> {
    Json(license)
}

async fn alerts(license: LicenseContext) -> String {
    format!("No alerts for {}.\n", license.organization().name)
}

async fn create_workspace(
    Path(used): Path<u64>,
    license: LicenseContext,
) -> Result<&'static str, NotEntitled> {
    // Nothing new in the time of grace.
    license.require_state(&[LicenseState::Valid, LicenseState::Expiring])?;
    license.require_another("max_workspaces", used)?;
    Ok("One more workspace.\n")
}
