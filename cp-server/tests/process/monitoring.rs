//! What an operator watches: `/metrics` on both databases, and the log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cp_server::kernel::db::Db;
use cp_server::telemetry::families::{FAMILIES, JOBS, LIMITS};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::cluster;
use super::crash::postgres;
use super::server::{KEK, Server, command, folder};
use super::tls::until;

fn scrape(server: &Server) -> String {
    let (status, text) = server.call("GET", "/metrics", None, "x");
    assert_eq!(status, 200);
    text.as_str().unwrap().to_owned()
}

/// The type, the help and the names of the labels of each family.
type Shapes = BTreeMap<String, (String, String, Vec<String>)>;

fn shapes(text: &str) -> Shapes {
    let mut found = Shapes::new();
    let mut family = String::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(found.insert(name.into(), (String::new(), help.into(), Vec::new())).is_none());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            family = name.to_owned();
            found.get_mut(name).unwrap_or_else(|| panic!("{name} has no help")).0 = kind.to_owned();
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            let name = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end).filter(|name| *name == family))
                .unwrap_or(name);
            assert_eq!(name, family, "{line}");
            let labels = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}'));
            let labels = labels.map_or("", |(labels, _)| labels);
            let names = labels.split("\",").filter_map(|label| label.split_once('=')).map(|l| l.0);
            found.get_mut(name).unwrap().2 =
                names.filter(|name| *name != "le").map(str::to_owned).collect();
        }
    }
    found
}

fn value(text: &str, sample: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

fn exercise(folder: &Path, database: Option<&str>) {
    let server = |more: &[(&str, &str)]| {
        let mut command = command(folder);
        command.env("CP_KEY_ENCRYPTION_KEY", KEK).envs(more.iter().copied());
        command.envs(database.map(|url| ("CP_DATABASE_URL", url)));
        command
    };
    let mut first = Server::run(server(&[]).arg("serve"));
    let bundles = first.license();
    first.signal(Signal::TERM);
    assert!(first.wait().success());
    let backup = server(&[]).arg("backup").output().unwrap();
    assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));

    let own = [
        ("CP_RATE_TOKENS", "1:1"),
        ("CP_RATE_LICENSE_KEY", "1:1"),
        ("CP_LOG", "info,cp_server=debug"),
    ];
    let server = Server::run(server(&own).arg("serve"));
    until(|| shapes(&scrape(&server)).len() == FAMILIES.len(), "all families");
    let declared: Shapes = FAMILIES
        .iter()
        .map(|family| {
            let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
            (family.name.to_owned(), (family.kind.name().to_owned(), family.help.into(), labels))
        })
        .collect();
    assert_eq!(shapes(&scrape(&server)), declared);

    let issued = server.post(&bundles, json!({}));
    server.post(&bundles, json!({"ttl_seconds": 7200}));
    let revoke = format!("/api/v1/bundles/{}/revoke", issued["jti"].as_str().unwrap());
    assert_eq!(server.call("POST", &revoke, Some(json!({})), "once").0, 200);
    let refused =
        server.call("POST", &format!("/api/v1{bundles}"), Some(json!({"form": "no"})), "x");
    assert_eq!(refused.0, 422, "no token, no count");
    for (name, status) in [("first", 201), ("second", 429)] {
        let token = json!({"name": name, "permissions": ["plans:read"]});
        let path = "/api/v1/service-tokens";
        assert_eq!(server.call("POST", path, Some(token), name).0, status);
    }
    let text = scrape(&server);
    let name = if database.is_some() { "postgresql" } else { "sqlite" };
    let build =
        format!("cp_build_info{{version=\"{}\",database=\"{name}\"}}", env!("CARGO_PKG_VERSION"));
    for (sample, expected) in [
        (&*build, 1.0),
        ("cp_tokens_issued_total", 2.0),
        ("cp_tokens_revoked_total", 1.0),
        ("cp_refused_by_limit_total{kind=\"tokens\"}", 1.0),
        ("cp_refused_by_limit_total{kind=\"quota\"}", 0.0),
        ("cp_database_up", 1.0),
        ("cp_job_failures_total{job=\"metrics\"}", 0.0),
    ] {
        assert_eq!(value(&text, sample), Some(expected), "{sample}: {text}");
    }
    let least = |sample: &str, least: f64| {
        assert!(value(&text, sample).is_some_and(|value| value >= least), "{sample}: {text}");
    };
    // 2026-01-01; the clocks of the tests' machines are past it.
    let recent = 1_767_225_600.0;
    least("cp_last_backup_timestamp_seconds", recent);
    least("cp_signing_key_next_rotation_timestamp_seconds", recent);
    least("process_start_time_seconds", recent);
    least("process_resident_memory_bytes", 1e6);
    least("process_open_fds", 5.0);
    least("cp_log_entries", 5.0);
    least("cp_log_waiting_seconds", 0.0);
    refuse_tokens_and_keys(&server, &bundles);
    let known = BTreeSet::from(JOBS.map(str::to_owned));
    until(|| labels(&scrape(&server), "cp_job_runs_total", "job") == known, "a run of each job");
    // A notice of PostgreSQL about its table of migrations.
    let said = server.said.lock().unwrap().clone();
    assert!(!said.contains("already exists"), "{said}");
}

