//! Usage reports: the counters of a data plane without a network, imported from a file.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use cp_contracts::{ProblemCode, UsageReport as Report};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::deployments;
use crate::kernel::access::ids::{DeploymentId, OrganizationId};
use crate::kernel::db::Conn;
use crate::kernel::db::record::Any;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Resource;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json;
use crate::kernel::http::page::{List, NoFilter, Page};
use crate::kernel::secret::{hex, sha256};
use crate::kernel::section::Section;
use crate::licensing::ids::LicenseId;

crate::ids! {
    UsageReportId, "usage report" of usage_reports.organization_id;
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "usage_reports",
    "usage report",
    Export::Section(Section::many::<UsageReport>("usage_reports")),
);

crate::routes! {
    /// The counters of data planes without a network, imported from files.
    usage_reports declares DECLARATION:
    /// Lists the usage reports of a deployment, newest first.
    GET "/deployments/{id}/usage-reports" DEPLOYMENTS_READ => list;
    /// Returns a usage report.
    GET "/usage-reports/{id}" DEPLOYMENTS_READ => read;
}

crate::record! {
    /// An imported usage report.
    UsageReport in usage_reports {
        id: UsageReportId,
        organization_id: OrganizationId,
        deployment_id: DeploymentId,
        /// The number of the report, which grows with every report of the deployment.
        sequence: i64,
        /// SHA-256 of the file, hexadecimal.
        report_hash: String,
        /// The content of the file.
        report: Any,
        received_at: DateTime<Utc>,
    }
}

impl Resource for UsageReport {
    const NOUN: &'static str = "usage report";
    const PATH: &'static str = "usage-reports";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportFile {
    /// The content of the report file, byte for byte.
    file: String,
}

/// The counters of a report as its file writes them. A double would lose some of their digits.
pub type Counters = BTreeMap<String, Box<RawValue>>;

#[derive(Deserialize)]
struct Written {
    counters: Counters,
}

/// Returns the log checkpoint that a deployment reported last.
pub async fn checkpoint_seen(tx: &mut Conn, id: DeploymentId) -> Result<Option<String>> {
    let tail = "WHERE deployment_id = $1 ORDER BY sequence DESC LIMIT 1";
    let last: Option<UsageReport> = tx.select(tail).bind(id).opt().await?;
    Ok(last.and_then(|last| last.report["checkpoint"].as_str().map(str::to_owned)))
}

/// Returns the last report of a deployment, if it is about this license.
pub async fn last_of(
    tx: &mut Conn,
    deployment: DeploymentId,
    license: LicenseId,
) -> Result<Option<Report>> {
    let tail = "WHERE deployment_id = $1 ORDER BY sequence DESC LIMIT 1";
    let last: Option<UsageReport> = tx.select(tail).bind(deployment).opt().await?;
    let report = last.map(|last| Report::deserialize(&*last.report)).transpose();
    Ok(report.map_err(Error::internal)?.filter(|report| report.license_id == license.0))
}

async fn list(cx: &mut Cx, id: DeploymentId, list: List<NoFilter>) -> Result<Page<UsageReport>> {
    let query = cx.tx.select("WHERE deployment_id = $1 AND organization_id = $2");
    list.page(query.bind(id).bind(cx.at)).await
}

async fn read(cx: &mut Cx, id: UsageReportId) -> Result<UsageReport> {
    Ok(cx.tx.select("WHERE id = $1 AND organization_id = $2").bind(id).bind(cx.at).one().await?)
}

/// Imports a report: each once, and in order. The caller records its counters as usage.
pub async fn take_in(
    cx: &mut Cx,
    id: DeploymentId,
    file: ReportFile,
) -> Result<(UsageReport, Report, Counters)> {
    let refused = |error: Error| Error::invalid("file", format!("`file`: {}", error.detail()));
    let report: Report = json::read(file.file.as_bytes()).map_err(refused)?;
    let written: Written = serde_json::from_str(&file.file).map_err(Error::internal)?;
    if report.deployment_id != id.0 {
        let detail = format!(
            "`file` must be a report of deployment {id} (got one of {}).",
            report.deployment_id
        );
        return Err(Error::invalid("file", detail));
    }
    // Locks the deployment's row, so that two files are imported one after the other.
    deployments::seen(cx, id).await?;
    check_license(cx, &report).await?;
    check_order(cx, id, &report).await?;
    let sql = "INSERT INTO usage_reports
               (id, organization_id, deployment_id, sequence, report_hash, report, received_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let insert = cx
        .tx
        .returning(sql)
        .bind(UsageReportId::new(&cx.app.random, cx.now))
        .bind(cx.at)
        .bind(id)
        .bind(report.sequence)
        .bind(hex(&sha256(file.file.as_bytes())))
        .bind(Any::bounded("file", serde_json::to_value(&report).map_err(Error::internal)?)?)
        .bind(cx.now);
    Ok((insert.one().await?, report, written.counters))
}

async fn check_license(cx: &mut Cx, report: &Report) -> Result<()> {
    // The license may have been transferred since; the report names the license of the usage.
    let sql = "SELECT 1 FROM licenses WHERE id = $1 AND organization_id = $2";
    let license = LicenseId(report.license_id);
    if cx.tx.q(sql).bind(license).bind(cx.at).value::<i32>().await?.is_some() {
        return Ok(());
    }
    let detail = format!("`file` names license {license}, which the organization does not have.");
    Err(Error::invalid("file", detail))
}

/// Refuses a repeated report, and one that does not continue the previous report.
async fn check_order(cx: &mut Cx, id: DeploymentId, report: &Report) -> Result<()> {
    let sql = "SELECT sequence, report_hash FROM usage_reports
               WHERE deployment_id = $1 AND organization_id = $2 ORDER BY sequence DESC LIMIT 1";
    let last: Option<(i64, String)> = cx.tx.q(sql).bind(id).bind(cx.at).opt().await?;
    let Some((last, hash)) = last else { return Ok(()) };
    if report.sequence <= last {
        let detail = format!(
            "The report must have a sequence above {last}, the last imported one (got {}). It is old or a \
             repetition.",
            report.sequence
        );
        let error = Error::new(ProblemCode::ReportReplayed, detail);
        return Err(error.with("last_sequence", last));
    }
    if report.sequence == last + 1
        && report.previous.as_deref().is_some_and(|claimed| claimed != hash)
    {
        let detail = "The report does not continue the last imported one: one of the two is not what \
                      the data plane wrote.";
        return Err(Error::conflict(detail));
    }
    Ok(())
}
