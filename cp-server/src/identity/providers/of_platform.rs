//! The platform's identity providers, which the operator sets up.

use schemars::JsonSchema;
use serde::Serialize;

use crate::identity::oidc::presets::ProviderType;
use crate::identity::oidc::provider::Provider;
use crate::identity::settings::IdentitySettings;
use crate::kernel::access::caller::{CallerScope, Scope};
use crate::kernel::app::Part;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::page::{NoFilter, Page};

crate::routes! { providers:
    /// Lists the platform's identity providers, in the order of the settings.
    GET "/identity-providers" ANY => list_platform;
}

/// An identity provider of the platform. People of every organization can log in there.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlatformProvider {
    key: String,
    #[serde(rename = "type")]
    kind: ProviderType,
    issuer: String,
    /// The audience that access tokens must name.
    audience: Option<String>,
    /// Whether the server manages roles and grants at the provider.
    has_management: bool,
}

async fn list_platform(
    cx: &mut Cx<Scope>,
    _: CallerScope,
    _: NoFilter,
) -> Result<Page<PlatformProvider>> {
    let items = IdentitySettings::of(&cx.app).providers.iter().map(PlatformProvider::from);
    Ok(Page { items: items.collect(), next_cursor: None })
}

impl From<&Provider> for PlatformProvider {
    fn from(provider: &Provider) -> Self {
        Self {
            key: provider.key.clone(),
            kind: provider.kind,
            issuer: provider.issuer.clone(),
            audience: provider.expected_audience().map(str::to_owned),
            has_management: provider.management.is_some(),
        }
    }
}
