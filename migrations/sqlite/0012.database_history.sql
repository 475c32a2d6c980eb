-- The history of commits that this database is on, one row. A process that finds it unseen for
-- long gives it another id: the database was restored to an older state, or nobody was there.
-- depends: 0011.index_of_deleted_sessions

CREATE TABLE operator_history (
    id TEXT PRIMARY KEY,
    server TEXT NOT NULL,
    seen_at TEXT NOT NULL
) STRICT;

INSERT INTO operator_history (id, server, seen_at)
VALUES (lower(hex(randomblob(16))), '', '2000-01-01T00:00:00.000000Z');
