//! Sealed columns: secrets that a table keeps under the key-encryption key.
//!
//! # Design
//! A table declares the columns that hold secrets. The seal is bound to the column of the row,
//! so that the secret of one row cannot be used in another. A change of the key-encryption key walks
//! the declarations, so a slice has no code for it.

use anyhow::Context;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::kek;
use crate::kernel::secret::Kek;

/// A column of the secrets of a table, whose rows have an `id` and an `organization_id`. Rows of the
/// platform have none.
#[derive(Clone, Copy, Debug)]
pub struct Sealed {
    pub table: &'static str,
    /// The noun of one row, a part of the seal's context.
    pub noun: &'static str,
    pub column: &'static str,
}

impl Sealed {
    /// Seals the secret of a row of this organization, or of the platform.
    pub async fn seal<G>(
        &self,
        cx: &mut Cx<G>,
        owner: impl Into<Option<OrganizationId>>,
        row: Uuid,
        plain: &[u8],
    ) -> Result<Vec<u8>> {
        let app = cx.app.clone();
        kek::hold(&app, &mut cx.tx).await?;
        Ok(app.kek.seal(&app.random, &self.purpose(owner.into(), row), plain))
    }

    /// Opens the sealed secret of a row.
    ///
    /// # Errors
    /// 500 when the secret was sealed for another row, or under another key.
    pub fn open(
        &self,
        app: &App,
        owner: impl Into<Option<OrganizationId>>,
        row: Uuid,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        let plain = app.kek.open(&self.purpose(owner.into(), row), sealed);
        plain.ok_or_else(|| Error::internal(anyhow::anyhow!("{}", self.closed(row))))
    }

    fn purpose(&self, owner: Option<OrganizationId>, row: Uuid) -> String {
        let owner = owner.map_or("platform".to_owned(), |organization| organization.to_string());
        format!("{} {owner} {row} {} v1", self.noun, self.column)
    }

    fn closed(&self, row: Uuid) -> String {
        format!("{}.{} of {row} does not open", self.table, self.column)
    }

    /// Seals the secrets of all rows under the new key.
    pub async fn reseal(&self, app: &App, tx: &mut Conn, new: &Kek) -> anyhow::Result<()> {
        let Self { table, column, .. } = *self;
        let select = tx.q("SELECT organization_id, id, ").sql(column).sql(" FROM ").sql(table);
        let select = select.sql(" WHERE ").sql(column).sql(" IS NOT NULL ORDER BY id");
        let rows: Vec<(Option<OrganizationId>, Uuid, Vec<u8>)> = select.all().await?;
        for (owner, row, sealed) in rows {
            let purpose = self.purpose(owner, row);
            let sealed = app.kek.reseal(new, &app.random, &purpose, &sealed);
            let sealed = sealed.with_context(|| self.closed(row))?;
            let update = tx.q("UPDATE ").sql(table).sql(" SET ").sql(column);
            update.sql(" = $2 WHERE id = $1").bind(row).bind(sealed).exec().await?;
        }
        Ok(())
    }
}
