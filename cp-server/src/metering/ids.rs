//! Identifiers of usage, its limits and budgets.

crate::ids! {
    UsageEventId, "usage event" of usage_events.organization_id;
    UsageSeriesId, "usage series";
    LimitId, "limit" of usage_limits.organization_id;
    BudgetId, "budget";
    BudgetCycleId, "budget cycle" of budget_cycles.organization_id;
}
