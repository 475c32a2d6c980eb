-- The newest messages of the deleted session whose turn it is, so many of them.
(
    SELECT o.id FROM operator_message AS o
    WHERE
        o.session_id = (
            SELECT s.session_id FROM operator_session AS s
            WHERE s.deleted_at IS NOT NULL
            ORDER BY s.deleted_at
            LIMIT 1
        )
    ORDER BY o.id DESC
    LIMIT :page
)
