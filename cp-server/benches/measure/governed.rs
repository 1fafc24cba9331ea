//! A person in 20 groups, three deep, with 2,000 bindings.

use cp_server::App;
use cp_server::client::Client;
use cp_server::governance::bindings::kinds::BindingKind;
use cp_server::governance::effective::facts::{self, Question};
use serde_json::{Value, json};

pub(crate) struct Governed {
    pub(crate) org: String,
    pub(crate) user: String,
    question: Question,
}

impl Governed {
    pub(crate) async fn new(app: &App, name: &str) -> Self {
        let client = Client::local(app.clone());
        let call = async |name: &str, args: Value| {
            let args = args.as_object().cloned().unwrap();
            client.call(name, args).await.unwrap()
        };
        let new = json!({"name": name, "owner": "bert@governed.example"});
        let org = call("organizations.create", new).await;
        let user = org["owner_user_id"].as_str().unwrap().to_owned();
        let org = org["id"].as_str().unwrap().to_owned();
        let (mut parents, mut scopes) = (vec![Value::Null], vec![format!("user:{user}")]);
        for n in 0..20 {
            let new = json!({
                "org": org, "name": format!("Group {n}"), "parent_id": parents[n / 3],
            });
            let group = call("groups.create", new).await;
            let seat = json!({"id": group["id"], "user_id": user});
            call("groups.put_member", seat).await;
            scopes.push(format!("group:{}", group["id"].as_str().unwrap()));
            parents.push(group["id"].clone());
        }
        for n in 0..2000 {
            let kind = if n % 2 == 0 { "model" } else { "feature" };
            let scope = &scopes[n % scopes.len()];
            let new = json!({
                "org": org, "kind": kind, "subject": format!("subject-{n}"), "scope": scope,
            });
            call("bindings.put", new).await;
        }
        let question = Question {
            organization: org.parse().unwrap(),
            kinds: BindingKind::ALL.to_vec(),
            product: String::new(),
            user: Some(user.parse().unwrap()),
            group: None,
            agent: None,
            project: None,
            workspace: None,
            subject: None,
            with_spec: false,
        };
        Self { org, user, question }
    }

    pub(crate) async fn read(&self, app: &App) {
        let facts = facts::read(&mut app.db.read(), &self.question).await.unwrap().unwrap();
        assert_eq!(facts.bindings.len(), 2000);
    }

    /// Adds ten bindings of others for each of the person's: copies at scopes that do not reach it.
    pub(crate) async fn bind_others(&self, app: &App) {
        let organization: uuid::Uuid = self.org.parse().unwrap();
        let ids: Vec<(uuid::Uuid,)> = app
            .db
            .read()
            .q("SELECT id FROM bindings WHERE organization_id = $1")
            .bind(organization)
            .all()
            .await
            .unwrap();
        let (random, now) = (&app.random, app.clock.now());
        for chunk in ids.chunks(50) {
            let copies: Vec<_> = chunk.iter().flat_map(|(id,)| [*id; 10]).collect();
            let mut tx = app.db.begin().await.unwrap();
            let sql = "INSERT INTO bindings
                           (id, organization_id, kind, product, subject, scope_kind, scope_id,
                            effect, value, mandatory, created_at, updated_at)
                       SELECT v.column2, b.organization_id, b.kind, b.product, b.subject, 'user',
                           v.column3, b.effect, b.value, b.mandatory, b.created_at, b.updated_at
                       FROM (VALUES ";
            let insert = tx.q(sql).rows(copies, |query, id| {
                query.bind(id).bind(random.uuid(now)).bind(random.uuid(now))
            });
            insert.sql(") AS v JOIN bindings b ON b.id = v.column1").exec().await.unwrap();
            tx.commit().await.unwrap();
        }
        analyze(app).await;
    }
}

/// Updates the statistics of PostgreSQL's planner, as its autovacuum does. SQLite has none.
async fn analyze(app: &App) {
    if app.db.writes_alone() {
        return;
    }
    let mut tx = app.db.begin().await.unwrap();
    tx.q("ANALYZE").exec().await.unwrap();
    tx.commit().await.unwrap();
}
