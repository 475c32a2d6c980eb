-- A repeated call that waits for a reply: the earlier ones, which have left, do not stop it. NULL where there was none.
-- depends: 0017.usage

ALTER TABLE operator_message ADD COLUMN attempt text;
