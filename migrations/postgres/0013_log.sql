-- The log: every event is a leaf of a Merkle tree (RFC 6962), at the place that `seq` tells.
ALTER TABLE audit_events ADD COLUMN seq BIGINT;
-- What the leaf tells of an event's content is SHA-256 of the salt and the content. Without the
-- salt the content is gone: the event was erased, and its leaf stays.
ALTER TABLE audit_events ADD COLUMN salt BYTEA;
ALTER TABLE audit_events ADD COLUMN commitment BYTEA;
ALTER TABLE audit_events ADD COLUMN erased_at TIMESTAMPTZ;
-- What the leaf of a bundle's issuance tells besides.
ALTER TABLE audit_events ADD COLUMN jti UUID;
ALTER TABLE audit_events ADD COLUMN kid TEXT COLLATE "C";
ALTER TABLE audit_events ADD COLUMN token_sha256 TEXT COLLATE "C";
CREATE UNIQUE INDEX audit_events_seq ON audit_events (seq);
CREATE UNIQUE INDEX audit_events_jti ON audit_events (jti);
CREATE INDEX audit_events_pending ON audit_events (id) WHERE seq IS NULL;

-- How large the tree is, and the roots of its complete subtrees, the largest first.
CREATE TABLE log_tree (
    id SMALLINT NOT NULL PRIMARY KEY CHECK (id = 1),
    size BIGINT NOT NULL,
    peaks BYTEA NOT NULL
);
INSERT INTO log_tree (id, size, peaks) VALUES (1, 0, '');

-- The hashes of the leaves and of all complete subtrees, in the order in which they come about.
CREATE TABLE log_hashes (
    idx BIGINT NOT NULL PRIMARY KEY,
    hash BYTEA NOT NULL
);

-- The last signed checkpoint.
CREATE TABLE log_checkpoints (
    id SMALLINT NOT NULL PRIMARY KEY CHECK (id = 1),
    size BIGINT NOT NULL,
    note TEXT COLLATE "C" NOT NULL
);

-- Append-only: what was written stays as it is. An event gets its place and its commitment once,
-- and may lose its content once.
CREATE FUNCTION log_refuse() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% % is refused: the log is append-only (%)', TG_OP, TG_TABLE_NAME, TG_NAME;
END $$;
CREATE TRIGGER audit_events_begun BEFORE INSERT ON audit_events FOR EACH ROW
WHEN (NEW.commitment IS NULL) EXECUTE FUNCTION log_refuse();
CREATE TRIGGER audit_events_kept BEFORE DELETE ON audit_events
FOR EACH ROW EXECUTE FUNCTION log_refuse();
CREATE TRIGGER audit_events_whole BEFORE TRUNCATE ON audit_events
FOR EACH STATEMENT EXECUTE FUNCTION log_refuse();
CREATE TRIGGER audit_events_fixed BEFORE UPDATE OF id, at, organization_id, source ON audit_events
FOR EACH ROW EXECUTE FUNCTION log_refuse();
CREATE TRIGGER audit_events_placed BEFORE UPDATE OF seq ON audit_events
FOR EACH ROW WHEN (OLD.seq IS NOT NULL) EXECUTE FUNCTION log_refuse();
CREATE TRIGGER audit_events_committed
BEFORE UPDATE OF commitment, jti, kid, token_sha256 ON audit_events
FOR EACH ROW WHEN (OLD.commitment IS NOT NULL) EXECUTE FUNCTION log_refuse();
CREATE TRIGGER audit_events_told
BEFORE UPDATE OF salt, erased_at, occurred_at, actor_kind, actor_id, actor_name, actor, action,
    target_type, target_id, project_id, before, after, metadata, reason, request_id, ip
ON audit_events
FOR EACH ROW WHEN (OLD.commitment IS NOT NULL
    AND NOT (OLD.salt IS NOT NULL AND NEW.salt IS NULL AND OLD.seq IS NOT NULL))
EXECUTE FUNCTION log_refuse();
CREATE TRIGGER log_tree_kept BEFORE DELETE ON log_tree
FOR EACH ROW EXECUTE FUNCTION log_refuse();
CREATE TRIGGER log_tree_grows BEFORE UPDATE ON log_tree
FOR EACH ROW WHEN (NEW.size <= OLD.size) EXECUTE FUNCTION log_refuse();
CREATE TRIGGER log_hashes_kept BEFORE DELETE ON log_hashes
FOR EACH ROW EXECUTE FUNCTION log_refuse();
CREATE TRIGGER log_hashes_whole BEFORE TRUNCATE ON log_hashes
FOR EACH STATEMENT EXECUTE FUNCTION log_refuse();
CREATE TRIGGER log_hashes_fixed BEFORE UPDATE ON log_hashes
FOR EACH ROW EXECUTE FUNCTION log_refuse();
CREATE TRIGGER log_checkpoints_kept BEFORE DELETE ON log_checkpoints
FOR EACH ROW EXECUTE FUNCTION log_refuse();
CREATE TRIGGER log_checkpoints_grow BEFORE UPDATE ON log_checkpoints
FOR EACH ROW WHEN (NEW.size < OLD.size) EXECUTE FUNCTION log_refuse();
