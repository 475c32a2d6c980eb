-- A row where a message of the session s has the words. The function, not its operator: each
-- session's messages are read, and not the index of words.
(
    SELECT 1 FROM operator_search AS w
    WHERE w.session_id = s.session_id AND ts_match_vq(w.words, CAST(:words AS tsquery))
    LIMIT 1
)
