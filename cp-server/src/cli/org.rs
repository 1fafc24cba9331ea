//! `cp-server org …` and `cp-server member …`

use clap::Subcommand;
use serde_json::json;

use super::target::{Target, object_of, show};
use crate::config::Config;

#[derive(Subcommand)]
pub(super) enum Org {
    /// Create an organization with its subscription, its quotas and its owner.
    Create {
        name: String,
        /// By default, derived from the name.
        #[arg(long)]
        slug: Option<String>,
        /// The owner: the ID or e-mail address of a user.
        #[arg(long)]
        owner: Option<String>,
        /// The plan; free by default.
        #[arg(long)]
        plan: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Show an organization.
    Show {
        /// The ID or slug of the organization.
        org: String,
        #[command(flatten)]
        target: Target,
    },
    /// Show the quotas of an organization, or check whether an amount of one metric fits.
    Quota {
        /// The ID or slug of the organization.
        org: String,
        /// The metric, such as members or storage_bytes.
        metric: Option<String>,
        /// The additional amount to check.
        #[arg(long, requires = "metric")]
        amount: Option<i64>,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Subcommand)]
pub(super) enum Member {
    /// Add a person to an organization.
    Add {
        /// The ID or slug of the organization.
        org: String,
        /// An unknown address creates a user.
        email: String,
        /// The role: admin, member, viewer, or a role of the organization.
        #[arg(long, default_value = "member")]
        role: String,
        /// A permission beyond the role. May be repeated.
        #[arg(long = "permission")]
        permissions: Vec<String>,
        #[command(flatten)]
        target: Target,
    },
    /// List the members of an organization.
    List {
        /// The ID or slug of the organization.
        org: String,
        /// The status: active, invited or suspended.
        #[arg(long)]
        status: Option<String>,
        #[command(flatten)]
        target: Target,
    },
}

pub(super) async fn run(config: &Config, org: Org) -> anyhow::Result<()> {
    match org {
        Org::Create { name, slug, owner, plan, target } => {
            let args = json!({"name": name, "slug": slug, "owner": owner, "plan_code": plan});
            show(config, &target, "organizations.create", object_of(args)).await
        }
        Org::Show { org, target } => {
            show(config, &target, "organizations.read", object_of(json!({"org": org}))).await
        }
        Org::Quota { org, metric: None, target, .. } => {
            show(config, &target, "quotas.list", object_of(json!({"org": org}))).await
        }
        Org::Quota { org, metric, amount, target } => {
            let args = json!({"org": org, "metric": metric, "amount": amount});
            show(config, &target, "quotas.check", object_of(args)).await
        }
    }
}

pub(super) async fn run_member(config: &Config, member: Member) -> anyhow::Result<()> {
    match member {
        Member::Add { org, email, role, permissions, target } => {
            let args =
                json!({"org": org, "email": email, "role": role, "permissions": permissions});
            show(config, &target, "memberships.create", object_of(args)).await
        }
        Member::List { org, status, target } => {
            let args = json!({"org": org, "status": status});
            show(config, &target, "memberships.list", object_of(args)).await
        }
    }
}
