-- SQLite looks a reference up in less time than a trigger would take, and its references stay.
-- depends: 0022.session_keys

SELECT 1;
