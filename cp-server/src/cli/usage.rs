//! `cp-server usage …`

use clap::Subcommand;
use serde_json::{Number, json};

use super::target::{Target, object_of, show};
use crate::config::Config;

#[derive(Subcommand)]
pub(super) enum Usage {
    /// Record the usage of a metric.
    Record {
        /// The ID or slug of the organization.
        org: String,
        metric: String,
        /// A decimal of at least 0, such as 1.5.
        quantity: Number,
        /// The unit; count by default.
        #[arg(long)]
        unit: Option<String>,
        /// The ID of the project.
        #[arg(long)]
        project: Option<String>,
        /// The ID of the run, chosen by the caller.
        #[arg(long)]
        run: Option<String>,
        /// The ID of the deployment.
        #[arg(long)]
        deployment: Option<String>,
        /// When the usage happened, such as 2026-01-31T12:00:00Z; now by default.
        #[arg(long)]
        at: Option<String>,
        /// Usage with the same key is recorded once.
        #[arg(long)]
        key: Option<String>,
        /// Refuse usage that would exceed a limit.
        #[arg(long)]
        enforce: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Sum up usage by metric and unit.
    Summary {
        /// The ID or slug of the organization.
        org: String,
        /// Usage at or after this instant, such as 2026-01-31T12:00:00Z.
        #[arg(long)]
        since: Option<String>,
        /// Usage at or before this instant.
        #[arg(long)]
        until: Option<String>,
        /// Only usage of this project.
        #[arg(long)]
        project: Option<String>,
        /// The grouping: project, day or hour.
        #[arg(long)]
        group_by: Option<String>,
        #[command(flatten)]
        target: Target,
    },
}

pub(super) async fn run(config: &Config, usage: Usage) -> anyhow::Result<()> {
    match usage {
        Usage::Record {
            org,
            metric,
            quantity,
            unit,
            project,
            run,
            deployment,
            at,
            key,
            enforce,
            target,
        } => {
            let args = json!({
                "org": org, "metric": metric, "quantity": quantity, "unit": unit,
                "project_id": project, "run_id": run, "deployment_id": deployment,
                "observed_at": at, "idempotency_key": key, "mode": enforce.then_some("enforce"),
            });
            show(config, &target, "usage.record", object_of(args)).await
        }
        Usage::Summary { org, since, until, project, group_by, target } => {
            let args = json!({
                "org": org, "since": since, "until": until, "project": project,
                "group_by": group_by,
            });
            show(config, &target, "usage.summarize", object_of(args)).await
        }
    }
}
