ALTER TABLE operator_message DROP COLUMN attempt;
