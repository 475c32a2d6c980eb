-- name: events_after_each(session_ids, seqs, page, bytes)
-- Newer events of several sessions, each after a number, with their messages.
WITH page AS (
    SELECT
        {{event_size}} AS size,
        row_number() OVER (ORDER BY e.session_id, e.seq) AS place
    FROM unnest(CAST(:session_ids AS text[]), CAST(:seqs AS bigint[])) AS w (session_id, seq)
    INNER JOIN operator_event AS e ON w.session_id = e.session_id AND w.seq < e.seq
    LEFT JOIN operator_message AS m ON e.message_id = m.id
    ORDER BY e.session_id, e.seq
    LIMIT :page
)

SELECT
    {{event_columns}},
    {{event_size}} AS size,
    (SELECT count(*) FROM page) AS found
FROM unnest(CAST(:session_ids AS text[]), CAST(:seqs AS bigint[])) AS w (session_id, seq)
INNER JOIN operator_event AS e ON w.session_id = e.session_id AND w.seq < e.seq
LEFT JOIN operator_message AS m ON e.message_id = m.id
ORDER BY e.session_id, e.seq
LIMIT {{rows_that_fit}};

-- name: events_purge(days, page)
-- Deletes the oldest events, those older than so many days; what is left has no gap.
DELETE FROM operator_event AS e
USING (
    SELECT o.session_id, max(o.seq) AS seq
    FROM (
        SELECT session_id, seq FROM operator_event
        WHERE ts < {{days_ago}}
        LIMIT :page
    ) AS o
    GROUP BY o.session_id
) AS old
WHERE e.session_id = old.session_id AND e.seq <= old.seq
RETURNING e.seq AS id;
