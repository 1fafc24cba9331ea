CREATE TABLE auth_accounts (
    id BLOB NOT NULL PRIMARY KEY,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    provider TEXT NOT NULL,
    subject TEXT NOT NULL,
    idp_tenant TEXT,
    created_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX auth_accounts_provider_subject ON auth_accounts (provider, subject);
CREATE INDEX auth_accounts_user ON auth_accounts (user_id);

-- System roles belong to no organization; the server seeds them at its start.
CREATE TABLE roles (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB REFERENCES organizations (id),
    code TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    scope TEXT NOT NULL,
    rank INTEGER NOT NULL,
    permissions TEXT NOT NULL,
    is_system INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX roles_code ON roles (organization_id, code);
CREATE UNIQUE INDEX roles_system_code ON roles (code) WHERE organization_id IS NULL;

CREATE TABLE memberships (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    user_id BLOB REFERENCES users (id) ON DELETE CASCADE,
    scope TEXT NOT NULL,
    workspace_id BLOB,
    role_id BLOB NOT NULL REFERENCES roles (id),
    status TEXT NOT NULL,
    -- What this member may do beyond the role.
    permissions TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    FOREIGN KEY (organization_id, workspace_id) REFERENCES workspaces (organization_id, id) ON DELETE CASCADE
) STRICT;
CREATE UNIQUE INDEX memberships_user_id ON memberships (organization_id, user_id) WHERE scope = 'organization';
CREATE UNIQUE INDEX memberships_workspace_id_user_id ON memberships (workspace_id, user_id) WHERE scope = 'workspace';
CREATE INDEX memberships_user ON memberships (user_id);
CREATE INDEX memberships_role ON memberships (role_id);

CREATE TABLE service_tokens (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB REFERENCES organizations (id),
    deployment_id BLOB,
    name TEXT NOT NULL,
    permissions TEXT NOT NULL,
    secret_hash BLOB NOT NULL,
    -- The secret before a rotation, for as long as both are taken.
    previous_hash BLOB,
    previous_until TEXT,
    expires_at TEXT,
    last_used_at TEXT,
    revoked_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX service_tokens_organization ON service_tokens (organization_id, id);
