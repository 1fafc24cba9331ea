//! `cp-server quickstart`: from an empty machine to a license that a data plane accepts without
//! access to this server.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use cp_contracts::StatusListRef;
use dp_verifier::{LicenseContext, Verifier};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::client::{Client, pretty};
use crate::config::Config;
use crate::config::installation::Purpose;
use crate::identity::bootstrap::First;
use crate::identity::console_links;
use crate::identity::settings::ConsoleSettings;
use crate::kernel::app::{App, Part};
use crate::kernel::files;
use crate::licensing::keys::keyring::Keyring;
use crate::licensing::status_lists;
use crate::licensing::status_lists::StatusLists;

const PERSON: &str = "anna@example.com";
const PROVIDER: &str = "auth0";
const SUBJECT: &str = "auth0|anna";

/// Returns the settings, with a base URL derived from the listen address, unless one is given.
///
/// # Errors
/// Fails when that address has no fixed port: the base URL is the issuer of tokens, which outlive
/// the process.
pub fn settings(config: &Config, is_serving: bool) -> anyhow::Result<Config> {
    let mut config = config.clone();
    let (ip, port) = (config.listen.ip(), config.listen.port());
    if config.base_url_is_given || !(ip.is_loopback() || ip.is_unspecified()) {
        return Ok(config);
    }
    if port == 0 {
        ensure!(
            !is_serving,
            "CP_LISTEN: the quickstart needs a port, because the address becomes the issuer of the \
             tokens: cp-server quickstart --listen 127.0.0.1:8801"
        );
        return Ok(config);
    }
    let scheme = if config.network.tls_cert.is_some() { "https" } else { "http" };
    let address = match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], port)),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
        _ => config.listen,
    };
    config.base_url = format!("{scheme}://{address}");
    Ok(config)
}

/// Creates the example, or finds that of an earlier run, mints a license and verifies it. The
/// caller serves afterwards.
pub async fn run(config: &Config) -> anyhow::Result<()> {
    let app = config.open(Purpose::Serving { accept_new_issuer: false }).await?;
    let client = Client::local(app.clone());

    let example = Example::make(&client).await?;
    let bundle = client.call("bundles.issue", args(json!({"id": example.license}))).await?;
    let jwks = Keyring::of(&app).jwks();
    let list = status_list(&app, &bundle).await?;
    let whoami = client
        .answer("users.whoami", args(json!({"provider": PROVIDER, "subject": SUBJECT})))
        .await?;
    // Last, so that a run that fails earlier has not created a token that is never shown.
    let token = match config.first_token(&app).await? {
        Some(First::Shown(token)) => token.expose().to_owned(),
        Some(First::File(path)) => from_file(&path),
        None => match (&config.bootstrap_token, &config.bootstrap_token_file) {
            (_, Some(path)) => from_file(path),
            (Some(_), None) => "\"$CP_BOOTSTRAP_TOKEN\"".to_owned(),
            (None, None) => day_token(config, &client, &app).await?,
        },
    };
    let link = match ConsoleSettings::of(&app).is_enabled {
        true => Some(console_links::create(&app, None).await?),
        false => None,
    };
    client.close().await;

    // From here on the database is closed: the license verifies without it.
    let text = bundle["token"].as_str().context("the bundle has a token")?;
    let license = verify(config, &jwks, &list, text)?;
    print(config, &example, &token, text, &license, &whoami)?;
    if let Some(link) = link {
        println!("Open the console with this link. It works once, for 15 minutes:\n");
        println!("  {}\n", link.url.expose());
        println!("Another link: cp-server console link\n");
    }
    Ok(())
}

/// Returns the status list of the bundle, as a data plane fetches it.
async fn status_list(app: &App, bundle: &Value) -> anyhow::Result<String> {
    let entry: StatusListRef =
        serde_json::from_value(bundle["payload"]["status"]["status_list"].clone())?;
    let (list, _) = status_lists::place(&entry).context("the bundle has a status")?;
    Ok(String::from_utf8(StatusLists::of(app).token(app, list).await?.to_vec())?)
}

fn verify(config: &Config, jwks: &[u8], list: &str, token: &str) -> anyhow::Result<LicenseContext> {
    let verifier = Verifier::builder()
        .issuer(&config.base_url)
        .audience(&config.audience)
        .jwks(jwks)
        .build()
        .map_err(|e| anyhow::anyhow!("the verifier could not be built: {e}"))?;
    verifier.import_status_list(list).context("the status list was refused")?;
    verifier.verify(token).map_err(|e| anyhow::anyhow!("the license was refused: {e}"))
}

/// The example organization and its license.
struct Example {
    organization: String,
    deployment: String,
    license: String,
}

