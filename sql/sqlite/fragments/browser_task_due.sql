-- The first due task of the next user after :after, by its id and session. The walk over the users
-- with waiting tasks ends at the first that has a due one and is none of :passed_over.
(
    WITH RECURSIVE waiting (user_id) AS (
        SELECT min(w.user_id)
        FROM operator_browser_task AS w INDEXED BY operator_browser_task_turn
        WHERE w.status = 'pending' AND w.user_id > :after
        UNION ALL
        SELECT (
            SELECT min(n.user_id)
            FROM operator_browser_task AS n INDEXED BY operator_browser_task_turn
            WHERE n.status = 'pending' AND n.user_id > waiting.user_id
        )
        FROM waiting
        WHERE waiting.user_id IS NOT NULL
    )

    SELECT d.id, d.session_id
    FROM waiting
    CROSS JOIN operator_browser_task AS d
    WHERE
        waiting.user_id NOT IN (SELECT p.value FROM json_each(:passed_over) AS p)
        AND d.id = (
            SELECT f.id
            FROM operator_browser_task AS f INDEXED BY operator_browser_task_turn
            WHERE f.status = 'pending' AND f.user_id = waiting.user_id AND f.not_before <= now()
            ORDER BY f.not_before, f.id
            LIMIT 1
        )
    LIMIT 1
)
