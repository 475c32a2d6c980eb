DROP TABLE operator_schema;
