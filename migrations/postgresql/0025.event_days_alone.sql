-- A day of events refers to no session any more, so making one keeps no chat waiting. A day that is missing between two
-- others is made too: the clock may have been ahead for a while.
-- depends: 0024.messages_of_sessions

-- The partitions with a bound, and the end and the begin of each; the first one may have no begin.
CREATE OR REPLACE VIEW operator_event_days AS
SELECT
    c.relname AS name,
    CAST(
        substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([^'']+)''\)') AS timestamptz
    ) AS until,
    CAST(
        substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \(''([^'']+)''\)') AS timestamptz
    ) AS since
FROM pg_inherits AS i
INNER JOIN pg_class AS c ON i.inhrelid = c.oid
WHERE
    i.inhparent = CAST('operator_event' AS regclass)
    AND pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT';

-- One step of keeping events for so many days: makes the next day that is missing, drops the oldest one that is too old,
-- or deletes so many old events without a day. A row with the day's partition, or one for each event; none where nothing is to
-- be done or another process is at it. held_up: others keep the tables, and nothing was done.
CREATE OR REPLACE FUNCTION operator_event_purge(
    days double precision, page bigint, OUT day text, OUT held_up boolean
) RETURNS SETOF record LANGUAGE plpgsql SET lock_timeout = '250ms' AS $$
DECLARE
    midnight timestamp := date_trunc('day', now() AT TIME ZONE 'UTC');
    begins timestamptz;
    ends timestamptz;
    oldest timestamptz := now() - make_interval(secs => days * 86400);
BEGIN
    held_up := FALSE;
    IF NOT pg_try_advisory_xact_lock(252607089) THEN
        RETURN;
    END IF;
    FOR ahead IN 0..3 LOOP
        begins := (midnight + make_interval(days => ahead)) AT TIME ZONE 'UTC';
        ends := (midnight + make_interval(days => ahead + 1)) AT TIME ZONE 'UTC';
        CONTINUE WHEN EXISTS (
            SELECT 1 FROM operator_event_days AS d
            WHERE d.until >= ends AND coalesce(d.since <= begins, TRUE)
        );
        -- Events of this day came before it was made, and stay where they are.
        CONTINUE WHEN EXISTS (
            SELECT 1 FROM operator_event_default WHERE ts >= begins AND ts < ends
        );
        day := 'operator_event_' || to_char(begins AT TIME ZONE 'UTC', 'YYYYMMDD');
        EXECUTE format(
            'CREATE TABLE %I (LIKE operator_event INCLUDING DEFAULTS INCLUDING CONSTRAINTS,'
            ' PRIMARY KEY (session_id, seq))', day
        );
        EXECUTE format(
            'ALTER TABLE operator_event ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            day, begins, ends
        );
        RETURN NEXT;
        RETURN;
    END LOOP;
    SELECT name INTO day FROM operator_event_days
    WHERE until <= least(oldest, now()) ORDER BY until LIMIT 1;
    IF FOUND THEN
        EXECUTE format('DROP TABLE %I', day);
        RETURN NEXT;
        RETURN;
    END IF;
    RETURN QUERY WITH old AS (
        SELECT o.session_id, max(o.seq) AS seq
        FROM (
            SELECT d.session_id, d.seq FROM operator_event_default AS d
            WHERE d.ts < oldest
            ORDER BY d.ts
            LIMIT page
        ) AS o
        GROUP BY o.session_id
    )
    DELETE FROM operator_event_default AS e USING old
    WHERE e.session_id = old.session_id AND e.seq <= old.seq
    RETURNING CAST(NULL AS text), FALSE;
EXCEPTION
    WHEN lock_not_available THEN
        held_up := TRUE;
        RETURN NEXT;
END
$$;
