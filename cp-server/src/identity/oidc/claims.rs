//! The statements of a verified token's claims about the person, in this server's terms.

use serde_json::{Map, Value};

use super::presets::{ClaimMap, ProviderType, is_registered, texts};
use super::provider::Provider;
use crate::kernel::text::{Name, Subject};

/// The statements of the claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    pub subject: String,
    /// The organization that the token names, not yet looked up.
    pub account: Option<String>,
    pub roles: Vec<String>,
    pub scopes: Vec<String>,
    pub products: Vec<String>,
    pub is_superadmin: bool,
    pub name: Option<String>,
    /// The person's address, if the provider has verified it.
    pub email: Option<String>,
}

type Claims = Map<String, Value>;

/// Zitadel's role maps: of the application's own project, and of a project by its ID.
const PROJECT_ROLES: &str = "urn:zitadel:iam:org:project:roles";
const PROJECT: &str = "urn:zitadel:iam:org:project:";
const ZITADEL_ORGANIZATIONS: [&str; 2] =
    ["urn:zitadel:iam:org:id", "urn:zitadel:iam:user:resourceowner:id"];

/// Reads the claims of a provider's token.
///
/// # Errors
/// Fails if the claims name no person.
pub fn read(provider: &Provider, claims: &Claims) -> Result<Context, String> {
    let map = &provider.claim_map;
    let subject = first(claims, &map.subject).unwrap_or_default();
    if subject.parse::<Subject>().is_err() {
        return Err(format!("it has no subject in {}", map.subject.join(" or ")));
    }
    let raw = raw_roles(provider, claims);
    Ok(Context {
        subject: subject.to_owned(),
        account: account(claims, map).map(str::to_owned),
        is_superadmin: is_superadmin(provider, claims, &raw),
        roles: our_roles(provider, &raw),
        scopes: all(claims, &map.scopes, |text| text.split_whitespace()),
        products: products(claims, &map.products),
        // Other people see the provider's name for the person, so an invalid name counts as absent.
        name: first(claims, &map.name)
            .filter(|name| name.parse::<Name>().is_ok())
            .map(str::to_owned),
        email: verified_email(claims, map).map(str::to_owned),
    })
}

/// Returns the address if the provider has verified it (OpenID Connect Core 1.0, section 5.1).
fn verified_email<'c>(claims: &'c Claims, map: &ClaimMap) -> Option<&'c str> {
    let says_so = |name: &String| match find(claims, name) {
        Some(Value::Bool(is_verified)) => *is_verified,
        // Some providers write every claim as a string.
        Some(Value::String(text)) => text == "true" || text == "1",
        Some(Value::Number(number)) => number.as_i64() == Some(1),
        _ => false,
    };
    first(claims, &map.email).filter(|_| map.email_verified.iter().any(says_so))
}

/// Returns the organization that the claims name.
pub fn account<'c>(claims: &'c Claims, map: &ClaimMap) -> Option<&'c str> {
    map.organization.iter().filter(|name| !is_registered(name)).find_map(|name| {
        let text = find(claims, name)?.as_str()?;
        (!text.is_empty()).then_some(text)
    })
}

/// Returns whether the claims vouch for a superadmin. Only the operator's own providers can do so,
/// whatever an organization's claims or claim map contain.
fn is_superadmin(provider: &Provider, claims: &Claims, raw: &[String]) -> bool {
    let map = &provider.claim_map;
    provider.organization.is_none()
        && (map.superadmin.iter().any(|name| find(claims, name) == Some(&Value::Bool(true)))
            || raw.iter().any(|role| map.superadmin_roles.contains(role)))
}

/// Returns the roles with the provider's names, each once.
fn raw_roles(provider: &Provider, claims: &Claims) -> Vec<String> {
    let mut roles = all(claims, &provider.claim_map.roles, std::iter::once);
    let mut add = |role: &String| {
        if !roles.contains(role) {
            roles.push(role.clone());
        }
    };
    match provider.kind {
        ProviderType::Zitadel => {
            let organization = zitadel_organization(provider, claims);
            for (name, value) in claims {
                if of_our_project(provider, claims, name) {
                    granted(value, organization).for_each(&mut add);
                }
            }
        }
        // Auth0 accepts custom claims only with a URL before their name: the identifier of this
        // API.
        ProviderType::Auth0 => {
            let audience = provider.audience.as_deref().unwrap_or_default();
            let name = format!("{}/roles", audience.trim_end_matches('/'));
            claims.get(&name).and_then(texts).unwrap_or_default().iter().for_each(add);
        }
        _ => {}
    }
    roles
}

