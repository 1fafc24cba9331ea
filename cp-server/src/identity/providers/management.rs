//! Access to the management API of an identity provider.
//!
//! # Design
//! The settings are a JSON column, and the secret is sealed in a column of its own, as the client
//! secret is. Every row that has one of them has both. Rejected: one sealed column for all, because
//! every list would have to open it to show the settings.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, Serializer};
use sqlx::types::Json;

use crate::kernel::secret::{Masked, Secret};
use crate::kernel::text::{ExternalId, HttpUrl};

crate::text_enum! {
    /// The version of a Zitadel's management API.
    ManagementApi {
        /// Zitadel 4 and later.
        V2 = "v2",
        /// Zitadel before 4.
        V1 = "v1",
    }
}

/// Access to the management API, as it is set.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewManagement {
    /// The base URL of the API; the issuer when absent.
    url: Option<HttpUrl>,
    /// The version of the API; `v2` when absent.
    #[serde(default = "v2")]
    api: ManagementApi,
    /// The client ID of the service user. With it the server requests a token with client
    /// credentials. Without it `secret` is the token.
    client_id: Option<ExternalId>,
    /// The scopes of the token, separated by blanks. Those of Zitadel's own API when absent.
    scope: Option<ExternalId>,
    /// The client secret or the token, 1 to 4,096 bytes; write-only. Absent keeps the stored one.
    pub(super) secret: Option<Secret<String>>,
}

fn v2() -> ManagementApi {
    ManagementApi::V2
}

/// The settings of the access, without the secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ManagementSettings {
    pub url: Option<HttpUrl>,
    pub api: ManagementApi,
    pub client_id: Option<ExternalId>,
    pub scope: Option<ExternalId>,
}

/// Access to the management API, with its secret.
#[derive(Clone, Debug)]
pub struct Access {
    pub settings: ManagementSettings,
    pub secret: Secret<String>,
}

impl Access {
    /// Returns the access to a platform's provider, from the operator's settings.
    ///
    /// # Errors
    /// The invalid setting.
    pub fn new(new: NewManagement) -> Result<Self, String> {
        let (settings, secret) = new.into_parts();
        let secret = secret.filter(|secret| !secret.expose().is_empty());
        let secret = secret.ok_or("`management.secret` is required")?;
        Ok(Self { settings, secret })
    }
}

impl NewManagement {
    /// Returns the settings and the secret.
    pub fn into_parts(self) -> (ManagementSettings, Option<Secret<String>>) {
        let Self { url, api, client_id, scope, secret } = self;
        (ManagementSettings { url, api, client_id, scope }, secret)
    }
}

/// Access to the management API as it is stored, without the secret.
#[derive(Clone, Debug, sqlx::Type)]
#[sqlx(transparent)]
pub struct Management(Json<ManagementSettings>);

/// Access to the management API, as responses show it.
#[derive(Serialize, JsonSchema)]
struct Shown<'m> {
    /// The base URL of the API; null is the issuer.
    url: &'m Option<HttpUrl>,
    api: ManagementApi,
    /// The client ID of the service user; null when the secret is a token.
    client_id: &'m Option<ExternalId>,
    /// The scopes of the token; null are those of Zitadel's own API.
    scope: &'m Option<ExternalId>,
    secret: Masked,
}

impl Management {
    pub fn new(settings: ManagementSettings) -> Self {
        Self(Json(settings))
    }

    pub fn settings(&self) -> &ManagementSettings {
        &self.0
    }
}

impl Serialize for Management {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ManagementSettings { url, api, client_id, scope } = self.settings();
        Shown { url, api: *api, client_id, scope, secret: Masked::SET }.serialize(serializer)
    }
}

impl JsonSchema for Management {
    fn schema_name() -> Cow<'static, str> {
        "Management".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Shown::json_schema(generator)
    }
}
