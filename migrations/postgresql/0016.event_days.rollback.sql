-- Copies the events into one table: chats wait for some seconds a million of them.
LOCK TABLE operator_session IN SHARE ROW EXCLUSIVE MODE;

LOCK TABLE operator_event IN ACCESS EXCLUSIVE MODE;

DROP FUNCTION operator_event_purge(double precision, bigint);

DROP VIEW operator_event_days;

ALTER TABLE operator_event RENAME TO operator_event_parts;

CREATE TABLE operator_event (
    session_id text NOT NULL,
    seq bigint NOT NULL CONSTRAINT operator_event_seq_check CHECK (seq >= 1),
    event text NOT NULL,
    ts timestamptz NOT NULL DEFAULT now(),
    message_id bigint,
    data jsonb
);

INSERT INTO operator_event (session_id, seq, event, ts, message_id, data)
SELECT session_id, seq, event, ts, message_id, data FROM operator_event_parts;

DROP TABLE operator_event_parts;

ALTER TABLE operator_event ADD PRIMARY KEY (session_id, seq);

ALTER TABLE operator_event ADD CONSTRAINT operator_event_session_id_fkey
FOREIGN KEY (session_id) REFERENCES operator_session (session_id) ON DELETE CASCADE;

CREATE INDEX operator_event_ts ON operator_event USING brin (ts) WITH (pages_per_range = 32);
