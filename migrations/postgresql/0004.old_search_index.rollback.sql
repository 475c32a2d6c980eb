-- transactional: false
DROP INDEX CONCURRENTLY IF EXISTS operator_message_search;

CREATE INDEX CONCURRENTLY operator_message_search ON operator_message
USING gin (to_tsvector('simple', left(content, 100000))) WHERE status <> 'streaming';
