-- name: adjustment_record(session_id, viewer, message_id, before_config, after_config, reason, data)
-- Stores an adjustment, and in its session the event that says so.
UPDATE operator_session SET last_seq = last_seq + 1, updated_at = now()
WHERE {{session_of_viewer}};

INSERT INTO operator_switch_adjustment (
    session_id, message_id, before_config, after_config, reason, created_at
)
SELECT :session_id, :message_id, :before_config, :after_config, :reason, now()
WHERE :session_id IS NULL OR changes() = 1
RETURNING
    (SELECT s.last_seq FROM operator_session AS s WHERE s.session_id = :session_id) AS seq,
    json_set(:data, '$.id', id, '$.created_at', created_at) AS data,
    created_at AS ts,
    id, session_id;

INSERT INTO operator_event (session_id, seq, event, ts, data)
SELECT
    s.session_id, s.last_seq, 'switch_adjustment.recorded', now(),
    json_set(:data, '$.id', last_insert_rowid(), '$.created_at', now())
FROM operator_session AS s
WHERE s.session_id = :session_id AND changes() = 1;

-- name: adjustment_finish(adjustment_id, session_id, pod_id, event, applied, moved, error, data)
-- Stores the outcome of applying or reverting an adjustment, by the process that claimed it. The column
-- that is called moved, applied_at or reverted_at, gets the time; NULL is for a failure.
UPDATE operator_switch_adjustment
SET
    owner = NULL,
    error = :error,
    applied = :applied,
    applied_at = CASE WHEN :moved = 'applied_at' THEN now() ELSE applied_at END,
    reverted_at = CASE :moved
        WHEN 'applied_at' THEN NULL WHEN 'reverted_at' THEN now() ELSE reverted_at
    END
WHERE id = :adjustment_id AND owner = :pod_id
RETURNING
    (SELECT s.last_seq + 1 FROM operator_session AS s WHERE s.session_id = :session_id) AS seq,
    CASE WHEN :moved IS NULL THEN json(:data) ELSE json_set(:data, '$.' || :moved, now()) END
        AS data,
    now() AS ts,
    id, session_id;

UPDATE operator_session SET last_seq = last_seq + 1, updated_at = now()
WHERE session_id = :session_id AND changes() = 1;

INSERT INTO operator_event (session_id, seq, event, ts, data)
SELECT
    s.session_id, s.last_seq, :event, now(),
    CASE WHEN :moved IS NULL THEN json(:data) ELSE json_set(:data, '$.' || :moved, now()) END
FROM operator_session AS s
WHERE s.session_id = :session_id AND changes() = 1;

-- name: adjustments_release_orphaned(idle_pod_id)
-- Gives up the claims of processes without a lease, and those of the pod that works on none.
UPDATE operator_switch_adjustment SET owner = NULL
WHERE
    owner = :idle_pod_id
    OR (
        owner IS NOT NULL
        AND NOT EXISTS (
            SELECT 1 FROM operator_pod AS p
            WHERE p.pod_id = operator_switch_adjustment.owner AND p.lease_until > now()
        )
    )
RETURNING id;
