-- An idempotency key goes with its reply, which goes with its message and its session: one reference says so, and
-- a chat with a key writes two indexes less.
-- transactional: false
-- depends: 0019.repeated_calls

-- A step for each reference: whoever holds one of the two tables and waits for another one keeps no step waiting.
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', TRUE);
    -- In the order in which a chat takes them.
    LOCK TABLE operator_session, operator_chat_key IN ACCESS EXCLUSIVE MODE;
    ALTER TABLE operator_chat_key DROP CONSTRAINT IF EXISTS operator_chat_key_session_id_fkey;
    DROP INDEX IF EXISTS operator_chat_key_session;
END
$$;

DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', TRUE);
    LOCK TABLE operator_message, operator_chat_key IN ACCESS EXCLUSIVE MODE;
    ALTER TABLE operator_chat_key DROP CONSTRAINT IF EXISTS operator_chat_key_message_id_fkey;
    DROP INDEX IF EXISTS operator_chat_key_message;
END
$$;
