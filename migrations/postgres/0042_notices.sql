-- The notices before ends and at them: each once for one end of one subject.
CREATE TABLE notices (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID REFERENCES organizations (id),
    subject UUID NOT NULL,
    kind TEXT NOT NULL,
    -- The end. Another end is announced again.
    basis TIMESTAMPTZ NOT NULL,
    -- The days before the end; 0 at the end.
    threshold INTEGER NOT NULL,
    -- The instant of the next notice of this end; after the last one, none comes.
    next_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX notices_subject_kind_basis_threshold ON notices (subject, kind, basis, threshold);
CREATE INDEX notices_organization ON notices (organization_id);
CREATE INDEX notices_created_at ON notices (created_at);

-- The instant from which ends are announced: earlier ends were before this version.
CREATE TABLE notices_begun (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    at TIMESTAMPTZ NOT NULL
);

CREATE INDEX licenses_valid_until ON licenses (valid_until) WHERE valid_until IS NOT NULL;
CREATE INDEX licenses_over_at ON licenses (over_at) WHERE over_at IS NOT NULL;
CREATE INDEX subscriptions_ends_at ON subscriptions (ends_at) WHERE ends_at IS NOT NULL;
CREATE INDEX subscriptions_trial_ends_at ON subscriptions (trial_ends_at) WHERE trial_ends_at IS NOT NULL;
CREATE INDEX service_tokens_expires_at ON service_tokens (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX license_keys_expires_at ON license_keys (expires_at) WHERE expires_at IS NOT NULL;
