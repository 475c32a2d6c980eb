-- The history of commits that this database is on, one row. A process that finds it unseen for
-- long gives it another id: the database was restored to an older state, or nobody was there.
-- depends: 0011.index_of_deleted_sessions

CREATE TABLE operator_history (
    id text PRIMARY KEY,
    server text NOT NULL,
    seen_at timestamptz NOT NULL
);

INSERT INTO operator_history (id, server, seen_at) VALUES (gen_random_uuid(), '', 'epoch');
