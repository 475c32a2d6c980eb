DELETE FROM operator_session
WHERE deleted_at IS NOT NULL;

ALTER TABLE operator_session DROP COLUMN deleted_at;
