-- name: pod_remove(pod_id)
-- A process that ended, or a lease that ran out and owns no reply any more.
DELETE FROM operator_pod WHERE pod_id = :pod_id
RETURNING pod_id;
