-- transactional: false
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', TRUE);
    LOCK TABLE operator_message, operator_search IN SHARE ROW EXCLUSIVE MODE;
    DROP TRIGGER IF EXISTS operator_search_insert ON operator_message;
    CREATE TRIGGER operator_search_insert AFTER INSERT ON operator_message
    FOR EACH ROW WHEN (new.status <> 'streaming') EXECUTE FUNCTION operator_search_enqueue();
    ALTER TABLE operator_search
    DROP CONSTRAINT IF EXISTS operator_search_message_id_fkey,
    ADD CONSTRAINT operator_search_message_id_fkey
    FOREIGN KEY (message_id) REFERENCES operator_message (id) ON DELETE CASCADE NOT VALID;
END
$$;

DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', TRUE);
    LOCK TABLE operator_session, operator_switch_feedback IN SHARE ROW EXCLUSIVE MODE;
    DROP TRIGGER IF EXISTS operator_feedback_inserted ON operator_switch_feedback;
    CREATE TRIGGER operator_feedback_inserted AFTER INSERT ON operator_switch_feedback
    FOR EACH ROW WHEN (new.posted IS NOT NULL) EXECUTE FUNCTION operator_feedback_add();
    ALTER TABLE operator_switch_feedback
    DROP CONSTRAINT IF EXISTS operator_switch_feedback_session_id_fkey,
    ADD CONSTRAINT operator_switch_feedback_session_id_fkey
    FOREIGN KEY (session_id) REFERENCES operator_session (session_id) ON DELETE CASCADE NOT VALID;
END
$$;

-- Each partition by itself: an older server takes no constraint of the whole table that is not validated.
DO $$
DECLARE
    part regclass;
BEGIN
    PERFORM set_config('lock_timeout', '500ms', TRUE);
    LOCK TABLE operator_session, operator_event IN SHARE ROW EXCLUSIVE MODE;
    FOR part IN
        SELECT i.inhrelid FROM pg_inherits AS i
        WHERE
            i.inhparent = CAST('operator_event' AS regclass)
            AND NOT EXISTS (
                SELECT 1 FROM pg_constraint AS c
                WHERE c.conrelid = i.inhrelid AND c.conname = 'operator_event_session_id_fkey'
            )
    LOOP
        EXECUTE format(
            'ALTER TABLE %s ADD CONSTRAINT operator_event_session_id_fkey'
            ' FOREIGN KEY (session_id) REFERENCES operator_session (session_id)'
            ' ON DELETE CASCADE NOT VALID', part
        );
    END LOOP;
END
$$;

-- Nobody waits while the rows are read.
ALTER TABLE operator_search VALIDATE CONSTRAINT operator_search_message_id_fkey;

ALTER TABLE operator_switch_feedback VALIDATE CONSTRAINT operator_switch_feedback_session_id_fkey;

DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN
        SELECT c.conrelid FROM pg_constraint AS c
        INNER JOIN pg_inherits AS i ON c.conrelid = i.inhrelid
        WHERE c.conname = 'operator_event_session_id_fkey' AND NOT c.convalidated
    LOOP
        EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT operator_event_session_id_fkey', part);
    END LOOP;
END
$$;

DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', TRUE);
    LOCK TABLE operator_session, operator_message, operator_event IN ACCESS EXCLUSIVE MODE;
    IF NOT EXISTS (
        SELECT 1 FROM pg_constraint
        WHERE
            conrelid = CAST('operator_event' AS regclass)
            AND conname = 'operator_event_session_id_fkey'
    ) THEN
        ALTER TABLE operator_event ADD CONSTRAINT operator_event_session_id_fkey
        FOREIGN KEY (session_id) REFERENCES operator_session (session_id) ON DELETE CASCADE;
    END IF;
    ALTER TABLE operator_session
    DROP CONSTRAINT IF EXISTS operator_session_session_id_check,
    ADD CONSTRAINT operator_session_session_id_check
    CHECK (session_id ~ '^[A-Za-z0-9._:-]{1,64}$') NOT VALID;
    DROP TRIGGER IF EXISTS operator_session_deleted ON operator_session;
    DROP TRIGGER IF EXISTS operator_message_deleted ON operator_message;
END
$$;

ALTER TABLE operator_session VALIDATE CONSTRAINT operator_session_session_id_check;

DROP FUNCTION IF EXISTS operator_session_deleted();
DROP FUNCTION IF EXISTS operator_message_deleted();
DROP FUNCTION IF EXISTS operator_search_enqueue_added();
DROP FUNCTION IF EXISTS operator_feedback_add_added();
