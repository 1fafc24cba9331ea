//! The requests and answers of both versions of Zitadel's management API.
//!
//! Sources: `zitadel/project/v2/project_service.proto`, `zitadel/authorization/v2/authorization_service.proto`,
//! `zitadel/user/v2/user_service.proto` (Connect, JSON) and `zitadel/management.proto` (REST, JSON) of
//! github.com/zitadel/zitadel.
//!
//! # Design
//! The server discards unknown members of a request, so a misspelled one causes no error: each body is
//! written here once, and tests compare it whole. Answers are read member by member, because newer
//! versions add members. protojson omits empty lists and zeros, and writes 64-bit numbers as strings.

use axum::http::Method;
use serde_json::{Value, json};

use crate::identity::providers::management::ManagementApi;
use crate::identity::provisioning::identifiers::RemoteId;
use crate::identity::provisioning::plan::PlannedRole;
use crate::identity::provisioning::state::{RemoteGrant, RemoteRole, RemoteUser};
use crate::kernel::text::path_segment;

/// The number of items of a page.
pub const PAGE: usize = 50;

/// One call of the API.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub method: Method,
    /// The path below the base URL.
    pub path: String,
    pub body: Value,
    /// Whether the call is about the project's owner, not the organization of the grants.
    pub is_for_owner: bool,
}

/// One page of a list.
#[derive(Debug)]
pub struct Listed<T> {
    /// The number of items of the whole list.
    pub total: u64,
    /// The number of items of the answer, of which some may be of no interest.
    pub count: usize,
    pub items: Vec<T>,
}

/// The version of the API, with the project and the organization of all calls.
#[derive(Clone, Copy, Debug)]
pub struct Wire<'t> {
    pub api: ManagementApi,
    pub project: &'t str,
    /// Version 1 has it in a header of each request.
    pub organization: Option<&'t str>,
    /// The grant of the project to the organization, when another one owns it. Version 1 requires it
    /// in grants to people; version 2 finds it by the organization.
    pub project_grant: Option<&'t str>,
}

const PROJECTS: &str = "/zitadel.project.v2.ProjectService";
const AUTHORIZATIONS: &str = "/zitadel.authorization.v2.AuthorizationService";
const USERS: &str = "/zitadel.user.v2.UserService";
const MANAGEMENT: &str = "/management/v1";

fn post(path: String, body: Value) -> Call {
    Call { method: Method::POST, path, body, is_for_owner: false }
}

fn put(path: String, body: Value) -> Call {
    Call { method: Method::PUT, path, body, is_for_owner: false }
}

