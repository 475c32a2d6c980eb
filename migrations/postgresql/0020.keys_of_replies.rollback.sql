-- transactional: false
DROP INDEX CONCURRENTLY IF EXISTS operator_chat_key_session;

CREATE INDEX CONCURRENTLY operator_chat_key_session ON operator_chat_key (session_id);

DROP INDEX CONCURRENTLY IF EXISTS operator_chat_key_message;

CREATE INDEX CONCURRENTLY operator_chat_key_message ON operator_chat_key (message_id);

DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', TRUE);
    LOCK TABLE operator_session, operator_chat_key IN SHARE ROW EXCLUSIVE MODE;
    ALTER TABLE operator_chat_key
    DROP CONSTRAINT IF EXISTS operator_chat_key_session_id_fkey,
    ADD CONSTRAINT operator_chat_key_session_id_fkey
    FOREIGN KEY (session_id) REFERENCES operator_session (session_id) ON DELETE CASCADE NOT VALID;
END
$$;

DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', TRUE);
    LOCK TABLE operator_message, operator_chat_key IN SHARE ROW EXCLUSIVE MODE;
    ALTER TABLE operator_chat_key
    DROP CONSTRAINT IF EXISTS operator_chat_key_message_id_fkey,
    ADD CONSTRAINT operator_chat_key_message_id_fkey
    FOREIGN KEY (message_id) REFERENCES operator_message (id) ON DELETE CASCADE NOT VALID;
END
$$;

ALTER TABLE operator_chat_key VALIDATE CONSTRAINT operator_chat_key_session_id_fkey;

ALTER TABLE operator_chat_key VALIDATE CONSTRAINT operator_chat_key_message_id_fkey;
