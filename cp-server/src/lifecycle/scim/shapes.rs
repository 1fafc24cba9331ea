//! The attributes of resources that this server stores, and their values in requests.
//!
//! # Design
//! Identity providers send every attribute that they know. The server stores those with a use here and
//! ignores the rest, such as addresses and phone numbers: data that it does not have needs no
//! protection. Names of attributes are equal in upper and lower case (RFC 7643, section 2.1).

use serde_json::{Map, Value};

use super::protocol::{invalid_value, refused};
use crate::kernel::error::{Error, Result};
use crate::kernel::text::{Email, ExternalId, quoted};

pub(super) const USER_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub(super) const GROUP_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// The largest number of e-mail addresses of a person.
const EMAILS: usize = 20;

/// An attribute that is stored.
pub(super) struct Attribute {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    /// A string of 1 to 255 characters. An empty one is none.
    Text,
    Flag,
    /// An object of strings.
    Parts(&'static [&'static str]),
    Emails,
    Members,
}

/// The attributes of a resource.
pub(super) struct Shape {
    pub(super) attributes: &'static [Attribute],
    /// Attributes of the standard that requests may have and the server ignores.
    ignored: &'static [&'static str],
}

pub(super) const NAME_PARTS: &[&str] =
    &["formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix"];

pub(super) static USER: Shape = Shape {
    attributes: &[
        Attribute { name: "userName", kind: Kind::Text },
        Attribute { name: "externalId", kind: Kind::Text },
        Attribute { name: "active", kind: Kind::Flag },
        Attribute { name: "displayName", kind: Kind::Text },
        Attribute { name: "name", kind: Kind::Parts(NAME_PARTS) },
        Attribute { name: "emails", kind: Kind::Emails },
    ],
    ignored: &[
        "id",
        "schemas",
        "meta",
        "groups",
        "nickname",
        "profileurl",
        "title",
        "usertype",
        "preferredlanguage",
        "locale",
        "timezone",
        "password",
        "phonenumbers",
        "ims",
        "photos",
        "addresses",
        "entitlements",
        "roles",
        "x509certificates",
    ],
};

pub(super) static GROUP: Shape = Shape {
    attributes: &[
        Attribute { name: "displayName", kind: Kind::Text },
        Attribute { name: "externalId", kind: Kind::Text },
        Attribute { name: "members", kind: Kind::Members },
    ],
    ignored: &["id", "schemas", "meta"],
};

/// The attribute that a name means.
pub(super) enum Meant {
    Stored(&'static Attribute),
    Ignored,
}

impl Shape {
    /// Returns the attribute with this name, which has no schema.
    pub(super) fn find(&self, name: &str) -> Option<Meant> {
        let found = self.attributes.iter().find(|one| one.name.eq_ignore_ascii_case(name));
        if let Some(found) = found {
            return Some(Meant::Stored(found));
        }
        let is_ignored = self.ignored.iter().any(|one| one.eq_ignore_ascii_case(name));
        // An extension is one member, named by its schema.
        (is_ignored || is_urn(name)).then_some(Meant::Ignored)
    }

    /// Reads the attributes of a whole resource. Members that are not stored are ignored.
    pub(super) fn read(&self, body: Map<String, Value>) -> Result<Map<String, Value>> {
        let mut read = Map::new();
        for (name, value) in body {
            if let Some(Meant::Stored(attribute)) = self.find(&name)
                && let Some(value) = attribute.read(value)?
            {
                read.insert(attribute.name.to_owned(), value);
            }
        }
        Ok(read)
    }
}

impl Attribute {
    /// Reads a value of the attribute; `None` for null and for an empty value.
    pub(super) fn read(&self, value: Value) -> Result<Option<Value>> {
        let name = self.name;
        Ok(match (&self.kind, value) {
            (_, Value::Null) => None,
            (Kind::Text, value) => text(name, value)?.map(Value::String),
            (Kind::Flag, value) => Some(flag(name, &value)?.into()),
            (Kind::Parts(parts), Value::Object(members)) => {
                let mut read = Map::new();
                for (part, value) in members {
                    if let Some(known) = parts.iter().find(|one| one.eq_ignore_ascii_case(&part))
                        && let Some(value) = text(&format!("{name}.{known}"), value)?
                    {
                        read.insert((*known).to_owned(), value.into());
                    }
                }
                (!read.is_empty()).then(|| read.into())
            }
            (Kind::Parts(_), _) => {
                return Err(invalid_value(format!("`{name}` must be an object.")));
            }
            (Kind::Emails | Kind::Members, Value::Array(items)) => {
                let read =
                    items.into_iter().map(|item| self.item(item)).collect::<Result<Vec<_>>>()?;
                if matches!(self.kind, Kind::Emails) {
                    refuse_emails(&read)?;
                }
                (!read.is_empty()).then(|| read.into())
            }
            // Some providers send the only item without the array.
            (Kind::Emails | Kind::Members, item) => Some(vec![self.item(item)?].into()),
        })
    }

