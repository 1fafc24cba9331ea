-- The log: every event is a leaf of a Merkle tree (RFC 6962), at the place that `seq` tells.
ALTER TABLE audit_events ADD COLUMN seq INTEGER;
-- What the leaf tells of an event's content is SHA-256 of the salt and the content. Without the
-- salt the content is gone: the event was erased, and its leaf stays.
ALTER TABLE audit_events ADD COLUMN salt BLOB;
ALTER TABLE audit_events ADD COLUMN commitment BLOB;
ALTER TABLE audit_events ADD COLUMN erased_at TEXT;
-- What the leaf of a bundle's issuance tells besides.
ALTER TABLE audit_events ADD COLUMN jti BLOB;
ALTER TABLE audit_events ADD COLUMN kid TEXT;
ALTER TABLE audit_events ADD COLUMN token_sha256 TEXT;
CREATE UNIQUE INDEX audit_events_seq ON audit_events (seq);
CREATE UNIQUE INDEX audit_events_jti ON audit_events (jti);
CREATE INDEX audit_events_pending ON audit_events (id) WHERE seq IS NULL;

-- How large the tree is, and the roots of its complete subtrees, the largest first.
CREATE TABLE log_tree (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL,
    peaks BLOB NOT NULL
) STRICT;
INSERT INTO log_tree (id, size, peaks) VALUES (1, 0, x'');

-- The hashes of the leaves and of all complete subtrees, in the order in which they come about.
CREATE TABLE log_hashes (
    idx INTEGER NOT NULL PRIMARY KEY,
    hash BLOB NOT NULL
) STRICT;

-- The last signed checkpoint.
CREATE TABLE log_checkpoints (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL,
    note TEXT NOT NULL
) STRICT;

-- Append-only: what was written stays as it is. An event gets its place and its commitment once,
-- and may lose its content once.
CREATE TRIGGER audit_events_begun BEFORE INSERT ON audit_events WHEN NEW.commitment IS NULL
BEGIN SELECT RAISE(ABORT, 'an audit event needs its commitment'); END;
CREATE TRIGGER audit_events_kept BEFORE DELETE ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit events are never deleted'); END;
CREATE TRIGGER audit_events_fixed BEFORE UPDATE OF id, at, organization_id, source ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit events stay as they are'); END;
CREATE TRIGGER audit_events_placed BEFORE UPDATE OF seq ON audit_events WHEN OLD.seq IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'an audit event keeps its place'); END;
CREATE TRIGGER audit_events_committed
BEFORE UPDATE OF commitment, jti, kid, token_sha256 ON audit_events
WHEN OLD.commitment IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'an audit event keeps its commitment'); END;
CREATE TRIGGER audit_events_told
BEFORE UPDATE OF salt, erased_at, occurred_at, actor_kind, actor_id, actor_name, actor, action,
    target_type, target_id, project_id, before, after, metadata, reason, request_id, ip
ON audit_events
WHEN OLD.commitment IS NOT NULL
    AND NOT (OLD.salt IS NOT NULL AND NEW.salt IS NULL AND OLD.seq IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'audit events stay as they are'); END;
CREATE TRIGGER log_tree_kept BEFORE DELETE ON log_tree
BEGIN SELECT RAISE(ABORT, 'the log never shrinks'); END;
CREATE TRIGGER log_tree_grows BEFORE UPDATE ON log_tree WHEN NEW.size <= OLD.size
BEGIN SELECT RAISE(ABORT, 'the log never shrinks'); END;
CREATE TRIGGER log_hashes_kept BEFORE DELETE ON log_hashes
BEGIN SELECT RAISE(ABORT, 'the log never shrinks'); END;
CREATE TRIGGER log_hashes_fixed BEFORE UPDATE ON log_hashes
BEGIN SELECT RAISE(ABORT, 'the log stays as it is'); END;
CREATE TRIGGER log_checkpoints_kept BEFORE DELETE ON log_checkpoints
BEGIN SELECT RAISE(ABORT, 'the log never shrinks'); END;
CREATE TRIGGER log_checkpoints_grow BEFORE UPDATE ON log_checkpoints WHEN NEW.size < OLD.size
BEGIN SELECT RAISE(ABORT, 'the log never shrinks'); END;
