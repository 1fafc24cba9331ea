CREATE TABLE plans (
    id BLOB NOT NULL PRIMARY KEY,
    code TEXT NOT NULL,
    -- Another name for the plan of this id.
    alias_of BLOB REFERENCES plans (id),
    -- The newest version.
    version INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX plans_code ON plans (code);

-- A version never changes: subscriptions stay pinned to theirs.
CREATE TABLE plan_versions (
    plan_id BLOB NOT NULL REFERENCES plans (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    is_public INTEGER NOT NULL,
    default_features TEXT NOT NULL,
    limits TEXT NOT NULL,
    seat_cap INTEGER,
    created_at TEXT NOT NULL,
    PRIMARY KEY (plan_id, version)
) STRICT;

CREATE TABLE subscriptions (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    plan_id BLOB NOT NULL,
    plan_version INTEGER NOT NULL,
    status TEXT NOT NULL,
    seat_cap INTEGER NOT NULL CHECK (seat_cap >= 1),
    feature_overrides TEXT NOT NULL,
    starts_at TEXT NOT NULL,
    ends_at TEXT,
    trial_ends_at TEXT,
    canceled_at TEXT,
    external_id TEXT,
    billing_customer_id TEXT,
    billing_email TEXT,
    currency TEXT,
    -- In cents.
    next_invoice_amount INTEGER,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    FOREIGN KEY (plan_id, plan_version) REFERENCES plan_versions (plan_id, version)
) STRICT;
CREATE UNIQUE INDEX subscriptions_id ON subscriptions (organization_id, id);
CREATE UNIQUE INDEX subscriptions_external_id ON subscriptions (organization_id, external_id);
-- At most one that entitles to something, now or again.
CREATE UNIQUE INDEX subscriptions_organization_id ON subscriptions (organization_id)
    WHERE status IN ('trialing', 'active', 'past_due', 'paused');
CREATE INDEX subscriptions_plan ON subscriptions (plan_id, plan_version);

CREATE TABLE deployments (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    region TEXT,
    api_base_url TEXT,
    status TEXT NOT NULL,
    external_id TEXT,
    last_seen_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX deployments_id ON deployments (organization_id, id);
CREATE UNIQUE INDEX deployments_name ON deployments (organization_id, name);
CREATE UNIQUE INDEX deployments_external_id ON deployments (organization_id, external_id);

CREATE TABLE licenses (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    deployment_id BLOB NOT NULL,
    subscription_id BLOB NOT NULL,
    seat_cap INTEGER CHECK (seat_cap >= 1),
    features TEXT NOT NULL,
    valid_from TEXT NOT NULL,
    valid_until TEXT,
    grace_days INTEGER NOT NULL CHECK (grace_days >= 0),
    -- valid_until and the days of grace: what "expired" is computed from.
    over_at TEXT,
    status TEXT NOT NULL,
    status_reason TEXT,
    key_id TEXT,
    bundle_hash TEXT,
    -- Grows with every change; an issuance is written only onto the revision that it read.
    revision INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    FOREIGN KEY (organization_id, deployment_id) REFERENCES deployments (organization_id, id),
    FOREIGN KEY (organization_id, subscription_id) REFERENCES subscriptions (organization_id, id)
) STRICT;
CREATE UNIQUE INDEX licenses_id ON licenses (organization_id, id);
CREATE UNIQUE INDEX licenses_deployment_id_subscription_id ON licenses (deployment_id, subscription_id)
    WHERE status <> 'revoked';
CREATE INDEX licenses_subscription ON licenses (subscription_id);

CREATE TABLE signing_keys (
    -- The RFC 7638 thumbprint of the public key.
    kid TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    bits INTEGER NOT NULL,
    modulus BLOB NOT NULL,
    exponent BLOB NOT NULL,
    -- PKCS#8, under the key-encryption key.
    sealed BLOB NOT NULL,
    created_at TEXT NOT NULL,
    published_at TEXT,
    activated_at TEXT,
    retired_at TEXT,
    updated_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX signing_keys_active ON signing_keys (state) WHERE state = 'active';

CREATE TABLE bundles (
    -- The token's jti.
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL,
    license_id BLOB NOT NULL,
    key_id TEXT NOT NULL REFERENCES signing_keys (kid),
    audience TEXT NOT NULL,
    -- SHA-256 of the token, hexadecimal.
    bundle_hash TEXT NOT NULL,
    status TEXT NOT NULL,
    status_reason TEXT,
    issued_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    revoked_at TEXT,
    FOREIGN KEY (organization_id, license_id) REFERENCES licenses (organization_id, id)
) STRICT;
CREATE INDEX bundles_license ON bundles (license_id, id);
CREATE INDEX bundles_organization ON bundles (organization_id, id);
