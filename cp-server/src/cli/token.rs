//! `cp-server token …`

use clap::{Args, Subcommand};
use serde_json::{Map, json};

use super::target::{Target, object_of, show};
use crate::config::Config;

#[derive(Subcommand)]
pub(super) enum Token {
    /// Create a service token. It is printed once.
    Create {
        name: String,
        /// A permission such as licenses:issue; `*` for all. May be repeated. By default, the token
        /// of a deployment has the permissions that a data plane needs.
        #[arg(long = "permission", required_unless_present = "deployment")]
        permissions: Vec<String>,
        /// The expiry, such as 2027-01-31T00:00:00Z. By default, the token does not expire.
        #[arg(long)]
        expires_at: Option<String>,
        #[command(flatten)]
        scope: TokenScope,
        #[command(flatten)]
        target: Target,
    },
    /// List service tokens.
    List {
        /// List only tokens that are still valid.
        #[arg(long)]
        active: bool,
        #[command(flatten)]
        scope: TokenScope,
        #[command(flatten)]
        target: Target,
    },
    /// Replace the secret of a token. The new one is printed once.
    Rotate {
        id: String,
        /// How many seconds the old secret remains valid.
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
    /// Show the identity of a token, its permissions, and their origin.
    Whoami(Target),
}

/// The restriction of a token; the platform by default.
#[derive(Args)]
pub(super) struct TokenScope {
    /// The ID or slug of an organization.
    #[arg(long, conflicts_with = "deployment")]
    organization: Option<String>,
    /// The ID of a deployment.
    #[arg(long)]
    deployment: Option<String>,
}

impl TokenScope {
    /// Returns the operation for this restriction, and its path parameters.
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
