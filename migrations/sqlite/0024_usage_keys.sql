-- A key belongs to the deployment that records the event, or to the organization.
DROP INDEX usage_events_idempotency_key;
CREATE UNIQUE INDEX usage_events_idempotency_key ON usage_events (organization_id, idempotency_key, deployment_id)
    WHERE idempotency_key IS NOT NULL;
-- No two NULLs are equal.
CREATE UNIQUE INDEX usage_events_organization_key ON usage_events (organization_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL AND deployment_id IS NULL;
