UPDATE operator_switch_feedback SET latency_ms = 0
WHERE latency_ms IS NULL;

ALTER TABLE operator_switch_feedback ALTER COLUMN latency_ms SET NOT NULL;
