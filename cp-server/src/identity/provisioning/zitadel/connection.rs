//! The connection of a run to a provider: its address, its credentials, and the time that is left.

use std::time::{Duration, Instant};

use axum::http::{Request, StatusCode};
use chrono::{DateTime, TimeDelta, Utc};

use super::failures::Failure;
use crate::identity::oidc::discovery::{Discoveries, Source};
use crate::identity::providers::management::Access;
use crate::kernel::app::{App, Part};
use crate::kernel::outbound::{Fetched, Unanswered};

/// The time in which a run may begin calls. A request ends after 30 seconds.
const TIME: TimeDelta = TimeDelta::seconds(20);
/// The longest time for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The number of attempts of a call.
const ATTEMPTS: u32 = 3;
/// The wait before the second attempt; it doubles.
const WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The management API of a provider.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub access: Access,
    /// The issuer, whose metadata name the token endpoint.
    pub source: Source,
}

impl Endpoint {
    /// Returns the base URL, without a trailing slash.
    pub fn base_url(&self) -> &str {
        let own = self.access.settings.url.as_ref().map(|url| url.as_str());
        own.unwrap_or(&self.source.issuer).trim_end_matches('/')
    }
}

/// The connection of one run.
pub struct Connection<'r> {
    pub app: &'r App,
    pub endpoint: &'r Endpoint,
    until: DateTime<Utc>,
    /// The clock of the server may be set back during the run.
    began: Instant,
}

impl<'r> Connection<'r> {
    pub fn new(app: &'r App, endpoint: &'r Endpoint) -> Self {
        Self { app, endpoint, until: app.clock.now() + TIME, began: Instant::now() }
    }

    /// Waits before a list is read again, because the provider's lists lag behind its changes.
    pub async fn wait_for_lists(&self, attempt: u32) {
        tokio::time::sleep(WAIT * 2_u32.pow(attempt)).await;
    }

    /// Sends a request, again while the provider is busy or breaks the connection.
    pub async fn send(&self, request: Request<String>) -> Result<Fetched, Failure> {
        let fetcher = &Discoveries::of(self.app).fetcher;
        let chosen_by = self.endpoint.source.chosen_by;
        let mut wait = WAIT;
        for attempt in 1.. {
            if self.app.clock.now() >= self.until || self.began.elapsed() >= seconds(TIME) {
                return Err(Failure::OutOfTime);
            }
            let asked = fetcher.send(request.clone(), chosen_by);
            let answered = tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
                let why = format!("no answer within {} seconds", PATIENCE.as_secs());
                Err(Unanswered { why, is_broken: false })
            });
            let pause = match &answered {
                Ok(fetched) if is_busy(fetched.status) => Some(fetched.retry_after.unwrap_or(wait)),
                Err(unanswered) if unanswered.is_broken => Some(wait),
                _ => None,
            };
            match pause.filter(|_| attempt < ATTEMPTS) {
                Some(pause) => tokio::time::sleep(pause.min(LONGEST_WAIT)).await,
                None => {
                    return answered.map_err(|unanswered| Failure::of(None, None, &unanswered.why));
                }
            }
            wait *= 2;
        }
        unreachable!("the last attempt returns")
    }
}

fn is_busy(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

fn seconds(time: TimeDelta) -> Duration {
    time.to_std().unwrap_or_default()
}
