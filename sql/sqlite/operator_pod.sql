-- name: pod_register(pod_id, ttl)
-- A process begins its lease, for ttl seconds. It is the only one on this file, so others are gone.
DELETE FROM operator_pod;

INSERT INTO operator_pod (pod_id, started_at, lease_until)
VALUES (:pod_id, now(), now(:ttl))
RETURNING pod_id, started_at, lease_until;

-- name: pod_renew(pod_id, ttl)
-- A process prolongs its lease; on one file nobody else can have taken it.
UPDATE operator_pod SET lease_until = now(:ttl)
WHERE pod_id = :pod_id
RETURNING pod_id, started_at, lease_until;
