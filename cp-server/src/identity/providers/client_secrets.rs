//! Client secrets of identity providers, sealed in their rows.

use anyhow::Context;

use super::row::{IdentityProvider, NewProvider};
use crate::identity::ids::ProviderId;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Patch;
use crate::kernel::kek;
use crate::kernel::secret::{Kek, Secret};

/// The longest client secret, in bytes.
const SECRET: usize = 4096;

/// Refuses to keep a client secret for another issuer: logins would send it there.
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
        let detail = format!("client_secret: it takes 1 to {SECRET} bytes");
        return Err(Error::invalid("client_secret", detail));
    }
    let app = cx.app.clone();
    kek::hold(&app, &mut cx.tx).await?;
    Ok(Some(app.kek.seal(&app.random, &purpose(cx.at, id), plain)))
}

/// What the seal is bound to, so that one row's secret cannot pass for another's.
fn purpose(organization: OrganizationId, id: ProviderId) -> String {
    format!("identity provider {organization} {id} client_secret v1")
}

/// The client secret of a provider, to show it to the provider.
pub async fn client_secret(
    app: &App,
    organization: OrganizationId,
    id: ProviderId,
) -> Result<Option<Secret<String>>> {
    let sql = "SELECT client_secret FROM identity_providers
               WHERE id = $1 AND client_secret IS NOT NULL";
    let sealed: Option<Vec<u8>> = app.db.read().q(sql).bind(id).value().await?;
    let Some(sealed) = sealed else { return Ok(None) };
    let closed = || Error::internal(anyhow::anyhow!("client_secret of {id} does not open"));
    let plain = app.kek.open(&purpose(organization, id), &sealed).ok_or_else(closed)?;
    let plain = String::from_utf8(plain.to_vec()).map_err(Error::internal)?;
    Ok(Some(Secret::new(plain)))
}

/// Seals every client secret anew.
pub async fn reseal(app: &App, tx: &mut Conn, new: &Kek) -> anyhow::Result<()> {
    let sql = "SELECT organization_id, id, client_secret FROM identity_providers
               WHERE client_secret IS NOT NULL ORDER BY id";
    let rows: Vec<(OrganizationId, ProviderId, Vec<u8>)> = tx.q(sql).all().await?;
    for (organization, id, sealed) in rows {
        let purpose = purpose(organization, id);
        let sealed = app
            .kek
            .reseal(new, &app.random, &purpose, &sealed)
            .with_context(|| format!("identity_providers.client_secret of {id} does not open"))?;
        let sql = "UPDATE identity_providers SET client_secret = $2 WHERE id = $1";
        tx.q(sql).bind(id).bind(sealed).exec().await?;
    }
    Ok(())
}
