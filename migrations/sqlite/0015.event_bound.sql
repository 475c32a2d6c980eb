-- SQLite has no partitions: nothing changes.
-- depends: 0014.feedback_indexes

SELECT 1;
