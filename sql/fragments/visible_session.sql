-- True where a session s is not deleted and the viewer may see it; NULL sees all.
s.deleted_at IS NULL AND (CAST(:viewer AS text) IS NULL OR s.user_id = :viewer)
