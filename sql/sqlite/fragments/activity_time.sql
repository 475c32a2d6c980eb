-- The time of a session's last chat or task; it moves once a minute, as PostgreSQL's does.
CASE WHEN active_at < now(-60) THEN now() ELSE active_at END
