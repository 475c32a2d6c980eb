-- SQLite looks a reference up in less time than a trigger would take, and its references stay.
-- depends: 0023.proven_references

SELECT 1;
