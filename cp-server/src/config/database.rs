//! The location of the database.

use std::ops::Deref;
use std::path::Path;

use anyhow::{bail, ensure};
use url::Url;

use crate::kernel::db::{postgres_hosts, split_hosts};

/// The location of the database. It may contain a password, so `Debug` hides it.
#[derive(Clone)]
pub struct DatabaseUrl(String);

impl Deref for DatabaseUrl {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl DatabaseUrl {
    /// Returns the path of an SQLite file; `None` for PostgreSQL.
    pub fn file(&self) -> Option<&Path> {
        let file = self.0.strip_prefix("sqlite:")?;
        Some(Path::new(file.trim_start_matches("//")))
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[database url]")
    }
}

pub(super) fn read(text: &str) -> anyhow::Result<DatabaseUrl> {
    let text = text.trim();
    let known = ["sqlite:", "postgres://", "postgresql://"];
    if !known.iter().any(|scheme| text.starts_with(scheme) && text.len() > scheme.len()) {
        bail!("must be sqlite:data/control-plane.db or postgres://USER:PASSWORD@HOST/DATABASE");
    }
    if text.starts_with("sqlite:") && (text.contains(":memory:") || text.contains('?')) {
        bail!("must be a file without options, such as sqlite:data/control-plane.db");
    }
    if !text.starts_with("sqlite:") {
        for url in split_hosts(text) {
            check_quotes(&url)?;
        }
        postgres_hosts(text)?;
    }
    Ok(DatabaseUrl(text.to_owned()))
}

/// The supported parameters of a PostgreSQL URL. The driver would log any other one with its value.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Refuses values that the driver or the database would quote. A password with a `/`, `?`, `#` or
/// `@` that is not percent-encoded ends up in the port, the database name or a parameter.
fn check_quotes(text: &str) -> anyhow::Result<()> {
    let encode = "percent-encode special characters in the user and the password";
    let Ok(url) = Url::parse(text) else { bail!("must be a URL; {encode}") };
    ensure!(
        url.fragment().is_none() && !url.path().contains('@'),
        "a `#` or `@` is misplaced; {encode}"
    );
    for (name, value) in url.query_pairs() {
        let is_known = PARAMETERS.contains(&&*name)
            || name.strip_prefix("options[").is_some_and(|rest| rest.ends_with(']'));
        ensure!(
            is_known && !value.contains('@'),
            "parameters must be among {}, without an `@` in a value; {encode}",
            PARAMETERS.join(", ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_url_malformed_is_refused_without_a_quote() {
        for url in [
            "postgres:/cp:canary@db/cp",
            "mysql://cp:canary@db/cp",
            "postgres://cp:ca/nary@db/cp",
            "postgres://cp:5/canary@db/cp",
            "postgres://cp:5?canary@db/cp",
            "postgres://cp:canary#canary@db/cp",
            "postgres://cp:5#canary@db/cp",
            "postgres://cp:canary@db:canary/cp",
            "postgres://cp@db/cp?pasword=canary",
            "postgres://cp@db/cp?sslmode=canary",
            "postgres://cp@db/cp?port=canary",
            "postgres://cp:canary@[db/cp",
            "postgres://cp@db/%ffcanary",
            "postgres://cp:canary@db1,db2:canary/cp",
            "postgres://cp@db1,db2/cp?target_session_attrs=canary",
            "sqlite:data?canary",
            "canary",
        ] {
            let error = format!("{:#}", read(url).expect_err(url));
            assert!(!error.contains("canary"), "{url}: {error}");
        }
        for url in [
            "postgres://cp:p%40ss%2Fw%23@db/cp",
            "postgresql://cp@db:5432/cp?sslmode=verify-full&options[search_path]=cp",
            "postgres:///cp?host=/run/postgresql&user=cp",
            "postgres://cp:p%40ss@db1:5432,db2:5433/cp?sslmode=require",
            "postgres://cp@db1,db2/cp?target_session_attrs=read-write&sslmode=require",
            "sqlite:data/cp.db",
        ] {
            read(url).expect(url);
        }
    }
}
