-- The deleted session whose turn it is: the same one from statement to statement, until it has had it.
(
    SELECT s.session_id FROM operator_session AS s
    WHERE s.deleted_at IS NOT NULL
    ORDER BY s.deleted_at
    LIMIT 1
)
