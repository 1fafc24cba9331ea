//! Secrets of identity providers, sealed in their rows.

use super::management::{Access, Management, NewManagement};
use super::row::{IdentityProvider, NOUN, NewProvider};
use crate::identity::ids::ProviderId;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Patch;
use crate::kernel::sealed::Sealed;
use crate::kernel::secret::Secret;
use crate::kernel::text::HttpUrl;

pub(super) const CLIENT_SECRET: Sealed =
    Sealed { table: "identity_providers", noun: NOUN, column: "client_secret" };

pub(super) const MANAGEMENT_SECRET: Sealed =
    Sealed { table: "identity_providers", noun: NOUN, column: "management_secret" };

/// The longest secret, in bytes.
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
    let plain = checked("client_secret", secret)?;
    CLIENT_SECRET.seal(cx, cx.at, id.0, plain).await.map(Some)
}

fn checked<'s>(field: &'static str, secret: &'s Secret<String>) -> Result<&'s [u8]> {
    let plain = secret.expose().as_bytes();
    if (1..=SECRET).contains(&plain.len()) {
        return Ok(plain);
    }
    Err(Error::invalid(field, format!("`{field}` must have 1 to {SECRET} bytes.")))
}

/// The two columns of the access to the management API, as a PUT writes them.
#[derive(Default)]
pub(super) struct ManagementColumns {
    pub(super) keeps_settings: bool,
    pub(super) settings: Option<Management>,
    pub(super) keeps_secret: bool,
    pub(super) secret: Option<Vec<u8>>,
}

/// Seals the access to the management API.
///
/// # Errors
/// 422 when the stored secret would be kept for another address or client, or when there is none.
pub(super) async fn seal_management(
    cx: &mut Cx,
    id: ProviderId,
    issuer: &HttpUrl,
    new: Patch<NewManagement>,
    before: Option<&IdentityProvider>,
) -> Result<ManagementColumns> {
    let stored = before.and_then(|before| before.management.as_ref());
    let is_same_issuer = before.is_some_and(|before| before.issuer == issuer.as_str());
    let (settings, secret) = match new {
        Patch::Clear => return Ok(ManagementColumns::default()),
        Patch::Keep if stored.is_some() && !is_same_issuer => {
            let detail = "`management` is required when `issuer` changes, because the stored one \
                          belongs to the former issuer. Send the new one, or null for none.";
            return Err(Error::invalid("management", detail));
        }
        Patch::Keep => {
            let keeps = ManagementColumns {
                keeps_settings: true,
                keeps_secret: true,
                ..Default::default()
            };
            return Ok(keeps);
        }
        Patch::Set(new) => new.into_parts(),
    };
    let secret = match &secret {
        Some(secret) => {
            let plain = checked("management.secret", secret)?;
            Some(MANAGEMENT_SECRET.seal(cx, cx.at, id.0, plain).await?)
        }
        None => {
            let goes_elsewhere = |stored: &Management| {
                let stored = stored.settings();
                (&stored.url, &stored.client_id) != (&settings.url, &settings.client_id)
            };
            if !is_same_issuer || stored.is_none_or(goes_elsewhere) {
                let detail = "`management.secret` is required: none is stored for this issuer, \
                              `management.url` and `management.client_id`.";
                return Err(Error::invalid("management.secret", detail));
            }
            None
        }
    };
    Ok(ManagementColumns {
        keeps_settings: false,
        settings: Some(Management::new(settings)),
        keeps_secret: secret.is_none(),
        secret,
    })
}

/// Returns the access to the provider's management API, with its secret.
pub async fn management_access(
    app: &App,
    tx: &mut Conn,
    provider: &IdentityProvider,
) -> Result<Option<Access>> {
    let Some(management) = &provider.management else { return Ok(None) };
    let sql = "SELECT management_secret FROM identity_providers
               WHERE id = $1 AND management_secret IS NOT NULL";
    let sealed: Option<Vec<u8>> = tx.q(sql).bind(provider.id).value().await?;
    let Some(sealed) = sealed else { return Ok(None) };
    let plain = MANAGEMENT_SECRET.open(app, provider.organization_id, provider.id.0, &sealed)?;
    let plain = String::from_utf8(plain.to_vec()).map_err(Error::internal)?;
    let settings = management.settings().clone();
    Ok(Some(Access { settings, secret: Secret::new(plain) }))
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
