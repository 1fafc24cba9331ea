//! The seats of licenses in relation to those of their subscription.

use cp_contracts::ProblemCode;
use serde::Serialize;

use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::{LicenseId, SubscriptionId};

/// The treatment of licenses whose own seats are above those of their subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnSeats {
    /// Refuses the change of the subscription.
    Refuse,
    /// Issues their tokens with the subscription's seats.
    Cap,
    /// Keeps their own seats.
    Allow,
    /// Lowers their own seats to the subscription's.
    Lower,
}

/// A license with more seats of its own than its subscription has.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub struct AboveCap {
    pub license_id: LicenseId,
    pub seat_cap: i64,
}

/// Refuses own seats above those of the subscription, unless more are allowed.
pub(super) fn check_seats(own: Option<i64>, subscribed: i64, allowed: bool) -> Result<()> {
    match own {
        Some(own) if own > subscribed && !allowed => {
            let detail = format!(
                "`seat_cap` must be at most the subscription's {subscribed} (got {own}). Send \
                 `allow_more_seats: true` to permit more."
            );
            Err(Error::invalid("seat_cap", detail))
        }
        _ => Ok(()),
    }
}

/// The maximum number of licenses that a refusal or an answer names.
const MOST_NAMED: i64 = 500;

/// Returns the licenses of the subscription whose own seats are above the cap and not permitted.
pub async fn above<G>(
    cx: &mut Cx<G>,
    subscription: SubscriptionId,
    cap: i64,
) -> Result<Vec<AboveCap>> {
    let sql = "SELECT id AS license_id, seat_cap FROM licenses
               WHERE subscription_id = $1 AND seat_cap > $2 AND NOT allow_more_seats
                 AND status <> 'revoked'
               ORDER BY id LIMIT $3";
    Ok(cx.tx.q(sql).bind(subscription).bind(cap).bind(MOST_NAMED).all().await?)
}

/// Adapts the licenses of a subscription whose seats were reduced.
///
/// # Errors
/// Fails with 409 `in_use` and the licenses, when the change is to be refused.
pub async fn settle(
    cx: &mut Cx,
    subscription: SubscriptionId,
    cap: i64,
    own: OwnSeats,
) -> Result<()> {
    let sql = match own {
        OwnSeats::Cap => return Ok(()),
        OwnSeats::Refuse => {
            let above = above(cx, subscription, cap).await?;
            return if above.is_empty() { Ok(()) } else { Err(refusal(cap, above)) };
        }
        OwnSeats::Allow => {
            "UPDATE licenses SET allow_more_seats = TRUE, revision = revision + 1, updated_at = $3
             WHERE subscription_id = $1 AND seat_cap > $2 AND NOT allow_more_seats
               AND status <> 'revoked'"
        }
        OwnSeats::Lower => {
            "UPDATE licenses SET seat_cap = $2, allow_more_seats = FALSE, revision = revision + 1,
                                 updated_at = $3
             WHERE subscription_id = $1 AND seat_cap > $2 AND status <> 'revoked'"
        }
    };
    cx.tx.q(sql).bind(subscription).bind(cap).bind(cx.now).exec().await?;
    Ok(())
}

fn refusal(cap: i64, above: Vec<AboveCap>) -> Error {
    let detail = format!(
        "The plan has {cap} seats, and licenses have a `seat_cap` above that ({}). Send \
         `lower_licenses: true` to lower them, `allow_more_seats: true` to keep them, or a \
         `seat_cap`.",
        above.len()
    );
    Error::new(ProblemCode::InUse, detail)
        .with("seat_cap", cap)
        .with("licenses", serde_json::to_value(above).unwrap_or_default())
}
