//! What the check costs an axum app: as many requests as go through several kept-alive connections.
//!
//! The app has one thread and so has the client, which does less per request than the app.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router, routing::get};
use axum_jwks::{Claims, Jwks, ParseTokenClaims, TokenError};
use dp_verifier::cp_contracts::DeploymentLicenseClaims;
use dp_verifier::{LicenseContext, LicenseLayer};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tower_oauth2_resource_server::server::OAuth2ResourceServer;
use tower_oauth2_resource_server::tenant::TenantConfiguration;
use tower_oauth2_resource_server::validation::ClaimsValidationSpec;

use crate::Table;
use crate::beside::Beside;
use crate::sample::{AUDIENCE, ISSUER, Sample};

const ROUNDS: u32 = 41;
const CONNECTIONS: usize = 8;
const TURN: Duration = Duration::from_millis(100);

/// What every app answers with: the customer's name.
const BODY: &str = "Acme GmbH";

pub fn measure(sample: &Sample, beside: Option<Beside>) -> anyhow::Result<Table> {
    let server = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let client = Builder::new_current_thread().enable_all().build()?;
    let bare = Router::new().route("/", get(async || BODY));
    let mut apps = vec![
        ("bare app", serve(&server, bare)?),
        ("ours, ring, cached", serve(&server, licensed(sample, 1_024)?)?),
        ("ours, ring", serve(&server, licensed(sample, 0)?)?),
        ("jwt-authorizer 0.15 (axum 0.7)", serve_07(&server, jwt_authorizer(&server, sample)?)?),
        ("axum-jwks 0.12", serve(&server, axum_jwks(sample)?)?),
        ("tower-oauth2-resource-server 0.12", serve(&server, oauth2(&server, sample)?)?),
    ];
    if let Some(beside) = &beside {
        apps.insert(3, ("ours, aws-lc-rs", beside.address));
    }
    let token = &sample.token;
    let request =
        |header: &str| format!("GET / HTTP/1.1\r\nHost: localhost\r\n{header}{token}\r\n\r\n");
    let (license, bearer) = (request("X-License-Token: "), request("Authorization: Bearer "));
    let mut table = Table::default();
    for round in 0..=ROUNDS {
        for (name, address) in &apps {
            let is_ours = name.starts_with("ours") || name.starts_with("bare");
            let request = if is_ours { &license } else { &bearer };
            let count = client.block_on(load(*address, request)).context(*name)?;
            if round > 0 {
                table.add(name, f64::from(count) / TURN.as_secs_f64() / 1e3);
            }
        }
    }
    server.shutdown_background();
    Ok(table)
}

/// Sends requests for one turn and counts the answers.
async fn load(address: SocketAddr, request: &str) -> anyhow::Result<u32> {
    let end = Instant::now() + TURN;
    let mut connections = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let request = request.to_owned();
        connections.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let mut answer = [0; 4_096];
            let mut count = 0;
            while Instant::now() < end {
                stream.write_all(request.as_bytes()).await?;
                let mut length = 0;
                while !answer[..length].ends_with(BODY.as_bytes()) {
                    let read = stream.read(&mut answer[length..]).await?;
                    length += read;
                    let text = || String::from_utf8_lossy(&answer[..length]).into_owned();
                    ensure!(read > 0 && answer.starts_with(b"HTTP/1.1 200"), "{}", text());
                }
                count += 1;
            }
            Ok(count)
        });
    }
    let mut count = 0;
    while let Some(connection) = connections.join_next().await {
        count += connection??;
    }
    Ok(count)
}

fn serve(runtime: &Runtime, app: Router) -> anyhow::Result<SocketAddr> {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    runtime.spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

fn serve_07(runtime: &Runtime, app: axum07::Router) -> anyhow::Result<SocketAddr> {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    runtime.spawn(async move { axum07::serve(listener, app).await });
    Ok(address)
}

fn licensed(sample: &Sample, cache: usize) -> anyhow::Result<Router> {
    async fn whose(license: LicenseContext) -> String {
        license.organization().name.clone()
    }
    let verifier = sample.verifier().cache(cache).build()?;
    Ok(Router::new().route("/", get(whose)).layer(LicenseLayer::new(verifier)))
}

fn jwt_authorizer(runtime: &Runtime, sample: &Sample) -> anyhow::Result<axum07::Router> {
    use jwt_authorizer::{Authorizer, IntoLayer, JwtAuthorizer, JwtClaims, Validation};
    async fn whose(JwtClaims(claims): JwtClaims<DeploymentLicenseClaims>) -> String {
        claims.license.organization.name
    }
    let validation = Validation::new().iss(&[ISSUER]).aud(&[AUDIENCE]).nbf(true).leeway(60);
    let builder = JwtAuthorizer::from_jwks_text(&sample.jwks).validation(validation);
    let authorizer: Authorizer<DeploymentLicenseClaims> = runtime.block_on(builder.build())?;
    let route = axum07::routing::get(whose);
    Ok(axum07::Router::new().route("/", route).layer(authorizer.into_layer()))
}

#[derive(Deserialize)]
struct License(DeploymentLicenseClaims);

impl ParseTokenClaims for License {
    type Rejection = Refused;
}

struct Refused;

impl From<TokenError> for Refused {
    fn from(_: TokenError) -> Self {
        Self
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        axum::http::StatusCode::UNAUTHORIZED.into_response()
    }
}

fn axum_jwks(sample: &Sample) -> anyhow::Result<Router> {
    async fn whose(Claims(License(claims)): Claims<License>) -> String {
        claims.license.organization.name
    }
    // It does not check the issuer.
    let set = serde_json::from_str(&sample.jwks)?;
    let jwks = Jwks::from_jwk_set(set, Some(AUDIENCE), None)?;
    Ok(Router::new().route("/", get(whose)).with_state(jwks))
}

fn oauth2(runtime: &Runtime, sample: &Sample) -> anyhow::Result<Router> {
    type Checked = Extension<DeploymentLicenseClaims>;
    async fn whose(Extension(claims): Checked) -> String {
        claims.license.organization.name
    }
    let audiences = vec![AUDIENCE.to_owned()];
    let rules = ClaimsValidationSpec::recommended(ISSUER, &audiences).nbf(true);
    let tenant = TenantConfiguration::static_builder(sample.jwks.as_str())
        .audiences(&audiences)
        .claims_validation(rules)
        .build()?;
    let builder = OAuth2ResourceServer::<DeploymentLicenseClaims>::builder().add_tenant(tenant);
    let server = runtime.block_on(builder.build())?;
    Ok(Router::new().route("/", get(whose)).layer(server.into_layer()))
}
