-- The life of the tokens that data planes renew, at each level; null leaves it to the level below.
ALTER TABLE plan_versions ADD COLUMN token_ttl_seconds INTEGER;
ALTER TABLE subscriptions ADD COLUMN token_ttl_seconds INTEGER;
ALTER TABLE licenses ADD COLUMN token_ttl_seconds INTEGER;

-- The license's newest bundle, in the order of issuance: a clock that was set back does not change it.
ALTER TABLE licenses ADD COLUMN bundle_id BLOB;
UPDATE licenses SET bundle_id = (SELECT b.id FROM bundles b WHERE b.license_id = licenses.id ORDER BY b.id DESC LIMIT 1);
-- The revision of the license that the token shows. Null for older tokens.
ALTER TABLE bundles ADD COLUMN license_revision INTEGER;

-- The tokens that admins fetched on one day, which is counted from 1970.
ALTER TABLE licenses ADD COLUMN fetched_on INTEGER;
ALTER TABLE licenses ADD COLUMN fetches INTEGER NOT NULL DEFAULT 0;
