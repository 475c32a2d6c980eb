DROP TRIGGER operator_search_insert;
DROP TRIGGER operator_search_finish;
DROP TABLE operator_search_backfill;
DROP TABLE operator_search_queue;
DROP TABLE operator_search_words;
DROP TABLE operator_search;
