-- People belong to the platform; organizations have them as members.
CREATE TABLE users (
    id BLOB NOT NULL PRIMARY KEY,
    email TEXT NOT NULL,
    -- The address in lower case, folded by the server: the databases fold differently.
    email_key TEXT NOT NULL,
    display_name TEXT,
    is_active INTEGER NOT NULL,
    is_superadmin INTEGER NOT NULL,
    external_id TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX users_email_key ON users (email_key);
CREATE UNIQUE INDEX users_external_id ON users (external_id);

CREATE TABLE organizations (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    slug TEXT NOT NULL,
    status TEXT NOT NULL,
    external_id TEXT,
    email_domain TEXT,
    owner_user_id BLOB REFERENCES users (id),
    -- Held here, and not as a flag of the workspaces, so that there can only be one.
    default_workspace_id BLOB,
    settings TEXT NOT NULL,
    metadata TEXT NOT NULL,
    -- Grows with every change that can affect an authorization or entitlement answer.
    revision INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX organizations_slug ON organizations (slug);
CREATE UNIQUE INDEX organizations_external_id ON organizations (external_id);
CREATE UNIQUE INDEX organizations_email_domain ON organizations (email_domain);
CREATE INDEX organizations_owner ON organizations (owner_user_id);

CREATE TABLE workspaces (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    name TEXT NOT NULL,
    slug TEXT NOT NULL,
    type TEXT NOT NULL,
    isolation TEXT NOT NULL,
    path TEXT,
    status TEXT NOT NULL,
    external_id TEXT,
    -- Grows with every change of who may do what in the workspace.
    rbac_revision INTEGER NOT NULL,
    rbac_updated_at TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX workspaces_slug ON workspaces (organization_id, slug);
CREATE UNIQUE INDEX workspaces_external_id ON workspaces (organization_id, external_id);
-- What composite foreign keys refer to: a foreign organization's workspace cannot be named.
CREATE UNIQUE INDEX workspaces_id ON workspaces (organization_id, id);
