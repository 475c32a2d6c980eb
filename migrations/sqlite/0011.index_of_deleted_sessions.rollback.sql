DROP INDEX operator_session_deleted;