    /// Reads one item of a list.
    fn item(&self, item: Value) -> Result<Value> {
        let name = self.name;
        let members = match item {
            Value::Object(members) => members,
            Value::String(value) => Map::from_iter([("value".to_owned(), value.into())]),
            _ => return Err(invalid_value(format!("`{name}` must be an array of objects."))),
        };
        let mut read = Map::new();
        for (member, value) in members {
            let field = format!("{name}.{member}");
            let member = member.to_lowercase();
            match (&self.kind, &*member) {
                (_, "value") => {
                    let value = text(&field, value)?;
                    read.extend(value.map(|value| ("value".to_owned(), value.into())));
                }
                (Kind::Emails, "type" | "display") => {
                    read.extend(text(&field, value)?.map(|value| (member, value.into())));
                }
                (Kind::Emails, "primary") if !value.is_null() => {
                    read.insert(member, flag(&field, &value)?.into());
                }
                (Kind::Members, "type") if value != "User" && !value.is_null() => {
                    let detail = "`members.type` must be User: a group has no groups as members.";
                    return Err(invalid_value(detail));
                }
                _ => {}
            }
        }
        let Some(Value::String(value)) = read.get("value") else {
            return Err(invalid_value(format!("`{name}.value` is required.")));
        };
        if matches!(self.kind, Kind::Emails)
            && let Err(rule) = value.parse::<Email>()
        {
            return Err(invalid_value(format!("`emails.value` {rule}.")));
        }
        Ok(Value::Object(read))
    }
}

/// Refuses too many addresses, and two primary ones.
pub(super) fn refuse_emails(items: &[Value]) -> Result<()> {
    if items.len() > EMAILS {
        let detail = format!("`emails` must have at most {EMAILS} items (got {}).", items.len());
        return Err(invalid_value(detail));
    }
    match items.iter().filter(|item| item["primary"] == true).count() {
        0 | 1 => Ok(()),
        _ => Err(invalid_value("`emails` must have at most one primary item.")),
    }
}

/// Reads a string; `None` for null and for an empty one.
fn text(field: &str, value: Value) -> Result<Option<String>> {
    match value {
        Value::Null => Ok(None),
        Value::String(value) if value.is_empty() => Ok(None),
        Value::String(value) => match value.parse::<ExternalId>() {
            Ok(value) => Ok(Some(value.into_string())),
            Err(rule) => Err(invalid_value(format!("`{field}` {rule}."))),
        },
        _ => Err(invalid_value(format!("`{field}` must be a string."))),
    }
}

/// Reads a boolean. Microsoft Entra ID sends the strings `True` and `False`.
fn flag(field: &str, value: &Value) -> Result<bool> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(invalid_value(format!("`{field}` must be true or false."))),
    }
}

fn is_urn(name: &str) -> bool {
    name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("urn:"))
}

/// Removes the schema of this server's resources before the name of an attribute.
pub(super) fn without_schema(name: &str) -> &str {
    for schema in [USER_SCHEMA, GROUP_SCHEMA] {
        if let Some(start) = name.get(..schema.len())
            && start.eq_ignore_ascii_case(schema)
            && let Some(rest) = name[schema.len()..].strip_prefix(':')
        {
            return rest;
        }
    }
    name
}

/// Returns the refusal of a path that leads to no attribute.
pub(super) fn unknown_path(path: &str) -> Error {
    let path = quoted(path);
    refused("invalidPath", format!("`path` must name an attribute of the resource (got {path})."))
}

/// Returns the primary address of a profile; the first one when none is primary.
pub(super) fn primary_email(profile: &Map<String, Value>) -> Option<&str> {
    let items = profile.get("emails")?.as_array()?;
    let primary = items.iter().find(|item| item["primary"] == true);
    primary.or(items.first())?["value"].as_str()
}
