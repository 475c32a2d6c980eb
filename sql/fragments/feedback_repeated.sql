-- True where of the reply of unmarked feedback u something later was posted, or something is marked.
(
    EXISTS (
        SELECT 1 FROM operator_switch_feedback AS p
        WHERE p.message_id = u.message_id AND p.posted
    )
    OR EXISTS (
        SELECT 1
        FROM operator_switch_feedback AS l
        INNER JOIN operator_message AS r ON l.message_id = r.id
        WHERE
            l.message_id = u.message_id AND l.id > u.id AND l.posted IS NULL
            AND NOT (l.given_up_at IS NOT NULL AND l.attempts = 0)
            AND coalesce(l.created_at <> r.finished_at, TRUE)
    )
)
