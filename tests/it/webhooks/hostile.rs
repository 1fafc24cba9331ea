//! Receivers that are silent, slow, endless or not what they seem.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use cp_server::webhooks::fanout::{self, Position};
use cp_server::webhooks::sending;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use ureq::tls::Certificate;
use uuid::Uuid;

use super::{Receiver, alone, deliver, id, webhook};
use crate::events::{change, place};
use crate::world::{World, on_both};

/// Serves connections with this behavior, and returns the URL.
pub(super) async fn hostile<F>(behave: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(behave(stream));
        }
    });
    url
}

pub(super) async fn read_head(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    let _ = stream.read(&mut buffer).await;
}

/// The error of the first attempt of a webhook.
async fn error(world: &World, webhook: &Value) -> Value {
    let deliveries = world.get(format!("/webhooks/{}/deliveries", id(webhook))).await.expect(200);
    let path = format!("/webhook-deliveries/{}", id(&deliveries["items"][0]));
    let attempt = world.get(&path).await.expect(200)["log"][0].clone();
    json!([attempt["status"], attempt["error"]])
}

#[on_both]
async fn large_answers_are_read_a_little(world: World) {
    alone(&world).await;
    let endless = hostile(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n").await;
        while stream.write_all(&[b'x'; 65_536]).await.is_ok() {}
    });
    let headers = hostile(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"x-filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n").await.is_ok() {
        }
    });
    let reset = hostile(|mut stream| async move { read_head(&mut stream).await });
    let (endless, headers, reset) = (endless.await, headers.await, reset.await);
    let endless = webhook(&world, &endless, &["organizations.*"]).await;
    let headers = webhook(&world, &headers, &["organizations.*"]).await;
    let reset = webhook(&world, &reset, &["organizations.*"]).await;
    let closed = webhook(&world, "http://127.0.0.1:1/", &["organizations.*"]).await;
    change(&world, "Acme 2").await;
    deliver(&world).await;
    assert_eq!(error(&world, &endless).await, json!([200, null]));
    assert_eq!(error(&world, &headers).await, json!([null, "too_large"]));
    assert_eq!(error(&world, &reset).await, json!([null, "connect"]));
    assert_eq!(error(&world, &closed).await, json!([null, "connect"]));
}

#[on_both]
async fn name_with_a_private_address_is_not_dialled(world: World) {
    alone(&world).await;
    let receiver = Receiver::start().await;
    let port = receiver.url.rsplit(':').next().unwrap().trim_end_matches("/hook").to_owned();
    // The name has a private address. Where loopback is not allowed, nothing connects to it.
    let (app, client) = world.server(|settings| settings.webhooks.0.allow_loopback = false);
    let client = client.token(crate::world::ROOT);
    let body = json!({"url": format!("https://localhost:{port}/"), "types": ["organizations.*"]});
    let made = client.post(world.org("/webhooks"), body.clone()).await.expect(201);
    // The platform's endpoints may be private, but not on this machine.
    let platforms = client.post("/webhooks", body).await.expect(201);
    change(&world, "Acme 2").await;
    place(&world).await;
    sending::settle(&app).await.unwrap();
    assert_eq!(error(&world, &made).await, json!([null, "refused_address"]));
    assert_eq!(error(&world, &platforms).await, json!([null, "refused_address"]));
    assert!(receiver.received().is_empty());
}

