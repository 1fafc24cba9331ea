use axum::body::Body;
use axum::http::{Method, Request};
use cp_server::Settings;
use cp_server::kernel::http::line::BODY_LIMIT;
use serde_json::json;

use crate::sweep::examples::example;
use crate::world::{AUDIENCE, Answer, Client, ROOT, World, on_both};

#[on_both]
async fn a_body_has_a_limit(world: World) {
    let path = world.org("/deployments");
    let padded = |bytes: usize| {
        let body = json!({"name": "lab", "type": "cloud"}).to_string();
        let padding = " ".repeat(bytes - body.len());
        body + &padding
    };
    send(&world, Method::POST, &path, padded(BODY_LIMIT + 1)).await.refused(413, "too_large");
    send(&world, Method::POST, &path, padded(BODY_LIMIT)).await.expect(201);
    let bulk = send(&world, Method::POST, "/licenses/bundles", padded(BODY_LIMIT + 1)).await;
    bulk.refused(413, "too_large");
}

#[on_both]
async fn a_target_and_headers_have_limits(world: World) {
    let target = |length: usize| {
        let path = "/healthz?";
        format!("{path}{}", "a".repeat(length - path.len()))
    };
    let anyone = world.anyone();
    assert_eq!(anyone.call(Method::GET, &target(8192), None).await.status, 200);
    anyone.call(Method::GET, &target(8193), None).await.refused(414, "uri_too_long");
    let fat = |bytes: usize| world.anyone().with("x-fat", "a".repeat(bytes - "x-fat".len() - 4));
    assert_eq!(fat(32 * 1024).call(Method::GET, "/healthz", None).await.status, 200);
    let over = fat(32 * 1024 + 1).call(Method::GET, "/healthz", None).await;
    over.refused(431, "headers_too_large");
}

#[on_both]
async fn json_has_a_depth_and_arrays_a_length(world: World) {
    let path = world.org("/deployments");
    let deep =
        |depth: usize| format!(r#"{{"x":{}1{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
    send(&world, Method::POST, &path, deep(64)).await.invalid("x");
    send(&world, Method::POST, &path, deep(65)).await.refused(400, "bad_request");
    let wide = |items: usize| format!(r#"{{"x":[{}]}}"#, vec!["1"; items].join(","));
    send(&world, Method::POST, &path, wide(1000)).await.invalid("x");
    send(&world, Method::POST, &path, wide(1001)).await.refused(400, "bad_request");
}

#[on_both]
async fn body_unreadable_is_400_and_of_another_media_type_415(world: World) {
    let path = world.org("/deployments");
    for body in
        ["{", "nope", "{} {}", r#"{"name":"a","name":"b"}"#, "\u{feff}{}", "{\"a\":\"\\u0000\"}"]
    {
        let answer = send(&world, Method::POST, &path, body.to_owned()).await;
        answer.refused(400, "bad_request");
    }
    let latin = Request::post(format!("/api/v1{path}")).body(Body::from(vec![b'"', 0xe9, b'"']));
    world.root().send(latin.unwrap()).await.refused(400, "bad_request");
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "json",
        "",
        "application/json; charset=iso-8859-1",
        "application/json;charset=\"utf-16\"",
    ] {
        let by = world.root().with("content-type", media_type);
        let answer = by.post(&path, json!({"name": "x", "type": "demo"})).await;
        answer.refused(415, "unsupported_media_type");
    }
    for media_type in [
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
        "APPLICATION/JSON",
        "application/merge-patch+json",
    ] {
        let by = world.root().with("content-type", media_type);
        by.patch(world.org(""), json!({"name": "Acme"})).await.expect(200);
    }
}

#[on_both]
async fn unknown_path_names_the_pages_below_the_base_url(world: World) {
    for (base, page) in [("https://cp.example/lic", "/lic/docs"), ("https://cp.example", "; /docs")]
    {
        let (_, client) = world.server(|settings| settings.shared.base_url = base.into());
        let problem = client.get("/nowhere").await.refused(404, "not_found");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("{page} lists all paths")), "{detail}");
    }
}

#[on_both]
async fn an_unknown_method_is_405_and_head_is_get_without_a_body(world: World) {
    let answer = world.root().call(Method::PUT, "/api/v1/plans", None).await;
    let allow = answer.header("allow").to_owned();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    answer.refused(405, "method_not_allowed");
    world.root().call(Method::GET, "/api/v1/nothing", None).await.refused(404, "not_found");
    for line in crate::world::operations().table {
        if line.method != Method::GET || line.name == "server.metrics" {
            continue;
        }
        let path = world.path_of(&line) + &crate::sweep::examples::example(&world, &line).query;
        let get = world.root().call(Method::GET, &path, None).await;
        let head = world.root().call(Method::HEAD, &path, None).await;
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{}", line.name);
        assert_eq!(head.header("etag"), get.header("etag"), "{}", line.name);
    }
}

#[on_both]
async fn a_body_is_sent_as_it_is_and_a_header_once(world: World) {
    let path = world.org("");
    let patch = async |client: Client| client.patch(&path, json!({"name": "Acme"})).await;
    for coding in ["gzip", "br", "gzip, identity"] {
        let answer = patch(world.root().with("content-encoding", coding)).await;
        answer.refused(415, "unsupported_media_type");
    }
    patch(world.root().with("content-encoding", "identity")).await.expect(200);
    for name in ["content-type", "authorization"] {
        let request = Request::patch(format!("/api/v1{}", world.org("")))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {ROOT}"))
            .header(name, "application/json");
        let answer = world.anyone().send(request.body(Body::from("{}")).unwrap()).await;
        answer.refused(400, "bad_request");
    }
}

