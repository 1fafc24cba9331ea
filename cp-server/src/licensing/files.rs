//! License files, for data planes without a network.
//!
//! One signed file contains the token, the keys, the status list and the proof that the token is in
//! the log. A refresh file contains the keys and the list only. The file's number grows with every
//! file of the license, and a data plane accepts no older file ([`file_numbers`]).

use chrono::{DateTime, Utc};
use cp_contracts::{CONTRACT_VERSION, LICENSE_FILE_TYP, LicenseFileClaims};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, json};

use super::bundles::rows as bundles;
use super::issuance::{self, SignedBundle};
use super::keys::signer::compact;
use super::licenses::file_numbers;
use super::status_lists::{self, signing};
use super::usage_reports;
use crate::audit::proofs::Inclusion;
use crate::audit::{Log, checkpoints, proofs};
use crate::kernel::access::ids::DeploymentId;
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{Created, Resource};
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::LicenseId;
use crate::licensing::keys::keyring::Keyring;
use crate::licensing::keys::signer::SignerPool;

crate::routes! { licenses:
    /// Signs a refresh file: the keys and the status list for a data plane without a network that
    /// already has its token.
    ///
    /// A suspended or revoked license has refresh files too: the file carries that status.
    POST "/licenses/{id}/refresh" LICENSES_ISSUE => refresh, own_transaction, harmless, machine;
}

/// A file of a license.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LicenseFile {
    license_id: LicenseId,
    deployment_id: DeploymentId,
    /// The number of the file, which grows with every file of the license. A data plane refuses a
    /// file that is older than its last one.
    seq: i64,
    issued_at: DateTime<Utc>,
    /// The file: one signed line.
    file: String,
}

impl Resource for LicenseFile {
    const NOUN: &'static str = "license file";
    const PATH: &'static str = "licenses";
    fn name(&self) -> String {
        self.license_id.to_string()
    }
}

async fn refresh(cx: &mut Cx, id: LicenseId) -> Result<Created<LicenseFile>> {
    let facts = issuance::facts(cx, id).await?;
    let list = bundles::newest_list(cx, id).await?.ok_or_else(|| {
        Error::conflict(
            "The license has no bundle with a status list entry. Issue one with form=file first.",
        )
    })?;
    let (last, deployment) = (facts.file_seq, facts.deployment_id);
    let seq = file_numbers::next(last, cx.now);
    // Connections for reading are scarce, and the following code takes its own.
    cx.release();
    Keyring::of(&cx.app).refresh(&cx.app).await.map_err(Error::internal)?;
    let checkpoint = checkpoints::current(&cx.app).await?.note;
    let mut tx = cx.app.db.read();
    let consistency = consistency(&cx.app, &mut tx, deployment, &checkpoint).await?;
    drop(tx);
    // Before the file's own transaction, to keep that transaction short.
    let mut tx = cx.app.db.begin().await?;
    let list = signing::for_file(&cx.app, &mut tx, list, cx.now).await?;
    tx.commit().await?;
    let subject = Subject { license: id, deployment, list, seq };
    let contents =
        FileContents { token: None, checkpoint: Some(checkpoint), consistency, proof: None };
    let text = sign(cx, subject, contents).await?;
    cx.begin().await?;
    file_numbers::keep(cx, id, last, seq).await?;
    cx.audit.after = Some(json!({"license_id": id, "seq": seq, "issued_at": cx.now}));
    Ok(Created(LicenseFile {
        license_id: id,
        deployment_id: deployment,
        seq,
        issued_at: cx.now,
        file: text,
    }))
}

/// Returns the file with a new bundle's token, and the proof that the token is in the log.
pub async fn of_bundle(
    cx: &mut Cx,
    signed: &SignedBundle,
    seq: i64,
    included: Option<Inclusion>,
) -> Result<String> {
    let bundle = &signed.response;
    let entry = bundle.payload.status.as_ref().and_then(|s| status_lists::place(&s.status_list));
    let (list, _) = entry.ok_or_else(|| Error::not_found("status list"))?;
    let list = signing::for_file(&cx.app, &mut cx.tx, list, cx.now).await?;
    let deployment = DeploymentId(bundle.payload.sub);
    let subject = Subject { license: signed.license, deployment, list, seq };
    let (proof, checkpoint) = included.map(|i| (i.proof, i.checkpoint)).unzip();
    let consistency = match &checkpoint {
        Some(checkpoint) => consistency(&cx.app, &mut cx.tx, deployment, checkpoint).await?,
        None => None,
    };
    let contents =
        FileContents { token: Some(bundle.token.clone()), checkpoint, consistency, proof };
    sign(cx, subject, contents).await
}

/// The license and the deployment of a file.
struct Subject {
    license: LicenseId,
    deployment: DeploymentId,
    list: signing::SignedList,
    seq: i64,
}

/// The contents of a file besides the keys and the list.
struct FileContents {
    token: Option<String>,
    checkpoint: Option<String>,
    consistency: Option<String>,
    proof: Option<String>,
}

/// Returns the proof that the log of a checkpoint begins with the log that the data plane reported
/// last; the data plane cannot fetch it. `None` without a report, and for a checkpoint of another
/// log.
async fn consistency(
    app: &App,
    tx: &mut Conn,
    deployment: DeploymentId,
    checkpoint: &str,
) -> Result<Option<String>> {
    let seen = usage_reports::checkpoint_seen(tx, deployment).await?;
    let key = Log::of(app).key(app, tx).await?;
    let seen = seen.and_then(|seen| key.read_kept(&seen).ok());
    let current = key.read(checkpoint).map_err(Error::internal)?;
    let Some(seen) = seen.filter(|seen| seen.size <= current.size) else { return Ok(None) };
    let path = proofs::consistency(tx, seen.size, current.size).await?;
    let lines: String = path.iter().map(|hash| format!("{hash}\n")).collect();
    Ok(Some(format!("old {}\n{lines}", seen.size)))
}

/// Signs a file with the keys of this replica, which the caller has refreshed. A file that lacks a
/// key of an earlier file withdraws that key.
async fn sign(cx: &mut Cx, subject: Subject, contents: FileContents) -> Result<String> {
    let app = &cx.app;
    let list = subject.list;
    let claims = LicenseFileClaims {
        iss: app.settings.base_url.clone(),
        sub: subject.deployment.0,
        license_id: subject.license.0,
        seq: subject.seq,
        // The list may be ahead of a clock that was set back, and a file is not older than its
        // list.
        iat: cx.now.timestamp().max(list.iat),
        token: contents.token,
        jwks: Keyring::of(app).published(),
        status_list: Some(list.token),
        key_chain: Keyring::of(app).chain(),
        checkpoint: contents.checkpoint,
        consistency: contents.consistency,
        proof: contents.proof,
        contract: CONTRACT_VERSION.parse().map_err(Error::internal)?,
        extra: Map::new(),
    };
    let payload = serde_json::to_vec(&claims).map_err(Error::internal)?;
    let on = app.clone();
    let text = SignerPool::of(app).run(move || {
        let signer = Keyring::of(&on).active()?;
        compact(signer.as_ref(), LICENSE_FILE_TYP, &payload)
    });
    text.await
}
