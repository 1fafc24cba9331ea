//! Days: an address gets one letter a day for a type and an object, and an organization asks few strangers.

use chrono::{DateTime, Days, NaiveTime, Utc};
use uuid::Uuid;

use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::error::Result;
use crate::kernel::secret::sha256;
use crate::kernel::text::Email;

/// The seconds of a day.
const DAY: i64 = 86_400;
/// The days for which the rows are kept, longer than deliveries: a retry sends no letter twice.
const KEPT: i64 = 91;

/// The one letter a day of an address, for a type and an object.
pub(super) struct Day<'a> {
    pub(super) owner: Option<OrganizationId>,
    pub(super) kind: &'a str,
    pub(super) about: &'a str,
    pub(super) at: DateTime<Utc>,
}

/// Whether a letter of the day may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quota {
    Free,
    /// The address has the letter of this day already.
    Taken,
    /// The organization has sent all letters of this type and day.
    Exhausted,
}

impl Day<'_> {
    fn number(&self) -> i64 {
        self.at.timestamp().div_euclid(DAY)
    }

    /// Returns the beginning of the next day.
    pub(super) fn next(&self) -> DateTime<Utc> {
        let today = self.at.date_naive();
        let next = today.checked_add_days(Days::new(1)).unwrap_or(today);
        next.and_time(NaiveTime::MIN).and_utc()
    }

    /// Takes the letter of the day, for this delivery. Returns whether it may be sent: the address has got
    /// neither this delivery on an earlier day, nor another letter on this day.
    pub(super) async fn take(&self, app: &App, address: &Email, delivery: Uuid) -> Result<bool> {
        let mut tx = app.db.begin().await?;
        let sql = "INSERT INTO webhook_mails
                   (address, type, subject, day, organization_id, delivery_id, is_sent)
                   SELECT $1, $2, $3, $4, $5, $6, FALSE
                   WHERE NOT EXISTS (SELECT 1 FROM webhook_mails m
                                     WHERE m.address = $1 AND m.type = $2 AND m.subject = $3
                                       AND m.delivery_id = $6 AND m.is_sent)
                   ON CONFLICT (address, type, subject, day) DO UPDATE
                   SET delivery_id = excluded.delivery_id
                   WHERE webhook_mails.delivery_id = excluded.delivery_id
                     AND NOT webhook_mails.is_sent";
        let take = tx.q(sql).bind(hash(address).to_vec()).bind(self.kind).bind(self.about);
        let taken = take.bind(self.number()).bind(self.owner).bind(delivery).exec().await?;
        tx.commit().await?;
        Ok(taken > 0)
    }

    /// Takes the letter of the day within a transaction that holds the owner. An organization has at most
    /// `most` of them; the platform has no maximum.
    pub(super) async fn take_of(
        &self,
        tx: &mut Conn,
        address: &Email,
        request: Uuid,
        most: i64,
    ) -> Result<Quota> {
        let sql = "SELECT COUNT(*) FROM webhook_mails
                   WHERE address = $1 AND type = $2 AND subject = $3 AND day = $4";
        let known = tx.q(sql).bind(hash(address).to_vec()).bind(self.kind).bind(self.about);
        if known.bind(self.number()).value::<i64>().await?.is_some_and(|count| count > 0) {
            return Ok(Quota::Taken);
        }
        // The platform's rows have no organization, so the count is 0.
        let sql = "INSERT INTO webhook_mails
                   (address, type, subject, day, organization_id, delivery_id, is_sent)
                   SELECT $1, $2, $3, $4, $5, $6, TRUE
                   WHERE (SELECT COUNT(*) FROM webhook_mails m
                          WHERE m.organization_id = $5 AND m.type = $2 AND m.day = $4) < $7";
        let take = tx.q(sql).bind(hash(address).to_vec()).bind(self.kind).bind(self.about);
        let take = take.bind(self.number()).bind(self.owner).bind(request).bind(most);
        Ok(if take.exec().await? > 0 { Quota::Free } else { Quota::Exhausted })
    }

    /// Notes that the letter was sent.
    pub(super) async fn keep(&self, app: &App, address: &Email, delivery: Uuid) -> Result<()> {
        let mut tx = app.db.begin().await?;
        let sql = "UPDATE webhook_mails SET is_sent = TRUE
                   WHERE address = $1 AND type = $2 AND subject = $3 AND day = $4 AND delivery_id = $5";
        let keep = tx.q(sql).bind(hash(address).to_vec()).bind(self.kind).bind(self.about);
        keep.bind(self.number()).bind(delivery).exec().await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Returns the hash of an address: the rows of the day contain no address.
pub(super) fn hash(address: &Email) -> [u8; 32] {
    sha256(address.key().as_bytes())
}

/// Deletes the rows of an address, in lower case.
pub(super) async fn erase(tx: &mut Conn, key: &str) -> Result<()> {
    let hash = sha256(key.as_bytes()).to_vec();
    tx.q("DELETE FROM webhook_mails WHERE address = $1").bind(hash).exec().await?;
    Ok(())
}

/// Deletes the rows of days that are no longer kept.
pub(super) async fn forget(app: &App) -> Result<()> {
    let day = app.clock.now().timestamp().div_euclid(DAY);
    let mut tx = app.db.begin().await?;
    tx.q("DELETE FROM webhook_mails WHERE day < $1").bind(day - KEPT).exec().await?;
    tx.commit().await?;
    Ok(())
}
