-- The events of an organization in the order of the log.
CREATE INDEX audit_events_organization_seq ON audit_events (organization_id, seq);
