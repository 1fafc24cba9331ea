-- What the vendor grants an organization beyond its plan and subscription.
CREATE TABLE entitlements (
    organization_id UUID NOT NULL PRIMARY KEY REFERENCES organizations (id),
    -- Feature values that replace those of the plan and the subscription.
    features JSONB NOT NULL,
    -- The models that are allowed and denied, by product.
    models JSONB NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
