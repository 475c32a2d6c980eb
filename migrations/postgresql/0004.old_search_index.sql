-- The index of the search before: half of what a chat wrote. Processes of the version before still
-- find without it, slowly.
-- transactional: false
-- depends: 0003.search

DROP INDEX CONCURRENTLY IF EXISTS operator_message_search;
