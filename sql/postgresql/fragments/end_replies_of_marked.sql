-- Ends the replies that are being written in sessions that are marked as deleted: their owners stop.
(
    UPDATE operator_message AS m
    SET status = 'cancelled', owner = NULL, finished_at = now()
    FROM marked
    WHERE m.session_id = marked.session_id AND m.status = 'streaming'
)
