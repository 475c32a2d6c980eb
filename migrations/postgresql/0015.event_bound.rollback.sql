-- transactional: false
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', TRUE);
    ALTER TABLE operator_event DROP CONSTRAINT IF EXISTS operator_event_bound;
END
$$;
