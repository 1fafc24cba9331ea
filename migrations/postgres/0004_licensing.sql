CREATE TABLE plans (
    id UUID NOT NULL PRIMARY KEY,
    code TEXT COLLATE "C" NOT NULL,
    -- Another name for the plan of this id.
    alias_of UUID REFERENCES plans (id),
    -- The newest version.
    version BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX plans_code ON plans (code);

-- A version never changes: subscriptions stay pinned to theirs.
CREATE TABLE plan_versions (
    plan_id UUID NOT NULL REFERENCES plans (id) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    is_public BOOLEAN NOT NULL,
    default_features JSONB NOT NULL,
    limits JSONB NOT NULL,
    seat_cap BIGINT,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (plan_id, version)
);

CREATE TABLE subscriptions (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID NOT NULL REFERENCES organizations (id),
    plan_id UUID NOT NULL,
    plan_version BIGINT NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    seat_cap BIGINT NOT NULL CHECK (seat_cap >= 1),
    feature_overrides JSONB NOT NULL,
    starts_at TIMESTAMPTZ NOT NULL,
    ends_at TIMESTAMPTZ,
    trial_ends_at TIMESTAMPTZ,
    canceled_at TIMESTAMPTZ,
    external_id TEXT COLLATE "C",
    billing_customer_id TEXT COLLATE "C",
    billing_email TEXT COLLATE "C",
    currency TEXT COLLATE "C",
    -- In cents.
    next_invoice_amount BIGINT,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    FOREIGN KEY (plan_id, plan_version) REFERENCES plan_versions (plan_id, version)
);
CREATE UNIQUE INDEX subscriptions_id ON subscriptions (organization_id, id);
CREATE UNIQUE INDEX subscriptions_external_id ON subscriptions (organization_id, external_id);
-- At most one that entitles to something, now or again.
CREATE UNIQUE INDEX subscriptions_organization_id ON subscriptions (organization_id)
    WHERE status IN ('trialing', 'active', 'past_due', 'paused');
CREATE INDEX subscriptions_plan ON subscriptions (plan_id, plan_version);

CREATE TABLE deployments (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID NOT NULL REFERENCES organizations (id),
    name TEXT COLLATE "C" NOT NULL,
    type TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C",
    api_base_url TEXT COLLATE "C",
    status TEXT COLLATE "C" NOT NULL,
    external_id TEXT COLLATE "C",
    last_seen_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX deployments_id ON deployments (organization_id, id);
CREATE UNIQUE INDEX deployments_name ON deployments (organization_id, name);
CREATE UNIQUE INDEX deployments_external_id ON deployments (organization_id, external_id);

CREATE TABLE licenses (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID NOT NULL REFERENCES organizations (id),
    deployment_id UUID NOT NULL,
    subscription_id UUID NOT NULL,
    seat_cap BIGINT CHECK (seat_cap >= 1),
    features JSONB NOT NULL,
    valid_from TIMESTAMPTZ NOT NULL,
    valid_until TIMESTAMPTZ,
    grace_days BIGINT NOT NULL CHECK (grace_days >= 0),
    -- valid_until and the days of grace: what "expired" is computed from.
    over_at TIMESTAMPTZ,
    status TEXT COLLATE "C" NOT NULL,
    status_reason TEXT COLLATE "C",
    key_id TEXT COLLATE "C",
    bundle_hash TEXT COLLATE "C",
    -- Grows with every change; an issuance is written only onto the revision that it read.
    revision BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    FOREIGN KEY (organization_id, deployment_id) REFERENCES deployments (organization_id, id),
    FOREIGN KEY (organization_id, subscription_id) REFERENCES subscriptions (organization_id, id)
);
CREATE UNIQUE INDEX licenses_id ON licenses (organization_id, id);
CREATE UNIQUE INDEX licenses_deployment_id_subscription_id ON licenses (deployment_id, subscription_id)
    WHERE status <> 'revoked';
CREATE INDEX licenses_subscription ON licenses (subscription_id);

CREATE TABLE signing_keys (
    -- The RFC 7638 thumbprint of the public key.
    kid TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    algorithm TEXT COLLATE "C" NOT NULL,
    bits BIGINT NOT NULL,
    modulus BYTEA NOT NULL,
    exponent BYTEA NOT NULL,
    -- PKCS#8, under the key-encryption key.
    sealed BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    published_at TIMESTAMPTZ,
    activated_at TIMESTAMPTZ,
    retired_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX signing_keys_active ON signing_keys (state) WHERE state = 'active';

CREATE TABLE bundles (
    -- The token's jti.
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID NOT NULL,
    license_id UUID NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL REFERENCES signing_keys (kid),
    audience TEXT COLLATE "C" NOT NULL,
    -- SHA-256 of the token, hexadecimal.
    bundle_hash TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    status_reason TEXT COLLATE "C",
    issued_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    revoked_at TIMESTAMPTZ,
    FOREIGN KEY (organization_id, license_id) REFERENCES licenses (organization_id, id)
);
CREATE INDEX bundles_license ON bundles (license_id, id);
CREATE INDEX bundles_organization ON bundles (organization_id, id);
