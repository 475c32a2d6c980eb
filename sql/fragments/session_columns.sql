-- The columns of a session s.
s.id, s.session_id, s.epoch, s.user_id, s.source, s.last_seq, s.message_count, s.metadata,
s.created_at, s.updated_at, s.active_at
