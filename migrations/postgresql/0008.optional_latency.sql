-- Feedback may leave its latency out; it counts for the success rate then, and for no percentile.
-- depends: 0006.oldest_code

ALTER TABLE operator_switch_feedback ALTER COLUMN latency_ms DROP NOT NULL;

-- Older code takes feedback without a latency as it comes.
UPDATE operator_schema SET serves_from = '0006.oldest_code';
