//! The term of a license, within that of its subscription.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::kernel::error::{Error, Result};

/// Refuses a term that ends before it begins, or after the subscription.
pub(super) fn check_end(
    valid_from: DateTime<Utc>,
    valid_until: Option<DateTime<Utc>>,
    subscription_ends_at: Option<DateTime<Utc>>,
) -> Result<()> {
    let Some(end) = valid_until else {
        return match subscription_ends_at {
            None => Ok(()),
            Some(last) => Err(Error::invalid(
                "valid_until",
                format!(
                    "`valid_until` is required: the subscription ends at {}, so the license must \
                     end by then.",
                    text(last)
                ),
            )),
        };
    };
    if end <= valid_from {
        return Err(Error::invalid(
            "valid_until",
            "`valid_until` must be later than `valid_from`.",
        ));
    }
    if let Some(last) = subscription_ends_at.filter(|last| end > *last) {
        let detail =
            format!("`valid_until` must be at most the subscription's end, {}.", text(last));
        return Err(Error::invalid("valid_until", detail));
    }
    Ok(())
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