/// The values of a label of a family.
fn labels(text: &str, family: &str, label: &str) -> BTreeSet<String> {
    let samples = text.lines().filter_map(|line| line.strip_prefix(&format!("{family}{{")));
    let value = |rest: &str| {
        let (_, value) = rest.split_once(&format!("{label}=\""))?;
        Some(value.split_once('"')?.0.to_owned())
    };
    samples.filter_map(value).collect()
}

/// Exceeds the license's tokens of the day and the rate of its key. Both are counted by name.
fn refuse_tokens_and_keys(server: &Server, bundles: &str) {
    let license = bundles.trim_end_matches("/bundles");
    let path = format!("/api/v1{license}/token");
    let status = |n: usize| server.call("POST", &path, Some(json!({})), &format!("token-{n}")).0;
    let last = (0..25).map(status).find(|status| *status != 201);
    assert_eq!(last, Some(429));
    let key = server.post(&format!("{license}/keys"), json!({"name": "a"}));
    let body = json!({"key": key["key"]});
    let path = "/api/v1/licenses/validate";
    for status in [200, 429] {
        let (found, answer) = server.call("POST", path, Some(body.clone()), &status.to_string());
        assert_eq!(found, status, "{answer}");
    }
    let text = scrape(server);
    let known = BTreeSet::from(LIMITS.map(str::to_owned));
    assert_eq!(labels(&text, "cp_refused_by_limit_total", "kind"), known);
    for (kind, count) in [("license_tokens", 1.0), ("license_key", 1.0), ("concurrent", 0.0)] {
        let sample = format!("cp_refused_by_limit_total{{kind=\"{kind}\"}}");
        assert_eq!(value(&text, &sample), Some(count), "{text}");
    }
}

#[test]
fn metrics_on_sqlite_have_help_and_the_declared_families() {
    let folder = folder();
    exercise(folder.path(), None);
}

#[test]
fn metrics_on_postgresql_have_help_and_survive_the_loss_of_the_database() {
    let (folder, Some(url)) = (folder(), postgres("monitoring")) else { return };
    exercise(folder.path(), Some(&url));
    let mut lost = command(folder.path());
    lost.env("CP_KEY_ENCRYPTION_KEY", KEK).env("CP_DATABASE_URL", &url);
    let server = Server::run(lost.arg("serve"));
    until(|| value(&scrape(&server), "cp_database_up") == Some(1.0), "the first read");
    drop_database("monitoring");
    until(|| value(&scrape(&server), "cp_database_up") == Some(0.0), "the loss of the database");
    let text = scrape(&server);
    assert!(value(&text, "cp_log_entries").is_some_and(|entries| entries > 0.0), "{text}");
    assert!(value(&text, "cp_job_failures_total{job=\"metrics\"}") >= Some(1.0), "{text}");
}

fn drop_database(name: &str) {
    let cluster = cluster::url().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let db = Db::open(&format!("{cluster}/postgres")).await.unwrap();
        let Db::Postgres(pool) = &db else { panic!("it is PostgreSQL") };
        let sql = sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
        sqlx::raw_sql(sql).execute(&**pool).await.unwrap();
        db.close().await;
    });
}

#[test]
fn log_lines_have_numbers_and_no_successful_probes() {
    let folder = folder();
    let mut serve = command(folder.path());
    // The address is read from lines of text.
    let server = Server::run(serve.arg("serve"));
    for path in ["/healthz", "/readyz", "/api/v1/plans"] {
        assert_eq!(server.call("GET", path, None, "x").0, 200, "{path}");
    }
    until(|| server.said.lock().unwrap().contains("/api/v1/plans"), "the line of the last request");
    let said = server.said.lock().unwrap().clone();
    assert!(!said.contains("/healthz") && !said.contains("/readyz"), "{said}");
}

#[test]
fn json_log_lines_have_micros_as_a_number() {
    let folder = folder();
    let mut call = command(folder.path());
    let migrated = command(folder.path()).arg("migrate").output().unwrap();
    assert!(migrated.status.success());
    call.env("CP_LOG_FORMAT", "json").env("CP_LOG", "debug").args(["call", "plans.list"]);
    let output = call.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut calls = lines.filter(|line| line["message"] == "call");
    let line = calls.next().unwrap_or_else(|| panic!("{said}"));
    assert!(line["micros"].is_u64() && line["status"] == 200, "{line}");
}
