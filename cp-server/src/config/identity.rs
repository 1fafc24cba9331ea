//! The settings of logins: trusted identity providers, and the connections to them.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use chrono::TimeDelta;
use clap::{ArgAction, Args};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::authorities::authorities;
use super::secret_file::secret_file;
use super::values::{Hidden, boolean, hidden, span};
use crate::identity::oidc::provider::Provider;
use crate::identity::providers::management::Access;
use crate::identity::settings::{IdentitySettings, SessionSettings};
use crate::kernel::outbound::{FetchSettings, Fetcher};
use crate::kernel::text::named;
use crate::kernel::{files, http::json as strict};

/// The settings of logins.
#[derive(Args, Clone, Debug)]
pub struct IdentityConfig {
    /// A JSON file with the identity providers of the platform: a list of objects as in an
    /// organization's PUT, each with its `key`.
    #[arg(long, env = "CP_IDENTITY_PROVIDERS", global = true)]
    pub identity_providers: Option<PathBuf>,

    /// The issuer of a single provider, instead of the file; exactly as in the `iss` of its tokens.
    #[arg(long, env = "CP_OIDC_ISSUER", global = true)]
    pub oidc_issuer: Option<String>,

    /// The audience (`aud`) of its access tokens for this server.
    #[arg(long, env = "CP_OIDC_AUDIENCE", global = true)]
    pub oidc_audience: Option<String>,

    /// Its key, which is the `provider` of auth accounts.
    #[arg(long, env = "CP_OIDC_PROVIDER", default_value = "oidc", global = true)]
    pub oidc_provider: String,

    /// Its type: oidc, zitadel, auth0, google, microsoft or okta.
    #[arg(long, env = "CP_OIDC_TYPE", default_value = "oidc", global = true)]
    pub oidc_type: String,

    /// The client that logs people in to the console.
    #[arg(long, env = "CP_OIDC_CLIENT_ID", global = true)]
    pub oidc_client_id: Option<String>,

    /// The client's secret; a public client has none.
    #[arg(long, env = "CP_OIDC_CLIENT_SECRET", hide_env_values = true, value_parser = hidden, global = true)]
    pub oidc_client_secret: Option<Hidden>,

