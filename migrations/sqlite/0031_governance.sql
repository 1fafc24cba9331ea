-- Typed objects of an organization: agents, connections, guardrails, patterns, models and listings.
CREATE TABLE resources (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    -- A product label; empty for all products.
    product TEXT NOT NULL,
    description TEXT,
    status TEXT NOT NULL,
    -- Whether all organizations see the row.
    is_public INTEGER NOT NULL,
    -- The guardrail of a pattern, or the entity of a listing.
    parent_id BLOB,
    -- The listing of which the row is a copy. It may be of another organization, so it is no key.
    source_id BLOB,
    spec TEXT NOT NULL,
    -- Sealed under the key-encryption key.
    secret BLOB,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    FOREIGN KEY (organization_id, parent_id) REFERENCES resources (organization_id, id) ON DELETE CASCADE
) STRICT;
CREATE UNIQUE INDEX resources_id ON resources (organization_id, id);
CREATE UNIQUE INDEX resources_kind_key ON resources (organization_id, kind, key);
-- An entity has one listing.
CREATE UNIQUE INDEX resources_parent_id ON resources (organization_id, parent_id) WHERE kind = 'listing';
CREATE INDEX resources_parent ON resources (parent_id);
CREATE INDEX resources_public ON resources (id) WHERE is_public;

-- A subject that is allowed for, or denied to, a scope.
CREATE TABLE bindings (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    kind TEXT NOT NULL,
    product TEXT NOT NULL,
    -- A resource's ID, the name or prefix of a model, or the code of a feature.
    subject TEXT NOT NULL,
    scope_kind TEXT NOT NULL,
    -- The organization's own ID for the scope of the whole organization.
    scope_id BLOB NOT NULL,
    effect TEXT NOT NULL,
    value TEXT NOT NULL,
    mandatory INTEGER NOT NULL,
    -- These columns exist for their keys: the deletion of what they name deletes the binding.
    resource_id BLOB,
    group_id BLOB,
    user_id BLOB REFERENCES users (id) ON DELETE CASCADE,
    project_id BLOB,
    workspace_id BLOB,
    agent_id BLOB,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    FOREIGN KEY (organization_id, resource_id) REFERENCES resources (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, group_id) REFERENCES groups (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, workspace_id) REFERENCES workspaces (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, agent_id) REFERENCES resources (organization_id, id) ON DELETE CASCADE
) STRICT;
CREATE UNIQUE INDEX bindings_id ON bindings (organization_id, id);
CREATE UNIQUE INDEX bindings_kind_product_subject_scope
    ON bindings (organization_id, kind, product, subject, scope_kind, scope_id);
CREATE INDEX bindings_scope ON bindings (organization_id, scope_kind, scope_id);
CREATE INDEX bindings_resource ON bindings (resource_id);
CREATE INDEX bindings_group ON bindings (group_id);
CREATE INDEX bindings_user ON bindings (user_id);
CREATE INDEX bindings_project ON bindings (project_id);
CREATE INDEX bindings_workspace ON bindings (workspace_id);
CREATE INDEX bindings_agent ON bindings (agent_id);
