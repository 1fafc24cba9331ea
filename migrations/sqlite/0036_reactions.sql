-- Installations and ratings of listings.
CREATE TABLE reactions (
    id BLOB NOT NULL PRIMARY KEY,
    -- The organization that reacts. The listing may be of another one.
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    kind TEXT NOT NULL CHECK (kind IN ('installation', 'rating')),
    listing_id BLOB NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    -- The person's ID; the organization's own ID for an installation by the organization.
    reactor_id BLOB NOT NULL,
    -- This column exists for its key: the deletion of the person deletes the reaction.
    user_id BLOB REFERENCES users (id) ON DELETE CASCADE,
    stars INTEGER CHECK (stars BETWEEN 1 AND 5),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CHECK ((kind = 'rating') = (stars IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX reactions_id ON reactions (organization_id, id);
CREATE UNIQUE INDEX reactions_kind_listing_id_reactor_id
    ON reactions (organization_id, kind, listing_id, reactor_id);
CREATE INDEX reactions_listing ON reactions (listing_id, kind, reactor_id);
CREATE INDEX reactions_user ON reactions (user_id);
-- The copies of a listing.
CREATE INDEX resources_source ON resources (organization_id, source_id);
