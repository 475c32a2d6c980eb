-- Tokens that replies used, counted by day, name of the token, user and model.
-- depends: 0016.event_days

CREATE TABLE operator_usage (
    day TEXT NOT NULL,
    token TEXT NOT NULL,
    user_id TEXT NOT NULL,
    model TEXT NOT NULL,
    replies INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL,
    PRIMARY KEY (day, token, user_id, model)
) STRICT, WITHOUT ROWID;

-- What has to be added to the days.
CREATE TABLE operator_usage_change (
    id INTEGER PRIMARY KEY,
    day TEXT NOT NULL,
    token TEXT NOT NULL,
    user_id TEXT NOT NULL,
    model TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL
) STRICT;
