//! The names of claims for each kind of provider, unless its claim map replaces them.

use serde_json::{Map, Value};

crate::text_enum! { ProviderType {
    Saml = "saml",
    Oidc = "oidc",
    Zitadel = "zitadel",
    Auth0 = "auth0",
    Google = "google",
    Microsoft = "microsoft",
    Okta = "okta",
} }

/// The claims with each piece of information, as lists of names. The first existing one counts; of
/// roles and scopes all count. A name that begins with `/` is a JSON pointer (RFC 6901).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimMap {
    pub subject: Vec<String>,
    /// The organization: its ID, or the external ID that the platform set.
    pub organization: Vec<String>,
    pub roles: Vec<String>,
    pub scopes: Vec<String>,
    pub products: Vec<String>,
    pub name: Vec<String>,
    /// The person's address.
    pub email: Vec<String>,
    /// Claims of which one is `true` when the provider has verified the address.
    pub email_verified: Vec<String>,
    /// Claims that are `true` for a superadmin.
    pub superadmin: Vec<String>,
    /// Roles that stand for a superadmin.
    pub superadmin_roles: Vec<String>,
    /// The prefix of this server's roles at the provider; roles without it are ignored.
    pub role_prefix: String,
    /// Zitadel: the project whose roles count.
    pub project_id: Option<String>,
    /// Zitadel: the organization there in which roles count.
    pub organization_id: Option<String>,
    /// Zitadel: the grant of the project to that organization, when it does not own the project.
    pub project_grant_id: Option<String>,
    /// The scopes that a login at the console requests, besides `openid`.
    pub login_scopes: Vec<String>,
}

/// The members of a claim map that this server reads. It stores others and ignores them.
pub const NAMES: [&str; 15] = [
    "subject",
    "organization",
    "roles",
    "scopes",
    "products",
    "name",
    "email",
    "email_verified",
    "superadmin",
    "superadmin_roles",
    "role_prefix",
    "project_id",
    "organization_id",
    "project_grant_id",
    "login_scopes",
];

/// An invalid member of a claim map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit {
    pub member: &'static str,
    rule: &'static str,
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`claim_map.{}` {}.", self.member, self.rule)
    }
}

impl ClaimMap {
    /// Reads a claim map: the standard names of the kind, where the map has no others.
    ///
    /// # Errors
    /// The invalid member.
    pub fn new(kind: ProviderType, given: &Map<String, Value>) -> Result<Self, Unfit> {
        let mut map = Self::of(kind);
        for name in NAMES {
            let Some(value) = given.get(name) else { continue };
            let unfit = |rule| Unfit { member: name, rule };
            let texts = texts(value).ok_or(unfit("must be a string or a list of strings"))?;
            match name {
                "subject" => map.subject = texts,
                "organization" => map.organization = texts,
                "roles" => map.roles = texts,
                "scopes" => map.scopes = texts,
                "products" => map.products = texts,
                "name" => map.name = texts,
                "email" => map.email = texts,
                "email_verified" => map.email_verified = texts,
                "superadmin" => map.superadmin = texts,
                "superadmin_roles" => map.superadmin_roles = texts,
                "login_scopes" => map.login_scopes = texts,
                _ => {
                    let [text] = &*texts else {
                        return Err(unfit("must be one string"));
                    };
                    let text = text.clone();
                    match name {
                        "role_prefix" => map.role_prefix = text,
                        "project_id" => map.project_id = Some(text),
                        "project_grant_id" => map.project_grant_id = Some(text),
                        _ => map.organization_id = Some(text),
                    }
                }
            }
        }
        Ok(map)
    }

    /// Reads a claim map like [`Self::new`], and refuses a registered claim as the organization.
    ///
    /// # Errors
    /// The invalid member.
    pub fn checked(kind: ProviderType, given: &Map<String, Value>) -> Result<Self, Unfit> {
        let map = Self::new(kind, given)?;
        if map.organization.iter().any(|name| is_registered(name)) {
            let rule = "must not be a registered claim, which has another meaning";
            return Err(Unfit { member: "organization", rule });
        }
        Ok(map)
    }

    fn of(kind: ProviderType) -> Self {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let general = Self {
            subject: list(&["sub"]),
            organization: list(&["account_id", "organization_id", "org_id"]),
            roles: list(&["roles", "role"]),
            scopes: list(&["scopes", "scope", "scp"]),
            products: list(&["product_domains_allowed", "product_domains"]),
            name: list(&["name", "preferred_username"]),
            email: list(&["email"]),
            email_verified: list(&["email_verified"]),
            login_scopes: list(&["profile", "email"]),
            ..Self::default()
        };
        match kind {
            ProviderType::Zitadel => Self {
                organization: list(&[
                    "alchemi:account_id",
                    "account_id",
                    "urn:zitadel:iam:org:id",
                    "org_id",
                    "urn:zitadel:iam:user:resourceowner:id",
                ]),
                products: list(&[
                    "product_domains_allowed",
                    "alchemi:product_domains_allowed",
                    "product_domains",
                ]),
                superadmin_roles: list(&["super_admin"]),
                login_scopes: list(&[
                    "profile",
                    "email",
                    "urn:zitadel:iam:user:resourceowner",
                    "urn:zitadel:iam:org:projects:roles",
                ]),
                ..general
            },
            // At Auth0, `permissions` are the scopes of an API, given by role.
            ProviderType::Auth0 => Self {
                organization: list(&["org_id", "account_id", "organization_id"]),
                scopes: list(&["scope", "permissions"]),
                ..general
            },
            // `sub` differs for each application; `oid` identifies the person.
            // Its optional claim states whether the tenant owns the address's domain.
            ProviderType::Microsoft => Self {
                subject: list(&["oid", "sub"]),
                email_verified: list(&["email_verified", "xms_edov"]),
                ..general
            },
            // `sub` of an access token is the login name, which changes.
            ProviderType::Okta => {
                Self { subject: list(&["uid", "sub"]), roles: list(&["groups"]), ..general }
            }
            ProviderType::Google => Self { organization: list(&["hd"]), ..general },
            ProviderType::Oidc | ProviderType::Saml => general,
        }
    }
}

/// Returns whether a claim map's name is, or leads into, a claim with another meaning in every
/// token. Such a claim names no organization (RFC 7519, section 4.1; RFC 9068, section 2.2; OpenID
/// Connect Core 1.0, section 2).
pub fn is_registered(name: &str) -> bool {
    let pointer = name.strip_prefix('/').map(|rest| rest.split('/').next().unwrap_or_default());
    REGISTERED.contains(&pointer.unwrap_or(name))
}

const REGISTERED: [&str; 18] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "azp",
    "client_id",
    "nonce",
    "auth_time",
    "acr",
    "amr",
    "at_hash",
    "c_hash",
    "sid",
    "typ",
    "cnf",
];

/// Returns a string, or a list of strings, as a list.
pub fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}
