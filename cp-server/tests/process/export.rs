//! An export costs no more memory for a large organization than for a small one.

use std::io::{BufRead, BufReader};

use cp_server::kernel::access::ids::OrganizationId;
use cp_server::kernel::db::Db;
use serde_json::json;

use crate::server::{Server, TOKEN, folder};

/// Linux alone reports the peak memory of a process.
#[cfg(target_os = "linux")]
#[test]
fn an_export_of_a_hundred_thousand_rows_needs_no_more_memory_than_one_of_ten_thousand() {
    let folder = folder();
    let server = Server::start(folder.path());
    let organization = server.post("/organizations", json!({"name": "Acme"}));
    let organization = organization["id"].as_str().unwrap();
    let database = format!("sqlite:{}/data/control-plane.db", folder.path().display());
    fill(&database, organization, 10_000);
    // Connections to the database and their caches grow with the first exports, large or small.
    for _ in 0..5 {
        export(&server, organization);
    }
    let (few, small) = export(&server, organization);
    fill(&database, organization, 90_000);
    let (many, large) = export(&server, organization);
    assert!(few > 10_000 && many > 100_000, "{few} and {many} lines");
    // The rows that were added have more than 90 MiB. Caches of connections and the allocator's arenas
    // may still grow by some.
    let grown = large.saturating_sub(small);
    assert!(grown < 24 * 1024, "{small} kB for {few} lines became {large} kB for {many}");
}

/// How many lines it has, and the most memory that the server had meanwhile, in kilobytes.
fn export(server: &Server, organization: &str) -> (usize, u64) {
    let process = format!("/proc/{}", server.child.id());
    // 5 forgets the peak that was (proc(5), clear_refs).
    std::fs::write(format!("{process}/clear_refs"), "5").unwrap();
    let answer =
        ureq::get(format!("http://{}/api/v1/organizations/{organization}/export", server.address));
    let answer = answer
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("accept", "application/x-ndjson")
        .call()
        .unwrap();
    let reader = answer.into_body().into_with_config().limit(u64::MAX).reader();
    let mut last = String::new();
    let lines =
        BufReader::new(reader).lines().map(Result::unwrap).inspect(|line| last.clone_from(line));
    let count = lines.count();
    assert!(last.starts_with(r#"{"kind":"exported_at""#), "{last}");
    let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    (count, peak.trim().trim_end_matches(" kB").parse().unwrap())
}

/// Writes audit events of about a kilobyte, beside the server.
fn fill(database: &str, organization: &str, count: i64) {
    let organization: OrganizationId = organization.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let db = Db::open(database).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)
                   INSERT INTO audit_events
                   (id, at, occurred_at, organization_id, actor_kind, actor_id, actor_name, action,
                    target_type, target_id, before, after, commitment)
                   SELECT randomblob(16), '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00',
                          $1, 'system', zeroblob(16), 'many', 'many.recorded', 'x', i, 'null',
                          json_object('text', hex(zeroblob(400))), zeroblob(32)
                   FROM n";
        tx.q(sql).bind(organization).bind(count).exec().await.unwrap();
        tx.commit().await.unwrap();
        db.close().await;
    });
}
