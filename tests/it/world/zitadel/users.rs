//! The people and their addresses, in both versions of the API.

use serde_json::{Value, json};

use super::roles::with_items;
use super::state::{Refusal, User};
use super::{Inner, page};

/// Whether a person fits a query; the queries of one search must all fit.
fn fits(user: &User, query: &Value) -> bool {
    if let Some(any) = query["orQuery"]["queries"].as_array() {
        return any.iter().any(|one| fits(user, one));
    }
    if query["emailQuery"].is_object() {
        let address = query["emailQuery"]["emailAddress"].as_str().unwrap_or_default();
        return match query["emailQuery"]["method"].as_str() {
            Some("TEXT_QUERY_METHOD_EQUALS_IGNORE_CASE") => {
                user.email.eq_ignore_ascii_case(address)
            }
            _ => user.email == address,
        };
    }
    if let Some(id) = query["organizationIdQuery"]["organizationId"].as_str() {
        return user.organization == id;
    }
    // An unknown query is discarded. All people here are human.
    true
}

impl Inner {
    pub(super) fn users_v2(&mut self, call: &str, body: &Value) -> Result<Value, Refusal> {
        if call != "ListUsers" {
            return Err(Refusal::unknown());
        }
        self.search(
            body,
            |_| true,
            |user| {
                json!({
                    "userId": user.id, "state": "USER_STATE_ACTIVE",
                    "human": {"email": {"email": user.email, "isVerified": user.is_verified}},
                })
            },
        )
    }

    pub(super) fn search_users_v1(
        &mut self,
        organization: &str,
        body: &Value,
    ) -> Result<Value, Refusal> {
        self.search(
            body,
            |user| user.organization == organization,
            |user| {
                json!({
                    "id": user.id, "state": "USER_STATE_ACTIVE",
                    "human": {"email": {"email": user.email, "isEmailVerified": user.is_verified}},
                })
            },
        )
    }

    fn search(
        &mut self,
        body: &Value,
        is_visible: impl Fn(&User) -> bool,
        shown: impl Fn(&User) -> Value,
    ) -> Result<Value, Refusal> {
        self.refuses_search()?;
        let queries = body["queries"].as_array().cloned().unwrap_or_default();
        let found = self.known.users.iter().filter(|user| is_visible(user));
        let found = found.filter(|user| queries.iter().all(|query| fits(user, query)));
        let (total, items) = page(&self.fault, &body["query"], found.map(shown).collect())?;
        Ok(with_items(json!({"details": {"totalResult": total}}), "result", items))
    }
}
