//! Identity providers as they are stored and set.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::management::{Management, NewManagement};
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
    /// An identity provider of an organization.
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
        /// Access to the management API of the provider; null when there is none.
        management: Option<Management>,
        /// The place at which the certificate is stored.
        certificate_ref: Option<String>,
        /// People with an address of these domains log in here.
        email_domains: Texts,
        /// The claims that contain each piece of information.
        claim_map: Object,
        /// The roles that each role of the provider stands for.
        role_map: Object,
        status: ProviderStatus,
        /// Whether the platform lets it share the issuer and audience of another organization.
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
    /// The kind of provider, which selects the standard names of claims.
    pub(in crate::identity) r#type: ProviderType,
    /// The issuer, exactly as in the `iss` claim of its tokens.
    pub(in crate::identity) issuer: HttpUrl,
    /// The audience that access tokens must name. `client_id` when absent.
    pub(in crate::identity) audience: Option<ExternalId>,
    /// The URL of the key set. The one of the issuer's metadata when absent.
    pub(in crate::identity) jwks_uri: Option<HttpUrl>,
    /// The URL at which a SAML provider logs people in.
    pub(super) sso_url: Option<HttpUrl>,
    /// The client ID of this server at the provider. Logins at the console require one.
    pub(in crate::identity) client_id: Option<ExternalId>,
    /// The client secret, 1 to 4,096 bytes; write-only. Absent leaves it, null removes it.
    #[serde(default)]
    pub(in crate::identity) client_secret: Patch<Secret<String>>,
    /// Access to the provider's management API, through which the server sets up roles and grants.
    /// Absent leaves it, null removes it.
    #[serde(default)]
    pub(in crate::identity) management: Patch<NewManagement>,
    /// The place at which the provider's certificate is stored, such as a path in a vault.
    pub(super) certificate_ref: Option<Locator>,
    /// The e-mail domains whose people log in here; none when absent.
    #[serde(default)]
    pub(super) email_domains: Vec<Domain>,
    /// The claims that contain each piece of information, by member, such as `roles` or `email`.
    /// Standard names apply where a member is absent.
    #[serde(default)]
    pub(in crate::identity) claim_map: Map<String, Value>,
    /// This server's role codes for each role of the provider. Absent roles keep their names.
    #[serde(default)]
    pub(in crate::identity) role_map: Map<String, Value>,
    /// Whether people can log in; `active` when absent.
    #[serde(default = "active")]
    pub(super) status: ProviderStatus,
    /// Additional members of the caller's own; empty when absent.
    #[serde(default)]
    pub(super) metadata: Map<String, Value>,
}

fn active() -> ProviderStatus {
    ProviderStatus::Active
}
