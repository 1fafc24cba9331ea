-- Which provider a token is of is looked up by its issuer.
CREATE INDEX identity_providers_issuer ON identity_providers (issuer);

-- Who is logged in at the console. The browser holds the secret; here is its hash.
CREATE TABLE sessions (
    id BLOB NOT NULL PRIMARY KEY,
    secret_hash BLOB NOT NULL,
    -- Of the state of the login: each begins one session at most.
    state_hash BLOB NOT NULL,
    -- NULL for somebody whom only the provider knows.
    user_id BLOB REFERENCES users (id) ON DELETE CASCADE,
    -- Whose own provider it is; NULL for one of the platform.
    organization_id BLOB REFERENCES organizations (id),
    provider TEXT NOT NULL,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- What the provider vouched for.
    login TEXT NOT NULL,
    created_at TEXT NOT NULL,
    last_seen_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    ended_at TEXT
) STRICT;
CREATE UNIQUE INDEX sessions_secret_hash ON sessions (secret_hash);
CREATE UNIQUE INDEX sessions_state_hash ON sessions (state_hash);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_subject ON sessions (provider, subject);
CREATE INDEX sessions_organization ON sessions (organization_id);
CREATE INDEX sessions_expires_at ON sessions (expires_at);
