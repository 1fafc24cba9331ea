//! The roles of the project, in both versions of the API.

use serde_json::{Map, Value, json};

use super::state::{Refusal, Role, text};
use super::{Inner, ORGANIZATION, page};

const DATE: &str = "2026-01-02T00:00:00.000Z";

impl Inner {
    pub(super) fn roles_v2(&mut self, call: &str, body: &Value) -> Result<Value, Refusal> {
        let project = text(body, "projectId");
        // The owner of the project follows from its ID.
        self.check_project(project, Some(ORGANIZATION))?;
        match call {
            "ListProjectRoles" => {
                let items = self.listed_roles();
                let (total, items) = page(&self.fault, &body["pagination"], items)?;
                let pagination = json!({"totalResult": total, "appliedLimit": "100"});
                Ok(with_items(json!({"pagination": pagination}), "projectRoles", items))
            }
            "AddProjectRole" => {
                self.add_role(body)?;
                Ok(json!({"creationDate": DATE}))
            }
            "UpdateProjectRole" => {
                self.update_role(text(body, "roleKey").unwrap_or_default(), body)?;
                Ok(json!({"changeDate": DATE}))
            }
            _ => Err(Refusal::unknown()),
        }
    }

    pub(super) fn roles_v1(
        &mut self,
        method: &str,
        project: &str,
        rest: &[&str],
        organization: &str,
        body: &Value,
    ) -> Result<Value, Refusal> {
        self.check_project(Some(project), Some(organization))?;
        let details = json!({"sequence": "2", "changeDate": DATE});
        match (method, rest) {
            ("POST", ["_search"]) => {
                let items = self.listed_roles();
                let (total, items) = page(&self.fault, &body["query"], items)?;
                Ok(with_items(json!({"details": {"totalResult": total}}), "result", items))
            }
            ("POST", []) => {
                self.add_role(body)?;
                Ok(json!({"details": details}))
            }
            ("PUT", [key]) => {
                self.update_role(key, body)?;
                Ok(json!({"details": details}))
            }
            _ => Err(Refusal::unknown()),
        }
    }

    fn listed_roles(&mut self) -> Vec<Value> {
        let role = |role: &Role| {
            let mut item = json!({
                "key": role.key, "displayName": role.display_name, "creationDate": DATE,
            });
            if !role.group.is_empty() {
                item["group"] = json!(role.group);
            }
            item
        };
        let mut roles: Vec<&Role> = self.known.listed().roles.iter().collect();
        roles.sort_by(|a, b| a.key.cmp(&b.key));
        roles.into_iter().map(role).collect()
    }

    fn add_role(&mut self, body: &Value) -> Result<(), Refusal> {
        let (key, name) = (text(body, "roleKey"), text(body, "displayName"));
        let (Some(key), Some(name)) = (key, name) else {
            return Err(Refusal::invalid("invalid AddProjectRoleRequest: value length"));
        };
        if key.len() > 200 || name.len() > 200 {
            return Err(Refusal::invalid("invalid AddProjectRoleRequest: value length"));
        }
        if self.known.now.roles.iter().any(|role| role.key == key) {
            return Err(Refusal::exists("Role already exists"));
        }
        let group = text(body, "group").unwrap_or_default().to_owned();
        let role = Role { key: key.to_owned(), display_name: name.to_owned(), group };
        self.known.changed().roles.push(role);
        Ok(())
    }

    fn update_role(&mut self, key: &str, body: &Value) -> Result<(), Refusal> {
        let roles = &mut self.known.changed().roles;
        let Some(role) = roles.iter_mut().find(|role| role.key == key) else {
            return Err(Refusal::invalid("Role not found"));
        };
        role.display_name = text(body, "displayName").unwrap_or_default().to_owned();
        role.group = text(body, "group").unwrap_or_default().to_owned();
        Ok(())
    }
}

/// protojson omits empty lists.
pub(super) fn with_items(body: Value, name: &str, items: Vec<Value>) -> Value {
    let mut members: Map<String, Value> = body.as_object().unwrap().clone();
    if !items.is_empty() {
        members.insert(name.to_owned(), items.into());
    }
    members.into()
}
