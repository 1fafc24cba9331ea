//! The verifier with aws-lc-rs, measured by request: reads the key set and the token, a line each,
//! says where an axum app with the verifier listens, then reads numbers of checks to make and answers
//! each with the nanoseconds that they took.

use std::hint::black_box;
use std::io::{Write, stdin, stdout};
use std::time::Instant;

use axum::{Router, routing::get};
use dp_verifier::{LicenseContext, LicenseLayer, Verifier};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

fn main() -> anyhow::Result<()> {
    let mut lines = stdin().lines();
    let mut line = || lines.next().transpose();
    let (Some(jwks), Some(token)) = (line()?, line()?) else { return Ok(()) };
    let builder = Verifier::builder().issuer("https://cp.example").audience("data-plane");
    let verifier = builder.jwks(jwks).cache(0).build()?;
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    println!("{}", listener.local_addr()?);
    let app = Router::new().route("/", get(whose)).layer(LicenseLayer::new(verifier.clone()));
    runtime.spawn(async move { axum::serve(listener, app).await });
    while let Some(checks) = line()? {
        let checks: u32 = checks.parse()?;
        for _ in 0..checks / 5 {
            black_box(verifier.verify(black_box(&token)))?;
        }
        let start = Instant::now();
        for _ in 0..checks {
            black_box(verifier.verify(black_box(&token)))?;
        }
        println!("{}", start.elapsed().as_nanos());
        stdout().flush()?;
    }
    Ok(())
}

async fn whose(license: LicenseContext) -> String {
    license.organization().name.clone()
}
