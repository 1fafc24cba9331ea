//! The provider of a run: its settings, and the access to its management API.

use cp_contracts::ProblemCode;
use serde_json::{Map, Value, json};

use super::identifiers::RemoteId;
use super::plan::built_in_role_map;
use super::zitadel::connection::Endpoint;
use crate::identity::escalation::refuse_but_superadmin;
use crate::identity::oidc::discovery::Source;
use crate::identity::oidc::presets::{ClaimMap, ProviderType};
use crate::identity::oidc::provider::Provider;
use crate::identity::providers::{self, IdentityProvider, management_access};
use crate::identity::settings::IdentitySettings;
use crate::kernel::access::caller::Permission;
use crate::kernel::app::Part;
use crate::kernel::db::record::Object;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::outbound::ChosenBy;
use crate::tenancy::onboarding::{self, ZitadelDefaults};

/// The provider of a run.
pub struct Target {
    pub provider: IdentityProvider,
    pub project_id: String,
    pub organization_id: Option<String>,
    pub project_grant_id: Option<String>,
    pub role_prefix: String,
    pub role_map: Map<String, Value>,
    /// Whether defaults filled gaps of the provider's maps.
    pub is_filled: bool,
}

impl Target {
    /// Returns the provider with this key, whose gaps the onboarding fills if `apply_defaults`.
    ///
    /// # Errors
    /// 404 without the provider; 422 at the setting that prevents provisioning.
    pub async fn load(cx: &mut Cx, key: &str, apply_defaults: bool) -> Result<Self> {
        let missing = || Error::not_found("identity provider");
        let mut provider = providers::find(cx, key).await?.ok_or_else(missing)?;
        if provider.kind != ProviderType::Zitadel {
            let kind = provider.kind;
            let detail = format!("`type` must be zitadel for provisioning (got {kind}).");
            return Err(Error::invalid("type", detail));
        }
        let is_filled = match apply_defaults {
            true => fill(&mut provider, onboarding::zitadel_defaults(&mut cx.tx).await?)?,
            false => false,
        };
        let map = ClaimMap::new(provider.kind, &provider.claim_map).unwrap_or_default();
        let project_id = map.project_id.ok_or_else(|| {
            let detail = "`claim_map.project_id` is required for provisioning: the ID of the project \
                          whose roles the server sets up.";
            Error::invalid("claim_map.project_id", detail)
        })?;
        for (field, id) in [
            ("claim_map.project_id", Some(&project_id)),
            ("claim_map.organization_id", map.organization_id.as_ref()),
            ("claim_map.project_grant_id", map.project_grant_id.as_ref()),
        ] {
            let is_fit = |id: &str| id.is_ascii() && id.parse::<RemoteId>().is_ok();
            if id.is_some_and(|id| !is_fit(id)) {
                let detail = format!("`{field}` must have 1 to 200 printable ASCII characters.");
                return Err(Error::invalid(field, detail));
            }
        }
        let role_map = provider.role_map.clone().into_inner();
        Ok(Self {
            provider,
            project_id,
            organization_id: map.organization_id,
            project_grant_id: map.project_grant_id,
            role_prefix: map.role_prefix,
            role_map,
            is_filled,
        })
    }

    /// Returns the role map.
    ///
    /// # Errors
    /// 422 when it is empty.
    pub fn role_map(&self) -> Result<&Map<String, Value>> {
        if !self.role_map.is_empty() {
            return Ok(&self.role_map);
        }
        let detail = "`role_map` is required for provisioning: it names the roles to set up. Set it, \
                      or send `apply_defaults`.";
        Err(Error::invalid("role_map", detail))
    }

    /// Returns the access to the management API: the provider's own, else that of the platform's
    /// provider with the same issuer. An organization's caller could name the project of another
    /// tenant, so only callers of the platform use the platform's.
    ///
    /// # Errors
    /// 422 without any access, 403 for the platform's.
    pub async fn endpoint(&self, cx: &mut Cx) -> Result<Endpoint> {
        let provider = &self.provider;
        let app = cx.app.clone();
        if let Some(access) = management_access(&app, &mut cx.tx, provider).await? {
            let source = Source {
                issuer: provider.issuer.clone(),
                jwks_uri: provider.jwks_uri.clone(),
                chosen_by: ChosenBy::Organization,
            };
            return Ok(Endpoint { access, source });
        }
        let of_platform = self.platforms(&app).find(|provider| provider.management.is_some());
        let Some((platform, access)) = of_platform.and_then(|p| Some((p, p.management.clone()?)))
        else {
            let detail = "`management` is required for provisioning: the access to the management \
                          API of the provider.";
            return Err(Error::invalid("management", detail));
        };
        if cx.caller.on_platform(Permission::PROVIDERS_WRITE).is_err() {
            let detail = "`management` is not set, and only callers of the platform use the access of \
                          the platform's provider.";
            return Err(Error::new(ProblemCode::Forbidden, detail).at("management"));
        }
        Ok(Endpoint { access, source: platform.source() })
    }

    /// Refuses to grant a key that stands for a superadmin at the platform's provider, unless the
    /// caller is one.
    pub fn refuse_superadmin_keys<'k>(
        &self,
        cx: &Cx,
        mut keys: impl Iterator<Item = &'k String>,
    ) -> Result<()> {
        let reserved: Vec<&String> = self
            .platforms(&cx.app)
            .filter(|platform| platform.project() == Some(&self.project_id))
            .flat_map(|platform| &platform.claim_map.superadmin_roles)
            .collect();
        if keys.any(|key| reserved.contains(&key)) {
            return refuse_but_superadmin(&cx.caller).map_err(|error| error.at("grants"));
        }
        Ok(())
    }

    /// Stores the maps that defaults filled.
    ///
    /// # Errors
    /// The operation starts over when another request has changed the provider.
    pub async fn store(&self, cx: &mut Cx) -> Result<()> {
        providers::store_maps(cx, &self.provider).await
    }

    /// Returns the platform's providers at the same Zitadel.
    fn platforms<'a>(
        &'a self,
        app: &'a crate::kernel::app::App,
    ) -> impl Iterator<Item = &'a Provider> {
        let issuer = &self.provider.issuer;
        IdentitySettings::of(app).providers.iter().filter(move |platform| {
            platform.kind == ProviderType::Zitadel && platform.issuer == *issuer
        })
    }
}

/// Fills the gaps of the provider's maps. IDs of another Zitadel fill none.
fn fill(provider: &mut IdentityProvider, defaults: ZitadelDefaults) -> Result<bool> {
    let is_same = defaults.issuer.as_ref().is_none_or(|own| provider.issuer == own.as_str());
    let claims = [
        ("project_id", defaults.project_id),
        ("organization_id", defaults.organization_id),
        ("role_prefix", defaults.role_prefix),
    ];
    let mut claim_map = provider.claim_map.clone().into_inner();
    let mut is_filled = false;
    for (name, value) in claims {
        let Some(value) = value.filter(|_| is_same && !claim_map.contains_key(name)) else {
            continue;
        };
        claim_map.insert(name.to_owned(), json!(value));
        is_filled = true;
    }
    provider.claim_map = Object::bounded("claim_map", claim_map)?;
    if provider.role_map.is_empty() {
        let role_map = match defaults.role_map {
            empty if empty.is_empty() => built_in_role_map(),
            role_map => role_map,
        };
        provider.role_map = Object::bounded("role_map", role_map)?;
        is_filled = true;
    }
    Ok(is_filled)
}
