//! The grants of people, in both versions of the API.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::roles::with_items;
use super::state::{Grant, Refusal, text, texts};
use super::{GRANTEE, Inner, PROJECT, PROJECT_GRANT, page};

const DATE: &str = "2026-01-02T00:00:00.000Z";

impl Inner {
    pub(super) fn grants_v2(&mut self, call: &str, body: &Value) -> Result<Value, Refusal> {
        match call {
            "ListAuthorizations" => {
                let filters = body["filters"].as_array().cloned().unwrap_or_default();
                let filter = |name: &str| {
                    let ids = filters.iter().map(|one| one[name]["id"].as_str());
                    ids.flatten().next().map(str::to_owned)
                };
                let items = self.listed_grants(
                    filter("organizationId").as_deref(),
                    filter("userId").as_deref(),
                    filter("projectId").as_deref(),
                );
                let items = items.iter().map(|grant| {
                    let roles: Vec<Value> = grant
                        .keys
                        .iter()
                        .map(|key| json!({"key": key, "displayName": key}))
                        .collect();
                    json!({
                        "id": grant.id, "creationDate": DATE,
                        "project": {"id": PROJECT, "name": "p"},
                        "organization": {"id": grant.organization, "name": "o"},
                        "user": {"id": grant.user, "displayName": "u"},
                        "state": if grant.is_active { "STATE_ACTIVE" } else { "STATE_INACTIVE" },
                        "roles": roles,
                    })
                });
                let items = items.collect();
                let (total, items) = page(&self.fault, &body["pagination"], items)?;
                let pagination = json!({"totalResult": total, "appliedLimit": "50"});
                Ok(with_items(json!({"pagination": pagination}), "authorizations", items))
            }
            "CreateAuthorization" => {
                let (user, project) = (text(body, "userId"), text(body, "projectId"));
                let organization = text(body, "organizationId");
                let grant = (organization == Some(GRANTEE)).then_some(PROJECT_GRANT);
                self.check_grantee(project, organization, grant)?;
                let id = self.add_grant(user, organization, texts(body, "roleKeys"))?;
                Ok(json!({"id": id, "creationDate": DATE}))
            }
            "UpdateAuthorization" => {
                let id = text(body, "id").unwrap_or_default().to_owned();
                self.update_grant(&id, texts(body, "roleKeys"), false)?;
                Ok(json!({"changeDate": DATE}))
            }
            "ActivateAuthorization" => {
                self.grant(text(body, "id").unwrap_or_default())?.is_active = true;
                Ok(json!({"changeDate": DATE}))
            }
            _ => Err(Refusal::unknown()),
        }
    }

    pub(super) fn search_grants_v1(
        &mut self,
        organization: &str,
        body: &Value,
    ) -> Result<Value, Refusal> {
        let queries = body["queries"].as_array().cloned().unwrap_or_default();
        let query = |name: &str, member: &str| {
            let ids = queries.iter().map(|one| one[name][member].as_str());
            ids.flatten().next().map(str::to_owned)
        };
        let (user, project) =
            (query("userIdQuery", "userId"), query("projectIdQuery", "projectId"));
        let items = self.listed_grants(Some(organization), user.as_deref(), project.as_deref());
        let items = items.iter().map(|grant| {
            let state = if grant.is_active {
                "USER_GRANT_STATE_ACTIVE"
            } else {
                "USER_GRANT_STATE_INACTIVE"
            };
            json!({
                "id": grant.id, "userId": grant.user, "projectId": PROJECT, "state": state,
                "roleKeys": grant.keys, "orgId": grant.organization,
            })
        });
        let items = items.collect();
        let (total, items) = page(&self.fault, &body["query"], items)?;
        Ok(with_items(json!({"details": {"totalResult": total}}), "result", items))
    }

    pub(super) fn grants_v1(
        &mut self,
        method: &str,
        user: &str,
        rest: &[&str],
        organization: &str,
        body: &Value,
    ) -> Result<Value, Refusal> {
        let details = json!({"sequence": "2", "changeDate": DATE});
        match (method, rest) {
            ("POST", []) => {
                let grant = text(body, "projectGrantId");
                self.check_grantee(text(body, "projectId"), Some(organization), grant)?;
                let id = self.add_grant(Some(user), Some(organization), texts(body, "roleKeys"))?;
                Ok(json!({"userGrantId": id, "details": details}))
            }
            ("PUT", [id]) => {
                self.update_grant(id, texts(body, "roleKeys"), true)?;
                Ok(json!({"details": details}))
            }
            ("POST", [id, "_reactivate"]) => {
                self.grant(id)?.is_active = true;
                Ok(json!({"details": details}))
            }
            _ => Err(Refusal::unknown()),
        }
    }

    fn listed_grants(
        &mut self,
        organization: Option<&str>,
        user: Option<&str>,
        project: Option<&str>,
    ) -> Vec<Grant> {
        let is_asked = |grant: &&Grant| {
            organization.is_none_or(|id| grant.organization == id)
                && user.is_none_or(|id| grant.user == id)
                && project.is_none_or(|id| id == PROJECT)
        };
        self.known.listed().grants.iter().filter(is_asked).cloned().collect()
    }

    fn add_grant(
        &mut self,
        user: Option<&str>,
        organization: Option<&str>,
        keys: Vec<String>,
    ) -> Result<String, Refusal> {
        let user = user.filter(|id| self.known.users.iter().any(|known| known.id == *id));
        let Some(user) = user.map(str::to_owned) else {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "User could not be found"));
        };
        let organization = organization.unwrap_or_default().to_owned();
        self.check_keys(&keys)?;
        let is_same = |grant: &Grant| grant.user == user && grant.organization == organization;
        if self.known.now.grants.iter().any(is_same) {
            return Err(Refusal::exists("User grant already exists"));
        }
        let id = self.known.next_id();
        let grant = Grant { id: id.clone(), user, organization, keys, is_active: true };
        self.known.changed().grants.push(grant);
        Ok(id)
    }

    fn update_grant(
        &mut self,
        id: &str,
        keys: Vec<String>,
        refuses_same: bool,
    ) -> Result<(), Refusal> {
        self.check_keys(&keys)?;
        let grant = self.grant(id)?;
        if refuses_same && grant.keys == keys {
            return Err(Refusal::invalid("No changes (COMMAND-Rs8fy)"));
        }
        grant.keys = keys;
        Ok(())
    }

    fn grant(&mut self, id: &str) -> Result<&mut Grant, Refusal> {
        let missing =
            || Refusal::new(StatusCode::NOT_FOUND, "User grant not found (COMMAND-1My0t)");
        let grants = &mut self.known.changed().grants;
        grants.iter_mut().find(|grant| grant.id == id).ok_or_else(missing)
    }
}
