-- The bound of the events that stay where they are, seven days from now. It is validated beside all who read
-- and write, so that the next migration has nothing left to scan while it keeps them waiting.
-- transactional: false
-- depends: 0014.feedback_indexes

DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', TRUE);
    ALTER TABLE operator_event DROP CONSTRAINT IF EXISTS operator_event_bound;
    EXECUTE format(
        'ALTER TABLE operator_event ADD CONSTRAINT operator_event_bound CHECK (ts < %L) NOT VALID',
        (date_trunc('day', now() AT TIME ZONE 'UTC') + interval '7 days') AT TIME ZONE 'UTC'
    );
END
$$;

ALTER TABLE operator_event VALIDATE CONSTRAINT operator_event_bound;
