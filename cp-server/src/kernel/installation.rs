//! Single values of the installation, each set once, by whichever replica is first.

use super::db::Conn;

/// Sets the value unless it is set: whether this caller was the first. A replica that does the same
/// at the same time waits for this transaction's end.
pub async fn set_first(tx: &mut Conn, name: &str, value: &[u8]) -> sqlx::Result<bool> {
    let sql =
        "INSERT INTO installation (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    Ok(tx.q(sql).bind(name).bind(value).exec().await? == 1)
}

pub async fn replace(tx: &mut Conn, name: &str, value: &[u8]) -> sqlx::Result<()> {
    tx.q("UPDATE installation SET value = $2 WHERE name = $1")
        .bind(name)
        .bind(value)
        .exec()
        .await?;
    Ok(())
}

pub async fn value(tx: &mut Conn, name: &str) -> sqlx::Result<Option<Vec<u8>>> {
    tx.q("SELECT value FROM installation WHERE name = $1").bind(name).value().await
}

/// Holds the value until the end of the transaction: what is done under it is done by one at a
/// time.
pub async fn hold(tx: &mut Conn, name: &str) -> sqlx::Result<Option<Vec<u8>>> {
    let held = tx.q2(
        "SELECT value FROM installation WHERE name = $1",
        "SELECT value FROM installation WHERE name = $1 FOR UPDATE",
    );
    held.bind(name).value().await
}
