//! Days: an address gets one letter a day for a type and an object.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::App;
use crate::kernel::error::Result;
use crate::kernel::secret::sha256;
use crate::kernel::text::Email;

/// The seconds of a day.
const DAY: i64 = 86_400;

/// The one letter a day of an address, for a type and an object.
pub(super) struct Day<'a> {
    pub(super) owner: Option<OrganizationId>,
    pub(super) kind: &'a str,
    pub(super) about: &'a str,
    pub(super) at: DateTime<Utc>,
}

impl Day<'_> {
    fn number(&self) -> i64 {
        self.at.timestamp().div_euclid(DAY)
    }

    /// Takes the letter of the day, for this delivery. Returns whether it may be sent.
    pub(super) async fn take(&self, app: &App, address: &Email, delivery: Uuid) -> Result<bool> {
        let mut tx = app.db.begin().await?;
        let sql = "INSERT INTO webhook_mails
                   (address, type, subject, day, organization_id, delivery_id, is_sent)
                   VALUES ($1, $2, $3, $4, $5, $6, FALSE)
                   ON CONFLICT (address, type, subject, day) DO UPDATE
                   SET delivery_id = excluded.delivery_id
                   WHERE webhook_mails.delivery_id = excluded.delivery_id
                     AND NOT webhook_mails.is_sent";
        let take = tx.q(sql).bind(hash(address).to_vec()).bind(self.kind).bind(self.about);
        let taken = take.bind(self.number()).bind(self.owner).bind(delivery).exec().await?;
        tx.commit().await?;
        Ok(taken > 0)
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

/// Deletes the rows of earlier days.
pub(super) async fn forget(app: &App) -> Result<()> {
    let day = app.clock.now().timestamp().div_euclid(DAY);
    let mut tx = app.db.begin().await?;
    tx.q("DELETE FROM webhook_mails WHERE day < $1").bind(day - 7).exec().await?;
    tx.commit().await?;
    Ok(())
}
