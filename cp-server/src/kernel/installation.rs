//! Single values of the installation, each set once, by whichever replica is first.

use super::db::Conn;

/// Sets the value unless it is set: whether this caller was the first. A replica that does the same
/// at the same time waits for this transaction's end.
pub async fn set_first(tx: &mut Conn, name: &str, value: &[u8]) -> sqlx::Result<bool> {
    let sql =
        "INSERT INTO installation (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    Ok(tx.q(sql).bind(name).bind(value).exec().await? == 1)
}

pub async fn value(tx: &mut Conn, name: &str) -> sqlx::Result<Option<Vec<u8>>> {
    tx.q("SELECT value FROM installation WHERE name = $1").bind(name).value().await
}
