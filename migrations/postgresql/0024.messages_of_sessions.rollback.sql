-- transactional: false
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', TRUE);
    LOCK TABLE operator_session, operator_message IN SHARE ROW EXCLUSIVE MODE;
    ALTER TABLE operator_message
    DROP CONSTRAINT IF EXISTS operator_message_session_id_fkey,
    ADD CONSTRAINT operator_message_session_id_fkey
    FOREIGN KEY (session_id) REFERENCES operator_session (session_id) ON DELETE CASCADE NOT VALID;
END
$$;

-- Nobody waits while the rows are read.
ALTER TABLE operator_message VALIDATE CONSTRAINT operator_message_session_id_fkey;

CREATE OR REPLACE FUNCTION operator_session_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM operator_event WHERE session_id = old.session_id;
    DELETE FROM operator_switch_feedback WHERE session_id = old.session_id;
    RETURN NULL;
END
$$;
