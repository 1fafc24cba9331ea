//! Onboarding: what a new organization starts with. It is one value of the installation.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::groups::{self, Initial};
use crate::kernel::access::caller::Scope;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::platform::Platform;
use crate::kernel::db::Conn;
use crate::kernel::db::installation;
use crate::kernel::db::record::Object;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::text::{ExternalId, HttpUrl, Label, Name, Prose, Slug};

crate::routes! {
    /// What a new organization starts with.
    onboarding:
    /// Returns what a new organization starts with.
    GET "/onboarding" ORG_CREATE => read;
    /// Replaces what a new organization starts with. Organizations that exist stay as they are.
    PUT "/onboarding" ORG_CREATE => put, harmless;
}

/// What a new organization starts with.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Onboarding {
    /// The groups, at most 20. Each is unique by product and slug. None when absent.
    #[serde(default)]
    #[schemars(length(max = 20))]
    groups: Vec<FirstGroup>,
    /// The defaults of an organization's provider at Zitadel.
    #[serde(default)]
    zitadel: ZitadelDefaults,
}

/// A group of each new organization, without a parent.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FirstGroup {
    /// The product label; empty (all products) when absent.
    #[serde(default)]
    product: Option<Label>,
    /// The display name.
    name: Name,
    /// Derived from the name when absent.
    #[serde(default)]
    slug: Option<Slug>,
    /// A description, up to 4,000 characters.
    #[serde(default)]
    description: Option<Prose>,
}

/// Values that fill the gaps of an organization's provider.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZitadelDefaults {
    /// The issuer.
    #[serde(default)]
    pub issuer: Option<HttpUrl>,
    /// The audience of access tokens.
    #[serde(default)]
    audience: Option<ExternalId>,
    /// The project whose roles count.
    #[serde(default)]
    pub project_id: Option<ExternalId>,
    /// The organization at the provider.
    #[serde(default)]
    pub organization_id: Option<ExternalId>,
    /// The prefix of the role keys.
    #[serde(default)]
    pub role_prefix: Option<ExternalId>,
    /// This server's role codes for each role of the provider. Each is a string or a list of
    /// strings. Empty when absent.
    #[serde(default)]
    pub role_map: Map<String, Value>,
}

/// The largest number of groups.
const MOST_GROUPS: usize = 20;

/// The name of the value.
const ONBOARDING: &str = "onboarding";

async fn read(cx: &mut Cx<Scope>, _: Platform) -> Result<Onboarding> {
    load(&mut cx.tx).await
}

async fn put(cx: &mut Cx<Scope>, _: Platform, new: Onboarding) -> Result<Onboarding> {
    let new = checked(new)?;
    let value = serde_json::to_vec(&new).map_err(Error::internal)?;
    installation::set(&mut cx.tx, ONBOARDING, &value).await?;
    Ok(new)
}

/// Returns the value with the members that it omits.
///
/// # Errors
/// 422 at the first member that no new organization could start with.
fn checked(mut new: Onboarding) -> Result<Onboarding> {
    if new.groups.len() > MOST_GROUPS {
        let detail = format!("`groups` must have at most {MOST_GROUPS} items.");
        return Err(Error::invalid("groups", detail));
    }
    let mut known = BTreeSet::new();
    for (n, group) in new.groups.iter_mut().enumerate() {
        let field = format!("groups[{n}].slug");
        let slug = Slug::or_from(group.slug.take(), &group.name)
            .map_err(|error| error.at(field.clone()))?;
        let product = group.product.take().map(Label::into_string).unwrap_or_default();
        if !known.insert((product.clone(), slug.clone())) {
            let detail = format!("`{field}` {slug} is used by an earlier group of its product.");
            return Err(Error::invalid(field, detail));
        }
        group.product = product.parse().ok();
        group.slug = Some(slug);
    }
    for (name, value) in &new.zitadel.role_map {
        let is_fit = value.is_string()
            || value.as_array().is_some_and(|items| items.iter().all(Value::is_string));
        if !is_fit {
            let field = format!("zitadel.role_map.{name}");
            let detail = format!("`{field}` must be a string or a list of strings.");
            return Err(Error::invalid(field, detail));
        }
    }
    let role_map = std::mem::take(&mut new.zitadel.role_map);
    new.zitadel.role_map = Object::bounded("zitadel.role_map", role_map)?.into_inner();
    Ok(new)
}

async fn load(tx: &mut Conn) -> Result<Onboarding> {
    match installation::value(tx, ONBOARDING).await? {
        Some(value) => serde_json::from_slice(&value).map_err(Error::internal),
        None => Ok(Onboarding::default()),
    }
}

/// Returns the defaults of an organization's provider.
pub async fn zitadel_defaults(tx: &mut Conn) -> Result<ZitadelDefaults> {
    Ok(load(tx).await?.zitadel)
}

/// Creates the groups that a new organization starts with.
pub async fn create_groups(cx: &mut Cx<Scope>, organization: OrganizationId) -> Result<()> {
    for group in load(&mut cx.tx).await?.groups {
        let first = Initial {
            slug: Slug::or_from(group.slug, &group.name)?,
            name: group.name,
            parent_id: None,
            product: group.product.map(Label::into_string).unwrap_or_default(),
            description: group.description,
            external_id: None,
        };
        groups::insert(cx, organization, first).await?;
    }
    Ok(())
}
