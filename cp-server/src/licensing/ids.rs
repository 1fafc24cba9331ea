//! The IDs of plans, subscriptions, deployments, licenses, bundles and status lists.

use crate::kernel::access::areas::AreaKind;

crate::ids! {
    PlanId, "plan";
    SubscriptionId, "subscription" of subscriptions.organization_id;
    LicenseId, "license" of licenses.organization_id in &[AreaKind::Deployment, AreaKind::License],
        "SELECT 'deployment' AS kind, l.deployment_id AS id FROM licenses l WHERE l.id = $1
         UNION ALL SELECT 'license' AS kind, l.id FROM licenses l WHERE l.id = $1";
    LicenseKeyId, "license key" of license_keys.organization_id in &[AreaKind::Deployment],
        "SELECT 'deployment' AS kind, l.deployment_id AS id FROM licenses l
         JOIN license_keys k ON k.license_id = l.id WHERE k.id = $1";
    BundleId, "bundle" of bundles.organization_id;
    StatusListId, "status list";
}
