//! The settings of logins: which providers are trusted, and how long sessions last.

use chrono::TimeDelta;

use super::oidc::fetch::FetchSettings;
use super::oidc::provider::Provider;
use crate::kernel::app::Part;

/// How people log in.
#[derive(Clone, Debug, Default)]
pub struct IdentitySettings {
    /// The identity providers of the platform.
    pub providers: Vec<Provider>,
    pub fetch: FetchSettings,
    pub session: SessionSettings,
}

impl Part for IdentitySettings {}

/// How long sessions last.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    pub ttl: TimeDelta,
    /// Without a request.
    pub idle: TimeDelta,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self { ttl: TimeDelta::hours(12), idle: TimeDelta::hours(1) }
    }
}
