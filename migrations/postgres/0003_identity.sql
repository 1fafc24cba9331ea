CREATE TABLE auth_accounts (
    id UUID NOT NULL PRIMARY KEY,
    user_id UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    provider TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    idp_tenant TEXT COLLATE "C",
    created_at TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX auth_accounts_provider_subject ON auth_accounts (provider, subject);
CREATE INDEX auth_accounts_user ON auth_accounts (user_id);

-- System roles belong to no organization; the server seeds them at its start.
CREATE TABLE roles (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID REFERENCES organizations (id),
    code TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    scope TEXT COLLATE "C" NOT NULL,
    rank BIGINT NOT NULL,
    permissions JSONB NOT NULL,
    is_system BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX roles_code ON roles (organization_id, code);
CREATE UNIQUE INDEX roles_system_code ON roles (code) WHERE organization_id IS NULL;

CREATE TABLE memberships (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID NOT NULL REFERENCES organizations (id),
    user_id UUID REFERENCES users (id) ON DELETE CASCADE,
    scope TEXT COLLATE "C" NOT NULL,
    workspace_id UUID,
    role_id UUID NOT NULL REFERENCES roles (id),
    status TEXT COLLATE "C" NOT NULL,
    -- What this member may do beyond the role.
    permissions JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    FOREIGN KEY (organization_id, workspace_id) REFERENCES workspaces (organization_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX memberships_user_id ON memberships (organization_id, user_id) WHERE scope = 'organization';
CREATE UNIQUE INDEX memberships_workspace_id_user_id ON memberships (workspace_id, user_id) WHERE scope = 'workspace';
CREATE INDEX memberships_user ON memberships (user_id);
CREATE INDEX memberships_role ON memberships (role_id);

CREATE TABLE service_tokens (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID REFERENCES organizations (id),
    deployment_id UUID,
    name TEXT COLLATE "C" NOT NULL,
    permissions JSONB NOT NULL,
    secret_hash BYTEA NOT NULL,
    -- The secret before a rotation, for as long as both are taken.
    previous_hash BYTEA,
    previous_until TIMESTAMPTZ,
    expires_at TIMESTAMPTZ,
    last_used_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX service_tokens_organization ON service_tokens (organization_id, id);
