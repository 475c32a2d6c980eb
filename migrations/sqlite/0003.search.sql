-- The words of finished messages, and the queue by which they come in beside a chat's writes.
-- depends: 0002.records

CREATE TABLE operator_search (
    message_id INTEGER PRIMARY KEY REFERENCES operator_message (id) ON DELETE CASCADE,
    session_id TEXT NOT NULL,
    words TEXT NOT NULL
) STRICT;

CREATE INDEX operator_search_session ON operator_search (session_id);

-- The words are prepared: spaces part them, and nothing but spaces. So the tokenizer is the one that
-- takes all above U+007F for letters, and changes none of them.
CREATE VIRTUAL TABLE operator_search_words USING fts5 (
    words, content = 'operator_search', content_rowid = 'message_id',
    detail = 'none', columnsize = 0, tokenize = 'ascii'
);

CREATE TRIGGER operator_search_words_insert AFTER INSERT ON operator_search
BEGIN
    INSERT INTO operator_search_words (rowid, words) VALUES (new.message_id, new.words);
END;

CREATE TRIGGER operator_search_words_delete AFTER DELETE ON operator_search
BEGIN
    INSERT INTO operator_search_words (operator_search_words, rowid, words)
    VALUES ('delete', old.message_id, old.words);
END;

-- No foreign key: a row whose message is gone says nothing, and the next who claims it takes it away.
CREATE TABLE operator_search_queue (
    message_id INTEGER PRIMARY KEY,
    claimed_until TEXT
) STRICT;

-- Messages with lower ids have not been put into the queue yet; no row where all have.
CREATE TABLE operator_search_backfill (
    before_id INTEGER PRIMARY KEY
) STRICT;

CREATE TRIGGER operator_search_insert AFTER INSERT ON operator_message
WHEN new.status <> 'streaming'
BEGIN
    INSERT OR IGNORE INTO operator_search_queue (message_id) VALUES (new.id);
END;

CREATE TRIGGER operator_search_finish AFTER UPDATE OF status ON operator_message
WHEN old.status = 'streaming' AND new.status <> 'streaming'
BEGIN
    INSERT OR IGNORE INTO operator_search_queue (message_id) VALUES (new.id);
END;

INSERT INTO operator_search_backfill (before_id)
SELECT max(id) + 1 FROM operator_message HAVING max(id) IS NOT NULL;
