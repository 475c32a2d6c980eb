-- The time of a session's last chat or task; it moves once a minute, so that its index is left alone
-- in between.
CASE WHEN s.active_at < now() - interval '1 minute' THEN now() ELSE s.active_at END