#[on_both]
async fn proxy_is_asked_for_the_checked_address(world: World) {
    alone(&world).await;
    let receiver = Receiver::start().await;
    let target = receiver.url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let (asked, to) = (Arc::new(Mutex::new(Vec::new())), target.clone());
    let seen = asked.clone();
    let proxy = hostile(move |mut stream| {
        let (seen, to) = (seen.clone(), to.clone());
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            seen.lock().unwrap().push(String::from_utf8(head).unwrap());
            let mut server = TcpStream::connect(to).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
        }
    })
    .await;
    let refusing = hostile(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
    })
    .await;
    let port = target.rsplit(':').next().unwrap();
    let made =
        webhook(&world, &format!("http://localhost:{port}/hook"), &["organizations.*"]).await;
    change(&world, "Acme 2").await;
    place(&world).await;
    let through = |proxy: &str| {
        let proxy = proxy.parse().unwrap();
        world.server(|settings| settings.webhooks.0.proxy = Some(proxy)).0
    };
    sending::settle(&through(&refusing)).await.unwrap();
    assert_eq!(error(&world, &made).await, json!([null, "connect"]));
    world.pass(TimeDelta::seconds(10));
    sending::settle(&through(&proxy)).await.unwrap();
    assert_eq!(receiver.received().len(), 1);
    let head = asked.lock().unwrap()[0].clone();
    // An address, and no name that the proxy would resolve again.
    let first = head.lines().next().unwrap();
    let address = first.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(address.parse::<std::net::SocketAddr>().unwrap().ip().is_loopback(), "{head}");
}

#[on_both]
async fn silent_receivers_delay_no_other(world: World) {
    alone(&world).await;
    let silent = hostile(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    });
    let slow = hostile(|mut stream| async move {
        read_head(&mut stream).await;
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            ticks.tick().await;
            if stream.write_all(b"H").await.is_err() {
                return;
            }
        }
    });
    let (silent, slow) = (silent.await, slow.await);
    for _ in 0..5 {
        webhook(&world, &silent, &["workspaces.*"]).await;
        webhook(&world, &slow, &["workspaces.*"]).await;
    }
    let receiver = Receiver::start().await;
    let body = json!({"url": receiver.url, "types": ["organizations.*"]});
    let path = format!("/organizations/{}/webhooks", world.globex.org);
    world.post(path, body).await.expect(201);
    let integrating = tokio::spawn(cp_server::audit::integrator::run(world.app.clone()));
    let running = tokio::spawn(sending::run(world.app.clone()));
    for n in 0..8 {
        world.post(world.org("/workspaces"), json!({"name": format!("W {n}")})).await.expect(201);
    }
    for n in 0..5 {
        let began = Instant::now();
        let name = json!({"name": format!("Globex {n}")});
        world.patch(format!("/organizations/{}", world.globex.org), name).await.expect(200);
        while receiver.received().len() <= n {
            assert!(began.elapsed() < Duration::from_secs(12), "the silent ones hold it up");
            tokio::task::yield_now().await;
        }
    }
    running.abort();
    integrating.abort();
}

/// Copies the endpoint with its deliveries, past the limit of an organization.
async fn copy(world: &World, webhook: &Value, copies: i64) {
    let original: Uuid = id(webhook).parse().unwrap();
    let mut tx = world.app.db.begin().await.unwrap();
    let endpoints = tx.q2(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < $2)
         INSERT INTO webhooks
                (id, organization_id, name, url, types, signature, include, ordering, header_names,
                 status, from_seq, due_at, created_at, updated_at)
         SELECT randomblob(16), organization_id, 'copy', url, types, signature, include, ordering,
                header_names, status, from_seq, due_at, created_at, updated_at
         FROM webhooks, n WHERE id = $1",
        "INSERT INTO webhooks
                (id, organization_id, name, url, types, signature, include, ordering, header_names,
                 status, from_seq, due_at, created_at, updated_at)
         SELECT gen_random_uuid(), organization_id, 'copy', url, types, signature, include, ordering,
                header_names, status, from_seq, due_at, created_at, updated_at
         FROM webhooks, generate_series(1, $2) WHERE id = $1",
    );
    endpoints.bind(original).bind(copies).exec().await.unwrap();
    let deliveries = tx.q2(
        "INSERT INTO webhook_deliveries
                (id, organization_id, webhook_id, event_id, seq, type, subject, place, status,
                 attempts, next_at, created_at)
         SELECT randomblob(16), d.organization_id, w.id, d.event_id, d.seq, d.type, d.subject,
                d.place, d.status, d.attempts, d.next_at, d.created_at
         FROM webhook_deliveries d, webhooks w WHERE d.webhook_id = $1 AND w.name = 'copy'",
        "INSERT INTO webhook_deliveries
                (id, organization_id, webhook_id, event_id, seq, type, subject, place, status,
                 attempts, next_at, created_at)
         SELECT gen_random_uuid(), d.organization_id, w.id, d.event_id, d.seq, d.type, d.subject,
                d.place, d.status, d.attempts, d.next_at, d.created_at
         FROM webhook_deliveries d, webhooks w WHERE d.webhook_id = $1 AND w.name = 'copy'",
    );
    deliveries.bind(original).exec().await.unwrap();
    tx.commit().await.unwrap();
}

