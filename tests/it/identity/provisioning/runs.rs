//! A run with what it sends, for both versions of the API.

use serde_json::{Value, json};

use super::{path, provision, ran, statuses, summary, zitadel};
use crate::world::zitadel::{
    GRANTEE, ORGANIZATION, PROJECT, PROJECT_GRANT, Recorded, SERVICE_SECRET, SERVICE_USER, TOKEN,
};
use crate::world::{World, on_both};

#[on_both]
async fn plan_is_the_desired_state_and_asks_no_provider(world: World) {
    let zitadel = zitadel(&world, json!({})).await;
    let account = json!({"provider": "zitadel", "subject": "72"});
    let link = format!("/users/{}/auth-accounts", world.acme.owner);
    world.post(link, account).await.expect(201);
    let plan = world.get(provision(&world)).await.expect(200);
    assert_eq!(
        world.named(&plan),
        json!({
            "provider": {
                "key": "zitadel", "issuer": zitadel.url, "project_id": PROJECT,
                "organization_id": ORGANIZATION, "role_prefix": "acme_",
                "role_map": {
                    "account_admin": "ORGANIZATION_ADMIN", "account_owner": "ORGANIZATION_OWNER",
                },
            },
            "roles": [
                {
                    "key": "acme_account_admin", "base_key": "account_admin",
                    "display_name": "Account Admin", "group": "account",
                },
                {
                    "key": "acme_account_owner", "base_key": "account_owner",
                    "display_name": "Account Owner", "group": "account",
                },
            ],
            "grants": [
                {
                    "user_id": "<acme's user>", "email": "mats@acme.example",
                    "role": "ORGANIZATION_ADMIN", "role_keys": ["acme_account_admin"],
                    "provider_user_id": null, "problem": "not_linked",
                },
                {
                    "user_id": "<acme's owner>", "email": "olga@acme.example",
                    "role": "ORGANIZATION_OWNER", "role_keys": ["acme_account_owner"],
                    "provider_user_id": "72", "problem": null,
                },
            ],
        })
    );
    assert!(zitadel.recorded().is_empty());
}

#[on_both]
async fn dry_run_changes_nothing_anywhere_and_leaves_no_event(world: World) {
    let zitadel = zitadel(&world, json!({})).await;
    let (events, before) = (world.count_events().await, world.get(path(&world)).await.json());
    let outcome = ran(&world, json!({"dry_run": true})).await;
    assert_eq!(
        world.named(&outcome),
        json!({
            "dry_run": true, "complete": true, "config_updated": false,
            "roles": [
                {
                    "key": "acme_account_admin", "action": "create", "status": "planned",
                    "reason": null, "error": null,
                },
                {
                    "key": "acme_account_owner", "action": "create", "status": "planned",
                    "reason": null, "error": null,
                },
            ],
            "grants": [
                {
                    "email": "mats@acme.example", "user_id": "<acme's user>",
                    "provider_user_id": "71", "role_keys": ["acme_account_admin"],
                    "action": "create", "status": "planned", "reason": null, "error": null,
                },
                {
                    "email": "olga@acme.example", "user_id": "<acme's owner>",
                    "provider_user_id": "72", "role_keys": ["acme_account_owner"],
                    "action": "create", "status": "planned", "reason": null, "error": null,
                },
            ],
            "summary": summary(&[("planned", 4)]),
        })
    );
    let calls = zitadel.calls();
    let reads = ["ListProjectRoles", "ListAuthorizations", "ListUsers"];
    assert_eq!(calls[calls.len() - 3..], reads, "{calls:?}");
    zitadel.set(|inner| {
        assert!(inner.known.now.roles.is_empty() && inner.known.now.grants.is_empty());
    });
    assert_eq!(world.count_events().await, events);
    assert_eq!(world.get(path(&world)).await.json(), before);
    // The defaults of a dry run are not stored either.
    let body = zitadel.body(json!({"role_map": {}}));
    world.put(path(&world), body).await.expect(200);
    let events = world.count_events().await;
    let outcome = ran(&world, json!({"dry_run": true, "apply_defaults": true})).await;
    assert_eq!(
        (&outcome["config_updated"], &outcome["summary"]["planned"]),
        (&json!(true), &json!(6))
    );
    assert_eq!(world.get(path(&world)).await.json()["role_map"], json!({}));
    assert_eq!(world.count_events().await, events);
}

