DROP TABLE operator_session_key;
