-- What the vendor grants an organization beyond its plan and subscription.
CREATE TABLE entitlements (
    organization_id BLOB NOT NULL PRIMARY KEY REFERENCES organizations (id),
    -- Feature values that replace those of the plan and the subscription.
    features TEXT NOT NULL,
    -- The models that are allowed and denied, by product.
    models TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
