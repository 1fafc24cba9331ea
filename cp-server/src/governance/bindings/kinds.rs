//! The kinds of bindings: their subjects, scopes and values.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::governance::resources::kinds::ResourceKind;
use crate::identity::scopes::ScopeKind;
use crate::kernel::db::record::Object;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::json::read_member;
use crate::licensing::entitlement::models::ModelName;
use crate::licensing::entitlement::organization_entitlements::is_code;

crate::text_enum! {
    /// A kind of binding.
    BindingKind {
        Feature = "feature",
        Agent = "agent",
        Connection = "connection",
        Guardrail = "guardrail",
        Listing = "listing",
        Model = "model",
    }
}

crate::text_enum! { Effect { Allow = "allow", Deny = "deny" } }

/// The kinds of scopes that bindings have.
pub const SCOPES: &[ScopeKind] = &[
    ScopeKind::Organization,
    ScopeKind::Group,
    ScopeKind::User,
    ScopeKind::Project,
    ScopeKind::Workspace,
    ScopeKind::Agent,
];
/// The largest value of a binding, in bytes of JSON.
const VALUE: usize = 16 * 1024;

impl BindingKind {
    /// Returns the kind of resource that is the subject; `None` if the subject is a name or a code.
    pub fn resource(self) -> Option<ResourceKind> {
        match self {
            Self::Agent => Some(ResourceKind::Agent),
            Self::Connection => Some(ResourceKind::Connection),
            Self::Guardrail => Some(ResourceKind::Guardrail),
            Self::Listing => Some(ResourceKind::Listing),
            Self::Feature | Self::Model => None,
        }
    }

    /// Returns the kinds of scopes that the binding accepts.
    pub fn scopes(self) -> &'static [ScopeKind] {
        use ScopeKind::{Group, Organization, Project, User, Workspace};
        match self {
            Self::Agent | Self::Connection | Self::Listing => &[Organization, Group, User],
            Self::Feature | Self::Model => &[Organization, Group, User, Project, Workspace],
            Self::Guardrail => SCOPES,
        }
    }

    /// Checks the subject of a binding of names or codes.
    pub fn refuse_subject(self, subject: &str) -> Result<()> {
        let fits = match self {
            Self::Model => subject.parse::<ModelName>().is_ok(),
            Self::Feature => is_code(subject),
            _ => true,
        };
        if fits {
            return Ok(());
        }
        let detail = match self {
            Self::Model => {
                "`subject` must be the name of a model, 1 to 255 printable characters, or a prefix \
                 that ends in `*`."
            }
            _ => "`subject` must be a feature's code: 1 to 128 of letters, digits and _ . : -",
        };
        Err(Error::invalid("subject", detail))
    }

    /// Reads the value, and returns it with its defaults.
    pub fn value(self, field: &str, value: Map<String, Value>) -> Result<Object> {
        let size = serde_json::to_vec(&value).map_err(Error::internal)?.len();
        if size > VALUE {
            let detail = format!("`{field}` must have at most {VALUE} bytes of JSON (got {size}).");
            return Err(Error::invalid(field.to_owned(), detail));
        }
        let value = Value::Object(value);
        let value = match self {
            Self::Connection => serde_json::to_value(read_member::<Connection>(field, value)?),
            Self::Feature => serde_json::to_value(read_member::<Feature>(field, value)?),
            Self::Agent | Self::Guardrail | Self::Listing | Self::Model => {
                serde_json::to_value(read_member::<Nothing>(field, value)?)
            }
        };
        match value.map_err(Error::internal)? {
            Value::Object(members) => Object::bounded("value", members),
            _ => Ok(Object::default()),
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Connection {
    /// Whether the person may change the connection.
    #[serde(default)]
    can_manage: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Feature {
    #[serde(default)]
    config: Map<String, Value>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}
