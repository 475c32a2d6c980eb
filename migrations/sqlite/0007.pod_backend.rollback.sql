ALTER TABLE operator_pod DROP COLUMN renewed_at;
ALTER TABLE operator_pod DROP COLUMN backend_start;
ALTER TABLE operator_pod DROP COLUMN backend_pid;
