-- A session that the viewer may see and that is not being deleted.
session_id = :session_id AND deleted_at IS NULL AND (:viewer IS NULL OR user_id = :viewer)
