-- Indexes for what was read row by row: a user's tasks of a rare status, and the replies that are being written in a session.
-- depends: 0004.old_search_index

CREATE INDEX operator_browser_task_user_status ON operator_browser_task (user_id, status, (-id));

CREATE INDEX operator_message_streaming_session ON operator_message (session_id)
WHERE status = 'streaming';