/// Runs twice, and returns the requests of the first run.
async fn run_twice(world: &World, management: Value) -> Vec<Recorded> {
    let zitadel = zitadel(world, json!({"management": management})).await;
    let events = world.count_events().await;
    let outcome = ran(world, json!({})).await;
    let created = vec!["create done"; 2];
    assert_eq!(statuses(&outcome, "roles"), created, "{outcome}");
    assert_eq!(statuses(&outcome, "grants"), created, "{outcome}");
    assert_eq!(outcome["summary"], summary(&[("done", 4)]));
    assert_eq!(outcome["complete"], true);
    zitadel.set(|inner| {
        let known = &inner.known;
        assert_eq!(known.keys_of("71"), ["acme_account_admin"]);
        assert_eq!(known.keys_of("72"), ["acme_account_owner"]);
        let role = &known.now.roles[0];
        let texts = (&*role.key, &*role.display_name, &*role.group);
        assert_eq!(texts, ("acme_account_admin", "Account Admin", "account"));
        assert!(known.now.grants.iter().all(|grant| grant.organization == ORGANIZATION));
    });
    assert_eq!(world.count_events().await, events + 1);
    let event = world.get(world.org("/audit?limit=1")).await.expect(200)["items"][0].clone();
    assert_eq!(event["action"], "providers.provision");
    assert_eq!(
        (&event["target_type"], &event["target_id"]),
        (&json!("identity provider"), &json!("zitadel"))
    );
    assert_eq!((&event["before"], &event["after"]), (&Value::Null, &outcome));

    let first = zitadel.recorded();
    let again = ran(world, json!({})).await;
    assert_eq!(again["summary"], summary(&[("unchanged", 4)]), "{again}");
    assert_eq!(zitadel.calls().len(), 3 + usize::from(first[0].path.contains("v1")), "only lists");
    first
}

#[on_both]
async fn second_run_changes_nothing_with_version_2(world: World) {
    let management = json!({"client_id": SERVICE_USER, "secret": SERVICE_SECRET});
    let sent = run_twice(&world, management).await;
    let calls: Vec<&str> = sent.iter().map(Recorded::call).collect();
    assert_eq!(
        calls,
        [
            "openid-configuration",
            "token",
            "ListProjectRoles",
            "ListAuthorizations",
            "ListUsers",
            "AddProjectRole",
            "AddProjectRole",
            "CreateAuthorization",
            "CreateAuthorization",
        ]
    );
    let scope = "urn%3Azitadel%3Aiam%3Aorg%3Aproject%3Aid%3Azitadel%3Aaud";
    assert_eq!(sent[1].text, format!("grant_type=client_credentials&scope=openid+{scope}"));
    for one in &sent[2..] {
        assert_eq!(one.method, "POST");
        let header = |name: &str| one.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("authorization"), Some("Bearer canary-issued-token-1"));
        assert_eq!(header("content-type"), Some("application/json"));
        assert_eq!(header("accept-language"), Some("en"));
        assert_eq!(header("connect-protocol-version"), Some("1"));
        assert_eq!(header("x-zitadel-orgid"), None);
    }
    let paths: Vec<&str> = sent[2..6].iter().map(|one| &*one.path).collect();
    assert_eq!(
        paths,
        [
            "/zitadel.project.v2.ProjectService/ListProjectRoles",
            "/zitadel.authorization.v2.AuthorizationService/ListAuthorizations",
            "/zitadel.user.v2.UserService/ListUsers",
            "/zitadel.project.v2.ProjectService/AddProjectRole",
        ]
    );
    let page = json!({"offset": "0", "limit": 50, "asc": true});
    let email = |address: &str| {
        let method = "TEXT_QUERY_METHOD_EQUALS_IGNORE_CASE";
        json!({"emailQuery": {"emailAddress": address, "method": method}})
    };
    assert_eq!(
        sent[2].body(),
        json!({
            "projectId": PROJECT, "pagination": page,
            "sortingColumn": "PROJECT_ROLE_FIELD_NAME_KEY",
        })
    );
    assert_eq!(
        sent[3].body(),
        json!({
            "pagination": page,
            "filters": [{"projectId": {"id": PROJECT}}, {"organizationId": {"id": ORGANIZATION}}],
        })
    );
    assert_eq!(
        sent[4].body(),
        json!({
            "query": page,
            "queries": [
                {"orQuery": {"queries": [email("mats@acme.example"), email("olga@acme.example")]}},
                {"typeQuery": {"type": "TYPE_HUMAN"}},
                {"organizationIdQuery": {"organizationId": ORGANIZATION}},
            ],
        })
    );
    assert_eq!(
        sent[5].body(),
        json!({
            "projectId": PROJECT, "roleKey": "acme_account_admin",
            "displayName": "Account Admin", "group": "account",
        })
    );
    assert_eq!(
        sent[7].body(),
        json!({
            "userId": "71", "projectId": PROJECT, "organizationId": ORGANIZATION,
            "roleKeys": ["acme_account_admin"],
        })
    );
}

#[on_both]
async fn second_run_changes_nothing_with_version_1(world: World) {
    let sent = run_twice(&world, json!({"api": "v1", "secret": TOKEN})).await;
    let calls: Vec<String> =
        sent.iter().map(|one| format!("{} {}", one.method, one.path)).collect();
    let api = |call: &str| format!("POST /management/v1/{call}");
    assert_eq!(
        calls,
        [
            api("projects/111/roles/_search"),
            api("users/grants/_search"),
            api("users/_search"),
            api("users/_search"),
            api("projects/111/roles"),
            api("projects/111/roles"),
            api("users/71/grants"),
            api("users/72/grants"),
        ]
    );
    for one in &sent {
        let header = |name: &str| one.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("authorization"), Some(&*format!("Bearer {TOKEN}")));
        assert_eq!(header("x-zitadel-orgid"), Some(ORGANIZATION));
        assert_eq!(header("connect-protocol-version"), None);
    }
    let page = json!({"offset": "0", "limit": 50, "asc": true});
    assert_eq!(sent[0].body(), json!({"query": page}));
    assert_eq!(
        sent[1].body(),
        json!({"query": page, "queries": [{"projectIdQuery": {"projectId": PROJECT}}]})
    );
    assert_eq!(
        sent[4].body(),
        json!({
            "roleKey": "acme_account_admin", "displayName": "Account Admin", "group": "account",
        })
    );
    assert_eq!(sent[6].body(), json!({"projectId": PROJECT, "roleKeys": ["acme_account_admin"]}));
}

