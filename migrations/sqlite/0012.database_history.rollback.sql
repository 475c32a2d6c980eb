DROP TABLE operator_history;
