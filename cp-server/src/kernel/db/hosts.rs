//! Several hosts of PostgreSQL, of which one accepts changes at a time: a primary and its standbys.
//!
//! # Design
//! The driver knows one host. So a URL with several becomes the options of each, and the pool gets
//! those of the host that accepts changes. One connection beside the pool asks that host every second
//! whether it still does; when it does not, or does not answer, the other hosts are asked until one
//! does. A connection of the pool is asked each time before it is used, in place of the driver's own
//! question whether it is alive: a host that was a primary and is a standby now is left at once, and
//! no read is answered from it. Rejected: the first host that answers, because a standby answers, too.

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnectionMetadata;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, Row};
use tokio::time::{sleep, timeout};

/// How often the host is asked that accepts changes.
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// How long a host is waited for.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// Between two rounds of questions while no host accepts changes.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(100);

/// The URL of each host, in order: `postgres://cp@a,b:5433/cp` has two. `target_session_attrs` goes:
/// of several hosts the one is used that accepts changes, whatever it says.
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

/// The first host that accepts changes, and a connection to it. The only host is not asked: a server
/// can serve what it reads off one that accepts none.
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

/// A pool that has its connections to the host that accepts changes, whichever that is.
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

/// Has the pool follow the host that accepts changes, until the pool is closed.
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
                    "the database's host accepts no changes any more; the others are asked"
                );
            }
            match find_writable(&hosts).await {
                Ok((found, conn)) => {
                    if found != at {
                        let host = hosts[found].get_host();
                        tracing::warn!(host, "another host of the database accepts changes now");
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
