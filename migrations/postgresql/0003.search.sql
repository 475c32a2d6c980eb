-- The words of finished messages, and the queue by which they come in beside a chat's writes.
-- depends: 0002.records

CREATE TABLE operator_search (
    message_id bigint PRIMARY KEY REFERENCES operator_message (id) ON DELETE CASCADE,
    session_id text NOT NULL,
    words tsvector NOT NULL
);

CREATE INDEX operator_search_session ON operator_search (session_id);
-- What is pending is read through by each search, so that it is kept short (KiB).
CREATE INDEX operator_search_words ON operator_search USING gin (words) WITH (gin_pending_list_limit = 1024);

-- No foreign key: a row whose message is gone says nothing, and the next who claims it takes it away.
CREATE TABLE operator_search_queue (
    message_id bigint PRIMARY KEY,
    claimed_until timestamptz
) WITH (fillfactor = 70);

-- Messages with lower ids have not been put into the queue yet; no row where all have.
CREATE TABLE operator_search_backfill (
    before_id bigint PRIMARY KEY
);

-- A trigger, since processes of the version before write messages too while this one is rolled out.
CREATE FUNCTION operator_search_enqueue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO operator_search_queue (message_id) VALUES (new.id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

CREATE TRIGGER operator_search_insert AFTER INSERT ON operator_message
FOR EACH ROW WHEN (new.status <> 'streaming') EXECUTE FUNCTION operator_search_enqueue();

CREATE TRIGGER operator_search_finish AFTER UPDATE OF status ON operator_message
FOR EACH ROW WHEN (old.status = 'streaming' AND new.status <> 'streaming')
EXECUTE FUNCTION operator_search_enqueue();

-- The triggers' lock lets nobody write messages before this commits, so that none is missed.
INSERT INTO operator_search_backfill (before_id)
SELECT max(id) + 1 FROM operator_message HAVING max(id) IS NOT NULL;
