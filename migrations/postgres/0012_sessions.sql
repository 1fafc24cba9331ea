-- Which provider a token is of is looked up by its issuer.
CREATE INDEX identity_providers_issuer ON identity_providers (issuer);

-- Who is logged in at the console. The browser holds the secret; here is its hash.
CREATE TABLE sessions (
    id UUID NOT NULL PRIMARY KEY,
    secret_hash BYTEA NOT NULL,
    -- Of the state of the login: each begins one session at most.
    state_hash BYTEA NOT NULL,
    -- NULL for somebody whom only the provider knows.
    user_id UUID REFERENCES users (id) ON DELETE CASCADE,
    -- Whose own provider it is; NULL for one of the platform.
    organization_id UUID REFERENCES organizations (id),
    provider TEXT COLLATE "C" NOT NULL,
    issuer TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    -- What the provider vouched for.
    login JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    last_seen_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX sessions_secret_hash ON sessions (secret_hash);
CREATE UNIQUE INDEX sessions_state_hash ON sessions (state_hash);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_subject ON sessions (provider, subject);
CREATE INDEX sessions_organization ON sessions (organization_id);
CREATE INDEX sessions_expires_at ON sessions (expires_at);
