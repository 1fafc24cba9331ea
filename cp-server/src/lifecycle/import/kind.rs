//! The kinds of lines, and their fields.

use std::sync::OnceLock;

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

use crate::identity::memberships::NewMembership;
use crate::identity::users::NewUser;
use crate::kernel::http::openapi;
use crate::licensing::deployments::NewDeployment;
use crate::licensing::leases::NewLease;
use crate::licensing::license_keys::NewLicenseKey;
use crate::licensing::licenses::requests::NewLicense;
use crate::licensing::plans::NewPlan;
use crate::licensing::subscriptions::requests::NewSubscription;
use crate::lifecycle::NewOrganization;

crate::text_enum! {
    /// The kind of a line.
    Kind {
        Plan = "plan",
        Organization = "organization",
        User = "user",
        Membership = "membership",
        Subscription = "subscription",
        Deployment = "deployment",
        License = "license",
        LicenseKey = "license_key",
        Lease = "lease",
    }
}

/// A field of a kind's lines.
#[derive(Debug)]
pub struct Field {
    pub name: String,
    pub about: String,
    /// Whether a line that creates an object requires the field.
    pub is_required: bool,
    /// Whether the value is a string.
    pub is_text: bool,
}

/// A field that replaces fields of the operation: a reference, or the field that names the object.
struct Own(&'static str, &'static str, Need);

enum Need {
    Required,
    Optional,
}

use Need::{Optional, Required};

const ORGANIZATION: Own = Own("organization", "The organization: its ID or external ID.", Required);
const OF_DEPLOYMENT: Own = Own(
    "organization",
    "The organization: its ID or external ID. Not required when `deployment` is an ID.",
    Optional,
);
const DEPLOYMENT: Own = Own("deployment", "The deployment: its ID or external ID.", Required);
const SUBSCRIPTION: Own = Own(
    "subscription",
    "The subscription: its ID or external ID. The organization's subscription in force when absent.",
    Optional,
);
const EXTERNAL_ID: Own =
    Own("external_id", "Your own reference, which names the object in the next import.", Required);

impl Kind {
    /// Returns the fields of the kind's lines: those of the operation that creates the object, with
    /// references instead of IDs.
    pub fn fields(self) -> &'static [Field] {
        static FIELDS: OnceLock<Vec<Vec<Field>>> = OnceLock::new();
        let all = FIELDS.get_or_init(|| Self::ALL.iter().map(|kind| kind.described()).collect());
        &all[self as usize]
    }

    fn described(self) -> Vec<Field> {
        match self {
            Self::Plan => fields::<NewPlan>(&[], &[]),
            Self::Organization => fields::<NewOrganization>(
                &[EXTERNAL_ID],
                // A subscription has lines of its own.
                &["owner_user_id", "plan_code", "seat_cap"],
            ),
            Self::User => fields::<NewUser>(&[], &[]),
            Self::Membership => fields::<NewMembership>(
                &[
                    ORGANIZATION,
                    Own(
                        "user",
                        "The person: an ID, an external ID or an e-mail address. Either this or \
                         `email` is required.",
                        Optional,
                    ),
                ],
                &["user_id"],
            ),
            Self::Subscription => fields::<NewSubscription>(
                &[ORGANIZATION, EXTERNAL_ID, Own("plan", "The plan: its code or ID.", Required)],
                &["plan_code"],
            ),
            Self::Deployment => fields::<NewDeployment>(&[ORGANIZATION, EXTERNAL_ID], &[]),
            Self::License => fields::<NewLicense>(
                &[
                    OF_DEPLOYMENT,
                    DEPLOYMENT,
                    SUBSCRIPTION,
                    Own(
                        "status",
                        "`active` or `suspended`. Without it, the license keeps its status.",
                        Optional,
                    ),
                    Own("status_reason", "Why, when the status changes.", Optional),
                ],
                &["subscription_id"],
            ),
            Self::LicenseKey => fields::<NewLicenseKey>(
                &[
                    OF_DEPLOYMENT,
                    DEPLOYMENT,
                    SUBSCRIPTION,
                    Own("key", "The key: of this product or of another system.", Required),
                ],
                &[],
            ),
            Self::Lease => fields::<NewLease>(
                &[
                    OF_DEPLOYMENT,
                    DEPLOYMENT,
                    SUBSCRIPTION,
                    Own("holder", "Who has the seat, as in a claim.", Optional),
                    Own("user", "The holder: a person, as in a membership.", Optional),
                    Own(
                        "machine",
                        "The holder: a machine, by the string that your application passes to \
                         `Fingerprint::text`. Only its hash is stored.",
                        Optional,
                    ),
                ],
                &["ttl_seconds", "borrow_seconds", "token", "take_over"],
            ),
        }
    }
}

/// Returns the fields of an operation's input, with own ones before them.
fn fields<T: JsonSchema>(own: &[Own], without: &[&str]) -> Vec<Field> {
    let mut schemas: SchemaGenerator = openapi::schemas();
    let schema = T::json_schema(&mut schemas);
    let definitions = &schemas.take_definitions(true);
    let required = schema.get("required").and_then(Value::as_array);
    let own_fields = own.iter().map(|Own(name, about, need)| Field {
        name: (*name).to_owned(),
        about: (*about).to_owned(),
        is_required: matches!(need, Required),
        is_text: *name != "holder",
    });
    let members = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let is_left_out =
        |name: &str| without.contains(&name) || own.iter().any(|Own(other, ..)| *other == name);
    let of_operation = members.filter(|(name, _)| !is_left_out(name)).map(|(name, schema)| Field {
        name: name.clone(),
        about: schema["description"].as_str().unwrap_or_default().replace('\n', " "),
        is_required: required.is_some_and(|all| all.iter().any(|one| one == name)),
        is_text: has_strings(schema, definitions),
    });
    own_fields.chain(of_operation).collect()
}

/// Whether a schema allows strings.
fn has_strings(schema: &Value, definitions: &Map<String, Value>) -> bool {
    let is_string = |kind: &Value| kind == "string";
    let own = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(is_string),
        kind => is_string(kind),
    };
    let reference = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    let referred = reference.and_then(|name| definitions.get(name));
    let alternatives = ["anyOf", "oneOf", "allOf"].map(|name| schema[name].as_array());
    own || referred.is_some_and(|schema| has_strings(schema, definitions))
        || alternatives.iter().flatten().copied().flatten().any(|one| has_strings(one, definitions))
}
