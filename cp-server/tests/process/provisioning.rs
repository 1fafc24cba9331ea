//! The credentials for a provider's management API stay out of the log, at its most verbose.

use std::net::SocketAddr;
use std::sync::mpsc::channel;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::server::{Server, command, folder};

const PLATFORMS: &str = "canary-secret-of-the-platform";
const OWN: &str = "canary-secret-of-the-organization";
const ISSUED: &str = "canary-issued-token";

/// Starts a Zitadel that has nothing, and accepts roles but no grants.
fn zitadel() -> SocketAddr {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            sender.send(address).unwrap();
            let router = Router::new().fallback(move |uri: Uri| answer(address, uri));
            axum::serve(listener, router).await.unwrap();
        });
    });
    receiver.recv().unwrap()
}

async fn answer(address: SocketAddr, uri: Uri) -> Response {
    let url = format!("http://{address}");
    let body = match uri.path().rsplit('/').next().unwrap_or_default() {
        "openid-configuration" => json!({"issuer": url, "token_endpoint": format!("{url}/token")}),
        "token" => json!({"access_token": ISSUED, "token_type": "Bearer", "expires_in": 3600}),
        "CreateAuthorization" => {
            // A provider that repeats what it received.
            let message = format!("Bearer {ISSUED}, {OWN}, {PLATFORMS}");
            let body = json!({"code": "permission_denied", "message": message});
            return (StatusCode::FORBIDDEN, body.to_string()).into_response();
        }
        _ => json!({}),
    };
    body.to_string().into_response()
}

fn provider(url: &str, management: &Value) -> Value {
    json!({
        "type": "zitadel", "issuer": url, "audience": "acme", "management": management,
        "claim_map": {"project_id": "111", "organization_id": "900"},
        "role_map": {"admin": "ORGANIZATION_ADMIN"},
    })
}

#[test]
fn run_logs_no_credential() {
    let url = format!("http://{}", zitadel());
    let folder = folder();
    let file = folder.path().join("secret");
    std::fs::write(&file, format!("{PLATFORMS}\n")).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut command = command(folder.path());
    command.arg("serve").env("CP_LOG", "trace").env("CP_OIDC_ALLOW_LOOPBACK", "true");
    command.env("ZITADEL_ISSUER", &url).env("ZITADEL_AUDIENCE", "111");
    command.env("ZITADEL_MGMT_CLIENT_ID", "platform");
    command.env("ZITADEL_MGMT_CLIENT_SECRET_FILE", &file);
    let mut server = Server::run(&mut command);
    let made = server.post("/organizations", json!({"name": "Acme"}));
    let path =
        format!("/api/v1/organizations/{}/identity-providers/acme", made["id"].as_str().unwrap());
    let mut output = String::new();
    let own = json!({"client_id": "own", "secret": OWN});
    for (n, management) in [Value::Null, own].into_iter().enumerate() {
        let body = provider(&url, &management);
        let (status, answer) = server.call("PUT", &path, Some(body), &format!("put-{n}"));
        assert!(matches!(status, 200 | 201), "{answer}");
        output.push_str(&answer.to_string());
        let grants = json!([{"provider_user_id": "71", "role_keys": ["admin"]}]);
        let body = json!({"grants": grants});
        let run = format!("{path}/provision");
        let (status, answer) = server.call("POST", &run, Some(body), &format!("run-{n}"));
        assert_eq!((status, &answer["roles"][0]["status"]), (200, &json!("done")), "{answer}");
        assert_eq!(answer["grants"][0]["error"]["status"], 403, "{answer}");
        if n == 1 {
            output.push_str(&answer.to_string().replace(PLATFORMS, "[of another]"));
        } else {
            output.push_str(&answer.to_string().replace(OWN, "[of another]"));
        }
    }
    let (_, listed) = server.call("GET", "/api/v1/identity-providers", None, "x");
    assert_eq!(listed["items"][0]["has_management"], true);
    output.push_str(&listed.to_string());
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    let said = server.said.lock().unwrap().clone();
    assert!(said.lines().count() > 50, "it logs at trace");
    output.push_str(&said);
    let basic = |client: &str, secret: &str| STANDARD.encode(format!("{client}:{secret}"));
    for secret in [PLATFORMS, OWN, ISSUED, &basic("platform", PLATFORMS), &basic("own", OWN)] {
        let found = output.lines().find(|line| line.contains(secret));
        assert!(found.is_none(), "the output has a secret: {found:?}");
    }
}
