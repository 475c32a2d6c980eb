-- The columns of a message m.
m.id, m.session_id, m.role, m.content, m.status, m.reply_to, m.owner, m.cancel_requested,
m.metadata, m.created_at, m.finished_at, m.attempt
