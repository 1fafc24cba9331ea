//! Canary secrets: a secret that a caller stores is in no answer and in no column in plain text.

use axum::http::Method;
use cp_server::kernel::db::Db;
use serde_json::{Value, json};

use crate::sweep::examples::example;
use crate::world::{World, on_both, operations};

const CANARY: &str = "canary-f3b0c442";

/// Stores canaries wherever a secret is accepted, and sends them where none is.
async fn plant(world: &World) {
    let secret = json!({"api_key": CANARY});
    let body = json!({
        "kind": "connection", "name": "Box", "spec": {"type": "mcp"}, "secret": secret,
    });
    let answer = world.post(world.org("/resources"), body).await;
    assert!(!answer.text().contains(CANARY));
    let connection = answer.expect(201)["id"].as_str().unwrap().to_owned();
    let path = format!("/resources/{connection}");
    let listing = json!({
        "kind": "listing", "name": "Box", "parent_id": connection, "is_public": true,
    });
    let listing = world.post(world.org("/resources"), listing).await.expect(201);
    let listing = listing["id"].as_str().unwrap();
    let copied = format!("/organizations/globex/marketplace/{listing}/installation");
    world.put(copied, json!({})).await.expect(201);
    world.patch(&path, json!({"secret": {"other": CANARY}})).await.expect(200);
    let provider = world.org("/identity-providers/canary");
    let body = json!({
        "type": "oidc", "issuer": "https://canary.example", "audience": "a", "client_secret": CANARY,
    });
    world.put(&provider, body).await.expect(201);
    let reference = world.org("/secret-refs/canary");
    let keyed = world.root().with("idempotency-key", "once");
    for (method, path, body) in [
        (Method::PATCH, &path, json!({"secret": CANARY})),
        (Method::PATCH, &path, json!({"secret": {"api_key": [CANARY]}})),
        (Method::PATCH, &path, json!({"spec": {"token": CANARY}})),
        (Method::PUT, &provider, json!({"type": "oidc", "client_secret": [CANARY]})),
        (Method::PUT, &reference, json!({"provider": "v", "ref": "x", "secret": CANARY})),
        (Method::PUT, &reference, json!({"provider": "v", "ref": {"value": CANARY}})),
    ] {
        let answer = keyed.call(method.clone(), &format!("/api/v1{path}"), Some(body)).await;
        assert_eq!(answer.status, 422, "{method} {path}: {}", answer.text());
        assert!(!answer.text().contains(CANARY), "{method} {path}: {}", answer.text());
    }
}

#[on_both]
async fn stored_secret_is_in_no_answer(world: World) {
    plant(&world).await;
    let mut read = 0;
    for line in operations().table.iter().filter(|line| line.reads() && !line.raw) {
        let path = world.path_of(line) + &example(&world, line).query;
        let limit = if line.path.ends_with('}') || path.contains('?') { "" } else { "?limit=500" };
        for path in [path.clone() + limit, path] {
            let answer = world.root().call(Method::GET, &path, None).await;
            assert!(!answer.text().contains(CANARY), "{path}: {}", answer.text());
            read += usize::from(answer.status == 200);
        }
    }
    assert!(read > 60, "{read}");
    for organization in ["acme", "globex"] {
        for path in ["export", "resources?limit=500", "audit?limit=500", "identity-providers"] {
            let answer = world.get(format!("/organizations/{organization}/{path}")).await;
            assert!(!answer.text().contains(CANARY), "{path}: {}", answer.text());
            assert_ne!(answer.expect(200), Value::Null);
        }
    }
}

#[on_both]
async fn stored_secret_is_in_no_column(world: World) {
    plant(&world).await;
    let tables: Vec<(String,)> = match &world.app.db {
        Db::Sqlite { .. } => world.app.db.read().q(SQLITE_TABLES).all().await.unwrap(),
        Db::Postgres(_) => world.app.db.read().q(POSTGRES_TABLES).all().await.unwrap(),
    };
    assert!(tables.len() > 30, "{tables:?}");
    let mut finds = false;
    for (search,) in tables {
        // A test leaks a few kilobytes: the driver accepts statements of the program only.
        let search: &'static str = search.replace('@', "$").leak();
        let find = async |word: &str| -> i64 {
            let mut tx = world.app.db.read();
            let hex: String = word.bytes().map(|byte| format!("{byte:02x}")).collect();
            tx.q(search).bind(word).bind(hex).value().await.unwrap().unwrap()
        };
        assert_eq!(find(CANARY).await, 0, "{search}");
        finds |= find("https://canary.example").await > 0;
    }
    assert!(finds, "the search finds what is stored in plain text");
}

/// For each table, the statement that counts the rows with `@1` in a column, or its digits `@2`.
const SQLITE_TABLES: &str = "SELECT 'SELECT COUNT(*) FROM \"' || t.name || '\" WHERE @2 = '''' OR '
        || GROUP_CONCAT('INSTR(CAST(\"' || c.name || '\" AS BLOB), CAST(@1 AS BLOB)) > 0', ' OR ')
     FROM pragma_table_list t, pragma_table_xinfo(t.name) c
     WHERE t.schema = 'main' AND t.type = 'table' GROUP BY t.name";
const POSTGRES_TABLES: &str = "SELECT 'SELECT COUNT(*) FROM \"' || table_name || '\" AS t
        WHERE STRPOS(t::TEXT, @1) > 0 OR STRPOS(t::TEXT, @2) > 0'
     FROM information_schema.tables
     WHERE table_schema = 'public' AND table_type = 'BASE TABLE'";
