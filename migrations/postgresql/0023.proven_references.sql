-- Whoever writes an event, feedback or words holds the row that they belong to, and so has proved what a reference
-- would look up again for each row: triggers delete them instead. A session's id is compared with a pattern that has
-- fewer states, and rows that came in one statement are counted and queued in one.
-- transactional: false
-- depends: 0022.session_keys

CREATE OR REPLACE FUNCTION operator_session_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM operator_event WHERE session_id = old.session_id;
    DELETE FROM operator_switch_feedback WHERE session_id = old.session_id;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION operator_message_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM operator_search WHERE message_id = old.id;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION operator_search_enqueue_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO operator_search_queue (message_id)
    SELECT a.id FROM added AS a WHERE a.status <> 'streaming'
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION operator_feedback_add_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO operator_feedback_change (hour, engine, latency_ms, calls, successes, tokens)
    SELECT
        date_trunc('hour', a.created_at, 'UTC'), a.engine,
        coalesce(CASE WHEN a.success THEN a.latency_ms END, -1),
        1, a.success::integer, a.tokens_used
    FROM added AS a
    WHERE a.posted IS NOT NULL;
    RETURN NULL;
END
$$;

-- A step for each table, in the order in which chats lock them: who holds one of them and waits for another one keeps
-- no step waiting.
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', TRUE);
    LOCK TABLE operator_session, operator_event IN ACCESS EXCLUSIVE MODE;
    DROP TRIGGER IF EXISTS operator_session_deleted ON operator_session;
    CREATE TRIGGER operator_session_deleted AFTER DELETE ON operator_session
    FOR EACH ROW EXECUTE FUNCTION operator_session_deleted();
    ALTER TABLE operator_event DROP CONSTRAINT IF EXISTS operator_event_session_id_fkey;
    ALTER TABLE operator_session
    DROP CONSTRAINT IF EXISTS operator_session_session_id_check,
    ADD CONSTRAINT operator_session_session_id_check
    CHECK (session_id ~ '^[A-Za-z0-9._:-]+$' AND length(session_id) <= 64) NOT VALID;
END
$$;

DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', TRUE);
    LOCK TABLE operator_session, operator_switch_feedback IN ACCESS EXCLUSIVE MODE;
    ALTER TABLE operator_switch_feedback DROP CONSTRAINT IF EXISTS operator_switch_feedback_session_id_fkey;
    DROP TRIGGER IF EXISTS operator_feedback_inserted ON operator_switch_feedback;
    CREATE TRIGGER operator_feedback_inserted AFTER INSERT ON operator_switch_feedback
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION operator_feedback_add_added();
END
$$;

DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', TRUE);
    LOCK TABLE operator_message, operator_search IN ACCESS EXCLUSIVE MODE;
    DROP TRIGGER IF EXISTS operator_message_deleted ON operator_message;
    CREATE TRIGGER operator_message_deleted AFTER DELETE ON operator_message
    FOR EACH ROW EXECUTE FUNCTION operator_message_deleted();
    ALTER TABLE operator_search DROP CONSTRAINT IF EXISTS operator_search_message_id_fkey;
    DROP TRIGGER IF EXISTS operator_search_insert ON operator_message;
    CREATE TRIGGER operator_search_insert AFTER INSERT ON operator_message
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION operator_search_enqueue_added();
END
$$;

ALTER TABLE operator_session VALIDATE CONSTRAINT operator_session_session_id_check;