#[on_both]
async fn change_of_a_grant_keeps_its_keys_in_both_versions(world: World) {
    for (api, call) in [("v2", "UpdateAuthorization"), ("v1", "grant-1")] {
        let zitadel = zitadel(&world, json!({"management": {"api": api, "secret": TOKEN}})).await;
        zitadel.set(|inner| {
            for key in ["acme_account_admin", "acme_account_owner", "acme_old", "foreign"] {
                inner.known.add_role(key);
            }
            inner.known.add_grant("71", &["acme_old", "foreign"]);
            inner.known.now.grants[0].is_active = false;
        });
        let outcome = ran(&world, json!({})).await;
        assert_eq!(statuses(&outcome, "roles"), ["none unchanged"; 2], "own texts stay");
        assert_eq!(statuses(&outcome, "grants"), ["none skipped inactive", "create done"]);
        assert_eq!(
            outcome["summary"],
            summary(&[("unchanged", 2), ("done", 1), ("unresolved", 1)])
        );
        zitadel.recorded();
        let outcome = ran(&world, json!({"activate": true, "prune": true})).await;
        assert_eq!(statuses(&outcome, "grants"), ["update done", "none unchanged"], "{outcome}");
        let sent = zitadel.recorded();
        let update = sent.iter().find(|one| one.call() == call).unwrap();
        assert_eq!(update.body()["roleKeys"], json!(["foreign", "acme_account_admin"]));
        zitadel.set(|inner| assert!(inner.known.now.grants[0].is_active));
        world.delete(path(&world)).await.expect(204);
    }
}

/// The project belongs to the organization of the service user and is granted to that of the people.
#[on_both]
async fn granted_project_has_roles_of_its_owner_and_grants_of_the_other(world: World) {
    for (api, project_grant) in [("v1", json!(PROJECT_GRANT)), ("v2", json!(PROJECT_GRANT))] {
        let claims = json!({
            "project_id": PROJECT, "organization_id": GRANTEE, "role_prefix": "acme_",
            "project_grant_id": project_grant,
        });
        let over = json!({"management": {"api": api, "secret": TOKEN}, "claim_map": claims});
        let zitadel = zitadel(&world, over).await;
        zitadel.set(|inner| {
            inner.home = ORGANIZATION;
            inner.known.users.iter_mut().for_each(|user| user.organization = GRANTEE.to_owned());
        });
        let outcome = ran(&world, json!({})).await;
        assert_eq!(outcome["summary"], summary(&[("done", 4)]), "{outcome}");
        let sent = zitadel.recorded();
        for one in sent.iter().filter(|_| api == "v1") {
            let organization = one.headers.get("x-zitadel-orgid").map(|id| id.to_str().unwrap());
            let is_of_owner = one.path.contains("/projects/");
            assert_eq!(organization, (!is_of_owner).then_some(GRANTEE), "{}", one.path);
        }
        let is_new = |one: &&Recorded| one.body()["roleKeys"].is_array();
        let grant = sent.iter().find(is_new).unwrap().body();
        let named = &grant["projectGrantId"];
        assert_eq!(*named, if api == "v1" { project_grant } else { Value::Null });
        zitadel.set(|inner| {
            assert!(inner.known.now.grants.iter().all(|grant| grant.organization == GRANTEE));
        });
        let again = ran(&world, json!({})).await;
        assert_eq!(again["summary"], summary(&[("unchanged", 4)]), "{again}");
        world.delete(path(&world)).await.expect(204);
    }
    // Without the ID a version 1 refuses the grants, and the roles are refused to the other organization.
    let claims = json!({"project_id": PROJECT, "organization_id": GRANTEE});
    let over = json!({"management": {"api": "v1", "secret": TOKEN}, "claim_map": claims});
    let zitadel = zitadel(&world, over).await;
    zitadel.set(|inner| {
        inner.home = ORGANIZATION;
        inner.known.users.iter_mut().for_each(|user| user.organization = GRANTEE.to_owned());
    });
    let problem = super::run(&world, json!({})).await.refused(502, "provider_failed");
    assert_eq!(problem["provider_status"], 400, "{problem}");
    let spaced = json!({
        "project_id": PROJECT, "organization_id": GRANTEE, "project_grant_id": "a\nb",
    });
    let over = json!({"management": {"api": "v1", "secret": TOKEN}, "claim_map": spaced});
    world.put(path(&world), zitadel.body(over)).await.expect(200);
    super::run(&world, json!({})).await.invalid("claim_map.project_grant_id");
}
