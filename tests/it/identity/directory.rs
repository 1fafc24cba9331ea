use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::sweep::examples::UNKNOWN_ID;
use crate::world::{Client, World, on_both, statements_of};

/// The person with names for IDs, and each role by its code.
fn short(world: &World, person: &Value) -> Value {
    let mut person = world.named(person);
    let by_code = |seat: &mut Value| seat["role"] = seat["role"]["code"].clone();
    by_code(&mut person["membership"]);
    person["groups"].as_array_mut().unwrap().iter_mut().for_each(by_code);
    person
}

async fn emails(world: &World, query: &str) -> Vec<String> {
    let list = world.get(world.org(&format!("/users?{query}"))).await.expect(200);
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| item["user"]["email"].as_str().unwrap().to_owned()).collect()
}

async fn group(world: &World, body: Value) -> String {
    let made = world.post(world.org("/groups"), body).await.expect(201);
    made["id"].as_str().unwrap().to_owned()
}

#[on_both]
async fn new_person_is_created_with_all_seats_in_one_request(world: World) {
    let body = json!({
        "email": "Anna@Acme.example", "display_name": "Anna",
        "role": "member", "groups": [
            {"group_id": world.acme.group, "role": "admin"}, {"group_id": world.acme.spare_group},
        ],
        "identity": {"provider": "auth0", "subject": "auth0|anna", "idp_tenant": "t1"},
    });
    let events = world.count_events().await;
    let answer = world.post(world.org("/users"), body.clone()).await;
    let location = answer.header("location").to_owned();
    let made = answer.expect(201);
    assert_eq!(world.count_events().await, events + 1);
    assert_eq!(
        location,
        format!("/api/v1/memberships/{}", made["membership"]["id"].as_str().unwrap())
    );
    let role = &made["membership"]["role"];
    assert_eq!(
        *role,
        json!({"id": role["id"], "code": "ORGANIZATION_MEMBER", "name": "Member", "rank": 2})
    );
    let anna = json!({
        "user": {
            "id": "<2>", "email": "Anna@Acme.example", "display_name": "Anna", "is_active": true,
        },
        "membership": {"id": "<1>", "role": "ORGANIZATION_MEMBER", "status": "active"},
        "groups": [
            {
                "id": "<acme's group>", "name": "Sales", "product": "", "role": "GROUP_ADMIN",
                "status": "active",
            },
            {
                "id": "<acme's spare group>", "name": "Support", "product": "console",
                "role": "GROUP_MEMBER", "status": "active",
            },
        ],
    });
    let mut shown = short(&world, &made);
    shown["user"]["id"] = json!("<2>");
    shown["membership"]["id"] = json!("<1>");
    assert_eq!(shown, anna);
    // The address decides, in upper and lower case; a repetition changes nothing.
    let mut again = body;
    again["email"] = json!("anna@acme.EXAMPLE");
    let revision = world.get(world.org("")).await.expect(200)["revision"].clone();
    assert_eq!(world.post(world.org("/users"), again).await.expect(200), made);
    assert_eq!(world.get(world.org("")).await.expect(200)["revision"], revision);
    let user = made["user"]["id"].as_str().unwrap();
    let accounts = world.get(format!("/users/{user}/auth-accounts")).await.expect(200);
    assert_eq!(accounts["items"].as_array().unwrap().len(), 1);
    let account = &accounts["items"][0];
    assert_eq!(
        (&account["subject"], &account["idp_tenant"], &account["vouched_by"]),
        (&json!("auth0|anna"), &json!("t1"), &Value::Null)
    );
    let listed = world.get(world.org("/users?email=ANNA@acme.example")).await.expect(200);
    assert_eq!(listed, json!({"items": [made], "next_cursor": null}));
}

#[on_both]
async fn known_person_keeps_what_the_request_does_not_name(world: World) {
    let path = world.org("/users");
    let least = json!({"user_id": world.acme.user});
    let known = world.post(&path, least).await.expect(200);
    let seat = |name: &str, group: &str, product: &str, role: &str| {
        json!({
            "id": format!("<acme's {group}>"), "name": name, "product": product, "role": role,
            "status": "active",
        })
    };
    assert_eq!(
        short(&world, &known),
        json!({
            "user": {
                "id": "<acme's user>", "email": "mats@acme.example", "display_name": "mats",
                "is_active": true,
            },
            "membership": {
                "id": "<acme's membership>", "role": "ORGANIZATION_ADMIN", "status": "active",
            },
            "groups": [
                seat("Sales", "group", "", "GROUP_MEMBER"),
                seat("Support", "spare group", "console", "GROUP_MEMBER"),
            ],
        })
    );
    // A given role is set, here and in a group.
    let body = json!({
        "email": "mats@acme.example", "role": "viewer", "groups": [
            {"group_id": world.acme.group}, {"group_id": world.acme.spare_group, "role": "admin"},
        ],
    });
    let changed = short(&world, &world.post(&path, body).await.expect(200));
    assert_eq!(changed["membership"]["role"], "ORGANIZATION_VIEWER");
    assert_eq!(
        changed["groups"],
        json!([
            seat("Sales", "group", "", "GROUP_MEMBER"),
            seat("Support", "spare group", "console", "GROUP_ADMIN"),
        ])
    );
    // A stranger is new to the organization: a viewer.
    let made = world.post(&path, json!({"user_id": world.acme.stranger})).await.expect(201);
    let made = short(&world, &made);
    assert_eq!(made["membership"]["role"], "ORGANIZATION_VIEWER");
    assert_eq!(made["groups"], json!([]));
}

