//! The documents by which a SCIM client learns what this server supports (RFC 7643, sections 5 to 7).

use serde_json::{Value, json};

use super::shapes::{Attribute, GROUP, GROUP_SCHEMA, Kind, NAME_PARTS, USER, USER_SCHEMA};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::line::BASE;

const CONFIG: &str = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";
const RESOURCE_TYPE: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";
const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";
const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// The largest number of resources in a list.
pub(super) const MOST: i64 = 200;

/// The base URL of an organization's SCIM service.
pub(super) struct Place {
    base: String,
}

impl Place {
    pub(super) fn of(cx: &Cx) -> Self {
        Self::at(&cx.app.settings.base_url, cx.at)
    }

    fn at(base_url: &str, organization: OrganizationId) -> Self {
        Self { base: format!("{base_url}{BASE}/organizations/{organization}/scim/v2") }
    }

    /// Returns the URL of a resource.
    pub(super) fn url(&self, endpoint: &str, id: &str) -> String {
        format!("{}/{endpoint}/{id}", self.base)
    }

    pub(super) fn config(&self) -> Value {
        let no = json!({"supported": false});
        json!({
            "schemas": [CONFIG],
            "documentationUri": "https://www.rfc-editor.org/rfc/rfc7644",
            "patch": {"supported": true},
            "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
            "filter": {"supported": true, "maxResults": MOST},
            "changePassword": no, "sort": no,
            "etag": {"supported": true},
            "authenticationSchemes": [{
                "type": "oauthbearertoken", "name": "Service token", "primary": true,
                "description": "A service token of the organization, as a bearer token.",
            }],
            "meta": {
                "resourceType": "ServiceProviderConfig",
                "location": format!("{}/ServiceProviderConfig", self.base),
            },
        })
    }

    pub(super) fn resource_types(&self) -> Vec<Value> {
        let resource_type = |name: &str, endpoint: &str, description: &str, schema: &str| {
            json!({
                "schemas": [RESOURCE_TYPE], "id": name, "name": name,
                "endpoint": format!("/{endpoint}"), "description": description, "schema": schema,
                "meta": {
                    "resourceType": "ResourceType", "location": self.url("ResourceTypes", name),
                },
            })
        };
        vec![
            resource_type("User", "Users", "A person of the organization", USER_SCHEMA),
            resource_type("Group", "Groups", "A group of the organization", GROUP_SCHEMA),
        ]
    }

    pub(super) fn schemas(&self) -> Vec<Value> {
        let schema = |urn: &str, name: &str, description: &str, attributes: &[Attribute]| {
            // Each resource has this attribute without a schema naming it (RFC 7643, section 3.1).
            let own = attributes.iter().filter(|one| one.name != "externalId");
            json!({
                "schemas": [SCHEMA], "id": urn, "name": name, "description": description,
                "attributes": own.map(|one| described(name, one)).collect::<Vec<_>>(),
                "meta": {"resourceType": "Schema", "location": self.url("Schemas", urn)},
            })
        };
        vec![
            schema(USER_SCHEMA, "User", "A person of the organization", USER.attributes),
            schema(GROUP_SCHEMA, "Group", "A group of the organization", GROUP.attributes),
        ]
    }
}

/// Returns a list of all documents of a kind.
pub(super) fn list(all: Vec<Value>) -> Value {
    page(i64::try_from(all.len()).unwrap_or(i64::MAX), 1, all)
}

/// Returns a page of a list.
pub(super) fn page(total: i64, start: i64, resources: Vec<Value>) -> Value {
    json!({
        "schemas": [LIST], "totalResults": total, "startIndex": start,
        "itemsPerPage": resources.len(), "Resources": resources,
    })
}

/// Returns the description of a simple attribute that clients read and write.
fn simple(name: &str, kind: &str, description: &str) -> Value {
    let mut simple = json!({
        "name": name, "type": kind, "multiValued": false, "description": description,
        "required": false, "mutability": "readWrite", "returned": "default",
    });
    if kind == "string" {
        simple["caseExact"] = false.into();
        simple["uniqueness"] = "none".into();
    }
    simple
}

fn described(resource: &str, attribute: &Attribute) -> Value {
    let name = attribute.name;
    let description = match (resource, name) {
        (_, "userName") => {
            "The name of the user at the identity provider, unique in the organization"
        }
        (_, "active") => "Whether the person is in the organization",
        ("User", "displayName") => "The name of the person, as it is shown",
        ("Group", "displayName") => "The name of the group",
        (_, "name") => "The parts of the person's name",
        (_, "emails") => {
            "The e-mail addresses. The primary one of a new user identifies the person"
        }
        _ => "The members of the group",
    };
    let kind = match attribute.kind {
        Kind::Text => "string",
        Kind::Flag => "boolean",
        Kind::Parts(_) | Kind::Emails | Kind::Members => "complex",
    };
    let mut described = simple(name, kind, description);
    match attribute.kind {
        Kind::Text if name == "userName" => {
            described["required"] = true.into();
            described["uniqueness"] = "server".into();
        }
        Kind::Text if resource == "Group" => described["required"] = true.into(),
        Kind::Parts(_) => {
            let part = |part: &&str| simple(part, "string", "A part of the name");
            described["subAttributes"] = NAME_PARTS.iter().map(part).collect();
        }
        Kind::Emails => {
            described["multiValued"] = true.into();
            described["required"] = true.into();
            let mut value = simple("value", "string", "The address");
            value["required"] = true.into();
            described["subAttributes"] = json!([
                value,
                simple("type", "string", "The kind of address, such as work"),
                simple("display", "string", "The address, as it is shown"),
                simple("primary", "boolean", "Whether this is the address of the person"),
            ]);
        }
        Kind::Members => {
            described["multiValued"] = true.into();
            described["subAttributes"] = json!([
                of_member("value", "string", "The ID of the user"),
                {
                    "name": "$ref", "type": "reference", "referenceTypes": ["User"],
                    "multiValued": false, "description": "The URL of the user", "required": false,
                    "caseExact": true, "mutability": "immutable", "returned": "default",
                    "uniqueness": "none",
                },
                of_member("type", "string", "The type of the member: User"),
                read_only("display", "The name of the user"),
            ]);
        }
        _ => {}
    }
    described
}

fn of_member(name: &str, kind: &str, description: &str) -> Value {
    let mut part = simple(name, kind, description);
    part["mutability"] = "immutable".into();
    part["caseExact"] = true.into();
    if name == "type" {
        part["canonicalValues"] = json!(["User"]);
    }
    part
}

fn read_only(name: &str, description: &str) -> Value {
    let mut part = simple(name, "string", description);
    part["mutability"] = "readOnly".into();
    part
}
