//! Bundles: signed tokens of a license.
//!
//! The server signs a token (`issuance.rs`) before it begins to write. The write checks that the
//! revisions of the read are unchanged, and the answer leaves after the row is durable.

pub mod rows;

use cp_contracts::LicenseBundleResponse;
use schemars::JsonSchema;
use serde::Deserialize;

use self::rows::{Bundle, BundleStatus, store};
use super::issuance::{self, Form, NewBundle, SignedBundle};
use super::licenses::file_numbers;
use super::status_lists::rows::{self as status_lists, Of};
use super::statuses::Why;
use super::{deployments, files};
use crate::audit::proofs;
use crate::kernel::access::ids::DeploymentId;
use crate::kernel::app::Part;
use crate::kernel::declaration::{Declaration, Export, Purge};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Created;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::page::{List, Page};
use crate::kernel::journal::record;
use crate::kernel::section::Section;
use crate::kernel::text::Explanation;
use crate::licensing::ids::{BundleId, LicenseId};
use crate::licensing::keys::keyring::Keyring;

pub static DECLARATION: Declaration = Declaration::of_organization(
    "bundles",
    "bundle",
    Export::Section(Section::many::<Bundle>("bundles")),
)
.purge(Purge::After(|cx| Box::pin(status_lists::revoke_for_ever(cx))));

crate::routes! {
    /// The signed tokens of licenses, which data planes verify offline.
    bundles declares DECLARATION:
    /// Lists the license's bundles, without their tokens. A token is visible only in the answer to
    /// its issuance.
    GET "/licenses/{id}/bundles" LICENSES_READ => list;
    /// Signs the license and returns its bundle.
    ///
    /// With `form=file` the answer contains `file`, one signed file for a data plane without a
    /// network. It contains the token, the keys, the status list and the proof that the token is in
    /// the log. Its number `seq` grows with each file of the license. With `proof=wait` the answer
    /// itself contains `proof`.
    POST "/licenses/{id}/bundles" LICENSES_ISSUE => issue, own_transaction, harmless;
    /// Returns a bundle, without its token.
    GET "/bundles/{jti}" LICENSES_READ => read;
    /// Revokes a bundle permanently.
    POST "/bundles/{jti}/revoke" LICENSES_WRITE => revoke, harmless;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BundleFilter {
    /// Only bundles with this status.
    status: Option<BundleStatus>,
}

async fn list(cx: &mut Cx, id: LicenseId, list: List<BundleFilter>) -> Result<Page<Bundle>> {
    let query = cx.tx.select("WHERE license_id = $1 AND organization_id = $2").bind(id).bind(cx.at);
    let query = match list.filter.status {
        None => query,
        Some(BundleStatus::Revoked) => query.sql(" AND status = 'revoked'"),
        Some(BundleStatus::Valid) => query
            .and(" AND status = 'valid' AND (covered_from IS NULL OR covered_from <= ?)", cx.now)
            .and(" AND (covered_until IS NULL OR covered_until > ?)", cx.now),
        Some(BundleStatus::Suspended) => query
            .and(" AND (status = 'suspended' OR status = 'valid' AND (covered_from > ?", cx.now)
            .and(" OR covered_until <= ?))", cx.now),
    };
    Ok(list.page(query).await?.map(|bundle: Bundle| bundle.at(cx.now)))
}

async fn issue(
    cx: &mut Cx,
    id: LicenseId,
    new: NewBundle,
) -> Result<Created<LicenseBundleResponse>> {
    let signed = sign(cx, id, &new).await?;
    cx.begin().await?;
    expect_reports(cx, &signed, &new).await?;
    write(cx, signed, &new, "bundles.issue").await.map(Created)
}

/// Signs a license, before the transaction that writes the bundle.
pub async fn sign(cx: &mut Cx, id: LicenseId, new: &NewBundle) -> Result<SignedBundle> {
    let facts = issuance::facts(cx, id).await?;
    // Connections for reading are scarce, and a signature takes as long as ten reads.
    cx.release();
    if new.form == Some(Form::File) {
        Keyring::of(&cx.app).refresh(&cx.app).await.map_err(Error::internal)?;
    }
    issuance::sign(&cx.app, cx.now, facts, new).await
}

/// Expects usage reports of the deployment when the bundle is a file. Every change locks the deployment
/// before the organization.
pub async fn expect_reports(cx: &mut Cx, signed: &SignedBundle, new: &NewBundle) -> Result<()> {
    match new.form {
        Some(Form::File) => {
            let deployment = DeploymentId(signed.response.payload.sub);
            deployments::expect_reports(cx, deployment).await
        }
        _ => Ok(()),
    }
}

/// Writes a signed bundle, and returns it with the file or proof that the request names. The event
/// has the name of the operation.
pub async fn write(
    cx: &mut Cx,
    mut signed: SignedBundle,
    new: &NewBundle,
    operation: &'static str,
) -> Result<LicenseBundleResponse> {
    let is_file = new.form == Some(Form::File);
    store(cx, &[&signed]).await?;
    let seq = file_numbers::next(signed.file_seq, cx.now);
    if is_file {
        file_numbers::keep(cx, signed.license, signed.file_seq, seq).await?;
    }
    cx.audit.after = Some(signed.record());
    cx.audit.issued = Some(signed.issued());
    if is_file || new.proof.is_some() {
        // The proof comes after its event in the same transaction; the answer leaves after the
        // commit.
        let jti = signed.response.jti;
        record::record(cx, operation, Some(cx.at), ("bundle", jti.to_string())).await?;
        cx.audit.is_written = true;
        let included = proofs::in_transaction(&cx.app, &mut cx.tx, jti).await?;
        let extra = &mut signed.response.extra;
        if let Some(included) = &included {
            extra.insert("proof".into(), included.proof.clone().into());
        }
        if is_file {
            let text = files::of_bundle(cx, &signed, seq, included).await?;
            signed.response.extra.insert("file".into(), text.into());
            signed.response.extra.insert("seq".into(), seq.into());
        }
    }
    Ok(signed.response)
}

async fn read(cx: &mut Cx, id: BundleId) -> Result<Bundle> {
    let found = cx.tx.select("WHERE id = $1 AND organization_id = $2").bind(id).bind(cx.at);
    let bundle: Bundle = found.one().await?;
    Ok(bundle.at(cx.now))
}

async fn revoke(cx: &mut Cx, id: BundleId, why: Why) -> Result<Bundle> {
    let reason = why.reason.map(Explanation::into_string);
    cx.audit.reason.clone_from(&reason);
    let sql = "UPDATE bundles
               SET status = 'revoked', status_reason = $3, revoked_at = $4
               WHERE id = $1 AND organization_id = $2 AND status <> 'revoked'";
    let revoked = cx.tx.q(sql).bind(id).bind(cx.at).bind(reason).bind(cx.now).exec().await?;
    cx.counts.add(rows::REVOKED, revoked);
    status_lists::touch(cx, Of::Bundle(id)).await?;
    read(cx, id).await
}