#[on_both]
async fn organization_names_only_a_person_without_a_name(world: World) {
    let path = world.org("/users");
    let (own, root) = (world.by(&world.acme.token), world.root());
    let email = "anna@acme.example";
    let named = async |client: &Client, name: &str| {
        let answer = client.post(&path, json!({"email": email, "display_name": name})).await;
        assert!([200, 201].contains(&answer.status), "{}", answer.text());
        let found = root.get(world.org(&format!("/users?email={email}"))).await.expect(200);
        found["items"][0]["user"]["display_name"].clone()
    };
    assert_eq!(named(&own, "Anna").await, "Anna");
    assert_eq!(named(&own, "Other").await, "Anna");
    assert_eq!(named(&root, "Other").await, "Other");
}

#[on_both]
async fn organization_sees_no_name_of_a_person_who_has_not_taken_the_seat(world: World) {
    let own = world.by(&world.acme.token);
    let path = world.org("/users");
    let body = json!({"email": "sven@acme.example", "groups": [{"group_id": world.acme.group}]});
    let offered = own.post(&path, body.clone()).await.expect(201);
    let mut sven = json!({
        "user": {
            "id": "<acme's stranger>", "email": "sven@acme.example", "display_name": null,
            "is_active": null,
        },
        "membership": {"id": "<1>", "role": "ORGANIZATION_VIEWER", "status": "invited"},
        "groups": [{
            "id": "<acme's group>", "name": "Sales", "product": "", "role": "GROUP_MEMBER",
            "status": "invited",
        }],
    });
    let shown = |person: &Value| {
        let mut person = short(&world, person);
        person["membership"]["id"] = json!("<1>");
        person
    };
    assert_eq!(shown(&offered), sven);
    let accept = format!("/memberships/{}/accept", offered["membership"]["id"].as_str().unwrap());
    world.person("auth0|sven-acme").post(accept, json!({})).await.expect(200);
    sven["user"]["display_name"] = json!("sven");
    sven["user"]["is_active"] = json!(true);
    sven["membership"]["status"] = json!("active");
    sven["groups"][0]["status"] = json!("active");
    assert_eq!(shown(&own.post(&path, body).await.expect(200)), sven);
}

