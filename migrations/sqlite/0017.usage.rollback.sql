DROP TABLE operator_usage_change;
DROP TABLE operator_usage;
