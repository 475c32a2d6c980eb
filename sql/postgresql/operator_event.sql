-- name: events_after_each(session_ids, seqs, page, bytes)
-- Newer events of several sessions, each after a number, with their messages.
/*+ page of :bytes */
SELECT {{event_columns}}, {{event_size}} AS size
FROM unnest(CAST(:session_ids AS text[]), CAST(:seqs AS bigint[])) AS w (session_id, seq)
CROSS JOIN LATERAL {{newer_events}} AS e
LEFT JOIN operator_message AS m ON e.message_id = m.id
ORDER BY w.session_id, e.seq
LIMIT :page;

-- name: events_purge(days, page)
-- One step of the purge of events: makes or drops a day, or deletes so many old events that have none.
SELECT day, held_up FROM operator_event_purge(:days, :page);
