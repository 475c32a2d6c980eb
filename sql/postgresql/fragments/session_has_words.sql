-- True where a message of the session s has the words. LIMIT, and the function instead of its operator:
-- each session's messages are read, and neither all sessions' nor the index of words.
(
    SELECT TRUE FROM operator_search AS w
    WHERE w.session_id = s.session_id AND ts_match_vq(w.words, CAST(:words AS tsquery))
    LIMIT 1
)
