-- Idempotency keys of sessions that were made without a chat. A call that brings none has one of its own, which stands
-- until it is answered.
-- depends: 0021.words_of_more_scripts

CREATE TABLE operator_session_key (
    scope text NOT NULL,
    key text NOT NULL,
    body_hash bytea NOT NULL,
    session_id text NOT NULL REFERENCES operator_session (session_id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, key)
);

CREATE INDEX operator_session_key_session ON operator_session_key (session_id);
