//! What tokens say, in our words: the claims alone.

use cp_server::identity::oidc::claims::{Context, read};
use cp_server::identity::oidc::provider::Provider;
use serde_json::{Value, json};

fn provider(over: Value) -> Provider {
    let mut body = json!({
        "type": "zitadel", "issuer": "https://z.example", "audience": "111",
        "claim_map": {"organization_id": "900"},
    });
    for (name, value) in over.as_object().unwrap() {
        body[name] = value.clone();
    }
    Provider::of_platform("zitadel", serde_json::from_value(body).unwrap()).unwrap()
}

fn context(provider: &Provider, claims: Value) -> Context {
    read(provider, claims.as_object().unwrap()).unwrap()
}

fn roles(provider: &Provider, claims: Value) -> Vec<String> {
    let mut claims = claims;
    claims["sub"] = json!("77");
    context(provider, claims).roles
}

#[test]
fn zitadel_vector_1_the_whole_context() {
    let found = context(
        &provider(json!({})),
        json!({
            "sub": "77", "alchemi:account_id": "acc-1",
            "urn:zitadel:iam:org:project:roles": {"account_admin": {"900": "acme.example"}},
            "product_domains_allowed": ["copilot"], "scope": "openid email",
        }),
    );
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        found,
        Context {
            email: None,
            subject: "77".into(),
            account: Some("acc-1".into()),
            roles: texts(&["account_admin"]),
            scopes: texts(&["openid", "email"]),
            products: texts(&["copilot"]),
            is_superadmin: false,
            name: None,
        }
    );
}

#[test]
fn zitadel_vectors_2_to_4_roles_of_other_projects_and_organizations_are_ignored() {
    let zitadel = provider(json!({}));
    let map = json!({"account_admin": {"900": "acme.example"}});
    let none: Vec<String> = Vec::new();
    assert_eq!(roles(&zitadel, json!({"urn:zitadel:iam:org:project:222:roles": map})), none);
    assert_eq!(
        roles(&zitadel, json!({"urn:zitadel:iam:org:project:111:roles": map})),
        ["account_admin"]
    );
    let foreign = json!({"account_admin": {"901": "globex.example"}});
    assert_eq!(roles(&zitadel, json!({"urn:zitadel:iam:org:project:roles": foreign})), none);
    let array = json!([{"end_user": {"900": "d"}}]);
    assert_eq!(roles(&zitadel, json!({"urn:zitadel:iam:org:project:roles": array})), ["end_user"]);
}

#[test]
fn zitadel_vector_5_a_role_makes_a_super_administrator_on_the_platform_alone() {
    let zitadel = provider(json!({}));
    let claims = json!({"sub": "77", "roles": "super_admin"});
    assert!(context(&zitadel, claims.clone()).is_superadmin);
    let mut own = zitadel;
    own.organization = Some("01900000-0000-7000-8000-000000000000".parse().unwrap());
    own.claim_map.superadmin = vec!["is_super_admin".into()];
    assert!(!context(&own, claims).is_superadmin);
    let claims = json!({"sub": "77", "is_super_admin": true});
    assert!(!context(&own, claims.clone()).is_superadmin);
    own.organization = None;
    assert!(context(&own, claims).is_superadmin);
    let set = provider(json!({"claim_map": {"superadmin_roles": ["root"]}}));
    assert!(!context(&set, json!({"sub": "77", "roles": "super_admin"})).is_superadmin);
    assert!(!context(&set, json!({"sub": "77", "is_super_admin": true})).is_superadmin);
}

#[test]
fn zitadel_vector_6_the_persons_own_organization_is_the_last_that_is_asked() {
    let zitadel = provider(json!({}));
    let own = "urn:zitadel:iam:user:resourceowner:id";
    let account = |claims: Value| context(&zitadel, claims).account;
    assert_eq!(account(json!({"sub": "77", own: "900"})).as_deref(), Some("900"));
    assert_eq!(account(json!({"sub": "77", own: "900", "org_id": "1"})).as_deref(), Some("1"));
    assert_eq!(account(json!({"sub": "77", own: "900", "org_id": ""})).as_deref(), Some("900"));
    assert_eq!(account(json!({"sub": "77"})), None);
}

