-- name: message_get(message_id, viewer)
-- One message, where the viewer may see its session.
SELECT {{message_columns}}
FROM operator_message AS m
INNER JOIN operator_session AS s ON m.session_id = s.session_id
WHERE m.id = :message_id AND {{visible_session}};

-- name: message_page(session_id, before, page, bytes)
-- Messages of a session, newest first, older than the one with the id before.
/*+ page of :bytes */
SELECT {{listed_message}}, {{message_size}} AS size
FROM operator_message AS m
WHERE m.session_id = :session_id AND m.id < :before
ORDER BY m.id DESC
LIMIT :page;

-- name: message_page_after(session_id, after, page, bytes)
-- Messages of a session, oldest first, newer than the one with the id after.
/*+ page of :bytes */
SELECT {{listed_message}}, {{message_size}} AS size
FROM operator_message AS m
WHERE m.session_id = :session_id AND m.id > :after
ORDER BY m.id
LIMIT :page;

-- name: reply_fence(reply_id, owner, fence)
-- Takes a reply from its owner, which can store no more of its text from then on. Who has an owner is being
-- written: to ask for the status of a reply would lead PostgreSQL to the index of all that are being written,
-- which it takes for few where few were when it last counted.
UPDATE operator_message SET owner = :fence
WHERE id = :reply_id AND owner = :owner
RETURNING id;

-- name: reply_request_cancel(reply_id)
-- Asks the pod that writes a reply to stop.
UPDATE operator_message SET cancel_requested = TRUE
WHERE id = :reply_id AND owner IS NOT NULL
RETURNING id AS reply_id, session_id, owner, created_at AS begun_at;

-- name: reply_attend(reply_id, attempt)
-- Names the call that waits for a reply, unless that is to stop. A first call does not take it from a repeated one
-- that overtook it: names begin with the attempt's number.
UPDATE operator_message
SET
    attempt = CASE
        WHEN substr(coalesce(attempt, ''), 1, 4) <= substr(:attempt, 1, 4) THEN :attempt
        ELSE attempt
    END
WHERE id = :reply_id AND owner IS NOT NULL AND NOT cancel_requested
RETURNING id;

-- name: reply_leave(reply_id, attempt)
-- Asks to stop a reply whose caller has left, unless a later call waits for it.
UPDATE operator_message SET cancel_requested = TRUE
WHERE id = :reply_id AND owner IS NOT NULL AND coalesce(attempt, '') = :attempt
RETURNING id;

-- name: replies_of_pod(pod_id)
-- The replies that this pod owns, and whether somebody asked to stop them.
SELECT id AS reply_id, created_at AS begun_at, cancel_requested FROM operator_message
WHERE owner = :pod_id AND status = 'streaming';

-- name: replies_unowned(pod_id, judge)
-- Replies being written by pods that are not on the list or, with judge, whose lease has run out, and those of this pod. Each step of the recursion is one look into
-- the index for the next pod that writes any: replies of pods that live are not read.
WITH RECURSIVE owners (owner) AS (
    SELECT
        (
            SELECT m.owner FROM operator_message AS m
            WHERE m.status = 'streaming'
            ORDER BY m.owner
            LIMIT 1
        )
    UNION ALL
    SELECT
        (
            SELECT m.owner FROM operator_message AS m
            WHERE m.status = 'streaming' AND m.owner > o.owner
            ORDER BY m.owner
            LIMIT 1
        )
    FROM owners AS o
    WHERE o.owner IS NOT NULL
)

SELECT m.id AS reply_id, m.session_id, m.owner, m.created_at AS begun_at
FROM owners AS o
LEFT JOIN operator_pod AS p ON o.owner = p.pod_id
CROSS JOIN operator_message AS m
WHERE
    m.owner = o.owner AND m.status = 'streaming'
    AND (
        o.owner = :pod_id OR p.pod_id IS NULL
        OR (CAST(:judge AS boolean) AND p.lease_until < now())
    );
