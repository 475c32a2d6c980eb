-- name: adjustment_get(adjustment_id, viewer)
-- One adjustment, where the viewer may see it: one without a session is seen by those only who are
-- bound to no user.
SELECT {{adjustment_columns}}
FROM operator_switch_adjustment AS a
LEFT JOIN operator_session AS s ON a.session_id = s.session_id
WHERE a.id = :adjustment_id AND {{visible_session}};

-- name: adjustment_page(viewer, session_id, applied, before, page, bytes)
-- Adjustments, newest first, older than the one with the id before.
/*+ page of :bytes */
SELECT {{adjustment_columns}}, {{adjustment_size}} AS size
FROM operator_switch_adjustment AS a
LEFT JOIN operator_session AS s ON a.session_id = s.session_id
WHERE
    a.id < :before AND {{visible_session}}
    AND (CAST(:session_id AS text) IS NULL OR a.session_id = :session_id)
    AND (CAST(:applied AS boolean) IS NULL OR a.applied = :applied)
ORDER BY a.id DESC
LIMIT :page;

-- name: adjustment_claim(adjustment_id, pod_id, applied)
-- A process claims an adjustment that is applied or not, unless another one has it. How an earlier
-- attempt failed is forgotten, so that what stands there afterwards is of this one.
UPDATE operator_switch_adjustment SET owner = :pod_id, error = NULL
WHERE
    id = :adjustment_id AND applied = :applied AND (owner IS NULL OR owner = :pod_id)
RETURNING
    id, session_id, message_id, before_config, after_config, reason, applied, applied_at,
    reverted_at, error, owner, created_at;

-- name: adjustment_release(adjustment_id, pod_id)
-- Gives a claim up.
UPDATE operator_switch_adjustment SET owner = NULL
WHERE id = :adjustment_id AND owner = :pod_id
RETURNING id;

-- name: adjustments_in_progress()
-- The adjustments that processes work on now.
SELECT id, owner FROM operator_switch_adjustment WHERE owner IS NOT NULL;
