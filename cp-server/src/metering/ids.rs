//! Identifiers of usage and its limits.

crate::ids! {
    UsageEventId, "usage event" of usage_events.organization_id;
    UsageSeriesId, "usage series";
    LimitId, "limit" of usage_limits.organization_id;
}
