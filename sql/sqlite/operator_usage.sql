-- name: usage_count(page)
-- Adds so many changes to the counts of their days.
INSERT INTO operator_usage (
    day, token, user_id, model, replies, prompt_tokens, completion_tokens, total_tokens
)
SELECT
    t.day, t.token, t.user_id, t.model, count(*), sum(t.prompt_tokens),
    sum(t.completion_tokens), sum(t.total_tokens)
FROM (SELECT * FROM operator_usage_change ORDER BY id LIMIT :page) AS t
WHERE TRUE
GROUP BY t.day, t.token, t.user_id, t.model
ON CONFLICT (day, token, user_id, model) DO UPDATE
SET
    replies = operator_usage.replies + excluded.replies,
    prompt_tokens = operator_usage.prompt_tokens + excluded.prompt_tokens,
    completion_tokens = operator_usage.completion_tokens + excluded.completion_tokens,
    total_tokens = operator_usage.total_tokens + excluded.total_tokens;

DELETE FROM operator_usage_change
WHERE id IN (SELECT o.id FROM operator_usage_change AS o ORDER BY o.id LIMIT :page)
RETURNING id;

-- name: usage_purge(days, page)
-- Deletes counts of days older than so many.
DELETE FROM operator_usage
WHERE
    (day, token, user_id, model) IN (
        SELECT o.day, o.token, o.user_id, o.model FROM operator_usage AS o
        WHERE o.day < substr(now(-86400 * :days), 1, 10)
        ORDER BY o.day
        LIMIT :page
    )
RETURNING replies AS id;
