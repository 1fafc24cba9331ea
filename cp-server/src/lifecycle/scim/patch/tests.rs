use serde_json::json;

use super::*;
use crate::lifecycle::scim::shapes::{GROUP, USER};

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => panic!("an object"),
    }
}

fn patched(shape: &Shape, resource: Value, operations: Value) -> Result<Value> {
    let mut resource = map(resource);
    apply(shape, &mut resource, map(json!({"Operations": operations})))?;
    Ok(resource.into())
}

fn anna() -> Value {
    json!({
        "userName": "anna@example.com", "active": true,
        "name": {"givenName": "Anna", "familyName": "Berg"},
        "emails": [{"value": "anna@example.com", "type": "work", "primary": true}],
    })
}

#[test]
fn operations_of_identity_providers_change_a_user() {
    let with = |members: Value| {
        let mut anna = map(anna());
        anna.extend(map(members));
        Value::Object(anna)
    };
    let work = |value| json!({"emails": [{"value": value, "type": "work", "primary": true}]});
    let urn = "urn:ietf:params:scim:schemas:core:2.0:User:displayName";
    let extension = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";
    for (operations, expected) in [
        // Microsoft Entra ID.
        (json!([{"op": "Replace", "path": "active", "value": "False"}]), json!({"active": false})),
        (
            json!([{"op": "Add", "path": "emails[type eq \"work\"].value", "value": "a@b.example"}]),
            work("a@b.example"),
        ),
        (
            json!([{"op": "replace", "value": {
                "name.givenName": "Ann", "displayName": "Ann Berg", (extension): "Sales",
                "emails[type eq \"work\"].value": "a@b.example", "title": "Engineer",
            }}]),
            json!({
                "name": {"givenName": "Ann", "familyName": "Berg"}, "displayName": "Ann Berg",
                "emails": work("a@b.example")["emails"],
            }),
        ),
        // Okta.
        (json!([{"op": "replace", "value": {"active": false}}]), json!({"active": false})),
        // The standard.
        (json!([{"op": "add", "path": urn, "value": "A"}]), json!({"displayName": "A"})),
        (
            json!([{"op": "add", "path": "emails", "value": [
                {"value": "b@b.example", "primary": true},
            ]}]),
            json!({"emails": [
                {"value": "anna@example.com", "type": "work", "primary": false},
                {"value": "b@b.example", "primary": true},
            ]}),
        ),
        (
            json!([{"op": "add", "path": "emails[type eq \"home\"].value", "value": "h@b.example"}]),
            json!({"emails": [
                {"value": "anna@example.com", "type": "work", "primary": true},
                {"value": "h@b.example", "type": "home"},
            ]}),
        ),
        (
            json!([{"op": "remove", "path": "name.familyName"}]),
            json!({"name": {"givenName": "Anna"}}),
        ),
        (
            json!([{"op": "replace", "path": "NAME", "value": {"GIVENNAME": "A"}}]),
            json!({
                "name": {"familyName": "Berg", "givenName": "A"},
            }),
        ),
    ] {
        let result = patched(&USER, anna(), operations.clone());
        assert_eq!(result.unwrap(), with(expected), "{operations}");
    }
    let without = patched(
        &USER,
        anna(),
        json!([
            {"op": "remove", "path": "emails[value eq \"ANNA@example.com\"]"},
            {"op": "remove", "path": "name"},
        ]),
    );
    assert_eq!(without.unwrap(), json!({"userName": "anna@example.com", "active": true}));
}

#[test]
fn value_of_an_address_is_cleared_with_its_item() {
    let home = json!({"value": "h@b.example", "type": "home"});
    let with = |emails: Value| {
        let mut anna = map(anna());
        anna.insert("emails".into(), emails);
        Value::Object(anna)
    };
    let two = with(json!([anna()["emails"][0], home]));
    let path = "emails[type eq \"work\"].value";
    for operation in [
        // Microsoft Entra ID.
        json!({"op": "Remove", "path": path}),
        json!({"op": "replace", "path": path, "value": null}),
        json!({"op": "Replace", "path": path, "value": ""}),
    ] {
        let left = patched(&USER, two.clone(), json!([operation])).unwrap();
        assert_eq!(left, with(json!([home])), "{operation}");
        let mut none = map(anna());
        none.remove("emails");
        let left = patched(&USER, anna(), json!([operation])).unwrap();
        assert_eq!(left, Value::Object(none), "{operation}");
    }
    let other = json!([{"op": "remove", "path": "emails[type eq \"other\"].value"}]);
    assert_eq!(patched(&USER, two.clone(), other).unwrap(), two);
    let primary = json!([{"op": "remove", "path": "emails[type eq \"work\"].PRIMARY"}]);
    let work = json!({"value": "anna@example.com", "type": "work"});
    assert_eq!(patched(&USER, two, primary).unwrap(), with(json!([work, home])));
}

