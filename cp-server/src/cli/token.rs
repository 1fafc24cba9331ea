//! `cp-server token …`

use clap::{Args, Subcommand};
use serde_json::{Map, json};

use super::target::{Target, object_of, show};
use crate::config::Config;

#[derive(Subcommand)]
pub(super) enum Token {
    /// Create a service token; it is printed once.
    Create {
        name: String,
        /// Such as licenses:issue; `*` for all. May be repeated; a deployment's token has what a
        /// data plane needs when it is left out.
        #[arg(long = "permission", required_unless_present = "deployment")]
        permissions: Vec<String>,
        /// Until when it works, such as 2027-01-31T00:00:00Z; for ever when absent.
        #[arg(long)]
        expires_at: Option<String>,
        #[command(flatten)]
        scope: TokenScope,
        #[command(flatten)]
        target: Target,
    },
    /// List service tokens.
    List {
        /// Only those that still work.
        #[arg(long)]
        active: bool,
        #[command(flatten)]
        scope: TokenScope,
        #[command(flatten)]
        target: Target,
    },
    /// Replace a token's secret; the new one is printed once.
    Rotate {
        id: String,
        /// For how many seconds more the old one works.
        #[arg(long, default_value_t = 0)]
        overlap_seconds: u32,
        #[command(flatten)]
        target: Target,
    },
    /// Revoke a service token.
    Revoke {
        id: String,
        #[command(flatten)]
        target: Target,
    },
    /// Tell who a token is, what it may do, and by what.
    Whoami(Target),
}

/// What a token is held to; the platform when nothing is named.
#[derive(Args)]
pub(super) struct TokenScope {
    /// An organization's id or slug.
    #[arg(long, conflicts_with = "deployment")]
    organization: Option<String>,
    /// A deployment's id.
    #[arg(long)]
    deployment: Option<String>,
}

impl TokenScope {
    /// The one of three operations that is meant, with its path.
    fn choose(
        self,
        [all, org, deployment]: [&'static str; 3],
    ) -> (&'static str, serde_json::Value) {
        match (self.organization, self.deployment) {
            (Some(slug), _) => (org, json!({"org": slug})),
            (_, Some(id)) => (deployment, json!({"id": id})),
            _ => (all, json!({})),
        }
    }
}

pub(super) async fn run(config: &Config, token: Token) -> anyhow::Result<()> {
    match token {
        Token::Create { name, permissions, expires_at, scope, target } => {
            let (operation, path) = scope.choose([
                "service_tokens.create_for_platform",
                "service_tokens.create",
                "service_tokens.create_for_deployment",
            ]);
            let permissions = (!permissions.is_empty()).then_some(permissions);
            let mut args = object_of(path);
            args.extend(object_of(json!({
                "name": name, "permissions": permissions, "expires_at": expires_at,
            })));
            show(config, &target, operation, args).await
        }
        Token::List { active, scope, target } => {
            let (operation, path) = scope.choose([
                "service_tokens.list_all",
                "service_tokens.list",
                "service_tokens.list_for_deployment",
            ]);
            let mut args = object_of(path);
            args.extend(object_of(json!({"active": active.then_some(true)})));
            show(config, &target, operation, args).await
        }
        Token::Rotate { id, overlap_seconds, target } => {
            let args = object_of(json!({"id": id, "overlap_seconds": overlap_seconds}));
            show(config, &target, "service_tokens.rotate", args).await
        }
        Token::Revoke { id, target } => {
            show(config, &target, "service_tokens.revoke", object_of(json!({"id": id}))).await
        }
        Token::Whoami(target) => show(config, &target, "me.read", Map::new()).await,
    }
}
