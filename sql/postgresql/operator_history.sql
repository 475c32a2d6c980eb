-- name: history_keep(fresh, server, unseen)
-- Notes that the database is in use, and which history its server is on. Where nobody did so for
-- unseen seconds, it gets the id fresh.
UPDATE operator_history
SET
    id = CASE
        WHEN
            abs(extract(EPOCH FROM clock_timestamp() - seen_at)) < CAST(:unseen AS double precision)
            THEN id
        ELSE :fresh
    END,
    server = :server,
    seen_at = clock_timestamp()
RETURNING id, server, seen_at;
