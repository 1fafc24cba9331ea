//! `cp-server usage …`

use clap::Subcommand;
use serde_json::{Number, json};

use super::target::{Target, object_of, show};
use crate::config::Config;

#[derive(Subcommand)]
pub(super) enum Usage {
    /// Record that so much of a metric was used.
    Record {
        /// The organization's id or slug.
        org: String,
        metric: String,
        /// A decimal of at least 0, such as 1.5.
        quantity: Number,
        /// count when absent.
        #[arg(long)]
        unit: Option<String>,
        /// The project's id.
        #[arg(long)]
        project: Option<String>,
        /// The run's id, in the caller's own words.
        #[arg(long)]
        run: Option<String>,
        /// The deployment's id.
        #[arg(long)]
        deployment: Option<String>,
        /// When it was used, such as 2026-01-31T12:00:00Z; now when absent.
        #[arg(long)]
        at: Option<String>,
        /// Usage with the same key is recorded once.
        #[arg(long)]
        key: Option<String>,
        /// Refuse it when it would go beyond a limit.
        #[arg(long)]
        enforce: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Add up usage by metric and unit.
    Summary {
        /// The organization's id or slug.
        org: String,
        /// From this instant on.
        #[arg(long)]
        since: Option<String>,
        /// Up to this instant, included.
        #[arg(long)]
        until: Option<String>,
        /// This project's usage only.
        #[arg(long)]
        project: Option<String>,
        /// project, day or hour.
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
