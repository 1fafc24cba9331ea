//! The client of Zitadel's management API.
//!
//! # Design
//! The client sends one request at a time, so a run holds one place among the requests to providers.
//! Every call can be repeated: a creation that was made before is a conflict, and the other calls set
//! a state. So 429, 503 and broken connections are tried again, and other refusals never. No call
//! begins after the end of the run's time, which leaves time for the audit event of the run.

pub mod connection;
pub mod failures;
pub mod tokens;
pub mod wire;

use axum::http::{HeaderValue, Request, StatusCode, header};
use serde_json::Value;

use self::connection::Connection;
use self::failures::Failure;
use self::wire::{Call, Listed, PAGE, Wire};
use super::plan::PlannedRole;
use super::state::{RemoteGrant, RemoteRole, RemoteUser};
use crate::identity::providers::management::ManagementApi;
use crate::kernel::http::json;
use crate::kernel::secret::Secret;

/// The most pages of a list.
const PAGES: usize = 100;

/// The client for one run.
pub struct Zitadel<'r> {
    connection: Connection<'r>,
    wire: Wire<'r>,
    /// The token, when there is one, and whether another one was requested after a 401.
    token: Option<Secret<String>>,
    is_renewed: bool,
}

impl<'r> Zitadel<'r> {
    pub fn new(connection: Connection<'r>, wire: Wire<'r>) -> Self {
        Self { connection, wire, token: None, is_renewed: false }
    }

    /// Returns the roles of the project.
    pub async fn roles(&mut self) -> Result<Vec<RemoteRole>, Failure> {
        let wire = self.wire;
        self.pages(|offset| wire.list_roles(offset), |answer| wire.roles(answer)).await
    }

    /// Returns the grants in the project and the organization; those of one person, if there is one.
    pub async fn grants(&mut self, user: Option<&str>) -> Result<Vec<RemoteGrant>, Failure> {
        let wire = self.wire;
        self.pages(|offset| wire.list_grants(user, offset), |answer| wire.grants(answer)).await
    }

    /// Returns the people with these addresses.
    pub async fn users(&mut self, addresses: &[String]) -> Result<Vec<RemoteUser>, Failure> {
        let wire = self.wire;
        let mut found = Vec::new();
        for some in addresses.chunks(wire.addresses_at_once()) {
            let page = |offset| wire.find_users(some, offset);
            found.extend(self.pages(page, |answer| wire.users(answer)).await?);
        }
        Ok(found)
    }

    pub async fn add_role(&mut self, role: &PlannedRole) -> Result<(), Failure> {
        self.call(&self.wire.add_role(role)).await.map(drop)
    }

    pub async fn update_role(
        &mut self,
        role: &PlannedRole,
        known: &RemoteRole,
    ) -> Result<(), Failure> {
        self.call(&self.wire.update_role(role, known)).await.map(drop)
    }

    pub async fn add_grant(&mut self, user: &str, role_keys: &[String]) -> Result<(), Failure> {
        self.call(&self.wire.add_grant(user, role_keys)).await.map(drop)
    }

    pub async fn update_grant(
        &mut self,
        grant: &RemoteGrant,
        role_keys: &[String],
    ) -> Result<(), Failure> {
        self.call(&self.wire.update_grant(grant, role_keys)).await.map(drop)
    }

    pub async fn activate_grant(&mut self, grant: &RemoteGrant) -> Result<(), Failure> {
        self.call(&self.wire.activate_grant(grant)).await.map(drop)
    }

    /// Waits before a list is read again.
    pub async fn wait_for_lists(&self, attempt: u32) {
        self.connection.wait_for_lists(attempt).await;
    }

    async fn pages<T>(
        &mut self,
        call: impl Fn(usize) -> Call,
        read: impl Fn(&Value) -> Result<Listed<T>, String>,
    ) -> Result<Vec<T>, Failure> {
        let (mut found, mut seen) = (Vec::new(), 0);
        for _ in 0..PAGES {
            let call = call(seen);
            let answer = self.call(&call).await?;
            let ok = Some(StatusCode::OK);
            let page = read(&answer).map_err(|why| {
                Failure::of(ok, None, &format!("The answer to {} is not valid: {why}.", call.path))
            })?;
            if page.count == 0 && seen == 0 && page.total > 0 {
                let message = format!(
                    "{} counts {} items and shows none: the service user lacks a membership.",
                    call.path, page.total
                );
                return Err(Failure::of(ok, Some("permission_denied"), &message));
            }
            seen += page.count;
            found.extend(page.items);
            let is_all = u64::try_from(seen).is_ok_and(|seen| seen >= page.total);
            if page.count == 0 || is_all {
                return Ok(found);
            }
        }
        let message = format!("The list has more than {PAGES} pages of {PAGE} items.");
        Err(Failure::of(Some(StatusCode::OK), None, &message))
    }

    /// Makes a call and returns its answer.
    async fn call(&mut self, call: &Call) -> Result<Value, Failure> {
        loop {
            let token = self.token().await?;
            let fetched = self.connection.send(self.request(call, &token)?).await?;
            let status = fetched.status;
            if status == StatusCode::UNAUTHORIZED && !self.is_renewed {
                self.is_renewed = true;
                self.token = None;
                if tokens::forget(&self.connection, token.clone()) {
                    continue;
                }
            }
            if status.is_redirection() {
                let message = format!("{} redirects, which is not followed.", call.path);
                return Err(Failure::of(Some(status), None, &message));
            }
            if !status.is_success() {
                let secret = self.connection.endpoint.access.secret.expose();
                let refused = Failure::refused(status, &fetched.body, &[token.expose(), secret]);
                if self.wire.api == ManagementApi::V2 && refused.is_unknown_call() {
                    let message = format!(
                        "{} is unknown there. Set `management.api` to v1 for a Zitadel before \
                         version 4.",
                        call.path
                    );
                    return Err(Failure::of(Some(status), Some("unimplemented"), &message));
                }
                return Err(refused);
            }
            return json::strict(&fetched.body).map_err(|why| {
                let message = format!("The answer to {} is not valid: {why}.", call.path);
                Failure::of(Some(status), None, &message)
            });
        }
    }

    async fn token(&mut self) -> Result<Secret<String>, Failure> {
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        let token = tokens::find(&self.connection).await?;
        self.token = Some(token.clone());
        Ok(token)
    }

    fn request(&self, call: &Call, token: &Secret<String>) -> Result<Request<String>, Failure> {
        let unfit = || Failure::of(None, None, "The URL, or a value in a header, is not valid.");
        let bearer = format!("Bearer {}", token.expose());
        let mut bearer = HeaderValue::try_from(bearer).map_err(|_| unfit())?;
        bearer.set_sensitive(true);
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(format!("{}{}", self.connection.endpoint.base_url(), call.path))
            .header(header::AUTHORIZATION, bearer)
            .header(header::CONTENT_TYPE, "application/json")
            // Messages are localized.
            .header(header::ACCEPT_LANGUAGE, "en");
        // Without the header a call is about the organization of the service user.
        let organization = self.wire.organization.filter(|_| !call.is_for_owner);
        match (self.wire.api, organization) {
            (ManagementApi::V1, Some(organization)) => {
                request = request.header("x-zitadel-orgid", organization);
            }
            (ManagementApi::V1, None) => {}
            _ => request = request.header("connect-protocol-version", "1"),
        }
        request.body(call.body.to_string()).map_err(|_| unfit())
    }
}
