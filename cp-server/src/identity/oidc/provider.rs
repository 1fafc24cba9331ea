//! A trusted identity provider, of the platform or of an organization.

use serde_json::{Map, Value};

use super::discovery::Source;
use super::presets::{ClaimMap, ProviderType};
use crate::identity::ids::ProviderId;
use crate::identity::providers::management::Access;
use crate::identity::providers::row::NewProvider;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::http::json::Patch;
use crate::kernel::outbound::ChosenBy;
use crate::kernel::secret::Secret;
use crate::kernel::text::ProviderKey;

/// A trusted identity provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The key, as in `auth_accounts.provider`.
    pub key: String,
    /// The organization that owns it; `None` for one of the platform.
    pub organization: Option<OrganizationId>,
    /// The ID of its row, if an organization owns it.
    pub id: Option<ProviderId>,
    pub kind: ProviderType,
    /// Compared exactly with `iss`.
    pub issuer: String,
    pub audience: Option<String>,
    pub jwks_uri: Option<String>,
    pub client_id: Option<String>,
    /// The secret of a platform's provider; an organization's is sealed in its row.
    pub client_secret: Option<Secret<String>>,
    pub claim_map: ClaimMap,
    pub role_map: Map<String, Value>,
    /// Access to the management API of a platform's provider; an organization's is in its row.
    pub management: Option<Access>,
}

impl Provider {
    /// Creates a provider of the platform, from the operator's settings.
    ///
    /// # Errors
    /// The invalid setting.
    pub fn of_platform(key: &str, new: NewProvider) -> Result<Self, String> {
        let key: ProviderKey = key.parse().map_err(|e| format!("`key` {e}"))?;
        if new.r#type == ProviderType::Saml {
            return Err("`type` must not be saml: only organizations have SAML providers".into());
        }
        let claim_map =
            ClaimMap::checked(new.r#type, &new.claim_map).map_err(|unfit| unfit.to_string())?;
        let client_secret = match new.client_secret {
            Patch::Set(secret) => Some(secret),
            Patch::Keep | Patch::Clear => None,
        };
        let management = match new.management {
            Patch::Set(management) => Some(Access::new(management)?),
            Patch::Keep | Patch::Clear => None,
        };
        Ok(Self {
            key: key.into_string(),
            organization: None,
            id: None,
            kind: new.r#type,
            issuer: new.issuer.into_string(),
            audience: new.audience.map(|a| a.into_string()),
            jwks_uri: new.jwks_uri.map(|u| u.into_string()),
            client_id: new.client_id.map(|c| c.into_string()),
            client_secret,
            claim_map,
            role_map: new.role_map,
            management,
        })
    }

    pub fn source(&self) -> Source {
        Source {
            issuer: self.issuer.clone(),
            jwks_uri: self.jwks_uri.clone(),
            chosen_by: self.chosen_by(),
        }
    }

    pub fn chosen_by(&self) -> ChosenBy {
        if self.organization.is_some() { ChosenBy::Organization } else { ChosenBy::Operator }
    }

    /// Returns the audience of access tokens for this server.
    pub fn expected_audience(&self) -> Option<&str> {
        self.audience.as_deref().or(self.client_id.as_deref())
    }

    /// Returns the Zitadel project whose roles count.
    pub fn project(&self) -> Option<&str> {
        self.claim_map.project_id.as_deref().or(self.audience.as_deref())
    }
}
