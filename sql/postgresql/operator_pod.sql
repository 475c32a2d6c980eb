-- name: pod_register(pod_id, ttl, backend_pid, backend_start)
-- A process begins its lease, for ttl seconds; again where it heard no answer.
INSERT INTO operator_pod (pod_id, lease_until, backend_pid, backend_start, renewed_at)
VALUES (
    :pod_id, now() + make_interval(secs => CAST(:ttl AS double precision)),
    :backend_pid, :backend_start, now()
)
ON CONFLICT (pod_id) DO UPDATE
SET lease_until = excluded.lease_until, renewed_at = excluded.renewed_at
RETURNING pod_id, started_at, lease_until, backend_pid, backend_start, renewed_at;

-- name: pod_renew(pod_id, ttl, backend_pid, backend_start)
-- A process prolongs its lease, unless it has run out.
UPDATE operator_pod
SET
    lease_until = clock_timestamp() + make_interval(secs => CAST(:ttl AS double precision)),
    backend_pid = :backend_pid,
    backend_start = :backend_start,
    renewed_at = clock_timestamp()
WHERE pod_id = :pod_id AND lease_until > clock_timestamp()
RETURNING pod_id, started_at, lease_until, backend_pid, backend_start, renewed_at;

-- name: pods_remove_dead(pod_id, silence, settled)
-- Takes the processes off the list whose database session has ended, and that have not renewed for
-- silence seconds. Only who has its own session for settled seconds may say so: when the server
-- restarts, all sessions end. One of another role may hide when it began, and counts as alive.
-- CASE reads the list of the server's sessions, which is long, only where a process is silent.
DELETE FROM operator_pod AS p
WHERE
    p.pod_id <> :pod_id
    AND p.backend_pid IS NOT NULL
    AND CASE
        WHEN
            p.renewed_at
            < clock_timestamp() - make_interval(secs => CAST(:silence AS double precision))
            THEN NOT EXISTS (
                SELECT 1 FROM pg_stat_activity AS a
                WHERE
                    a.pid = p.backend_pid
                    AND (a.backend_start = p.backend_start OR a.backend_start IS NULL)
            )
            AND EXISTS (
                SELECT 1
                FROM operator_pod AS o
                INNER JOIN pg_stat_activity AS a
                    ON o.backend_pid = a.pid AND o.backend_start = a.backend_start
                WHERE
                    o.pod_id = :pod_id
                    AND a.backend_start
                    < clock_timestamp() - make_interval(secs => CAST(:settled AS double precision))
            )
        ELSE FALSE
    END
RETURNING p.pod_id;
