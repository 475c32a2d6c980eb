-- The index of the search before: half of what a chat wrote.
-- depends: 0003.search

DROP TRIGGER operator_message_search_insert;
DROP TRIGGER operator_message_search_finish;
DROP TRIGGER operator_message_search_delete;
DROP TABLE operator_message_search;
