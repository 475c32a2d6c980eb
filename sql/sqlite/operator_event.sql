-- name: events_after_each(session_ids, seqs, page, bytes)
-- Newer events of several sessions, each after a number, with their messages.
/*+ page of :bytes */
WITH seqs AS MATERIALIZED (SELECT key, value FROM json_each(:seqs))

SELECT {{event_columns}}, {{event_size}} AS size
FROM json_each(:session_ids) AS i
CROSS JOIN seqs AS q ON i.key = q.key
CROSS JOIN operator_event AS e ON i.value = e.session_id AND q.value < e.seq
LEFT JOIN operator_message AS m ON e.message_id = m.id
ORDER BY e.session_id, e.seq
LIMIT :page;

-- name: events_purge(days, page)
-- One step of the purge of events: deletes so many old ones; what is left has no gap.
DELETE FROM operator_event
WHERE
    (session_id, seq) IN (
        SELECT e.session_id, e.seq
        FROM (
            SELECT o.session_id, max(o.seq) AS seq
            FROM (
                SELECT session_id, seq FROM operator_event
                WHERE ts < now(-86400 * :days)
                LIMIT :page
            ) AS o
            GROUP BY o.session_id
        ) AS old
        CROSS JOIN operator_event AS e ON old.session_id = e.session_id AND old.seq >= e.seq
    )
RETURNING NULL AS day, FALSE AS held_up;
