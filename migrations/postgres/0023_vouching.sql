-- Who vouches for the link: NULL is the platform, otherwise the organization for its own grants.
ALTER TABLE auth_accounts ADD COLUMN organization_id UUID REFERENCES organizations (id) ON DELETE CASCADE;
DROP INDEX auth_accounts_provider_subject;
CREATE UNIQUE INDEX auth_accounts_provider_subject ON auth_accounts (provider, subject) WHERE organization_id IS NULL;
CREATE UNIQUE INDEX auth_accounts_organization_provider_subject ON auth_accounts (organization_id, provider, subject) WHERE organization_id IS NOT NULL;

-- When the person took the seat, and how; NULL until then.
ALTER TABLE memberships ADD COLUMN accepted_at TIMESTAMPTZ;
ALTER TABLE memberships ADD COLUMN accepted_as TEXT COLLATE "C";
UPDATE memberships SET accepted_at = created_at WHERE status <> 'invited';
-- Who offered the seat: what it gives is checked again when it is taken.
ALTER TABLE memberships ADD COLUMN inviter JSONB;
ALTER TABLE invitations ADD COLUMN inviter JSONB;
-- Who created the token: a user's or a service token's id.
ALTER TABLE service_tokens ADD COLUMN created_by UUID;
CREATE INDEX service_tokens_created_by ON service_tokens (created_by);

-- The platform allows other organizations to hold the same issuer and audience.
ALTER TABLE identity_providers ADD COLUMN shares_issuer BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE identity_providers SET shares_issuer = TRUE WHERE EXISTS (
    SELECT 1 FROM identity_providers o
    WHERE o.id <> identity_providers.id AND o.issuer = identity_providers.issuer
      AND COALESCE(o.audience, o.client_id, '') = COALESCE(identity_providers.audience, identity_providers.client_id, ''));
CREATE UNIQUE INDEX identity_providers_issuer_audience ON identity_providers (issuer, COALESCE(audience, client_id, ''))
    WHERE status = 'active' AND type <> 'saml' AND NOT shares_issuer;

-- Who vouched for the actor's login: provider, issuer and organization.
ALTER TABLE audit_events ADD COLUMN vouched_by JSONB;
CREATE TRIGGER audit_events_vouched BEFORE UPDATE OF vouched_by ON audit_events
FOR EACH ROW WHEN (OLD.commitment IS NOT NULL
    AND NOT (OLD.salt IS NOT NULL AND NEW.salt IS NULL AND OLD.seq IS NOT NULL))
EXECUTE FUNCTION log_refuse();