#[on_both]
async fn endpoints_without_a_place_hide_no_other(world: World) {
    alone(&world).await;
    let silent = hostile(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    });
    let body = json!({
        "url": silent.await, "types": ["organizations.*"], "ordering": "none",
    });
    let first = world.post(world.org("/webhooks"), body).await.expect(201);
    for n in 0..16 {
        change(&world, &format!("Acme {n}")).await;
    }
    place(&world).await;
    let position = Position::default();
    while fanout::step(&world.app, &position).await.unwrap() {}
    // More endpoints than one look finds are due before the one of another organization.
    copy(&world, &first, 250).await;
    world.pass(TimeDelta::seconds(1));
    let receiver = Receiver::start().await;
    let body = json!({"url": receiver.url, "types": ["organizations.*"]});
    let globex = format!("/organizations/{}", world.globex.org);
    world.post(format!("{globex}/webhooks"), body).await.expect(201);
    world.patch(&globex, json!({"name": "Globex 2"})).await.expect(200);
    place(&world).await;
    let began = Instant::now();
    let running = tokio::spawn(sending::run(world.app.clone()));
    while receiver.received().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(12), "the silent ones hide it");
        tokio::task::yield_now().await;
    }
    running.abort();
}

#[on_both]
async fn endpoint_that_fails_has_one_attempt_at_a_time(world: World) {
    alone(&world).await;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (now, most.clone());
    let failing = hostile(move |mut stream| {
        let (now, most) = counts.clone();
        async move {
            read_head(&mut stream).await;
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            for _ in 0..2000 {
                tokio::task::yield_now().await;
            }
            now.fetch_sub(1, Ordering::SeqCst);
            let _ = stream.write_all(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    webhook(&world, &failing.await, &["workspaces.*"]).await;
    for n in 0..8 {
        world.post(world.org("/workspaces"), json!({"name": format!("W {n}")})).await.expect(201);
    }
    deliver(&world).await;
    assert!(most.swap(0, Ordering::SeqCst) > 1, "an endpoint that has not failed");
    world.pass(TimeDelta::seconds(7));
    deliver(&world).await;
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

/// Serves one answer a connection over TLS, with this certificate for `localhost`.
async fn encrypted(certificate: rcgen::Certificate, key: KeyPair) -> String {
    let chain = vec![certificate.der().clone()];
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let url = hostile(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut buffer = [0; 8192];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    });
    url.await.replacen("http://127.0.0.1", "https://localhost", 1)
}

#[on_both]
async fn expired_certificate_is_refused(world: World) {
    alone(&world).await;
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let receiver = async |until: i32| {
        let key = KeyPair::generate().unwrap();
        let mut own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        own.not_before = rcgen::date_time_ymd(2020, 1, 1);
        own.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = own.signed_by(&key, &issuer).unwrap();
        encrypted(certificate, key).await
    };
    let (current, expired) = (receiver(2999).await, receiver(2021).await);
    let root = Certificate::from_der(root.der()).to_owned();
    let (app, _) = world.server(|settings| {
        settings.webhooks.0.authorities = Some(Arc::new(vec![root]));
    });
    let current = webhook(&world, &current, &["organizations.*"]).await;
    let expired = webhook(&world, &expired, &["organizations.*"]).await;
    change(&world, "Acme 2").await;
    place(&world).await;
    sending::settle(&app).await.unwrap();
    // The same authority issued both: only the dates differ.
    assert_eq!(error(&world, &current).await, json!([204, null]));
    assert_eq!(error(&world, &expired).await, json!([null, "tls"]));
}
