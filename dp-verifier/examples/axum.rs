//! A data plane in thirty lines. Start the control plane with `cargo run -p cp-server -- quickstart`,
//! then, with the token that it prints:
//!
//! ```text
//! cargo run -p dp-verifier --features axum,fetch --example axum
//! curl -H "X-License-Token: $TOKEN" http://127.0.0.1:8802/
//! curl -H "X-License-Token: $TOKEN" http://127.0.0.1:8802/alerts
//! curl -i http://127.0.0.1:8802/
//! ```
//!
//! An argument names another control plane than `http://127.0.0.1:8801`.

use axum::{Json, Router, routing::get};
use dp_verifier::{FeatureLayer, LicenseContext, LicenseLayer, Verifier};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let issuer = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:8801".to_owned());
    let verifier = Verifier::builder()
        .issuer(&issuer)
        .audience("data-plane")
        .jwks_url(format!("{issuer}/.well-known/jwks.json"))
        .build()?;
    let app = Router::new()
        .route("/alerts", get(alerts).layer(FeatureLayer::new("alerts_enabled")))
        .route("/", get(license))
        .layer(LicenseLayer::new(verifier));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8802").await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

async fn license(license: LicenseContext) -> Json<LicenseContext> {
    Json(license)
}

async fn alerts(license: LicenseContext) -> String {
    format!("No alerts for {}.\n", license.organization().name)
}
