-- Forgets what the key of an intent stood for, where a further call may take it over. One that may not is met
-- again as the key is stored.
DELETE FROM operator_chat_key
WHERE
    scope = :scope AND key = :key
    AND (NOT (repeated OR :repeated) OR created_at <= now(-1 * :renewed_after))
