//! The settings of webhooks.

use crate::kernel::outbound::FetchSettings;

/// The permitted destinations of webhooks.
#[derive(Clone, Debug, Default)]
pub struct WebhookSettings(pub FetchSettings);
