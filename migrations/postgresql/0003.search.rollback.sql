DROP TRIGGER operator_search_insert ON operator_message;
DROP TRIGGER operator_search_finish ON operator_message;
DROP FUNCTION operator_search_enqueue();
DROP TABLE operator_search_backfill;
DROP TABLE operator_search_queue;
DROP TABLE operator_search;
