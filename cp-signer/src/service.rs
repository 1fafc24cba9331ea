//! The interface over HTTP.

use std::sync::Arc;

use anyhow::ensure;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq;

use crate::token::Token;

/// The largest request, in bytes.
const LARGEST: usize = 4096;
/// The shortest bearer token.
const SHORTEST_TOKEN: usize = 16;
const ALGORITHM: &str = "RS256";

pub(crate) struct Service {
    token: Arc<Token>,
    bearer: Arc<[u8]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    algorithm: String,
    bits: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSignature {
    algorithm: String,
    digest: String,
}

impl Service {
    pub(crate) fn new(token: Arc<Token>, bearer: &SecretString) -> anyhow::Result<Self> {
        let bearer = bearer.expose_secret();
        ensure!(
            bearer.len() >= SHORTEST_TOKEN,
            "the bearer token must have at least {SHORTEST_TOKEN} characters"
        );
        Ok(Self { token, bearer: format!("Bearer {bearer}").into_bytes().into() })
    }

    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/keys", post(generate))
            .route("/keys/{name}/signatures", post(sign))
            .layer(DefaultBodyLimit::max(LARGEST))
            .layer(middleware::from_fn_with_state(self.bearer, authenticate))
            .route("/healthz", get(|| std::future::ready("ok")))
            .with_state(self.token)
    }
}

async fn authenticate(State(bearer): State<Arc<[u8]>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION);
    let given = given.map_or(&[][..], |value| value.as_bytes());
    if bool::from(given.ct_eq(&bearer)) {
        next.run(request).await
    } else {
        refusal(StatusCode::UNAUTHORIZED, "the bearer token is not that of this service")
    }
}

async fn generate(
    State(token): State<Arc<Token>>,
    new: Result<Json<NewKey>, JsonRejection>,
) -> Response {
    let new = match new {
        Ok(Json(new)) if new.algorithm == ALGORITHM && matches!(new.bits, 2048 | 3072 | 4096) => {
            new
        }
        _ => return malformed("`algorithm` RS256, and `bits` 2048, 3072 or 4096"),
    };
    match blocking(move || token.generate(new.bits)).await {
        Ok(made) => {
            let (n, e) =
                (URL_SAFE_NO_PAD.encode(made.modulus), URL_SAFE_NO_PAD.encode(made.exponent));
            eprintln!("made a key name={}", made.name);
            let body = json!({"key": made.name, "jwk": {"kty": "RSA", "n": n, "e": e}});
            (StatusCode::CREATED, Json(body)).into_response()
        }
        Err(error) => failed(&error),
    }
}

async fn sign(
    State(token): State<Arc<Token>>,
    Path(name): Path<String>,
    new: Result<Json<NewSignature>, JsonRejection>,
) -> Response {
    let digest = new.ok().filter(|Json(new)| new.algorithm == ALGORITHM);
    let digest = digest.and_then(|Json(new)| URL_SAFE_NO_PAD.decode(new.digest).ok());
    let Some(digest) = digest.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) else {
        return malformed("`algorithm` RS256, and `digest`: base64url of 32 bytes");
    };
    match blocking(move || token.sign(&name, &digest)).await {
        Ok(Some(signature)) => {
            let body = json!({"signature": URL_SAFE_NO_PAD.encode(signature)});
            (StatusCode::CREATED, Json(body)).into_response()
        }
        Ok(None) => refusal(StatusCode::NOT_FOUND, "the token has no such key"),
        Err(error) => failed(&error),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

fn malformed(expected: &str) -> Response {
    refusal(StatusCode::BAD_REQUEST, &format!("the body must be JSON with {expected}"))
}

/// Writes the reason to standard error: the server that asks needs none.
fn failed(error: &anyhow::Error) -> Response {
    eprintln!("the token failed error={error:#}");
    refusal(
        StatusCode::SERVICE_UNAVAILABLE,
        "the token failed; the log of this service has the reason",
    )
}

fn refusal(status: StatusCode, detail: &str) -> Response {
    (status, Json(json!({"detail": detail}))).into_response()
}
