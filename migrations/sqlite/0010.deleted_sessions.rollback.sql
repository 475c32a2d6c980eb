DELETE FROM operator_session
WHERE deleted_at IS NOT NULL;

-- SQLite is migrated without its foreign keys: what goes with a session is named here.
DELETE FROM operator_message
WHERE session_id NOT IN (SELECT session_id FROM operator_session);

DELETE FROM operator_event
WHERE session_id NOT IN (SELECT session_id FROM operator_session);

DELETE FROM operator_browser_task
WHERE session_id NOT IN (SELECT session_id FROM operator_session);

DELETE FROM operator_switch_adjustment
WHERE
    session_id NOT IN (SELECT session_id FROM operator_session)
    OR message_id NOT IN (SELECT id FROM operator_message);

DELETE FROM operator_switch_feedback
WHERE
    session_id NOT IN (SELECT session_id FROM operator_session)
    OR message_id NOT IN (SELECT id FROM operator_message);

DELETE FROM operator_chat_key
WHERE reply_id NOT IN (SELECT id FROM operator_message);

DELETE FROM operator_tool_call
WHERE message_id NOT IN (SELECT id FROM operator_message);

DELETE FROM operator_reply_chunk
WHERE reply_id NOT IN (SELECT id FROM operator_message);

DELETE FROM operator_search
WHERE message_id NOT IN (SELECT id FROM operator_message);

ALTER TABLE operator_session DROP COLUMN deleted_at;
