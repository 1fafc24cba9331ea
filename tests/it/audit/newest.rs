//! The replay of the newest events, which pages and clients ask for.

use serde_json::json;

use super::{checkpoint, unlock};
use crate::world::{World, on_both};

#[on_both]
async fn replay_of_the_newest_events_names_the_first_difference(world: World) {
    checkpoint(&world).await;
    let state = world.get("/log").await.expect(200);
    assert_eq!(state["signed_size"], state["size"]);
    assert!(state["signed_at"].is_string(), "{state}");
    let seen = world.get("/log/verification").await.expect(200);
    let size = &state["size"];
    let expected = json!({
        "sound": true, "size": size, "from": 0, "replayed": size, "erased": 0, "signed_size": size,
        "finding": null,
    });
    assert_eq!(seen, expected);
    unlock(&world).await;
    world.exec("UPDATE audit_events SET reason = 'none' WHERE seq = 20").await;
    let seen = world.get("/log/verification").await.expect(200);
    assert_eq!((&seen["sound"], &seen["finding"]["seq"]), (&json!(false), &json!(20)), "{seen}");
    let detail = seen["finding"]["detail"].as_str().unwrap();
    assert!(detail.contains("its content was edited"), "{seen}");
    assert!(seen["finding"]["event_id"].is_string(), "{seen}");
}
