//! Refreshes of all status lists on demand, against a real server on loopback.

use std::time::Duration;

use crate::fetch_lists::{ControlPlane, PATH, wait_for};

/// Without a cooldown, a failing list is always due.
#[test]
fn refresh_ends_although_a_failing_list_is_due_again() {
    let plane = ControlPlane::start();
    let verifier = plane.builder().jwks_cooldown(Duration::ZERO).build().unwrap();
    plane.server.answer_at(PATH, "");
    wait_for(verifier.refresh_status(&plane.token("allow")));
    for _ in 0..3 {
        verifier.refresh_status_lists().unwrap_err();
    }
}