#[test]
fn zitadel_roles_count_in_the_tokens_own_organization_when_none_is_set() {
    let zitadel = provider(json!({"claim_map": {}}));
    let claims = json!({
        "urn:zitadel:iam:user:resourceowner:id": "900",
        "urn:zitadel:iam:org:project:roles": {"a": {"900": "x"}, "b": {"901": "y"}},
    });
    assert_eq!(roles(&zitadel, claims), ["a"]);
}

#[test]
fn zitadel_roles_without_a_projects_id_are_those_of_the_application_that_asked() {
    let zitadel = provider(json!({}));
    let of = |mut claims: Value| {
        claims["urn:zitadel:iam:org:project:roles"] = json!({"a": {"900": "x"}});
        roles(&zitadel, claims)
    };
    assert_eq!(of(json!({"aud": ["app", "111"], "azp": "app"})), ["a"]);
    assert_eq!(of(json!({"aud": "222", "azp": "111"})), ["a"]);
    assert_eq!(of(json!({"aud": "222", "azp": "app"})), Vec::<String>::new());
}

#[test]
fn roles_are_put_into_our_words() {
    let zitadel = provider(json!({
        "type": "oidc",
        "claim_map": {"roles": ["/realm_access/roles", "https://x.example/roles"], "role_prefix": "la:"},
        "role_map": {"boss": "ADMIN", "la:clerk": ["MEMBER", "VIEWER"], "sales": "NEVER"},
    }));
    let claims = json!({
        "realm_access": {"roles": ["la:boss", "la:boss", "la:plain", "sales"]},
        "https://x.example/roles": "la:clerk", "roles": ["la:ignored"],
    });
    assert_eq!(roles(&zitadel, claims), ["ADMIN", "plain", "MEMBER", "VIEWER"]);
}

#[test]
fn each_kind_of_provider_has_its_own_names() {
    let of = |kind: &str, claims: Value| {
        context(&provider(json!({"type": kind, "claim_map": {}})), claims)
    };
    let auth0 = json!({
        "sub": "auth0|1", "org_id": "org_1", "scope": "openid", "permissions": ["read:x"],
        "111/roles": ["admin"], "https://other.example/roles": ["owner"],
    });
    let found = of("auth0", auth0);
    assert_eq!(found.account.as_deref(), Some("org_1"));
    assert_eq!(
        (found.roles, found.scopes),
        (vec!["admin".into()], vec!["openid".into(), "read:x".into()])
    );
    let found =
        of("microsoft", json!({"sub": "pairwise", "oid": "person", "scp": "a b", "roles": ["R"]}));
    assert_eq!((&*found.subject, found.scopes.len(), found.roles.len()), ("person", 2, 1));
    let found =
        of("okta", json!({"sub": "a@b.example", "uid": "00u1", "groups": ["G"], "scp": ["s"]}));
    assert_eq!((&*found.subject, found.roles, found.scopes.len()), ("00u1", vec!["G".into()], 1));
    let found = of("google", json!({"sub": "1", "hd": "acme.example", "name": "Anna"}));
    assert_eq!(
        (found.account.as_deref(), found.name.as_deref()),
        (Some("acme.example"), Some("Anna"))
    );
}

#[test]
fn a_claim_map_of_the_wrong_shape_is_refused() {
    let body = json!({
        "type": "oidc", "issuer": "https://z.example", "claim_map": {"roles": {"a": 1}},
    });
    let error = Provider::of_platform("x", serde_json::from_value(body).unwrap()).unwrap_err();
    assert_eq!(error, "`claim_map.roles` must be a string or a list of strings.");
}
