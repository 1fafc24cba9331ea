//! The life of the tokens that data planes renew: the license's, else the subscription's, else the
//! plan's, else the server's setting.

use schemars::JsonSchema;
use serde::Serialize;

use super::issuance::TokenSettings;
use super::leases::settings::SettingSource;
use crate::kernel::app::{App, Part};
use crate::kernel::http::json::Between;

/// The life of a token in seconds, from one hour to 400 days.
pub type TokenTtl = Between<3600, 34_560_000>;

/// What each level sets.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct TtlLevels {
    #[sqlx(rename = "plan_token_ttl")]
    pub plan: Option<i64>,
    #[sqlx(rename = "subscription_token_ttl")]
    pub subscription: Option<i64>,
    #[sqlx(rename = "license_token_ttl")]
    pub license: Option<i64>,
}

/// The life of tokens, with the level that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ExplainedTtl {
    pub value: i64,
    pub from: SettingSource,
}

impl TtlLevels {
    pub fn explained(&self, app: &App) -> ExplainedTtl {
        let levels = [
            (self.license, SettingSource::License),
            (self.subscription, SettingSource::Subscription),
            (self.plan, SettingSource::Plan),
        ];
        let set = levels.into_iter().find_map(|(ttl, from)| Some((ttl?, from)));
        let default = || (TokenSettings::of(app).ttl.num_seconds(), SettingSource::Default);
        let (value, from) = set.unwrap_or_else(default);
        ExplainedTtl { value, from }
    }
}
