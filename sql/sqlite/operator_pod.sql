-- name: pod_register(pod_id, ttl, backend_pid, backend_start)
-- A process begins its lease, for ttl seconds. It is the only one on this file, so others are gone.
DELETE FROM operator_pod;

INSERT INTO operator_pod (
    pod_id, started_at, lease_until, backend_pid, backend_start, renewed_at
)
VALUES (:pod_id, now(), now(:ttl), :backend_pid, :backend_start, now())
RETURNING pod_id, started_at, lease_until, backend_pid, backend_start, renewed_at;

-- name: pod_renew(pod_id, ttl, backend_pid, backend_start)
-- A process prolongs its lease; on one file nobody else can have taken it.
UPDATE operator_pod
SET
    lease_until = now(:ttl), backend_pid = :backend_pid, backend_start = :backend_start,
    renewed_at = now()
WHERE pod_id = :pod_id
RETURNING pod_id, started_at, lease_until, backend_pid, backend_start, renewed_at;

-- name: pods_remove_dead(pod_id, silence, settled)
-- Takes processes off the list that have not renewed for silence seconds: on one file there is no
-- other, however long this one has been here (settled).
DELETE FROM operator_pod
WHERE pod_id <> :pod_id AND renewed_at < now(-1 * :silence) AND :settled >= 0
RETURNING pod_id;
