-- The database session by whose end others see that a process has died, and its last sign of life.
-- depends: 0006.oldest_code

ALTER TABLE operator_pod ADD COLUMN backend_pid bigint;
ALTER TABLE operator_pod ADD COLUMN backend_start timestamptz;
ALTER TABLE operator_pod ADD COLUMN renewed_at timestamptz;
