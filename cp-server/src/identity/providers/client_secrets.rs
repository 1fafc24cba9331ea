//! Client secrets of identity providers, sealed in their rows.

use super::row::{IdentityProvider, NOUN, NewProvider};
use crate::identity::ids::ProviderId;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::App;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Patch;
use crate::kernel::sealed::Sealed;
use crate::kernel::secret::Secret;

pub(super) const CLIENT_SECRET: Sealed =
    Sealed { table: "identity_providers", noun: NOUN, column: "client_secret" };

/// The longest client secret, in bytes.
const SECRET: usize = 4096;

/// Refuses to keep a client secret when the issuer changes: logins would send it to the new issuer.
pub(super) fn refuse_another_issuers_secret(
    new: &NewProvider,
    before: Option<&IdentityProvider>,
) -> Result<()> {
    let Some(before) = before else { return Ok(()) };
    let keeps = matches!(new.client_secret, Patch::Keep) && before.client_secret.is_set();
    if !keeps || before.issuer == new.issuer.as_str() {
        return Ok(());
    }
    let detail = "`client_secret` is required when `issuer` changes, because the stored one belongs \
                  to the former issuer. Send the new one, or null for none.";
    Err(Error::invalid("client_secret", detail))
}

pub(super) async fn seal(
    cx: &mut Cx,
    id: ProviderId,
    secret: &Patch<Secret<String>>,
) -> Result<Option<Vec<u8>>> {
    let Patch::Set(secret) = secret else { return Ok(None) };
    let plain = secret.expose().as_bytes();
    if !(1..=SECRET).contains(&plain.len()) {
        let detail = format!("`client_secret` must have 1 to {SECRET} bytes.");
        return Err(Error::invalid("client_secret", detail));
    }
    CLIENT_SECRET.seal(cx, id.0, plain).await.map(Some)
}

/// Returns the client secret of a provider, for requests to the provider.
pub async fn client_secret(
    app: &App,
    organization: OrganizationId,
    id: ProviderId,
) -> Result<Option<Secret<String>>> {
    let sql = "SELECT client_secret FROM identity_providers
               WHERE id = $1 AND client_secret IS NOT NULL";
    let sealed: Option<Vec<u8>> = app.db.read().q(sql).bind(id).value().await?;
    let Some(sealed) = sealed else { return Ok(None) };
    let plain = CLIENT_SECRET.open(app, organization, id.0, &sealed)?;
    let plain = String::from_utf8(plain.to_vec()).map_err(Error::internal)?;
    Ok(Some(Secret::new(plain)))
}
