//! People who leave an organization while another request seats them below it.

use futures_util::future::join;
use serde_json::json;

use crate::world::{World, on_both};

/// The points at which the person leaves.
const POINTS: usize = 12;

#[on_both]
async fn person_who_leaves_while_being_seated_below_has_both_seats_or_none(world: World) {
    let user = world.acme.stranger.clone();
    // The platform itself may seat a person below an organization only.
    let owner = world.by(&world.acme.token);
    let group = format!("/groups/{}/members/{user}", world.acme.group);
    let workspace = format!("/workspaces/{}/memberships", world.acme.spare_workspace);
    for point in 0..POINTS {
        let body = json!({"user_id": user, "role": "viewer"});
        let seat = world.post(world.org("/memberships"), body).await.expect(201);
        let path = format!("/memberships/{}", seat["id"].as_str().unwrap());
        let leave = async {
            for _ in 0..point {
                tokio::task::yield_now().await;
            }
            world.delete(&path).await.expect(204)
        };
        let below = async {
            match point % 2 {
                0 => owner.put(&group, json!({})).await,
                _ => owner.post(&workspace, json!({"user_id": user, "role": "member"})).await,
            }
        };
        let (_, below) = join(leave, below).await;
        assert!(below.status < 500, "{}", below.text());
        let sql = "SELECT COUNT(*) FROM memberships AS below
                   WHERE scope <> 'organization' AND status = 'active' AND NOT EXISTS (
                       SELECT 1 FROM memberships AS own
                       WHERE own.organization_id = below.organization_id
                         AND own.user_id = below.user_id AND own.scope = 'organization')";
        assert_eq!(world.value::<i64>(sql).await, 0, "after {point} steps");
        // For the next round.
        let left = world.get(world.org(&format!("/memberships?user_id={user}"))).await.expect(200);
        for seat in left["items"].as_array().unwrap() {
            world
                .delete(format!("/memberships/{}", seat["id"].as_str().unwrap()))
                .await
                .expect(204);
        }
    }
}