#[on_both]
async fn options_lists_the_methods_and_allows_pages_to_read_public_documents(world: World) {
    let mut seen = std::collections::BTreeSet::new();
    for line in crate::world::operations().table {
        let path = world.path_of(&line);
        if !seen.insert(path.clone()) {
            continue;
        }
        let answer = world.anyone().call(Method::OPTIONS, &path, None).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{path}");
        let allow: Vec<&str> = answer.header("allow").split(',').collect();
        assert!(allow.contains(&line.method.as_str()) && allow.contains(&"OPTIONS"), "{allow:?}");
        // The preflight and the document allow the same origins.
        let preflight = answer.header("access-control-allow-origin").to_owned();
        let open = line.method == Method::GET && line.raw && {
            let path = path.clone() + &example(&world, &line).query;
            let read = world.anyone().call(Method::GET, &path, None).await;
            read.header("access-control-allow-origin") == "*"
        };
        assert_eq!(preflight == "*", open, "{path}");
        if open {
            assert_eq!(answer.header("access-control-allow-methods"), "GET, HEAD");
        }
    }
    world.anyone().call(Method::OPTIONS, "/api/v1/nothing", None).await.refused(404, "not_found");
    let odd = Request::builder().method("PROPFIND").uri("/api/v1/plans");
    let answer = world.root().send(odd.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.header("allow"), "GET,HEAD,POST,OPTIONS");
    answer.refused(405, "method_not_allowed");
}

#[on_both]
async fn proxies_are_believed_if_they_are_ours(world: World) {
    let mut settings = Settings::new("http://cp.example", AUDIENCE);
    settings.surface.proxies = "10.0.0.0/8".parse().unwrap();
    let (_, server) = world.with_settings(settings).await;
    let by = |address: &str| {
        let client = server.clone().token(ROOT).from(address);
        client.with("x-forwarded-for", "198.51.100.7").with("x-forwarded-proto", "https")
    };
    for (address, client_address, safe) in
        [("10.1.2.3", "198.51.100.7", true), ("203.0.113.9", "203.0.113.9", false)]
    {
        world.pass(chrono::TimeDelta::seconds(1));
        let answer = by(address).patch(world.org(""), json!({"name": address})).await;
        assert_eq!(!answer.header("strict-transport-security").is_empty(), safe, "{address}");
        answer.expect(200);
        let events = world.get(world.org("/audit?action=organizations.update")).await.expect(200);
        assert_eq!(events["items"][0]["ip"], client_address);
    }
}

#[on_both]
async fn a_refusal_is_a_problem_document_with_the_requests_id(world: World) {
    let answer = world.anyone().with("x-request-id", "trace-7").get("/me").await;
    assert_eq!(answer.header("x-request-id"), "trace-7");
    assert_eq!(
        answer.refused(401, "unauthenticated"),
        json!({
            "type": "/problems/unauthenticated", "title": "A valid credential is needed",
            "status": 401, "code": "unauthenticated", "request_id": "trace-7",
            "detail": "Send one header `Authorization: Bearer <token>`.",
        })
    );
    for unsound in ["", "a b", "x\u{e9}", &"a".repeat(129), "<script>"] {
        let answer = world.anyone().with("x-request-id", unsound).get("/me").await;
        let id = answer.header("x-request-id").to_owned();
        assert!(uuid::Uuid::try_parse(&id).is_ok(), "{unsound:?} became {id:?}");
        assert_eq!(answer.json()["request_id"], id);
    }
}

#[on_both]
async fn every_answer_has_its_security_headers(world: World) {
    let answers = [
        world.get("/me").await,
        world.get("/nothing").await,
        world.anyone().get("/me").await,
        world.anyone().call(Method::GET, "/healthz", None).await,
        world.anyone().call(Method::GET, "/docs", None).await,
        world.anyone().call(Method::GET, "/.well-known/jwks.json", None).await,
        world.post("/licenses/bundles", json!({"ids": []})).await,
    ];
    for answer in &answers {
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{answer:?}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
        assert!(!answer.header("cross-origin-resource-policy").is_empty());
        assert_eq!(answer.header("server"), "");
    }
    for secret in [&answers[0], &answers[1], &answers[2], &answers[6]] {
        assert_eq!(secret.header("cache-control"), "no-store");
        assert_eq!(secret.header("access-control-allow-origin"), "");
    }
    let bundle = format!("/licenses/{}/bundles", world.acme.license);
    assert_eq!(world.post(bundle, json!({})).await.header("cache-control"), "no-store");
}

async fn send(world: &World, method: Method, path: &str, body: String) -> Answer {
    let request = Request::builder().method(method).uri(format!("/api/v1{path}"));
    let request = request.header("content-type", "application/json");
    world.by(ROOT).send(request.body(Body::from(body)).unwrap()).await
}

#[on_both]
async fn docs_search_lists_the_operations_that_contain_all_words(world: World) {
    let page = async |query: &str| {
        let path = format!("/docs{query}");
        world.anyone().call(axum::http::Method::GET, &path, None).await
    };
    let all = page("").await.text();
    for line in cp_server::operations().table {
        assert!(all.contains(&format!("<details id=\"{}\"", line.name)), "{}", line.name);
    }
    let found = page("?q=TRANSFER+license").await.text();
    assert!(found.contains("<details id=\"licenses.transfer\" open"));
    assert!(!found.contains("<details id=\"plans.list\""));
    let nothing = page("?q=%3Cscript%3E+zzz").await.text();
    assert!(nothing.contains("No operation contains these words."));
    assert!(!nothing.contains("<script"), "a search is text");
    let long = format!("?q={}", "x".repeat(201));
    page(&long).await.invalid("q");
}
