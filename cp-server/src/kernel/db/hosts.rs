//! Several PostgreSQL hosts, of which one accepts changes at a time: a primary and its standbys.
//!
//! # Design
//!
//! The driver supports one host. So a URL with several becomes the options of each, and the pool
//! gets those of the host that accepts changes. One connection outside the pool asks that host
//! every second whether it still accepts changes. When it does not, or does not answer, the other
//! hosts are asked until one does. The pool also asks each connection before its use, instead of
//! the driver's liveness check. So a primary that became a standby is left immediately, and no read
//! uses it. Rejected: the first host that answers, because a standby answers, too.
//! no read is answered from it. Rejected: the first host that answers, because a standby answers, too.

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnectionMetadata;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, Row};
use tokio::time::{sleep, timeout};

/// The interval at which the host that accepts changes is asked.
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// The time within which a host must answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// The pause between two rounds while no host accepts changes.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(100);

/// Returns the URL of each host, in order: `postgres://cp@a,b:5433/cp` has two.
/// `target_session_attrs` is removed: of several hosts, the one that accepts changes is always
/// used.
pub fn split_hosts(url: &str) -> Vec<String> {
    let Some((scheme, rest)) = url.split_once("://") else { return vec![url.to_owned()] };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    let tail = without_session_attributes(tail);
    hosts.split(',').map(|host| format!("{scheme}://{user}{host}{tail}")).collect()
}

fn without_session_attributes(tail: &str) -> String {
    let Some((path, query)) = tail.split_once('?') else { return tail.to_owned() };
    let kept = query.split('&').filter(|pair| {
        !["target_session_attrs=read-write", "target_session_attrs=primary"].contains(pair)
    });
    match kept.collect::<Vec<_>>().join("&") {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// Returns the first host that accepts changes, and a connection to it. A single host is not asked:
/// a server can serve reads from a host that accepts no changes.
pub(super) async fn find_writable(
    hosts: &[PgConnectOptions],
) -> sqlx::Result<(usize, PgConnection)> {
    if let [only] = hosts {
        return Ok((0, only.connect().await?));
    }
    let mut refusal = None;
    for (at, host) in hosts.iter().enumerate() {
        let asked = async {
            let mut conn = host.connect().await?;
            accepts_changes(&mut conn).await.map(|accepts| (accepts, conn))
        };
        match timeout(ANSWERS_WITHIN, asked).await {
            Ok(Ok((true, conn))) => return Ok((at, conn)),
            Ok(Ok((false, conn))) => drop(conn.close().await),
            Ok(Err(error)) => refusal = Some(error),
            Err(late) => refusal = Some(sqlx::Error::Io(late.into())),
        }
    }
    let none = || sqlx::Error::Io(std::io::Error::other("no host accepts changes"));
    Err(refusal.unwrap_or_else(none))
}

async fn accepts_changes(conn: &mut PgConnection) -> sqlx::Result<bool> {
    let row = sqlx::raw_sql("SHOW transaction_read_only").fetch_one(conn).await?;
    Ok(row.try_get::<&str, _>(0)? == "off")
}

/// Returns a pool whose connections go to the host that currently accepts changes.
pub(super) async fn follow(
    hosts: Vec<PgConnectOptions>,
    at: usize,
    settings: PgPoolOptions,
) -> sqlx::Result<PgPool> {
    let settings = settings
        .test_before_acquire(false)
        .before_acquire(|conn, _: PoolConnectionMetadata| Box::pin(accepts_changes(conn)))
        .after_connect(|conn, _| {
            Box::pin(async move {
                let refusal = || sqlx::Error::Io(std::io::Error::other("the host is a standby"));
                accepts_changes(conn).await?.then_some(()).ok_or_else(refusal)
            })
        });
    let pool = settings.connect_with(hosts[at].clone()).await?;
    tokio::spawn(watch(Arc::from(hosts), at, pool.clone()));
    Ok(pool)
}

/// Points the pool at the host that accepts changes, until the pool is closed.
async fn watch(hosts: Arc<[PgConnectOptions]>, mut at: usize, pool: PgPool) {
    let mut known: Option<PgConnection> = None;
    let closed = pool.close_event();
    let watching = async {
        loop {
            if let Some(conn) = &mut known {
                let asked = timeout(ANSWERS_WITHIN, accepts_changes(conn)).await;
                if matches!(asked, Ok(Ok(true))) {
                    sleep(ASKED_EVERY).await;
                    continue;
                }
                known = None;
                tracing::warn!(
                    host = hosts[at].get_host(),
                    "the database's host no longer accepts changes; asking the other hosts"
                );
            }
            match find_writable(&hosts).await {
                Ok((found, conn)) => {
                    if found != at {
                        let host = hosts[found].get_host();
                        tracing::warn!(host, "another database host accepts changes now");
                        pool.set_connect_options(hosts[found].clone());
                        at = found;
                    }
                    known = Some(conn);
                }
                Err(_) => sleep(BETWEEN_ROUNDS).await,
            }
        }
    };
    tokio::select! { () = closed => {}, () = watching => {} }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_with_several_hosts_is_split() {
        assert_eq!(
            split_hosts("postgres://cp:p%2Cw@a:5432,b:5433/cp?sslmode=require"),
            [
                "postgres://cp:p%2Cw@a:5432/cp?sslmode=require",
                "postgres://cp:p%2Cw@b:5433/cp?sslmode=require"
            ]
        );
        assert_eq!(
            split_hosts("postgres://a,b/cp?target_session_attrs=read-write"),
            ["postgres://a/cp", "postgres://b/cp"]
        );
        let other = "postgres:///cp?host=/run/postgresql&target_session_attrs=any";
        assert_eq!(split_hosts(other), [other]);
    }
}
