-- The oldest code that this schema serves, by the last migration that that code knows: it may start
-- on a schema that a newer version has migrated. Who takes something away sets it.
-- depends: 0005.indexes_of_rare_states

CREATE TABLE operator_schema (
    serves_from text PRIMARY KEY
);

INSERT INTO operator_schema (serves_from) VALUES ('0006.oldest_code');
