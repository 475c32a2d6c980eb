-- Texts in more scripts without spaces are split into pairs of letters: all messages are looked at again, the newest
-- first, and those that have other words now are indexed anew.
-- depends: 0020.keys_of_replies

DELETE FROM operator_search_backfill;

INSERT INTO operator_search_backfill (before_id)
SELECT max(id) + 1 FROM operator_message HAVING max(id) IS NOT NULL;
