//! The settings of logins: the trusted providers and the lifetime of sessions.

use chrono::TimeDelta;

use super::oidc::provider::Provider;
use crate::kernel::app::Part;
use crate::kernel::outbound::FetchSettings;

/// The settings of logins.
#[derive(Clone, Debug, Default)]
pub struct IdentitySettings {
    /// The identity providers of the platform.
    pub providers: Vec<Provider>,
    pub fetch: FetchSettings,
    pub session: SessionSettings,
}

impl Part for IdentitySettings {}

/// Whether the server has the console, and accepts the sessions of links to it.
#[derive(Clone, Copy, Debug)]
pub struct ConsoleSettings {
    pub is_enabled: bool,
}

impl Part for ConsoleSettings {}

impl Default for ConsoleSettings {
    fn default() -> Self {
        Self { is_enabled: true }
    }
}

/// The lifetime of sessions.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    pub ttl: TimeDelta,
    /// The longest time without a request.
    pub idle: TimeDelta,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self { ttl: TimeDelta::hours(12), idle: TimeDelta::hours(1) }
    }
}
