-- SQLite has no partitions: nothing changes.
-- depends: 0015.event_bound

SELECT 1;