    /// A file with the client's secret.
    #[arg(
        long,
        env = "CP_OIDC_CLIENT_SECRET_FILE",
        global = true,
        conflicts_with = "oidc_client_secret"
    )]
    pub oidc_client_secret_file: Option<PathBuf>,

    /// Hosts, separated by commas, that an organization's provider may use although their addresses
    /// are private.
    #[arg(long, env = "CP_OIDC_ALLOWED_HOSTS", value_delimiter = ',', global = true)]
    pub oidc_allowed_hosts: Vec<String>,

    /// Whether providers may use plain http on this machine: for development.
    #[arg(long, env = "CP_OIDC_ALLOW_LOOPBACK", default_value_t = false, action = ArgAction::Set, value_parser = boolean, global = true)]
    pub oidc_allow_loopback: bool,

    /// A PEM file with certificate authorities that replace the public ones for connections to
    /// providers.
    #[arg(long, env = "CP_OIDC_CA_FILE", global = true)]
    pub oidc_ca_file: Option<PathBuf>,

    /// The age at which a console session ends: 15m to 30d.
    #[arg(long, env = "CP_SESSION_TTL", default_value = "12h", value_parser = |t: &str| span(t, "15m", "30d"), global = true)]
    pub session_ttl: TimeDelta,

    /// The idle time after which a console session ends: 5m to 30d.
    #[arg(long, env = "CP_SESSION_IDLE", default_value = "1h", value_parser = |t: &str| span(t, "5m", "30d"), global = true)]
    pub session_idle: TimeDelta,

    /// The issuer of a Zitadel, instead of CP_OIDC_ISSUER. Its key is zitadel.
    #[arg(long, env = "ZITADEL_ISSUER", global = true)]
    pub zitadel_issuer: Option<String>,

    /// Another name of ZITADEL_ISSUER.
    #[arg(long, env = "ZITADEL_ISSUER_URL", global = true)]
    pub zitadel_issuer_url: Option<String>,

    /// False disables the Zitadel although its issuer is set.
    #[arg(long, env = "ZITADEL_ENABLED", default_value_t = true, action = ArgAction::Set, value_parser = boolean, global = true)]
    pub zitadel_enabled: bool,

    /// The ID of the Zitadel project whose tokens and roles are accepted.
    #[arg(long, env = "ZITADEL_AUDIENCE", global = true)]
    pub zitadel_audience: Option<String>,

    /// The URL of its keys, instead of the one that it publishes.
    #[arg(long, env = "ZITADEL_JWKS_URI", global = true)]
    pub zitadel_jwks_uri: Option<String>,

    /// The claims that name the organization, separated by commas.
    #[arg(long, env = "ZITADEL_ACCOUNT_ID_CLAIMS", value_delimiter = ',', global = true)]
    pub zitadel_account_id_claims: Vec<String>,

    /// The roles that make a person a super administrator, separated by commas; super_admin by
    /// default.
    #[arg(long, env = "ZITADEL_SUPER_ADMIN_ROLES", value_delimiter = ',', global = true)]
    pub zitadel_super_admin_roles: Vec<String>,

    /// A token of a service user that manages roles and grants at the Zitadel.
    #[arg(long, env = "ZITADEL_MGMT_API_TOKEN", hide_env_values = true, value_parser = hidden, global = true)]
    pub zitadel_mgmt_api_token: Option<Hidden>,

    /// A file with that token.
    #[arg(
        long,
        env = "ZITADEL_MGMT_API_TOKEN_FILE",
        global = true,
        conflicts_with = "zitadel_mgmt_api_token"
    )]
    pub zitadel_mgmt_api_token_file: Option<PathBuf>,

    /// The client ID of the service user, instead of a token.
    #[arg(long, env = "ZITADEL_MGMT_CLIENT_ID", global = true)]
    pub zitadel_mgmt_client_id: Option<String>,

    /// The client secret of the service user.
    #[arg(long, env = "ZITADEL_MGMT_CLIENT_SECRET", hide_env_values = true, value_parser = hidden, global = true)]
    pub zitadel_mgmt_client_secret: Option<Hidden>,

    /// A file with that client secret.
    #[arg(
        long,
        env = "ZITADEL_MGMT_CLIENT_SECRET_FILE",
        global = true,
        conflicts_with = "zitadel_mgmt_client_secret"
    )]
    pub zitadel_mgmt_client_secret_file: Option<PathBuf>,

    /// The base URL of the management API; the issuer by default.
    #[arg(long, env = "ZITADEL_MGMT_API_BASE_URL", global = true)]
    pub zitadel_mgmt_api_base_url: Option<String>,

    /// The scopes of the service user's token, separated by blanks; those of Zitadel's own API by
    /// default.
    #[arg(long, env = "ZITADEL_MGMT_SCOPE", global = true)]
    pub zitadel_mgmt_scope: Option<String>,
}

impl IdentityConfig {
    /// Checks the settings and returns them.
    pub fn settings(&self) -> anyhow::Result<IdentitySettings> {
        let authority = |path: &PathBuf| authorities("CP_OIDC_CA_FILE", path);
        let authorities = self.oidc_ca_file.as_ref().map(authority).transpose()?;
        let fetch = FetchSettings {
            allowed_hosts: self.oidc_allowed_hosts.clone(),
            allow_loopback: self.oidc_allow_loopback,
            authorities,
            ..FetchSettings::default()
        };
        let providers = self.providers()?;
        let fetcher = Fetcher::new(&fetch);
        for (n, provider) in providers.iter().enumerate() {
            let about = || format!("the identity provider {:?}", provider.key);
            ensure!(
                provider.expected_audience().is_some(),
                "{} needs an audience: otherwise any token of this issuer would be accepted",
                about()
            );
            fetcher.check(&provider.issuer).map_err(anyhow::Error::msg).with_context(about)?;
            let management = provider.management.as_ref();
            if let Some(url) = management.and_then(|access| access.settings.url.as_ref()) {
                fetcher.check(url.as_str()).map_err(anyhow::Error::msg).with_context(about)?;
            }
            let is_twin = |other: &&Provider| {
                other.key == provider.key
                    || other.issuer == provider.issuer
                        && other.expected_audience() == provider.expected_audience()
            };
            if let Some(other) = providers.iter().take(n).find(is_twin) {
                bail!(
                    "{} has the same key, or the same issuer and audience, as {:?}",
                    about(),
                    other.key
                );
            }
        }
        let session = SessionSettings { ttl: self.session_ttl, idle: self.session_idle };
        Ok(IdentitySettings { providers, fetch, session })
    }

