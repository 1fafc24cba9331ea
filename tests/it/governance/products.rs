//! Logins that are restricted to products.

use axum::http::Method;
use serde_json::{Value, json};

use super::{id, resource};
use crate::world::{Client, World, on_both};

/// Requests that a restricted login may not make: 403 at `product`.
async fn refused(client: &Client, requests: Vec<(Method, String, Option<Value>)>) {
    for (method, path, body) in requests {
        let answer = client.call(method.clone(), &format!("/api/v1{path}"), body).await;
        assert_eq!(answer.refused(403, "forbidden")["field"], "product", "{method} {path}");
    }
}

/// The products of a list, sorted.
fn products(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap().iter();
    let mut products: Vec<String> =
        items.map(|item| item["product"].as_str().unwrap().to_owned()).collect();
    products.sort();
    products.dedup();
    products
}

#[on_both]
async fn restricted_logins_keep_to_their_products(world: World) {
    let login = || {
        let mut login = world.login("auth0|olga-acme");
        login.products = vec!["copilot".into()];
        login
    };
    let olga = world.anyone().person(&world.app, login());
    let body = |product: &str| json!({"kind": "guardrail", "name": "x", "product": product});
    let of_all = id(&resource(&world, body("")).await);
    let other = id(&resource(&world, body("console")).await);
    let path = world.org("/resources");
    let own = olga.post(&path, body("copilot")).await.expect(201);
    let all = format!("{path}?kind=guardrail");
    assert_eq!(products(&olga.get(&all).await.expect(200)), ["", "copilot"]);
    olga.get(format!("/resources/{of_all}")).await.expect(200);
    olga.patch(format!("/resources/{}", id(&own)), json!({"name": "y"})).await.expect(200);
    let feature = |product: &str| json!({"kind": "feature", "subject": "f", "scope": "organization", "product": product});
    olga.put(world.org("/bindings"), feature("copilot")).await.expect(201);
    let requests = vec![
        (Method::POST, path.clone(), Some(body("console"))),
        (Method::POST, path.clone(), Some(body(""))),
        (Method::GET, format!("{path}?product=console"), None),
        (Method::GET, format!("/resources/{other}"), None),
        (Method::PATCH, format!("/resources/{other}"), Some(json!({"name": "y"}))),
        (Method::PATCH, format!("/resources/{of_all}"), Some(json!({"name": "y"}))),
        (Method::DELETE, format!("/resources/{of_all}"), None),
        (Method::GET, "/resources?product=console".into(), None),
        (Method::PUT, world.org("/bindings"), Some(feature(""))),
        (Method::PUT, world.org("/bindings"), Some(feature("console"))),
        (Method::GET, world.org("/bindings?product=console"), None),
    ];
    refused(&olga, requests).await;
    let mut everywhere = login();
    everywhere.products.push("all".into());
    let everywhere = world.anyone().person(&world.app, everywhere);
    everywhere.patch(format!("/resources/{other}"), json!({"name": "y"})).await.expect(200);
}

