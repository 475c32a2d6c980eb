-- name: usage_count(page)
-- Adds so many changes to the counts of their days. The rows are locked in one order, so that
-- processes that do so at once wait for each other and no more.
WITH taken AS (
    DELETE FROM operator_usage_change
    WHERE
        id IN (
            SELECT o.id FROM operator_usage_change AS o
            ORDER BY o.id
            LIMIT :page
            FOR UPDATE SKIP LOCKED
        )
    RETURNING id, day, token, user_id, model, prompt_tokens, completion_tokens, total_tokens
),

added AS (
    INSERT INTO operator_usage AS u (
        day, token, user_id, model, replies, prompt_tokens, completion_tokens, total_tokens
    )
    SELECT
        t.day, t.token, t.user_id, t.model, count(*), sum(t.prompt_tokens),
        sum(t.completion_tokens), sum(t.total_tokens)
    FROM taken AS t
    GROUP BY t.day, t.token, t.user_id, t.model
    ORDER BY t.day, t.token, t.user_id, t.model
    ON CONFLICT (day, token, user_id, model) DO UPDATE
    SET
        replies = u.replies + excluded.replies,
        prompt_tokens = u.prompt_tokens + excluded.prompt_tokens,
        completion_tokens = u.completion_tokens + excluded.completion_tokens,
        total_tokens = u.total_tokens + excluded.total_tokens
)

SELECT t.id FROM taken AS t;

-- name: usage_purge(days, page)
-- Deletes counts of days older than so many.
DELETE FROM operator_usage AS u
USING (
    SELECT o.day, o.token, o.user_id, o.model FROM operator_usage AS o
    WHERE
        o.day < to_char(
            (now() - make_interval(secs => CAST(:days AS double precision) * 86400))
            AT TIME ZONE 'UTC', 'YYYY-MM-DD'
        )
    ORDER BY o.day
    LIMIT :page
) AS p
WHERE u.day = p.day AND u.token = p.token AND u.user_id = p.user_id AND u.model = p.model
RETURNING u.replies AS id;
