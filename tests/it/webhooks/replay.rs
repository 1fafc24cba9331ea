//! Deliveries that are sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::TimeDelta;
use cp_server::webhooks::sending::settle;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use super::hostile::{hostile, read_head};
use super::{Receiver, alone, deliver, id, webhook};
use crate::events::{change, place};
use crate::world::{World, on_both};

/// A receiver, its webhook, and the ID of a delivery that it has.
async fn delivered(world: &World) -> (Receiver, Value, String) {
    alone(world).await;
    let receiver = Receiver::start().await;
    let made = webhook(world, &receiver.url, &["organizations.*"]).await;
    change(world, "Acme 2").await;
    deliver(world).await;
    let deliveries = world.get(format!("/webhooks/{}/deliveries", id(&made))).await.expect(200);
    let delivery = id(&deliveries["items"][0]).to_owned();
    (receiver, made, delivery)
}

#[on_both]
async fn retry_sends_a_delivery_again(world: World) {
    let (receiver, made, delivery) = delivered(&world).await;
    let path = format!("/webhook-deliveries/{delivery}/retry");
    let again = world.post(&path, json!({})).await.expect(200);
    assert_eq!((&again["status"], &again["attempts"]), (&json!("pending"), &json!(0)));
    deliver(&world).await;
    let received = receiver.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
    world.post(format!("/webhooks/{}/disable", id(&made)), json!({})).await.expect(200);
    world.post(&path, json!({})).await.refused(409, "webhook_disabled");
}

#[on_both]
async fn retry_leaves_a_delivery_alone_that_is_being_sent(world: World) {
    alone(&world).await;
    let (count, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let receiving = (count.clone(), answers.clone());
    let receiver = hostile(move |mut stream| {
        let (count, answers) = receiving.clone();
        async move {
            read_head(&mut stream).await;
            count.fetch_add(1, Ordering::SeqCst);
            let _may = answers.acquire().await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    });
    let made = webhook(&world, &receiver.await, &["organizations.*"]).await;
    change(&world, "Acme 2").await;
    place(&world).await;
    let app = world.app.clone();
    let sending = tokio::spawn(async move { settle(&app).await });
    while count.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let deliveries = world.get(format!("/webhooks/{}/deliveries", id(&made))).await.expect(200);
    let path = format!("/webhook-deliveries/{}", id(&deliveries["items"][0]));
    let retried = world.post(format!("{path}/retry"), json!({})).await.expect(200);
    assert_eq!((&retried["status"], &retried["attempts"]), (&json!("pending"), &json!(0)));
    let (other, _) = world.replica().await;
    settle(&other).await.unwrap();
    answers.add_permits(10);
    sending.await.unwrap().unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let shown = world.get(&path).await.expect(200);
    assert_eq!((&shown["status"], &shown["attempts"]), (&json!("delivered"), &json!(1)));
    // It is sent again once no attempt runs.
    world.post(format!("{path}/retry"), json!({})).await.expect(200);
    deliver(&world).await;
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[on_both]
async fn retry_beside_a_disablement_leaves_nothing_pending(world: World) {
    let (_receiver, made, delivery) = delivered(&world).await;
    let path = format!("/webhooks/{}", id(&made));
    let replay = json!({"since": "2026-01-01T00:00:00Z", "only": "all"});
    for _ in 0..5 {
        let (disabled, retried, replayed) = tokio::join!(
            world.post(format!("{path}/disable"), json!({})),
            world.post(format!("/webhook-deliveries/{delivery}/retry"), json!({})),
            world.post(format!("{path}/replay"), replay.clone()),
        );
        disabled.expect(200);
        assert!([200, 409].contains(&retried.status) && [202, 409].contains(&replayed.status));
        let pending = world.get(format!("{path}/deliveries?status=pending")).await.expect(200);
        assert_eq!(pending["items"], json!([]));
        world.post(format!("{path}/enable"), json!({})).await.expect(200);
    }
}

#[on_both]
async fn replay_follows_new_events(world: World) {
    alone(&world).await;
    let receiver = Receiver::start().await;
    let made = webhook(&world, &receiver.url, &["organizations.*"]).await;
    for name in ["A", "B", "C"] {
        world.pass(TimeDelta::minutes(1));
        change(&world, name).await;
    }
    deliver(&world).await;
    let first = receiver.take();
    assert_eq!(first.len(), 3);
    let path = format!("/webhooks/{}/replay", id(&made));
    let since = json!({"since": "2026-01-02T00:02:00Z", "only": "all"});
    let answer = world.post(&path, since).await.expect(202);
    assert_eq!(answer, json!({"queued": 2}));
    change(&world, "D").await;
    deliver(&world).await;
    let names: Vec<String> =
        receiver.take().iter().map(|one| one.header("webhook-id").to_owned()).collect();
    assert_eq!(names.len(), 3);
    let seq_of = |name: &str| first.iter().position(|one| one.header("webhook-id") == name);
    assert_eq!(seq_of(&names[0]), None, "the new event is sent first");
    assert_eq!((seq_of(&names[1]), seq_of(&names[2])), (Some(1), Some(2)));
    let answer = world.post(&path, json!({"since": "2026-01-01T00:00:00Z"})).await.expect(202);
    assert_eq!(answer, json!({"queued": 0}), "nothing failed");
    let other = json!({"since": "2026-01-01T00:00:00Z", "only": "all", "types": ["licenses.*"]});
    assert_eq!(world.post(&path, other).await.expect(202), json!({"queued": 0}));
    let backward = json!({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"});
    world.post(&path, backward).await.invalid("until");
}

#[on_both]
async fn skipped_deliveries_are_sent_after_all(world: World) {
    alone(&world).await;
    let receiver = Receiver::start().await;
    let made = webhook(&world, &receiver.url, &["organizations.*"]).await;
    let path = format!("/webhooks/{}", id(&made));
    world.post(format!("{path}/disable"), json!({})).await.expect(200);
    change(&world, "A").await;
    change(&world, "B").await;
    deliver(&world).await;
    assert!(receiver.received().is_empty());
    let replay = json!({"since": "2026-01-01T00:00:00Z", "only": "skipped"});
    world.post(format!("{path}/replay"), replay.clone()).await.refused(409, "webhook_disabled");
    world.post(format!("{path}/enable"), json!({})).await.expect(200);
    deliver(&world).await;
    assert!(receiver.received().is_empty(), "enabling continues from now");
    let answer = world.post(format!("{path}/replay"), replay).await.expect(202);
    assert_eq!(answer, json!({"queued": 2}));
    deliver(&world).await;
    assert_eq!(receiver.received().len(), 2);
}
