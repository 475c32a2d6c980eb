-- The columns of an event e, and of the message m that it is about.
e.session_id, e.seq, e.event, e.ts, e.message_id, e.data,
m.role, m.content, m.status, m.reply_to, m.metadata, m.created_at
