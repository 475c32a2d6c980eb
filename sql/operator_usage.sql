-- name: usage_by(dimension, first_day, last_day, token, user_id, after, page)
-- Tokens of some days by day, token, user or model, keys after one, in order: those that are counted, and those that are
-- not yet.
SELECT
    n.name AS key, CAST(sum(n.replies) AS bigint) AS replies,
    CAST(sum(n.prompt_tokens) AS bigint) AS prompt_tokens,
    CAST(sum(n.completion_tokens) AS bigint) AS completion_tokens,
    CAST(sum(n.total_tokens) AS bigint) AS total_tokens
FROM (
    SELECT
        CASE CAST(:dimension AS text)
            WHEN 'day' THEN d.day WHEN 'token' THEN d.token WHEN 'user' THEN d.user_id
            ELSE d.model
        END AS name,
        sum(d.replies) AS replies, sum(d.prompt_tokens) AS prompt_tokens,
        sum(d.completion_tokens) AS completion_tokens, sum(d.total_tokens) AS total_tokens
    FROM operator_usage AS d
    WHERE
        d.day >= :first_day AND d.day <= :last_day
        AND (CAST(:token AS text) IS NULL OR d.token = :token)
        AND (CAST(:user_id AS text) IS NULL OR d.user_id = :user_id)
    GROUP BY name
    UNION ALL
    SELECT
        CASE CAST(:dimension AS text)
            WHEN 'day' THEN c.day WHEN 'token' THEN c.token WHEN 'user' THEN c.user_id
            ELSE c.model
        END AS name,
        1, c.prompt_tokens, c.completion_tokens, c.total_tokens
    FROM operator_usage_change AS c
    WHERE
        c.day >= :first_day AND c.day <= :last_day
        AND (CAST(:token AS text) IS NULL OR c.token = :token)
        AND (CAST(:user_id AS text) IS NULL OR c.user_id = :user_id)
) AS n
WHERE n.name > :after
GROUP BY n.name
ORDER BY n.name
LIMIT :page;