    fn providers(&self) -> anyhow::Result<Vec<Provider>> {
        let mut providers = match &self.identity_providers {
            Some(path) => from_file(path)
                .with_context(|| format!("CP_IDENTITY_PROVIDERS: {}", path.display()))?,
            None => Vec::new(),
        };
        if let Some(issuer) = &self.oidc_issuer {
            let body = json!({
                "type": self.oidc_type, "issuer": issuer, "audience": self.oidc_audience,
                "client_id": self.oidc_client_id,
            });
            let mut provider = provider(&self.oidc_provider, body)
                .context("CP_OIDC_ISSUER and related settings")?;
            provider.client_secret = match &self.oidc_client_secret_file {
                Some(path) => Some(secret_file(path).context("CP_OIDC_CLIENT_SECRET_FILE")?),
                None => self.oidc_client_secret.as_deref().cloned(),
            };
            providers.push(provider);
        }
        let zitadel = self.zitadel_issuer.as_ref().or(self.zitadel_issuer_url.as_ref());
        if let Some(issuer) = zitadel.filter(|_| self.zitadel_enabled) {
            let mut claim_map = Map::new();
            for (name, texts) in [
                ("organization", &self.zitadel_account_id_claims),
                ("superadmin_roles", &self.zitadel_super_admin_roles),
            ] {
                if !texts.is_empty() {
                    claim_map.insert(name.to_owned(), json!(texts));
                }
            }
            let body = json!({
                "type": "zitadel", "issuer": issuer, "audience": self.zitadel_audience,
                "jwks_uri": self.zitadel_jwks_uri, "claim_map": claim_map,
            });
            let mut provider =
                provider("zitadel", body).context("ZITADEL_ISSUER and related settings")?;
            provider.management = self.zitadel_management()?;
            providers.push(provider);
        }
        Ok(providers)
    }

    /// Returns the access to the management API of the Zitadel, if its settings name one.
    fn zitadel_management(&self) -> anyhow::Result<Option<Access>> {
        let secret = |own: &Option<Hidden>, file: &Option<PathBuf>, name: &'static str| match file {
            Some(path) => secret_file(path).context(name).map(Some),
            None => Ok(own.as_deref().cloned()),
        };
        let token = secret(
            &self.zitadel_mgmt_api_token,
            &self.zitadel_mgmt_api_token_file,
            "ZITADEL_MGMT_API_TOKEN_FILE",
        )?;
        let client_secret = secret(
            &self.zitadel_mgmt_client_secret,
            &self.zitadel_mgmt_client_secret_file,
            "ZITADEL_MGMT_CLIENT_SECRET_FILE",
        )?;
        let client_id = self.zitadel_mgmt_client_id.as_ref();
        let secret = match (token, client_id, client_secret) {
            (None, None, None) => return Ok(None),
            (Some(token), None, None) => token,
            (None, Some(_), Some(client_secret)) => client_secret,
            _ => bail!(
                "set either ZITADEL_MGMT_API_TOKEN, or ZITADEL_MGMT_CLIENT_ID and \
                 ZITADEL_MGMT_CLIENT_SECRET"
            ),
        };
        ensure!(!secret.expose().is_empty(), "the secret of ZITADEL_MGMT_* must not be empty");
        let settings = json!({
            "api": "v2", "url": self.zitadel_mgmt_api_base_url, "client_id": client_id,
            "scope": self.zitadel_mgmt_scope,
        });
        let settings = serde_json::from_value(settings).context(
            "ZITADEL_MGMT_API_BASE_URL, ZITADEL_MGMT_CLIENT_ID or ZITADEL_MGMT_SCOPE is invalid",
        )?;
        Ok(Some(Access { settings, secret }))
    }
}