#[test]
fn operations_of_identity_providers_change_members() {
    let group = || json!({"displayName": "Sales", "members": [{"value": "1"}, {"value": "2"}]});
    let with = |members: &[&str]| {
        let members: Vec<Value> = members.iter().map(|id| json!({"value": id})).collect();
        if members.is_empty() {
            return json!({"displayName": "Sales"});
        }
        json!({"displayName": "Sales", "members": members})
    };
    for (operation, members) in [
        (json!({"op": "Add", "path": "members", "value": [{"value": "3"}]}), &["1", "2", "3"][..]),
        (json!({"op": "add", "path": "members", "value": [{"value": "1"}]}), &["2", "1"]),
        (json!({"op": "Remove", "path": "members", "value": [{"value": "2"}]}), &["1"]),
        (json!({"op": "remove", "path": "members[value eq \"1\"]"}), &["2"]),
        (json!({"op": "remove", "path": "members[value eq \"9\"]"}), &["1", "2"]),
        (json!({"op": "remove", "path": "members"}), &[]),
        (json!({"op": "replace", "path": "members", "value": [{"value": "7"}]}), &["7"]),
        (json!({"op": "replace", "path": "members", "value": []}), &[]),
        (json!({"op": "replace", "value": {"id": "x", "members": [{"value": "7"}]}}), &["7"]),
    ] {
        let result = patched(&GROUP, group(), json!([operation]));
        assert_eq!(result.unwrap(), with(members), "{operation}");
    }
}

#[test]
fn other_operations_are_refused() {
    for (operations, scim_type) in [
        (json!([]), "invalidSyntax"),
        (json!({}), "invalidSyntax"),
        (json!([1]), "invalidSyntax"),
        (json!([{"op": "move", "path": "active", "value": true}]), "invalidSyntax"),
        (json!([{"op": "remove"}]), "noTarget"),
        (json!([{"op": "add", "value": "x"}]), "invalidValue"),
        (json!([{"op": "replace", "path": "id", "value": "x"}]), "mutability"),
        (json!([{"op": "remove", "path": "meta.created"}]), "mutability"),
        (json!([{"op": "add", "path": 1, "value": "x"}]), "invalidPath"),
        (json!([{"op": "add", "path": "salary", "value": "x"}]), "invalidPath"),
        (json!([{"op": "add", "path": "name.nick", "value": "x"}]), "invalidPath"),
        (json!([{"op": "add", "path": "userName.x", "value": "x"}]), "invalidPath"),
        (json!([{"op": "add", "path": "userName[a eq \"b\"]", "value": "x"}]), "invalidPath"),
        (
            json!([{"op": "add", "path": "emails[type co \"w\"].value", "value": "x"}]),
            "invalidFilter",
        ),
        (json!([{"op": "replace", "path": "emails.value", "value": "x"}]), "invalidPath"),
        (json!([{"op": "replace", "path": "active", "value": "yes"}]), "invalidValue"),
        (json!([{"op": "replace", "path": "emails", "value": [{"value": "x"}]}]), "invalidValue"),
        (json!([{"op": "replace", "path": "userName", "value": 7}]), "invalidValue"),
        (json!([{"op": "replace", "path": "userName", "value": "x".repeat(256)}]), "invalidValue"),
    ] {
        let refused = patched(&USER, anna(), operations.clone()).unwrap_err();
        assert_eq!(refused.member("scim_type").unwrap(), scim_type, "{operations}");
    }
    let operation = json!([{"op": "replace", "path": "members[value eq \"9\"]", "value": {}}]);
    let refused = patched(&GROUP, json!({"displayName": "x"}), operation).unwrap_err();
    assert_eq!(refused.member("scim_type").unwrap(), "noTarget");
}
