-- Forgets what the key of an intent stood for, where a further call may take it over. One that may not is met
-- again as the key is stored.
DELETE FROM operator_chat_key
WHERE (scope, key) IN (
    SELECT k.scope, k.key
    FROM given
    CROSS JOIN operator_chat_key AS k
    WHERE
        k.scope = :scope AND k.key = :key AND :renewed_after IS NOT NULL
        AND (NOT (k.repeated OR :repeated) OR k.created_at <= now(-1 * :renewed_after))
)
