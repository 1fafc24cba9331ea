-- Instants beyond the last one are texts that sort before all others.
UPDATE licenses SET over_at = '9999-12-31T23:59:59.999999+00:00' WHERE over_at LIKE '+%';