#[on_both]
async fn refusals_name_their_field_and_change_nothing(world: World) {
    let path = world.org("/users");
    let own = world.by(&world.acme.token);
    let events = world.count_events().await;
    for body in [json!({}), json!({"email": "a@b.example", "user_id": world.acme.user})] {
        own.post(&path, body).await.invalid("user_id");
    }
    let missing = own.post(&path, json!({"user_id": UNKNOWN_ID})).await.refused(404, "not_found");
    assert_eq!(missing["field"], "user_id");
    let new = |more: Value| {
        let mut body = json!({"email": "new@acme.example"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for foreign in [UNKNOWN_ID, &world.globex.group] {
        let groups = json!([{"group_id": world.acme.group}, {"group_id": foreign}]);
        let problem = own.post(&path, new(json!({"groups": groups}))).await;
        let problem = problem.refused(404, "not_found");
        assert_eq!(problem["field"], "groups[1].group_id");
        assert_eq!(problem["detail"], "group not found");
    }
    let twice = json!([{"group_id": world.acme.group}, {"group_id": world.acme.group}]);
    own.post(&path, new(json!({"groups": twice}))).await.invalid("groups[1].group_id");
    let many: Vec<_> = (0..101).map(|_| json!({"group_id": world.acme.group})).collect();
    own.post(&path, new(json!({"groups": many}))).await.invalid("groups");
    let role = json!({"groups": [{"group_id": world.acme.group, "role": "nonsense"}]});
    let problem = own.post(&path, new(role)).await.refused(422, "role_unknown");
    assert_eq!(problem["field"], "groups[0].role");
    let problem = own.post(&path, new(json!({"role": "x"}))).await.refused(422, "role_unknown");
    assert_eq!(problem["field"], "role");
    // The owner's role is neither granted nor taken.
    let owner = own.post(&path, new(json!({"role": "owner"}))).await;
    owner.refused(409, "use_transfer_ownership");
    let body = json!({"user_id": world.acme.owner, "role": "admin"});
    world.post(&path, body).await.refused(409, "owner_protected");
    // An organization does not decide who a person is, not even with all its permissions.
    let identity = json!({"identity": {"provider": "auth0", "subject": "auth0|new"}});
    let problem = own.post(&path, new(identity)).await.refused(403, "forbidden");
    assert_eq!(problem["field"], "identity");
    let taken = json!({"identity": {"provider": "auth0", "subject": "auth0|mats-acme"}});
    let problem = world.post(&path, new(taken)).await.refused(409, "auth_account_taken");
    assert_eq!(problem["field"], "identity.subject");
    assert_eq!(world.count_events().await, events);
    let found = world.get("/users?email=new@acme.example").await.expect(200);
    assert_eq!(found["items"], json!([]));
}

#[on_both]
async fn caller_grants_at_most_what_it_holds(world: World) {
    let path = world.org("/users");
    let least = world.with_only(&["members:write"]).await;
    let problem = least.post(&path, json!({"email": "new@acme.example"})).await;
    assert_eq!(problem.refused(403, "forbidden")["field"], "role");
    let admin = json!({
        "user_id": world.acme.user, "groups": [{"group_id": world.acme.group, "role": "admin"}],
    });
    let problem = least.post(&path, admin).await.refused(403, "forbidden");
    assert_eq!(problem["field"], "groups[0].role");
    // A platform token without `users:write` links no identity.
    let token = world.new_token("", &["members:write", "org:read", "runs:read"]).await;
    let body = json!({
        "user_id": world.acme.user, "identity": {"provider": "okta", "subject": "1"},
    });
    let problem = world.by(&token).post(&path, body).await.refused(403, "forbidden");
    assert_eq!(
        (&problem["field"], &problem["permission"]),
        (&json!("identity"), &json!("users:write"))
    );
    world.with_only(&["members:read"]).await.post(&path, json!({})).await.refused(403, "forbidden");
    world.with_only(&["org:read"]).await.get(&path).await.refused(403, "forbidden");
}

#[on_both]
async fn new_person_counts_against_the_quota(world: World) {
    let members = world.get(world.org("/users")).await.expect(200);
    let members = members["items"].as_array().unwrap().len();
    world.put(world.org("/quotas/members"), json!({"quantity": members})).await.expect(200);
    let path = world.org("/users");
    let body = json!({"email": "new@acme.example"});
    world.post(&path, body).await.refused(429, "quota_exceeded");
    let found = world.get("/users?email=new@acme.example").await.expect(200);
    assert_eq!(found["items"], json!([]));
    world.post(&path, json!({"user_id": world.acme.user})).await.expect(200);
}

#[on_both]
async fn people_are_listed_by_group_product_and_address(world: World) {
    let console = json!({"name": "Console", "product": "console"});
    let unit = group(&world, console).await;
    let team = group(&world, json!({"name": "Team", "parent_id": unit})).await;
    for (email, groups) in [
        ("anna@acme.example", json!([{"group_id": unit}, {"group_id": world.acme.group}])),
        ("bob@acme.example", json!([{"group_id": team}])),
    ] {
        world.pass(TimeDelta::milliseconds(1));
        let body = json!({"email": email, "groups": groups});
        world.post(world.org("/users"), body).await.expect(201);
    }
    let (anna, bob, mats, olga) =
        ("anna@acme.example", "bob@acme.example", "mats@acme.example", "olga@acme.example");
    assert_eq!(emails(&world, "").await, [bob, anna, mats, olga]);
    assert_eq!(emails(&world, &format!("group={unit}")).await, [bob, anna]);
    assert_eq!(emails(&world, &format!("group={team}")).await, [bob]);
    assert_eq!(emails(&world, "product=console").await, [bob, anna, mats]);
    assert_eq!(emails(&world, "product=").await, [anna, mats]);
    assert_eq!(emails(&world, &format!("product=&group={unit}")).await, [""; 0]);
    assert_eq!(emails(&world, "product=copilot").await, [""; 0]);
    for missing in [&*world.globex.group, UNKNOWN_ID] {
        let answer = world.get(world.org(&format!("/users?group={missing}"))).await;
        assert_eq!(answer.refused(404, "not_found")["field"], "group");
    }
    assert_eq!(emails(&world, "email=BOB@acme.example").await, [bob]);
    assert_eq!(emails(&world, "email=mats@globex.example").await, [""; 0]);
    // A product also selects the groups that are returned.
    let list = world.get(world.org("/users?product=console&email=anna@acme.example")).await;
    let list = list.expect(200);
    let names: Vec<_> =
        list["items"][0]["groups"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["Console"]);
    let page = world.get(world.org("/users?limit=3")).await.expect(200);
    let next = page["next_cursor"].as_str().unwrap();
    assert_eq!(emails(&world, &format!("limit=3&cursor={next}")).await, [olga]);
    // The organization's own token reads them too, and a foreign one finds nothing.
    let own = world.by(&world.acme.token).get(world.org("/users")).await.expect(200);
    assert_eq!(own["items"].as_array().unwrap().len(), 4);
    world.by(&world.globex.token).get(world.org("/users")).await.refused(404, "not_found");
}

/// The groups of all people are one statement, however many people a page has.
#[on_both]
async fn page_costs_two_statements(world: World) {
    for n in 0..10 {
        let body = json!({
            "email": format!("p{n}@acme.example"), "groups": [{"group_id": world.acme.group}],
        });
        world.post(world.org("/users"), body).await.expect(201);
    }
    // A list of one statement is the measure.
    let one = statements_of(&world, "/memberships").await;
    assert_eq!(statements_of(&world, "/users").await, one + 1);
}
