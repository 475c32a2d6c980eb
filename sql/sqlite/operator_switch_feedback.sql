-- name: feedback_record(session_id, viewer, message_id, engine, success, latency_ms, tokens_used, error_message, data)
-- Stores what a client says, in the place of what was said of the same reply before, and in its
-- session the event that says so. What Switch was told stays told; what it refused is due again.
UPDATE operator_session SET last_seq = last_seq + 1, updated_at = now()
WHERE {{session_of_viewer}};

INSERT INTO operator_switch_feedback (
    session_id, message_id, engine, success, latency_ms, tokens_used, error_message, posted,
    not_before, created_at
)
SELECT
    :session_id, :message_id, :engine, :success, :latency_ms, :tokens_used, :error_message, 1,
    now(), now()
WHERE :session_id IS NULL OR changes() = 1
ON CONFLICT (message_id) WHERE posted = 1 DO UPDATE
SET
    {{newer_feedback}},
    attempts = CASE
        WHEN operator_switch_feedback.given_up_at IS NULL THEN operator_switch_feedback.attempts ELSE 0
    END,
    not_before = CASE
        WHEN operator_switch_feedback.given_up_at IS NULL THEN operator_switch_feedback.not_before ELSE now()
    END,
    given_up_at = NULL
RETURNING
    (SELECT s.last_seq FROM operator_session AS s WHERE s.session_id = :session_id) AS seq,
    json_set(:data, '$.id', id, '$.created_at', created_at, '$.forwarded_at', forwarded_at) AS data,
    now() AS ts,
    id, session_id;

INSERT INTO operator_event (session_id, seq, event, ts, data)
SELECT
    s.session_id, s.last_seq, 'switch_feedback.recorded', now(),
    json_set(
        :data, '$.id', f.id, '$.created_at', f.created_at, '$.forwarded_at', f.forwarded_at
    )
FROM operator_session AS s
INNER JOIN operator_switch_feedback AS f
    ON
        f.id = coalesce(
            (
                SELECT p.id FROM operator_switch_feedback AS p
                WHERE p.message_id = :message_id AND p.posted = 1
            ),
            last_insert_rowid()
        )
WHERE s.session_id = :session_id AND changes() = 1;

-- name: feedback_settle(feedback_id, pod_id, given_up, go_on)
-- Marks feedback as forwarded or given up, and claims the next one of its engine where wanted.
UPDATE operator_switch_feedback
SET
    owner = NULL,
    attempts = attempts + 1,
    forwarded_at = CASE WHEN :given_up THEN NULL ELSE now() END,
    given_up_at = CASE WHEN :given_up THEN now() END
WHERE id = :feedback_id AND owner = :pod_id;

UPDATE operator_switch_feedback SET owner = :pod_id
WHERE
    changes() = 1 AND :go_on
    AND id = (
        SELECT f.id FROM operator_switch_feedback AS f
        WHERE
            f.engine = (
                SELECT s.engine FROM operator_switch_feedback AS s WHERE s.id = :feedback_id
            )
            AND f.forwarded_at IS NULL AND f.given_up_at IS NULL
        ORDER BY f.engine, f.id
        LIMIT 1
    )
    AND not_before <= now()
    AND (owner IS NULL OR owner = :pod_id)
RETURNING id, engine, success, latency_ms, tokens_used, attempts;

-- name: feedback_postpone(feedback_id, pod_id, seconds)
-- Gives up the claim of feedback that could not be forwarded; it is due again in so many seconds.
UPDATE operator_switch_feedback
SET owner = NULL, attempts = attempts + 1, not_before = now(:seconds)
WHERE id = :feedback_id AND owner = :pod_id
RETURNING id;

-- name: feedback_release_orphaned()
-- Gives up the claims of processes without a lease: only the oldest feedback of an engine can be
-- claimed.
UPDATE operator_switch_feedback SET owner = NULL
WHERE
    id IN (SELECT h.id FROM {{feedback_heads}} AS h)
    AND owner IS NOT NULL
    AND NOT EXISTS (
        SELECT 1 FROM operator_pod AS p
        WHERE p.pod_id = operator_switch_feedback.owner AND p.lease_until > now()
    )
RETURNING id;