#[on_both]
async fn restricted_logins_keep_to_their_products_in_budgets(world: World) {
    let login = |subject: &str| {
        let mut login = world.login(subject);
        login.products = vec!["copilot".into()];
        login
    };
    let olga = world.anyone().person(&world.app, login("auth0|olga-acme"));
    let group = format!("group:{}", world.acme.group);
    let mut cycles = Vec::new();
    for product in ["console", "copilot"] {
        let budget = world.org(&format!("/budgets/{product}"));
        world.put(&budget, json!({"credits": 100})).await.expect(201);
        cycles.push(id(&world.post(format!("{budget}/cycles"), json!({})).await.expect(201)));
        let allocation = json!({"scope": group, "quantity": 1});
        world.put(format!("{budget}/allocations"), allocation).await.expect(201);
    }
    let limits = world.get(world.org("/limits?metric=credits")).await.expect(200);
    let limits = limits["items"].as_array().unwrap();
    let other = limits.iter().find(|limit| limit["unit"] == "console").unwrap();
    let (budget, usage) = (world.org("/budgets/console"), world.org("/usage"));
    let check = world.org("/limits/check?metric=credits&window=cycle");
    let allocation = json!({"scope": group, "quantity": 2});
    let shares = json!({"scopes": [group], "total": 1});
    let requests = vec![
        (Method::GET, budget.clone(), None),
        (Method::GET, format!("{budget}/cycles"), None),
        (Method::POST, format!("{budget}/cycles"), Some(json!({}))),
        (Method::GET, format!("/budget-cycles/{}", cycles[0]), None),
        (Method::PATCH, format!("/budget-cycles/{}", cycles[0]), Some(json!({"name": "x"}))),
        (Method::GET, format!("{budget}/allocations"), None),
        (Method::PUT, format!("{budget}/allocations"), Some(allocation.clone())),
        (Method::DELETE, format!("{budget}/allocations?scope={group}"), None),
        (Method::POST, format!("{budget}/distribute"), Some(shares.clone())),
        (Method::GET, format!("{usage}/costs?product=console"), None),
        (Method::GET, format!("/limits/{}", id(other)), None),
        (Method::GET, format!("{check}&unit=console"), None),
    ];
    refused(&olga, requests).await;
    assert_eq!(products(&olga.get(world.org("/budgets")).await.expect(200)), ["copilot"]);
    let seen = olga.get(world.org("/limits?metric=credits")).await.expect(200);
    let seen = seen["items"].as_array().unwrap().iter();
    assert!(seen.clone().count() > 0 && seen.clone().all(|limit| limit["unit"] == "copilot"));
    let own = world.org("/budgets/copilot");
    for path in [
        own.clone(),
        format!("{own}/cycles"),
        format!("/budget-cycles/{}", cycles[1]),
        format!("{own}/allocations"),
        format!("{usage}/costs?product=copilot"),
        format!("{check}&unit=copilot"),
    ] {
        olga.get(path).await.expect(200);
    }
    let renamed = format!("/budget-cycles/{}", cycles[1]);
    olga.patch(renamed, json!({"name": "x"})).await.expect(200);
    olga.put(format!("{own}/allocations"), allocation).await.expect(200);
    olga.post(format!("{own}/distribute"), shares).await.expect(200);
    olga.delete(format!("{own}/allocations?scope={group}")).await.expect(204);
    world.pass(chrono::TimeDelta::days(1));
    let olga = world.anyone().person(&world.app, login("auth0|olga-acme"));
    olga.post(format!("{own}/cycles"), json!({})).await.expect(201);
    // The vendor's own people, too.
    let mut vendor = login("auth0|vendor");
    vendor.is_superadmin = true;
    let vendor = world.anyone().person(&world.app, vendor);
    assert_eq!(products(&vendor.get("/budgets").await.expect(200)), ["copilot"]);
    let new = Some(json!({"credits": 1}));
    let requests = vec![
        (Method::GET, "/budgets?product=console".to_owned(), None),
        (Method::PUT, budget.clone(), new.clone()),
        (Method::PUT, world.org("/budgets/new"), new),
        (Method::DELETE, budget, None),
    ];
    refused(&vendor, requests).await;
    vendor.put(&own, json!({"credits": 1})).await.expect(200);
}

#[on_both]
async fn restricted_logins_keep_to_their_products_in_groups(world: World) {
    let mut login = world.login("auth0|olga-acme");
    login.products = vec!["copilot".into()];
    let olga = world.anyone().person(&world.app, login);
    let path = world.org("/groups");
    let body = |product: &str| json!({"name": format!("G{product}"), "product": product});
    let made = async |product: &str| id(&world.post(&path, body(product)).await.expect(201));
    let (of_all, other) = (made("").await, made("console").await);
    let own = id(&olga.post(&path, body("copilot")).await.expect(201));
    let below = json!({"name": "Below", "parent_id": own});
    olga.post(&path, below).await.expect(201);
    assert_eq!(products(&olga.get(&path).await.expect(200)), ["", "copilot"]);
    olga.get(format!("/groups/{of_all}")).await.expect(200);
    olga.patch(format!("/groups/{own}"), json!({"name": "y"})).await.expect(200);
    let renamed = || Some(json!({"name": "z"}));
    let requests = vec![
        (Method::GET, format!("{path}?product=console"), None),
        (Method::POST, path.clone(), Some(body("console"))),
        (Method::POST, path.clone(), Some(body(""))),
        (Method::POST, path.clone(), Some(json!({"name": "x", "parent_id": of_all}))),
        (Method::GET, format!("/groups/{other}"), None),
        (Method::PATCH, format!("/groups/{other}"), renamed()),
        (Method::PATCH, format!("/groups/{of_all}"), renamed()),
        (Method::PATCH, format!("/groups/{own}"), Some(json!({"product": ""}))),
        (Method::DELETE, format!("/groups/{other}"), None),
        (Method::DELETE, format!("/groups/{of_all}"), None),
    ];
    refused(&olga, requests).await;
    let leaf = json!({"name": "Leaf", "product": "copilot"});
    let leaf = id(&olga.post(&path, leaf).await.expect(201));
    olga.delete(format!("/groups/{leaf}")).await.expect(204);
}