impl Example {
    async fn make(client: &Client) -> anyhow::Result<Self> {
        let organization = ensure(
            client,
            ("organizations.list", json!({"slug": "example"})),
            (
                "organizations.create",
                json!({
                    "name": "Example Corp", "slug": "example", "owner": PERSON, "plan_code": "team",
                }),
            ),
        )
        .await?;
        let org = organization["id"].clone();
        let workspace = ensure(
            client,
            ("workspaces.list", json!({"org": org, "slug": "production"})),
            ("workspaces.create", json!({"org": org, "name": "Production"})),
        )
        .await?;
        let user = organization["owner_user_id"].clone();
        ensure(
            client,
            ("users.list_auth_accounts", json!({"id": user})),
            ("users.link", json!({"id": user, "provider": PROVIDER, "subject": SUBJECT})),
        )
        .await?;
        let seat = json!({"id": workspace["id"], "user_id": user, "role": "admin"});
        ensure(
            client,
            ("workspaces.list_members", json!({"id": workspace["id"], "user_id": user})),
            ("workspaces.add_member", seat),
        )
        .await?;
        let subscription = ensure(
            client,
            ("subscriptions.list", json!({"org": org})),
            ("subscriptions.create", json!({"org": org, "plan_code": "team"})),
        )
        .await?;
        let deployment = ensure(
            client,
            ("deployments.list", json!({"org": org, "name": "production"})),
            ("deployments.create", json!({"org": org, "name": "production", "type": "onprem"})),
        )
        .await?;
        let license = ensure(
            client,
            (
                "licenses.list",
                json!({"org": org, "deployment": deployment["id"], "status": "active"}),
            ),
            (
                "licenses.create",
                json!({"id": deployment["id"], "subscription_id": subscription["id"]}),
            ),
        )
        .await?;
        let id = |thing: &Value| thing["id"].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            organization: id(&organization),
            deployment: id(&deployment),
            license: id(&license),
        })
    }
}

/// Returns the first item of the list, or creates one: a second run finds its data again.
async fn ensure(
    client: &Client,
    (list, filter): (&str, Value),
    (create, new): (&str, Value),
) -> anyhow::Result<Value> {
    let found = client.call(list, args(filter)).await?;
    match found["items"].get(0) {
        Some(first) => Ok(first.clone()),
        None => client.call(create, args(new)).await,
    }
}

/// Returns the token of an earlier run if its file exists and the token is still valid; otherwise
/// creates one for a day.
async fn day_token(config: &Config, client: &Client, app: &App) -> anyhow::Result<String> {
    let path = config.keys_dir.join("quickstart-token");
    for path in [config.keys_dir.join("bootstrap-token"), path.clone()] {
        if works(app, &path).await? {
            return Ok(from_file(&path));
        }
    }
    let expires_at = app.clock.now() + Duration::from_secs(86_400);
    let new = json!({"name": "quickstart", "permissions": ["*"], "expires_at": expires_at});
    let made = client.call("service_tokens.create_for_platform", args(new)).await?;
    let token = made["token"].as_str().context("the answer has a token")?;
    files::replace_private(&path, format!("{token}\n").as_bytes())?;
    Ok(from_file(&path))
}

/// Whether the file contains a token that is valid for at least another hour.
async fn works(app: &App, path: &Path) -> anyhow::Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    let bytes = Zeroizing::new(files::read_private(path)?);
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim();
    let soon = app.clock.now() + Duration::from_secs(3600);
    for kind in &app.credentials {
        if let Some(caller) = kind.caller(app, text).await? {
            return Ok(caller.ends_at.is_none_or(|ends| ends > soon));
        }
    }
    Ok(false)
}

/// Returns the shell expression that reads a token from a file.
fn from_file(path: &Path) -> String {
    format!("\"$(cat {})\"", path.display())
}

fn args(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(args) => args,
        _ => Map::new(),
    }
}

fn print(
    config: &Config,
    example: &Example,
    token: &str,
    license_token: &str,
    license: &LicenseContext,
    whoami: &[u8],
) -> anyhow::Result<()> {
    // Addresses of this machine, independent of the public name.
    let scheme = if config.network.tls_cert.is_some() { "https" } else { "http" };
    let (base, org) = (format!("{scheme}://{}", config.listen), &example.organization);
    println!("License token (X-License-Token), signed and stored:\n\n{license_token}\n");
    println!("The license as a data plane reads it, verified with the database closed:\n");
    println!("{}\n", serde_json::to_string_pretty(license)?);
    println!("The identity of {SUBJECT} at {PROVIDER} (whoami):\n");
    println!("{}\n", pretty(whoami)?);
    println!("Try in another terminal (a token is shown once, and only on a terminal):\n");
    println!("  export CP_TOKEN={token}");
    println!("  curl -s {base}/.well-known/jwks.json");
    println!("  curl -s -H \"Authorization: Bearer $CP_TOKEN\" {base}/api/v1/organizations/{org}");
    println!(
        "  curl -s -H \"Authorization: Bearer $CP_TOKEN\" -G {base}/api/v1/users/whoami \\\n       \
         --data-urlencode provider={PROVIDER} --data-urlencode 'subject={SUBJECT}'"
    );
    println!(
        "  curl -s -H \"Authorization: Bearer $CP_TOKEN\" -X POST \\\n       \
         {base}/api/v1/licenses/{}/bundles",
        example.license
    );
    println!(
        "  curl -s -H \"Authorization: Bearer $CP_TOKEN\" \\\n       \
         {base}/api/v1/deployments/{}",
        example.deployment
    );
    println!("\nThe API documentation is at {base}/docs\nStop with Ctrl-C.\n");
    Ok(())
}
