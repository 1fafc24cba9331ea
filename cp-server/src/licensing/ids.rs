//! The IDs of plans, subscriptions, deployments, licenses, bundles and status lists.

crate::ids! {
    PlanId, "plan";
    SubscriptionId, "subscription" of subscriptions.organization_id;
    LicenseId, "license" of licenses.organization_id;
    BundleId, "bundle" of bundles.organization_id;
    StatusListId, "status list";
}
