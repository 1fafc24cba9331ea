//! The IDs of plans, subscriptions, deployments, licenses, bundles, status lists, pools and leases.

use crate::kernel::access::areas::AreaKind;
use crate::kernel::access::ids::{Owned, Within};
use crate::kernel::access::personal::Personal;

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
    PoolId, "pool";
    LeaseId, "lease";
}

/// A lease is on its seat, or among the tenures once the seat has another lease.
impl Owned for LeaseId {
    const NOUN: &'static str = "lease";
    const OWNER: &'static str = "SELECT id, status = 'suspended' AS suspended FROM organizations
         WHERE id = (SELECT organization_id FROM lease_seats WHERE lease_id = $1
                     UNION ALL SELECT organization_id FROM lease_tenures WHERE id = $1)";
    const WITHIN: Option<Within> = Some(Within {
        kinds: &[AreaKind::Deployment, AreaKind::License],
        sql: "SELECT a.kind, a.id FROM
              (SELECT 'deployment' AS kind, l.deployment_id AS id, l.id AS license FROM licenses l
               UNION ALL SELECT 'license' AS kind, l.id, l.id AS license FROM licenses l) a
              WHERE a.license = (SELECT s.license_id FROM lease_seats s WHERE s.lease_id = $1
                                 UNION ALL
                                 SELECT t.license_id FROM lease_tenures t WHERE t.id = $1)",
    });
}

impl Personal for LeaseId {
    const PERSON: &'static str =
        "SELECT user_id FROM lease_seats WHERE lease_id = $1 AND user_id IS NOT NULL
         UNION ALL SELECT user_id FROM lease_tenures WHERE id = $1 AND user_id IS NOT NULL";
}
