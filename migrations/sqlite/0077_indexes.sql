-- What operations look up without reading the rows of other organizations.
CREATE INDEX organizations_default_workspace ON organizations (default_workspace_id);
CREATE INDEX auth_accounts_identity ON auth_accounts (provider, subject);
CREATE INDEX memberships_organization ON memberships (organization_id, id);
CREATE INDEX memberships_workspace ON memberships (workspace_id) WHERE workspace_id IS NOT NULL;
CREATE INDEX memberships_group ON memberships (group_id) WHERE group_id IS NOT NULL;
CREATE INDEX usage_limits_organization ON usage_limits (organization_id, id);
CREATE INDEX lease_seats_organization ON lease_seats (organization_id, lease_id);
CREATE INDEX lease_tenures_organization ON lease_tenures (organization_id, id);
CREATE INDEX lease_components_organization ON lease_components (organization_id);
CREATE INDEX lease_hours_organization ON lease_hours (organization_id, starts_at);

-- The few superadmins among all people.
CREATE INDEX users_superadmins ON users (id) WHERE is_superadmin;
