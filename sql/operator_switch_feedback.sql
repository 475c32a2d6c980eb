-- name: feedback_heads(pod_id)
-- The oldest feedback of each engine that still has to be forwarded, where its time has come and
-- no other process has it.
SELECT h.id
FROM {{feedback_heads}} AS h
INNER JOIN operator_switch_feedback AS f ON h.id = f.id
WHERE f.not_before <= now() AND (f.owner IS NULL OR f.owner = :pod_id)
ORDER BY h.id;

-- name: feedback_claim(feedback_id, pod_id)
-- A process claims feedback to forward it, unless another one has it.
UPDATE operator_switch_feedback SET owner = :pod_id
WHERE
    id = :feedback_id AND forwarded_at IS NULL AND given_up_at IS NULL
    AND not_before <= now() AND (owner IS NULL OR owner = :pod_id)
RETURNING id, engine, success, latency_ms, tokens_used, attempts;
