-- name: pod_register(pod_id, ttl)
-- A process begins its lease, for ttl seconds.
INSERT INTO operator_pod (pod_id, lease_until)
VALUES (:pod_id, now() + make_interval(secs => CAST(:ttl AS double precision)))
RETURNING pod_id, started_at, lease_until;

-- name: pod_renew(pod_id, ttl)
-- A process prolongs its lease, unless it has run out.
UPDATE operator_pod
SET lease_until = clock_timestamp() + make_interval(secs => CAST(:ttl AS double precision))
WHERE pod_id = :pod_id AND lease_until > clock_timestamp()
RETURNING pod_id, started_at, lease_until;
