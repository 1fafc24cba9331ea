-- People belong to the platform; organizations have them as members.
CREATE TABLE users (
    id UUID NOT NULL PRIMARY KEY,
    email TEXT COLLATE "C" NOT NULL,
    -- The address in lower case, folded by the server: the databases fold differently.
    email_key TEXT COLLATE "C" NOT NULL,
    display_name TEXT COLLATE "C",
    is_active BOOLEAN NOT NULL,
    is_superadmin BOOLEAN NOT NULL,
    external_id TEXT COLLATE "C",
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX users_email_key ON users (email_key);
CREATE UNIQUE INDEX users_external_id ON users (external_id);

CREATE TABLE organizations (
    id UUID NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    slug TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    external_id TEXT COLLATE "C",
    email_domain TEXT COLLATE "C",
    owner_user_id UUID REFERENCES users (id),
    -- Held here, and not as a flag of the workspaces, so that there can only be one.
    default_workspace_id UUID,
    settings JSONB NOT NULL,
    metadata JSONB NOT NULL,
    -- Grows with every change that can affect an authorization or entitlement answer.
    revision BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX organizations_slug ON organizations (slug);
CREATE UNIQUE INDEX organizations_external_id ON organizations (external_id);
CREATE UNIQUE INDEX organizations_email_domain ON organizations (email_domain);
CREATE INDEX organizations_owner ON organizations (owner_user_id);

CREATE TABLE workspaces (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID NOT NULL REFERENCES organizations (id),
    name TEXT COLLATE "C" NOT NULL,
    slug TEXT COLLATE "C" NOT NULL,
    type TEXT COLLATE "C" NOT NULL,
    isolation TEXT COLLATE "C" NOT NULL,
    path TEXT COLLATE "C",
    status TEXT COLLATE "C" NOT NULL,
    external_id TEXT COLLATE "C",
    -- Grows with every change of who may do what in the workspace.
    rbac_revision BIGINT NOT NULL,
    rbac_updated_at TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX workspaces_slug ON workspaces (organization_id, slug);
CREATE UNIQUE INDEX workspaces_external_id ON workspaces (organization_id, external_id);
-- What composite foreign keys refer to: a foreign organization's workspace cannot be named.
CREATE UNIQUE INDEX workspaces_id ON workspaces (organization_id, id);
