//! Seats of licenses beside those of their subscription.

use cp_contracts::ProblemCode;
use serde::Serialize;

use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::{LicenseId, SubscriptionId};

/// What becomes of licenses whose own seats are above those of their subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnSeats {
    /// The change of the subscription is refused.
    Refuse,
    /// Their tokens have the subscription's seats.
    Cap,
    /// They keep their own.
    Allow,
    /// Their own become the subscription's.
    Lower,
}

/// A license with more seats of its own than its subscription has.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub struct AboveCap {
    pub license_id: LicenseId,
    pub seat_cap: i64,
}

/// Licenses that a refusal or an answer names.
const MOST_NAMED: i64 = 500;

/// The licenses of the subscription whose own seats are above the cap, and not allowed to be.
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

/// Settles the licenses of a subscription whose seats became fewer.
///
/// # Errors
/// 409 `in_use` with the licenses, when they are to be refused.
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
        "The plan has {cap} seats, and licenses have a `seat_cap` above that ({}). Send `lower_licenses: true` to \
         lower them, `allow_more_seats: true` to keep them, or a `seat_cap`.",
        above.len()
    );
    Error::new(ProblemCode::InUse, detail)
        .with("seat_cap", cap)
        .with("licenses", serde_json::to_value(above).unwrap_or_default())
}