/// Returns whether a claim is a role map of the configured project: a token may have those of other
/// projects.
fn of_our_project(provider: &Provider, claims: &Claims, name: &str) -> bool {
    let project = provider.project();
    if name == PROJECT_ROLES {
        // The project is that of the application that requested the token.
        let asked = ["azp", "client_id"].map(|name| claims.get(name).and_then(Value::as_str));
        let audience = claims.get("aud").and_then(texts).unwrap_or_default();
        let says_nothing = asked == [None, None] && audience.is_empty();
        let is_ours = |id: &str| Some(id) == project || Some(id) == provider.client_id.as_deref();
        return says_nothing
            || project.is_none()
            || audience.iter().any(|id| is_ours(id))
            || asked.iter().flatten().any(|id| is_ours(id));
    }
    let Some(id) = name.strip_prefix(PROJECT).and_then(|rest| rest.strip_suffix(":roles")) else {
        return false;
    };
    project == Some(id)
}

/// Returns the organization at Zitadel in which roles count: the configured one, else the token's
/// own.
fn zitadel_organization<'c>(provider: &'c Provider, claims: &'c Claims) -> Option<&'c str> {
    let set = provider.claim_map.organization_id.as_deref();
    set.or_else(|| {
        ZITADEL_ORGANIZATIONS.iter().find_map(|name| claims.get(*name).and_then(Value::as_str))
    })
}

/// Returns the roles of a map `{role: {organization: domain}}`, or of a list of such maps, that are
/// granted in the organization.
fn granted<'c>(
    value: &'c Value,
    organization: Option<&'c str>,
) -> impl Iterator<Item = &'c String> {
    let maps: Vec<&Claims> = match value {
        Value::Object(map) => vec![map],
        Value::Array(items) => items.iter().filter_map(Value::as_object).collect(),
        _ => Vec::new(),
    };
    maps.into_iter().flatten().filter_map(move |(role, organizations)| {
        let organizations = organizations.as_object()?;
        organization.is_none_or(|id| organizations.contains_key(id)).then_some(role)
    })
}

/// Translates roles to this server's codes: removes the prefix, and applies the role map.
fn our_roles(provider: &Provider, raw: &[String]) -> Vec<String> {
    let mut ours: Vec<String> = Vec::new();
    for role in raw {
        let Some(bare) = role.strip_prefix(&provider.claim_map.role_prefix) else { continue };
        let mapped = [bare, role].iter().find_map(|name| provider.role_map.get(*name));
        for role in mapped.and_then(texts).unwrap_or_else(|| vec![bare.to_owned()]) {
            if !ours.contains(&role) {
                ours.push(role);
            }
        }
    }
    ours
}

/// Returns the first claim that exists; an empty one means no restriction.
fn products(claims: &Claims, names: &[String]) -> Vec<String> {
    names.iter().find_map(|name| texts(find(claims, name)?)).unwrap_or_default()
}

/// Returns the first of the claims that is a non-empty string.
fn first<'c>(claims: &'c Claims, names: &[String]) -> Option<&'c str> {
    let text = |name: &String| find(claims, name)?.as_str().filter(|text| !text.is_empty());
    names.iter().find_map(text)
}

/// Returns the strings of all claims, split into parts, each once.
fn all<'c, I: Iterator<Item = &'c str>>(
    claims: &'c Claims,
    names: &[String],
    parts: impl Fn(&'c str) -> I,
) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for value in names.iter().filter_map(|name| find(claims, name)) {
        let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for part in items.iter().filter_map(Value::as_str).flat_map(&parts) {
            if !part.is_empty() && found.iter().all(|known| known != part) {
                found.push(part.to_owned());
            }
        }
    }
    found
}

fn find<'c>(claims: &'c Claims, name: &str) -> Option<&'c Value> {
    let Some(pointer) = name.strip_prefix('/') else { return claims.get(name) };
    let mut steps = pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~"));
    let first = claims.get(&steps.next()?)?;
    steps.try_fold(first, |value, step| value.get(step))
}
