//! Identifiers from plans to bundles.

crate::ids! {
    PlanId, "plan";
    SubscriptionId, "subscription" of subscriptions.organization_id;
    LicenseId, "license" of licenses.organization_id;
    BundleId, "bundle" of bundles.organization_id;
    StatusListId, "status list";
}
