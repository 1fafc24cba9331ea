-- Audit events by the product of their state.
CREATE INDEX audit_events_product_after ON audit_events (organization_id, (after ->> 'product'), id)
WHERE (after ->> 'product') IS NOT NULL;
CREATE INDEX audit_events_product_before ON audit_events (organization_id, (before ->> 'product'), id)
WHERE (before ->> 'product') IS NOT NULL;
