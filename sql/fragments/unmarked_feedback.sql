-- Feedback that an older version has stored, and whether a client had posted it: what a reply gives by
-- itself has the time of the reply's end, and what stays here was given up without an attempt.
(
    SELECT
        f.id, f.message_id,
        NOT (f.given_up_at IS NOT NULL AND f.attempts = 0)
        AND coalesce(f.created_at <> m.finished_at, TRUE) AS posted
    FROM operator_switch_feedback AS f
    LEFT JOIN operator_message AS m ON f.message_id = m.id
    WHERE f.posted IS NULL
)
