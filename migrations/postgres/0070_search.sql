-- The search over all resources: names by their beginning, and references across organizations. The
-- overview: what needs the attention of a person.

CREATE INDEX organizations_name ON organizations ((lower(name) COLLATE "C"));
CREATE INDEX users_display_name ON users ((lower(display_name) COLLATE "C"));
CREATE INDEX deployments_folded_name ON deployments ((lower(name) COLLATE "C"));
CREATE INDEX licenses_name ON licenses ((lower(name) COLLATE "C")) WHERE name IS NOT NULL;
CREATE INDEX deployments_reference ON deployments (external_id) WHERE external_id IS NOT NULL;
CREATE INDEX subscriptions_reference ON subscriptions (external_id) WHERE external_id IS NOT NULL;
CREATE INDEX bundles_hash ON bundles (bundle_hash);
CREATE INDEX licenses_suspended ON licenses (id) WHERE status = 'suspended';
CREATE INDEX subscriptions_past_due ON subscriptions (id) WHERE status = 'past_due';
CREATE INDEX webhooks_disabled ON webhooks (id) WHERE status = 'disabled';
