-- SQLite has no days of events.
-- depends: 0024.messages_of_sessions

SELECT 1;
