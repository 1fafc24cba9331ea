//! How many requests an organization makes in a minute, against its quota.
//!
//! # Design
//! Counted in memory, by each replica for itself: a counter in the database would make a write of
//! every read. The window begins with its first request and ends a minute later.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::quotas::Metric;

use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::rate_limits::LimitStatus;
use crate::kernel::app::{Admit, AdmitFuture, App};
use crate::kernel::cache::Cache;
use crate::kernel::error::Result;

const WINDOW: u32 = 60;
/// Windows that are kept; those that are over go when there are more.
const AT_MOST: usize = 10_000;

#[derive(Default)]
pub struct RequestRates {
    windows: Mutex<HashMap<OrganizationId, Window>>,
    limits: Cache<OrganizationId, Option<i64>>,
}

struct Window {
    ends: DateTime<Utc>,
    used: i64,
}

impl Admit for RequestRates {
    fn admit<'a>(&'a self, app: &'a App, organization: OrganizationId) -> AdmitFuture<'a> {
        Box::pin(async move {
            let now = app.clock.now();
            let limit = self.limit(app, organization, now).await?;
            Ok(limit.map(|limit| self.count(organization, limit, 1, now)))
        })
    }

    fn charge<'a>(
        &'a self,
        app: &'a App,
        organization: OrganizationId,
        more: i64,
    ) -> AdmitFuture<'a> {
        Box::pin(async move {
            let now = app.clock.now();
            let limit = self.limit(app, organization, now).await?;
            Ok(limit.map(|limit| self.count(organization, limit, more, now)))
        })
    }
}

impl RequestRates {
    async fn limit(
        &self,
        app: &App,
        organization: OrganizationId,
        now: DateTime<Utc>,
    ) -> Result<Option<i64>> {
        let generation = app.rights.now();
        if let Some(limit) = self.limits.recall(&organization, generation, now) {
            return Ok(limit);
        }
        let sql = "SELECT quantity FROM quotas WHERE organization_id = $1 AND metric = $2";
        let mut tx = app.db.read();
        let found = tx.q(sql).bind(organization).bind(Metric::RequestsPerMinute).value().await?;
        // An organization that was purged since is refused by what follows.
        let limit = found.unwrap_or(Some(Metric::RequestsPerMinute.least()));
        let until = now + TimeDelta::seconds(WINDOW.into());
        self.limits.keep(organization, limit, generation, until);
        Ok(limit)
    }

    /// Counts as many requests, or none where there is room for none.
    fn count(
        &self,
        organization: OrganizationId,
        limit: i64,
        requests: i64,
        now: DateTime<Utc>,
    ) -> LimitStatus {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= AT_MOST {
            windows.retain(|_, window| now < window.ends);
        }
        let begin = || Window { ends: now + TimeDelta::seconds(WINDOW.into()), used: 0 };
        let window = windows.entry(organization).or_insert_with(begin);
        if window.ends <= now {
            *window = begin();
        }
        let room = window.used < limit;
        if room {
            window.used = window.used.saturating_add(requests).min(limit);
        }
        let millis = (window.ends - now).num_milliseconds();
        LimitStatus {
            metric: Metric::RequestsPerMinute.as_str(),
            limit,
            window: WINDOW,
            remaining: room.then_some(limit - window.used),
            // Rounded up: whoever waits that long finds the window new.
            resets_in: u32::try_from((millis + 999) / 1000).unwrap_or(WINDOW),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the pauses are: a window admits as many as the limit, and the next one again.
        #[test]
        fn no_window_admits_more_than_its_limit(
            limit in 0_i64..20,
            pauses in prop::collection::vec(0_i64..20_000, 1..200),
        ) {
            let rates = RequestRates::default();
            let organization = OrganizationId(uuid::Uuid::nil());
            let mut now = DateTime::UNIX_EPOCH;
            let (mut ends, mut admitted) = (now, 0);
            for pause in pauses {
                now += TimeDelta::milliseconds(pause);
                if ends <= now {
                    (ends, admitted) = (now + TimeDelta::seconds(60), 0);
                }
                let standing = rates.count(organization, limit, 1, now);
                admitted += i64::from(standing.remaining.is_some());
                prop_assert!(admitted <= limit);
                prop_assert_eq!(standing.remaining.is_some(), standing.remaining == Some(limit - admitted));
                prop_assert!((1..=60).contains(&standing.resets_in));
            }
        }
    }
}
