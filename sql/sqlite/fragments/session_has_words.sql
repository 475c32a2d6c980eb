-- True where a message of the session s has the words.
EXISTS (
    SELECT 1 FROM operator_search AS w
    WHERE
        w.session_id = s.session_id
        AND NOT EXISTS (
            SELECT 1 FROM json_each(:words) AS q WHERE instr(' ' || w.words || ' ', q.value) = 0
        )
)
