-- Events by days: a day that is too old is dropped as a whole. What is there already becomes the first partition, as it
-- is. Each partition has a primary key of its own, for that of the whole would have to hold the time; numbers are given
-- out under the lock of the session's row, so that none is given twice.
-- depends: 0015.event_bound

-- In the order in which chats lock them.
LOCK TABLE operator_session IN SHARE ROW EXCLUSIVE MODE;

LOCK TABLE operator_event IN ACCESS EXCLUSIVE MODE;

ALTER TABLE operator_event RENAME TO operator_event_before;

ALTER TABLE operator_event_before RENAME CONSTRAINT operator_event_pkey TO operator_event_before_pkey;

ALTER INDEX operator_event_ts RENAME TO operator_event_before_ts;

CREATE TABLE operator_event (
    session_id text NOT NULL CONSTRAINT operator_event_session_id_fkey
    REFERENCES operator_session (session_id) ON DELETE CASCADE,
    seq bigint NOT NULL CONSTRAINT operator_event_seq_check CHECK (seq >= 1),
    event text NOT NULL,
    ts timestamptz NOT NULL DEFAULT now(),
    message_id bigint,
    data jsonb
) PARTITION BY RANGE (ts);

DO $$
DECLARE
    bound text := (
        SELECT substring(pg_get_constraintdef(oid) FROM '''([^'']+)''')
        FROM pg_constraint
        WHERE
            conrelid = CAST('operator_event_before' AS regclass)
            AND conname = 'operator_event_bound'
    );
BEGIN
    IF NOT EXISTS (SELECT 1 FROM operator_event_before) THEN
        DROP TABLE operator_event_before;
        RETURN;
    END IF;
    -- One that was set long ago, or taken back, is set anew: then the table is scanned.
    IF bound IS NULL OR CAST(bound AS timestamptz) < now() + interval '1 day' THEN
        ALTER TABLE operator_event_before DROP CONSTRAINT IF EXISTS operator_event_bound;
        bound := (date_trunc('day', now() AT TIME ZONE 'UTC') + interval '7 days') AT TIME ZONE 'UTC';
    END IF;
    EXECUTE format(
        'ALTER TABLE operator_event ATTACH PARTITION operator_event_before'
        ' FOR VALUES FROM (MINVALUE) TO (%L)',
        bound
    );
END
$$;

-- For events of a day that was not made in time.
CREATE TABLE operator_event_default PARTITION OF operator_event (PRIMARY KEY (session_id, seq)) DEFAULT;

CREATE INDEX operator_event_default_ts ON operator_event_default (ts);

-- The partitions with a bound, and the end of each.
CREATE VIEW operator_event_days AS
SELECT
    c.relname AS name,
    CAST(
        substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([^'']+)''\)') AS timestamptz
    ) AS until
FROM pg_inherits AS i
INNER JOIN pg_class AS c ON i.inhrelid = c.oid
WHERE
    i.inhparent = CAST('operator_event' AS regclass)
    AND pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT';

-- One step of keeping events for so many days: makes the next day that is missing, drops the oldest one that is too old,
-- or deletes so many old events without a day. A row with the day's partition, or one for each event; none where nothing is to
-- be done or another process is at it. held_up: others keep the tables, and nothing was done.
CREATE FUNCTION operator_event_purge(
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
        CONTINUE WHEN EXISTS (SELECT 1 FROM operator_event_days WHERE until >= ends);
        -- Events of this day came before it was made, and stay where they are.
        CONTINUE WHEN EXISTS (
            SELECT 1 FROM operator_event_default WHERE ts >= begins AND ts < ends
        );
        day := 'operator_event_' || to_char(begins AT TIME ZONE 'UTC', 'YYYYMMDD');
        EXECUTE format(
            'CREATE TABLE %I (LIKE operator_event INCLUDING DEFAULTS INCLUDING CONSTRAINTS,'
            ' PRIMARY KEY (session_id, seq))', day
        );
        LOCK TABLE operator_session IN SHARE ROW EXCLUSIVE MODE;
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

-- The days to come are made here too, for it may be some time until a process does.
DO $$
BEGIN
    PERFORM operator_event_purge(36500, 1) FROM generate_series(1, 4);
END
$$;

-- Older code works with the parts as with the whole.
UPDATE operator_schema SET serves_from = '0006.oldest_code';
