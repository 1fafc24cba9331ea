//! Identity providers as they are stored, and as they are set.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::identity::ids::ProviderId;
use crate::identity::oidc::presets::ProviderType;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::db::record::{Object, Texts};
use crate::kernel::http::answer::Resource;
use crate::kernel::http::json::Patch;
use crate::kernel::secret::{Masked, Secret};
use crate::kernel::text::{Domain, ExternalId, HttpUrl, Locator, path_segment};

crate::text_enum! { ProviderStatus { Active = "active", Disabled = "disabled" } }

crate::record! {
    /// Where people log in.
    IdentityProvider in identity_providers {
        id: ProviderId,
        organization_id: OrganizationId,
        key: String,
        #[serde(rename = "type")]
        kind: ProviderType = "identity_providers.type",
        issuer: String,
        audience: Option<String>,
        jwks_uri: Option<String>,
        sso_url: Option<String>,
        client_id: Option<String>,
        client_secret: Masked = "identity_providers.client_secret IS NOT NULL",
        /// Where the certificate is kept.
        certificate_ref: Option<String>,
        /// People with such an address log in here.
        email_domains: Texts,
        /// Which of its claims tells what.
        claim_map: Object,
        /// Which role a role of the provider stands for.
        role_map: Object,
        status: ProviderStatus,
        /// Whether the platform lets it have the issuer and audience of another organization.
        shares_issuer: bool,
        metadata: Object,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

pub(super) const NOUN: &str = "identity provider";

impl Resource for IdentityProvider {
    const NOUN: &'static str = NOUN;
    const PATH: &'static str = "organizations";
    fn name(&self) -> String {
        format!("{}/identity-providers/{}", self.organization_id, path_segment(&self.key))
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProvider {
    pub(in crate::identity) r#type: ProviderType,
    pub(in crate::identity) issuer: HttpUrl,
    pub(in crate::identity) audience: Option<ExternalId>,
    pub(in crate::identity) jwks_uri: Option<HttpUrl>,
    pub(super) sso_url: Option<HttpUrl>,
    pub(in crate::identity) client_id: Option<ExternalId>,
    /// Write-only: 1 to 4,096 characters. Absent leaves it, null removes it.
    #[serde(default)]
    pub(in crate::identity) client_secret: Patch<Secret<String>>,
    pub(super) certificate_ref: Option<Locator>,
    #[serde(default)]
    pub(super) email_domains: Vec<Domain>,
    #[serde(default)]
    pub(in crate::identity) claim_map: Map<String, Value>,
    #[serde(default)]
    pub(in crate::identity) role_map: Map<String, Value>,
    #[serde(default = "active")]
    pub(super) status: ProviderStatus,
    #[serde(default)]
    pub(super) metadata: Map<String, Value>,
}

fn active() -> ProviderStatus {
    ProviderStatus::Active
}
