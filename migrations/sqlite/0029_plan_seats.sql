-- Whether the seats of a subscription are its plan's, and follow another plan.
ALTER TABLE subscriptions ADD COLUMN seats_from_plan INTEGER NOT NULL DEFAULT FALSE;
UPDATE subscriptions SET seats_from_plan = TRUE
WHERE seat_cap = (SELECT v.seat_cap FROM plan_versions v
                  WHERE v.plan_id = subscriptions.plan_id AND v.version = subscriptions.plan_version);

-- Whether a license keeps seats beyond those of its subscription. Licenses that have more keep them.
ALTER TABLE licenses ADD COLUMN allow_more_seats INTEGER NOT NULL DEFAULT FALSE;
UPDATE licenses SET allow_more_seats = TRUE
WHERE seat_cap > (SELECT s.seat_cap FROM subscriptions s WHERE s.id = licenses.subscription_id);
