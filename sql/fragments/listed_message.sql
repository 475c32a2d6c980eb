-- The columns of a message m that a history shows.
m.id, m.role, m.content, m.status, m.reply_to, m.metadata, m.created_at
