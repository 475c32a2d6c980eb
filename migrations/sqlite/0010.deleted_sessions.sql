-- A session that was deleted is gone for everybody from then on; its rows are deleted after it, in pieces.
-- depends: 0009.browser_turns

ALTER TABLE operator_session ADD COLUMN deleted_at TEXT;