impl Wire<'_> {
    pub fn list_roles(&self, offset: usize) -> Call {
        match self.api {
            ManagementApi::V2 => post(
                format!("{PROJECTS}/ListProjectRoles"),
                json!({
                    "projectId": self.project,
                    "pagination": {"offset": offset.to_string(), "limit": PAGE, "asc": true},
                    "sortingColumn": "PROJECT_ROLE_FIELD_NAME_KEY",
                }),
            ),
            ManagementApi::V1 => {
                let path = format!("{}/_search", self.roles_path());
                self.for_owner(post(path, json!({"query": query(offset)})))
            }
        }
    }

    pub fn add_role(&self, role: &PlannedRole) -> Call {
        let mut body = json!({"roleKey": role.key, "displayName": role.display_name});
        if let Some(group) = &role.group {
            body["group"] = json!(group);
        }
        match self.api {
            ManagementApi::V2 => {
                body["projectId"] = json!(self.project);
                post(format!("{PROJECTS}/AddProjectRole"), body)
            }
            ManagementApi::V1 => self.for_owner(post(self.roles_path(), body)),
        }
    }

    /// Replaces the texts of a role. `group` is that of the provider when the role has none.
    pub fn update_role(&self, role: &PlannedRole, known: &RemoteRole) -> Call {
        let group = role.group.as_ref().unwrap_or(&known.group);
        let mut body = json!({"displayName": role.display_name, "group": group});
        match self.api {
            ManagementApi::V2 => {
                body["projectId"] = json!(self.project);
                body["roleKey"] = json!(role.key);
                post(format!("{PROJECTS}/UpdateProjectRole"), body)
            }
            ManagementApi::V1 => {
                let path = format!("{}/{}", self.roles_path(), path_segment(&role.key));
                self.for_owner(put(path, body))
            }
        }
    }

    /// Lists the grants of the project and the organization; those of one person, if there is one.
    pub fn list_grants(&self, user: Option<&str>, offset: usize) -> Call {
        match self.api {
            ManagementApi::V2 => {
                let mut filters = vec![json!({"projectId": {"id": self.project}})];
                filters.extend(self.organization.map(|id| json!({"organizationId": {"id": id}})));
                filters.extend(user.map(|id| json!({"userId": {"id": id}})));
                let pagination = json!({"offset": offset.to_string(), "limit": PAGE, "asc": true});
                let body = json!({"pagination": pagination, "filters": filters});
                post(format!("{AUTHORIZATIONS}/ListAuthorizations"), body)
            }
            ManagementApi::V1 => {
                let mut queries = vec![json!({"projectIdQuery": {"projectId": self.project}})];
                queries.extend(user.map(|id| json!({"userIdQuery": {"userId": id}})));
                let body = json!({"query": query(offset), "queries": queries});
                post(format!("{MANAGEMENT}/users/grants/_search"), body)
            }
        }
    }

    pub fn add_grant(&self, user: &str, role_keys: &[String]) -> Call {
        match self.api {
            ManagementApi::V2 => post(
                format!("{AUTHORIZATIONS}/CreateAuthorization"),
                json!({
                    "userId": user, "projectId": self.project,
                    "organizationId": self.organization, "roleKeys": role_keys,
                }),
            ),
            ManagementApi::V1 => {
                let mut body = json!({"projectId": self.project, "roleKeys": role_keys});
                if let Some(grant) = self.project_grant {
                    body["projectGrantId"] = json!(grant);
                }
                post(format!("{MANAGEMENT}/users/{}/grants", path_segment(user)), body)
            }
        }
    }

    /// Replaces the keys of a grant.
    pub fn update_grant(&self, grant: &RemoteGrant, role_keys: &[String]) -> Call {
        match self.api {
            ManagementApi::V2 => post(
                format!("{AUTHORIZATIONS}/UpdateAuthorization"),
                json!({"id": grant.id, "roleKeys": role_keys}),
            ),
            ManagementApi::V1 => put(grant_path(grant), json!({"roleKeys": role_keys})),
        }
    }

    pub fn activate_grant(&self, grant: &RemoteGrant) -> Call {
        match self.api {
            ManagementApi::V2 => {
                post(format!("{AUTHORIZATIONS}/ActivateAuthorization"), json!({"id": grant.id}))
            }
            ManagementApi::V1 => post(format!("{}/_reactivate", grant_path(grant)), json!({})),
        }
    }

    /// Returns the number of addresses that one search can have.
    pub fn addresses_at_once(&self) -> usize {
        match self.api {
            ManagementApi::V2 => PAGE,
            // All queries of a search must hold, and older servers know no alternatives.
            ManagementApi::V1 => 1,
        }
    }

    /// Searches the organization's people by address, ignoring upper and lower case.
    pub fn find_users(&self, addresses: &[String], offset: usize) -> Call {
        let by_address = |address: &String| {
            let method = "TEXT_QUERY_METHOD_EQUALS_IGNORE_CASE";
            json!({"emailQuery": {"emailAddress": address, "method": method}})
        };
        let people = json!({"typeQuery": {"type": "TYPE_HUMAN"}});
        match self.api {
            ManagementApi::V2 => {
                let any: Vec<Value> = addresses.iter().map(by_address).collect();
                let mut queries = vec![json!({"orQuery": {"queries": any}}), people];
                queries.extend(
                    self.organization
                        .map(|id| json!({"organizationIdQuery": {"organizationId": id}})),
                );
                let body = json!({"query": query(offset), "queries": queries});
                post(format!("{USERS}/ListUsers"), body)
            }
            ManagementApi::V1 => {
                let queries: Vec<Value> =
                    addresses.iter().map(by_address).chain([people]).collect();
                let body = json!({"query": query(offset), "queries": queries});
                post(format!("{MANAGEMENT}/users/_search"), body)
            }
        }
    }

    /// Returns the call of version 1 about roles: they belong to the owner of the project, which is
    /// the organization unless the project is granted to it.
    fn for_owner(&self, call: Call) -> Call {
        Call { is_for_owner: self.project_grant.is_some(), ..call }
    }

    fn roles_path(&self) -> String {
        format!("{MANAGEMENT}/projects/{}/roles", path_segment(self.project))
    }

    pub fn roles(&self, answer: &Value) -> Result<Listed<RemoteRole>, String> {
        let (total, items) = match self.api {
            ManagementApi::V2 => ("/pagination/totalResult", "projectRoles"),
            ManagementApi::V1 => ("/details/totalResult", "result"),
        };
        listed(answer, total, items, |item| {
            let key = text(item, "/key").ok_or("a role has no key")?;
            Ok(Some(RemoteRole {
                key: key.to_owned(),
                display_name: text(item, "/displayName").unwrap_or_default().to_owned(),
                group: text(item, "/group").unwrap_or_default().to_owned(),
            }))
        })
    }

    pub fn grants(&self, answer: &Value) -> Result<Listed<RemoteGrant>, String> {
        match self.api {
            ManagementApi::V2 => {
                listed(answer, "/pagination/totalResult", "authorizations", |item| {
                    let roles = list(item, "roles")?.iter();
                    let keys = roles.map(|role| text(role, "/key")).collect::<Option<Vec<_>>>();
                    grant(item, "/user/id", keys, "STATE_ACTIVE")
                })
            }
            ManagementApi::V1 => listed(answer, "/details/totalResult", "result", |item| {
                let keys = list(item, "roleKeys")?.iter().map(Value::as_str).collect();
                grant(item, "/userId", keys, "USER_GRANT_STATE_ACTIVE")
            }),
        }
    }

    pub fn users(&self, answer: &Value) -> Result<Listed<RemoteUser>, String> {
        let (id, verified) = match self.api {
            ManagementApi::V2 => ("/userId", "/human/email/isVerified"),
            ManagementApi::V1 => ("/id", "/human/email/isEmailVerified"),
        };
        listed(answer, "/details/totalResult", "result", |item| {
            // A service user has no address.
            let Some(email) = text(item, "/human/email/email") else { return Ok(None) };
            let is_verified = item.pointer(verified) == Some(&Value::Bool(true));
            let id = identifier(item, id)?;
            Ok(Some(RemoteUser { id, email: email.to_owned(), is_verified }))
        })
    }
}