fn from_file(path: &Path) -> anyhow::Result<Vec<Provider>> {
    let has_secret = |text: &[u8]| {
        let has = |item: &Map<String, Value>| {
            ["client_secret", "management"].iter().any(|name| item.contains_key(*name))
        };
        items(text).is_some_and(|items| items.iter().any(has))
    };
    let text = files::read_if(path, has_secret).context("the file contains a client secret")?;
    let text = Zeroizing::new(text);
    let items = items(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text))
        .context("must be a JSON list of objects")?;
    let read = |mut item: Map<String, Value>| {
        let key = item.remove("key");
        let key = key.as_ref().and_then(Value::as_str).context("a provider has no key")?;
        let about = || format!("the provider {}", named(key));
        provider(key, Value::Object(item)).with_context(about)
    };
    items.into_iter().map(read).collect()
}

fn items(text: &[u8]) -> Option<Vec<Map<String, Value>>> {
    serde_json::from_slice(text).ok()
}

fn provider(key: &str, body: Value) -> anyhow::Result<Provider> {
    // The parser of requests quotes no value in its refusals.
    let body = Zeroizing::new(serde_json::to_vec(&body)?);
    let new = strict::read(&body).map_err(|refusal| anyhow::anyhow!("{}", refusal.detail()))?;
    Provider::of_platform(key, new).map_err(anyhow::Error::msg)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use clap::Parser;

    use super::*;
    use crate::identity::oidc::presets::ProviderType;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        config: IdentityConfig,
    }

    fn settings(line: &[&str]) -> Result<IdentitySettings, String> {
        let line = ["cp-server"].iter().chain(line);
        Line::parse_from(line).config.settings().map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn single_provider_comes_from_settings() {
        let found = settings(&[
            "--oidc-issuer=https://t.auth0.com/",
            "--oidc-audience=https://api.example",
            "--oidc-type=Auth0",
            "--oidc-provider=auth0",
            "--oidc-client-id=42",
            "--oidc-client-secret=canary",
            "--session-idle=20m",
            "--zitadel-issuer-url=https://id.example",
            "--zitadel-audience=111",
            "--zitadel-super-admin-roles=root,admin",
            "--zitadel-account-id-claims=tenant",
        ]);
        let found = found.unwrap();
        assert!(!format!("{found:?}").contains("canary"), "s10");
        assert_eq!(found.session.idle, TimeDelta::minutes(20));
        let [auth0, zitadel] = &*found.providers else { panic!("{:?}", found.providers) };
        assert_eq!((&*auth0.key, auth0.kind), ("auth0", ProviderType::Auth0));
        assert_eq!(auth0.issuer, "https://t.auth0.com/");
        assert_eq!(auth0.client_secret.as_ref().unwrap().expose(), "canary");
        assert_eq!((&*zitadel.key, zitadel.project()), ("zitadel", Some("111")));
        assert_eq!(zitadel.claim_map.superadmin_roles, ["root", "admin"]);
        assert_eq!(zitadel.claim_map.organization, ["tenant"]);
        assert!(settings(&[]).unwrap().providers.is_empty());
        let resting = ["--zitadel-issuer=https://id.example", "--zitadel-enabled=false"];
        assert!(settings(&resting).unwrap().providers.is_empty());
    }

    #[test]
    fn unsafe_provider_is_refused_at_the_start() {
        for (line, why) in [
            (&["--oidc-issuer=https://id.example"][..], "needs an audience"),
            (&["--oidc-issuer=http://id.example", "--oidc-audience=a"], "is not an https URL"),
            (&["--oidc-issuer=http://127.0.0.1:1", "--oidc-audience=a"], "is not an https URL"),
            (&["--oidc-issuer=nonsense", "--oidc-audience=a"], "issuer"),
            (
                &["--oidc-issuer=https://x.example", "--oidc-audience=a", "--oidc-type=ldap"],
                "must be one of",
            ),
            (&["--oidc-issuer=https://x.example", "--oidc-audience=a", "--oidc-type=saml"], "SAML"),
            (
                &[
                    "--oidc-issuer=https://x.example",
                    "--oidc-audience=a",
                    "--zitadel-issuer=https://x.example",
                    "--zitadel-audience=a",
                ],
                "has the same key, or the same issuer and audience, as",
            ),
            (&["--oidc-ca-file=/dev/null"], "contains no certificate"),
        ] {
            let error = settings(line).unwrap_err();
            assert!(error.contains(why), "{line:?}: {error}");
        }
        let local = ["--oidc-issuer=http://127.0.0.1:1", "--oidc-audience=a"];
        settings(&[&local[..], &["--oidc-allow-loopback=true"]].concat()).unwrap();
    }

    #[test]
    fn access_to_the_management_api_comes_from_settings() {
        let zitadel = ["--zitadel-issuer=https://id.example", "--zitadel-audience=111"];
        let with = |line: &[&str]| settings(&[&zitadel[..], line].concat());
        let access = |line: &[&str]| {
            let found = with(line).unwrap();
            assert!(!format!("{found:?}").contains("canary"), "a secret is visible");
            found.providers[0].management.clone()
        };
        assert!(access(&[]).is_none());
        let token = access(&["--zitadel-mgmt-api-token=canary"]).unwrap();
        assert_eq!((token.settings.client_id, token.secret.expose().as_str()), (None, "canary"));
        let client = [
            "--zitadel-mgmt-client-id=service",
            "--zitadel-mgmt-client-secret=canary",
            "--zitadel-mgmt-api-base-url=https://api.id.example",
            "--zitadel-mgmt-scope=openid email",
        ];
        let settings = access(&client).unwrap().settings;
        assert_eq!(settings.client_id.unwrap().as_str(), "service");
        assert_eq!(settings.url.unwrap().as_str(), "https://api.id.example");
        assert_eq!(settings.scope.unwrap().as_str(), "openid email");

        for (line, why) in [
            (&["--zitadel-mgmt-client-id=service"][..], "set either ZITADEL_MGMT_API_TOKEN"),
            (&["--zitadel-mgmt-client-secret=canary"], "set either ZITADEL_MGMT_API_TOKEN"),
            (
                &["--zitadel-mgmt-api-token=canary", "--zitadel-mgmt-client-id=service"],
                "set either ZITADEL_MGMT_API_TOKEN",
            ),
            (&["--zitadel-mgmt-api-token="], "must not be empty"),
            (
                &[
                    "--zitadel-mgmt-api-token=canary",
                    "--zitadel-mgmt-api-base-url=http://x.example",
                ],
                "is not an https URL",
            ),
            (
                &["--zitadel-mgmt-api-token=canary", "--zitadel-mgmt-api-base-url=nonsense"],
                "ZITADEL_MGMT_API_BASE_URL",
            ),
        ] {
            let error = with(line).unwrap_err();
            assert!(error.contains(why) && !error.contains("canary"), "{line:?}: {error}");
        }
    }

    #[test]
    fn several_providers_come_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("providers.json");
        let line = format!("--identity-providers={}", path.display());
        let write = |text: &Value| std::fs::write(&path, text.to_string()).unwrap();
        let one =
            json!({"key": "one", "type": "oidc", "issuer": "https://one.example", "audience": "a"});
        let mut two = one.clone();
        two["key"] = json!("two");
        two["issuer"] = json!("https://two.example");
        write(&json!([one, two]));
        assert_eq!(settings(&[&line]).unwrap().providers.len(), 2);

        two["client_secret"] = json!("canary");
        write(&json!([one, two]));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        let error = settings(&[&line]).unwrap_err();
        assert!(
            error.contains("the file contains a client secret") && error.contains("chmod 600"),
            "{error}"
        );
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        assert!(settings(&[&line]).is_ok());

        let mut managed = two.clone();
        managed.as_object_mut().unwrap().remove("client_secret");
        managed["management"] = json!({"secret": "canary", "api": "v1"});
        write(&json!([one, managed]));
        assert!(settings(&[&line]).unwrap().providers[1].management.is_some());
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(settings(&[&line]).unwrap_err().contains("chmod 600"));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();

        for (name, value, why) in [
            ("management", json!({"client_id": "c"}), "management.secret"),
            ("isuer", json!("x"), "Unknown field `isuer`"),
            ("key", json!(1), "a provider has no key"),
            ("key", json!("a b"), "must be a provider key"),
            ("claim_map", json!({"roles": 1}), "claim_map.roles"),
            ("key", json!("one"), "has the same key"),
        ] {
            let mut bad = two.clone();
            bad[name] = value;
            write(&json!([one, bad]));
            let error = settings(&[&line]).unwrap_err();
            assert!(error.contains(why) && !error.contains("canary"), "{error}");
        }
    }
}
