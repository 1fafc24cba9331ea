//! The form of SCIM responses (RFC 7644, section 3.12), and the paths that have it.

use cp_contracts::{Problem, ProblemCode};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::kernel::error::Error;
use crate::kernel::http::line::{BASE, Protocol};
use crate::kernel::http::routes::Adding;

/// The member of an [`Error`] that holds the `scimType` of its response.
const SCIM_TYPE: &str = "scim_type";

pub const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// The responses of SCIM.
pub static SCIM: Protocol =
    Protocol { name: "Scim", media_type: "application/scim+json", refusal, schema };

/// The mode `scim` of a line.
pub trait InScim {
    #[must_use]
    fn scim(self) -> Self;
}

impl InScim for Adding<'_> {
    fn scim(self) -> Self {
        self.in_protocol(&SCIM)
    }
}

/// Returns whether a path is one of an organization's SCIM service, which need not have a line.
pub fn is_below(path: &str) -> bool {
    let below = path.strip_prefix(BASE).and_then(|path| path.strip_prefix("/organizations/"));
    let Some((_, rest)) = below.and_then(|below| below.split_once('/')) else { return false };
    rest == "scim/v2" || rest.starts_with("scim/v2/")
}

/// Returns a refusal with this `scimType` (RFC 7644, table 9).
pub(super) fn refused(scim_type: &'static str, detail: impl Into<String>) -> Error {
    Error::bad_request(detail.into()).with(SCIM_TYPE, scim_type)
}

pub(super) fn invalid_value(detail: impl Into<String>) -> Error {
    refused("invalidValue", detail)
}

/// Returns the refusal of a value that another resource has.
pub(super) fn taken(detail: &'static str) -> Error {
    Error::conflict(detail).with(SCIM_TYPE, "uniqueness")
}

/// Returns the status and the body of a refusal. SCIM has no status 422. Clients refuse members that
/// the standard does not name, so the response has no code and no request ID: a header has the latter.
fn refusal(problem: &Problem) -> (u16, Value) {
    let status = if problem.status == 422 { 400 } else { problem.status };
    let mut body = json!({
        "schemas": [ERROR], "status": status.to_string(), "detail": problem.detail,
    });
    let given = problem.extra.get(SCIM_TYPE).and_then(Value::as_str);
    let scim_type = given.or(match &problem.code {
        ProblemCode::Invalid => Some("invalidValue"),
        ProblemCode::BadRequest => Some("invalidSyntax"),
        ProblemCode::AlreadyMember => Some("uniqueness"),
        code if code.as_str().ends_with("_taken") => Some("uniqueness"),
        _ => None,
    });
    if let Some(scim_type) = scim_type {
        body["scimType"] = scim_type.into();
    }
    (status, body)
}

fn schema(generator: &mut SchemaGenerator) -> Schema {
    generator.definitions_mut().insert(
        "ScimError".to_owned(),
        json!({
            "type": "object",
            "description": "A refusal of SCIM (RFC 7644, section 3.12).",
            "required": ["schemas", "status"],
            "properties": {
                "schemas": {"type": "array", "items": {"type": "string"}},
                "status": {"type": "string", "description": "The HTTP status."},
                "scimType": {"type": "string", "description": "The kind of error, such as `uniqueness`."},
                "detail": {"type": "string", "description": "The explanation, and what to do about it."},
            },
        }),
    );
    json_schema!({"$ref": "#/components/schemas/ScimError"})
}

#[cfg(test)]
mod tests {
    use super::is_below;

    #[test]
    fn paths_of_the_service_are_recognized() {
        for (path, expected) in [
            ("/api/v1/organizations/acme/scim/v2", true),
            ("/api/v1/organizations/acme/scim/v2/Users", true),
            ("/api/v1/organizations/acme/scim/v2x", false),
            ("/api/v1/organizations/acme/groups", false),
            ("/api/v1/organizations/scim/v2", false),
            ("/organizations/acme/scim/v2/Users", false),
        ] {
            assert_eq!(is_below(path), expected, "{path}");
        }
    }
}