fn query(offset: usize) -> Value {
    json!({"offset": offset.to_string(), "limit": PAGE, "asc": true})
}

fn grant_path(grant: &RemoteGrant) -> String {
    let (user, id) = (path_segment(&grant.user_id), path_segment(&grant.id));
    format!("{MANAGEMENT}/users/{user}/grants/{id}")
}

fn grant(
    item: &Value,
    user: &str,
    keys: Option<Vec<&str>>,
    active: &str,
) -> Result<Option<RemoteGrant>, String> {
    let role_keys = keys.ok_or("a grant has a role without a key")?;
    Ok(Some(RemoteGrant {
        id: identifier(item, "/id")?,
        user_id: identifier(item, user)?,
        role_keys: role_keys.into_iter().map(str::to_owned).collect(),
        is_active: text(item, "/state") == Some(active),
    }))
}

fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// Reads an ID, which may become a part of a path.
fn identifier(item: &Value, pointer: &str) -> Result<String, String> {
    let id = text(item, pointer).ok_or_else(|| format!("an item has no {pointer}"))?;
    match id.parse::<RemoteId>() {
        Ok(id) => Ok(id.into_string()),
        Err(rule) => Err(format!("{pointer} {rule}")),
    }
}

/// Reads a list, which is absent when it is empty.
fn list<'v>(value: &'v Value, name: &str) -> Result<&'v [Value], String> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(format!("{name} is not a list")),
    }
}

fn listed<T>(
    answer: &Value,
    total: &str,
    name: &str,
    read: impl Fn(&Value) -> Result<Option<T>, String>,
) -> Result<Listed<T>, String> {
    let total = match answer.pointer(total) {
        None | Some(Value::Null) => 0,
        Some(Value::String(number)) => number.parse().map_err(|_| "totalResult is no number")?,
        Some(number) => number.as_u64().ok_or("totalResult is no number")?,
    };
    let found = list(answer, name)?;
    let items = found.iter().filter_map(|item| read(item).transpose());
    Ok(Listed { total, count: found.len(), items: items.collect::<Result<_, _>>()? })
}
