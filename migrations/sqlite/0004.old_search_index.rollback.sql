CREATE VIRTUAL TABLE operator_message_search
USING fts5 (content, content = 'operator_message', content_rowid = 'id');

CREATE TRIGGER operator_message_search_insert AFTER INSERT ON operator_message
WHEN new.status <> 'streaming'
BEGIN
    INSERT INTO operator_message_search (rowid, content) VALUES (new.id, new.content);
END;

CREATE TRIGGER operator_message_search_finish AFTER UPDATE OF status ON operator_message
WHEN old.status = 'streaming' AND new.status <> 'streaming'
BEGIN
    INSERT INTO operator_message_search (rowid, content) VALUES (new.id, new.content);
END;

CREATE TRIGGER operator_message_search_delete AFTER DELETE ON operator_message
WHEN old.status <> 'streaming'
BEGIN
    INSERT INTO operator_message_search (operator_message_search, rowid, content)
    VALUES ('delete', old.id, old.content);
END;

INSERT INTO operator_message_search (rowid, content)
SELECT id, content FROM operator_message WHERE status <> 'streaming';
