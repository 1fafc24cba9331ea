-- Instants beyond the last one are none that the server reads.
UPDATE licenses SET over_at = '9999-12-31T23:59:59.999999Z' WHERE over_at > '9999-12-31T23:59:59.999999Z';
