DROP TRIGGER operator_feedback_changed_to;
DROP TRIGGER operator_feedback_changed_from;
DROP TRIGGER operator_feedback_deleted;
DROP TRIGGER operator_feedback_inserted;
DROP TABLE operator_feedback_change;
DROP TABLE operator_feedback_hour;
ALTER TABLE operator_switch_feedback DROP COLUMN posted;
