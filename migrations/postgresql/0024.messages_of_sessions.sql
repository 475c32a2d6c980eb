-- Whoever writes a message holds its session's row, as whoever writes an event does: what belongs to a session goes with
-- it by one trigger, and a chat has two lookups of its session less.
-- transactional: false
-- depends: 0023.proven_references

CREATE OR REPLACE FUNCTION operator_session_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM operator_message WHERE session_id = old.session_id;
    DELETE FROM operator_event WHERE session_id = old.session_id;
    DELETE FROM operator_switch_feedback WHERE session_id = old.session_id;
    RETURN NULL;
END
$$;

DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', TRUE);
    LOCK TABLE operator_session, operator_message IN ACCESS EXCLUSIVE MODE;
    ALTER TABLE operator_message DROP CONSTRAINT IF EXISTS operator_message_session_id_fkey;
END
$$;
