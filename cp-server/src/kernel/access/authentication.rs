//! Authentication: resolves a request's credential to its caller.

use axum::http::request::Parts;

use crate::kernel::access::caller::{Caller, CallerKind, Scope};
use crate::kernel::access::permissions::Permission;
use crate::kernel::access::place::Org;
use crate::kernel::access::policy::{Domain, Grant};
use crate::kernel::app::App;
use crate::kernel::error::{Error, Result};

/// Returns the caller of the request's credential.
pub async fn authenticate(app: &App, parts: &Parts) -> Result<Caller> {
    // The CLI calls operations in its own process and vouches for itself.
    if let Some(caller) = parts.extensions.get::<Caller>() {
        return Ok(caller.clone());
    }
    for kind in app.credentials.iter() {
        if let Some(caller) = kind.of_request(app, parts).await? {
            return Ok(caller);
        }
    }
    let mut headers = parts.headers.get_all(axum::http::header::AUTHORIZATION).iter();
    let (Some(header), None) = (headers.next(), headers.next()) else {
        return Err(Error::unauthenticated("Send one header `Authorization: Bearer <token>`."));
    };
    let sent = header.to_str().ok().and_then(|text| text.split_once(' '));
    let mut is_known = false;
    for kind in app.credentials.iter() {
        let is_meant = |(scheme, _): &(&str, _)| scheme.eq_ignore_ascii_case(kind.scheme());
        let Some((_, credential)) = sent.filter(is_meant) else { continue };
        is_known = true;
        if let Some(caller) = kind.caller(app, credential).await? {
            return Ok(caller);
        }
    }
    Err(Error::unauthenticated(match is_known {
        true => "The token is not valid: unknown, expired or revoked.",
        false => "Send `Authorization: Bearer <token>`.",
    }))
}

/// Returns the caller of a request that was admitted before: a long response checks that its
/// credential is still valid.
pub async fn again(app: &App, parts: &Parts) -> Result<Caller> {
    let caller = authenticate(app, parts).await?;
    narrowed(app, caller, parts).await
}

/// The header by which a caller narrows itself to one organization, named by its ID or slug.
pub const ORGANIZATION_HINT: &str = "x-organization-id";

/// Restricts a superadmin or a service token to the organization that the header names. A person's
/// header is ignored: the person's grants decide where the person may act.
pub(in crate::kernel) async fn narrowed(
    app: &App,
    mut caller: Caller,
    parts: &Parts,
) -> Result<Caller> {
    let Some(hint) = parts.headers.get(ORGANIZATION_HINT) else { return Ok(caller) };
    if caller.kind != CallerKind::ServiceToken && !caller.is_of_platform() {
        return Ok(caller);
    }
    let missing = || Error::not_found("organization").at(ORGANIZATION_HINT);
    let named = hint.to_str().map_err(|_| missing())?;
    let found = Org::named(named.to_owned()).find(&mut app.db.read()).await?;
    let own = found.ok_or_else(missing)?.id;
    if !caller.may_throughout(own, Permission::ANY) {
        return Err(missing());
    }
    if caller.is_of_platform() {
        caller.is_narrowed = true;
        caller.scope = Scope::Organization { organization_id: own };
        let held = caller
            .grants
            .iter()
            .filter(|grant| grant.on == Domain::Platform || grant.on.organization() == Some(own));
        let held = held.map(|grant| match grant.on {
            Domain::Platform => Grant { on: Domain::Organization(own), ..grant.clone() },
            _ => grant.clone(),
        });
        caller.grants = held.collect();
    }
    Ok(caller)
}
