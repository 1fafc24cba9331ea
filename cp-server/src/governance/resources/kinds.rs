//! The kinds of resources, each with the form of its `spec`.

use regex::RegexBuilder;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::kernel::db::record::Object;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::json::read_member;
use crate::kernel::text::{Name, SecretName};
use crate::metering::quantity::Quantity;

crate::text_enum! {
    /// A kind of resource.
    ResourceKind {
        /// A preset of rules for agents, with patterns as its children.
        Guardrail = "guardrail",
        Agent = "agent",
        /// A connection to a system outside, with credentials.
        Connection = "connection",
        /// A pattern of a guardrail.
        Pattern = "pattern",
        Model = "model",
        /// The entry of an agent or a connection in the marketplace.
        Listing = "listing",
    }
}

impl ResourceKind {
    /// Returns the kinds of parents; empty for a kind without parents.
    pub fn parents(self) -> &'static [Self] {
        match self {
            Self::Pattern => &[Self::Guardrail],
            Self::Listing => &[Self::Agent, Self::Connection],
            Self::Guardrail | Self::Agent | Self::Connection | Self::Model => &[],
        }
    }

    /// Returns whether rows of the kind can be visible to all organizations.
    pub fn can_be_public(self) -> bool {
        matches!(self, Self::Listing | Self::Model)
    }
}

crate::text_enum! { ConnectionType { Openapi = "openapi", Mcp = "mcp", Composio = "composio" } }
crate::text_enum! { AuthMode { Oauth = "oauth", ApiKey = "api_key" } }
crate::text_enum! { Visibility { UseOnly = "use_only", SelfManaged = "self_managed" } }
crate::text_enum! { PatternType { Detect = "detect", Block = "block", Allow = "allow" } }

/// The size at which a compiled pattern is refused, in bytes.
const COMPILED: usize = 1 << 20;

crate::texts! {
    /// A regular expression in the syntax of the `regex` crate.
    Regex, |text| {
        if text.chars().count() > 4096 {
            return Err("must have at most 4096 characters".into());
        }
        match RegexBuilder::new(text).size_limit(COMPILED).build() {
            Ok(_) => Ok(text.into()),
            Err(error) => {
                let error = error.to_string();
                let cause = error.rsplit("error: ").next().unwrap_or_default();
                Err(format!("must be a regular expression: {}", cause.trim()))
            }
        }
    }, {"type": "string", "maxLength": 4096, "examples": ["\\d{4}"]};
    /// The name of an environment variable.
    Variable, |text| {
        let fits = (1..=128).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !text.starts_with(|c: char| c.is_ascii_digit());
        if fits { Ok(text.into()) } else {
            Err("must be the name of a variable: 1 to 128 of letters, digits and _, without a \
                 leading digit".into())
        }
    }, {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,127}$", "examples": ["API_KEY"]};
    /// A semantic version.
    Version, |text| match semver::Version::parse(text) {
        Ok(_) => Ok(text.into()),
        Err(_) => Err("must be a semantic version such as 1.0.0".into()),
    }, {"type": "string", "examples": ["1.0.0"]};
    /// The action of a pattern.
    Action, |text| match text.parse::<Name>() {
        Ok(_) if text.chars().count() <= 64 => Ok(text.into()),
        _ => Err("must have 1 to 64 printable characters".into()),
    }, {"type": "string", "minLength": 1, "maxLength": 64, "examples": ["mask"]};
}

/// A price, at most a billion: JSON numbers keep its 15 digits.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost(Quantity);

impl<'de> Deserialize<'de> for Cost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let cost = Quantity::deserialize(deserializer)?;
        match cost <= Quantity::from_parts(1_000_000_000, 0) {
            true => Ok(Self(cost)),
            false => Err(serde::de::Error::custom("must be at most 1000000000")),
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GuardrailSpec {
    #[serde(default)]
    config: Map<String, Value>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AgentSpec {
    #[serde(default)]
    definition: Map<String, Value>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSpec {
    pub r#type: ConnectionType,
    #[serde(default)]
    config: Map<String, Value>,
    #[serde(default)]
    pub auth_mode: Option<AuthMode>,
    #[serde(default = "use_only")]
    credential_visibility: Visibility,
    #[serde(default)]
    allow_user_self_manage: bool,
    /// The name of a secret reference of the organization.
    #[serde(default)]
    pub secret_ref: Option<SecretName>,
}

fn use_only() -> Visibility {
    Visibility::UseOnly
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PatternSpec {
    regex: Regex,
    r#type: PatternType,
    #[serde(default)]
    action: Option<Action>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    deployment: Name,
    #[serde(default)]
    provider: Option<Name>,
    #[serde(default)]
    capability: Option<Name>,
    #[serde(default)]
    input_cost_per_million: Option<Cost>,
    #[serde(default)]
    output_cost_per_million: Option<Cost>,
    #[serde(default)]
    content_capabilities: Map<String, Value>,
    #[serde(default)]
    extra_body: Map<String, Value>,
    #[serde(default)]
    base_url_env: Option<Variable>,
    #[serde(default)]
    api_key_env: Option<Variable>,
    #[serde(default = "last")]
    sort_order: i64,
}

fn last() -> i64 {
    100
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListingSpec {
    #[serde(default = "first_version")]
    version: Version,
    #[serde(default = "free")]
    pricing: Name,
    #[serde(default)]
    author: Option<Name>,
    #[serde(default = "yes")]
    published: bool,
    #[serde(default)]
    pub featured: bool,
    #[serde(default)]
    pub verified: bool,
}

fn first_version() -> Version {
    Version("1.0.0".into())
}

fn free() -> Name {
    "free".parse().expect("it is a name")
}

fn yes() -> bool {
    true
}

/// The `spec` of a resource, in the form of its kind.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Spec {
    Guardrail(GuardrailSpec),
    Agent(AgentSpec),
    Connection(ConnectionSpec),
    Pattern(PatternSpec),
    Model(ModelSpec),
    Listing(ListingSpec),
}

impl Spec {
    /// Reads the `spec` of a request.
    ///
    /// # Errors
    /// 422 at `spec.<path>`.
    pub fn read(kind: ResourceKind, members: Map<String, Value>) -> Result<Self> {
        let (at, spec) = ("spec", Value::Object(members));
        Ok(match kind {
            ResourceKind::Guardrail => Self::Guardrail(read_member(at, spec)?),
            ResourceKind::Agent => Self::Agent(read_member(at, spec)?),
            ResourceKind::Connection => {
                let connection: ConnectionSpec = read_member(at, spec)?;
                if connection.r#type == ConnectionType::Composio && connection.auth_mode.is_none() {
                    let detail = "`spec.auth_mode` is required for a composio connection.";
                    return Err(Error::invalid("spec.auth_mode", detail));
                }
                Self::Connection(connection)
            }
            ResourceKind::Pattern => Self::Pattern(read_member(at, spec)?),
            ResourceKind::Model => Self::Model(read_member(at, spec)?),
            ResourceKind::Listing => Self::Listing(read_member(at, spec)?),
        })
    }

    /// Returns the members that are stored and shown, with their defaults.
    pub fn stored(&self) -> Result<Object> {
        let members = serde_json::to_value(self).map_err(Error::internal)?;
        let Value::Object(members) = members else { return Ok(Object::default()) };
        Object::bounded("spec", members)
    }
}

/// The members of a `spec` that the catalogue does not show.
pub const PRIVATE: [&str; 3] = ["extra_body", "base_url_env", "api_key_env"];
